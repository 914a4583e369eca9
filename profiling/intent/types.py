"""`Intent`: what one query asks for, as a value that can be read, overridden and explained.

Covers the noun only. Inferring it from text is `intent`'s work; turning it into a ranking is retrieval's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..categories import SEPARATOR, prefixes
from ..errors import ConfigError
from ..heads.head import HeadAnswer
from .brands import BrandMatch
from .facets import Facets
from .price_wishes import PriceBand
from .stages import STAGES, Stage

STAGE_WORDS: Mapping[Stage, str] = {
    "look_up": "looking up a known item",
    "browse": "browsing",
    "explore": "exploring",
    "compare": "comparing",
    "get_help": "asking for help",
}


@dataclass(frozen=True)
class CategoryShare:
    """One category, root first joined by " > ", and the probability that it is meant."""

    path: str
    probability: float


@dataclass(frozen=True, eq=False)
class Intent:
    """What one query asks for.

    Attributes:
        text: the query as given
        vector: its unit vector (zeros for an empty text), (d,)
        categories: likeliest categories, most likely first; probabilities sum to at most 1, the rest is unknown
        levels: the likeliest root, its likeliest child and so on, each with all the probability beneath it
        facets: brands, price, attributes, sizes, model numbers
        stages: probability of each stage, summing to 1
        specificity: 0 = anything would do, 1 = exactly one thing
        confidence: probability that the text is about this catalogue, in [0, 1]
        known: whether the confidence reaches the model's threshold; where False, do not act on the rest
        signals: what was seen, in words
        overridden: names of the parts a caller has set
        answers: what trained heads said, one a head; empty without any
    """

    text: str
    vector: NDArray[np.float32]
    categories: tuple[CategoryShare, ...] = ()
    levels: tuple[CategoryShare, ...] = ()
    facets: Facets = field(default_factory=Facets)
    stages: Mapping[Stage, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 1.0 / len(STAGES)))
    specificity: float = 0.0
    confidence: float = 0.0
    known: bool = False
    signals: tuple[str, ...] = ()
    overridden: tuple[str, ...] = ()
    answers: tuple[HeadAnswer, ...] = ()

    @property
    def stage(self) -> Stage:
        """The likeliest stage."""
        return max(STAGES, key=lambda s: self.stages[s])

    @property
    def unknown(self) -> float:
        """Probability left for no category named here, in [0, 1]."""
        return max(0.0, 1.0 - sum(c.probability for c in self.categories))

    def category(self, at_least: float = 0.5) -> CategoryShare | None:
        """The deepest of `levels` that collects at least this probability, or None.

        >>> levels = (CategoryShare("food", 0.7), CategoryShare("food > milk", 0.4))
        >>> Intent("breakfast", np.zeros(2), levels=levels).category()
        CategoryShare(path='food', probability=0.7)
        """
        return next((level for level in reversed(self.levels) if level.probability >= at_least), None)

    def override(
        self,
        *,
        category: str | Mapping[str, float] | None = None,
        brand: str | None = None,
        price: PriceBand | None = None,
        stage: Stage | None = None,
        specificity: float | None = None,
        confidence: float | None = None,
    ) -> Intent:
        """The same intent with the parts a caller knows better; what is None stays as inferred.

        ``category`` is a path, or paths with probabilities that sum to at most 1. A known category or brand makes the
        intent `known`.

        Raises:
            ConfigError: a probability, specificity or confidence outside [0, 1], or an unknown stage.

        >>> Intent("milk", np.zeros(2)).override(category="food > milk", specificity=0.2).category().path
        'food > milk'
        """
        given: dict[str, object] = {"category": category, "brand": brand, "price": price, "stage": stage}
        given |= {"specificity": specificity, "confidence": confidence}
        named = tuple(name for name, value in given.items() if value is not None)
        facets = self.facets
        if brand is not None:
            facets = replace(facets, brands=(BrandMatch(brand, (brand,), "", 1.0),))
        if price is not None:
            facets = replace(facets, price=price)
        sure = confidence if confidence is not None else self.confidence
        shares = self.categories if category is None else _given_categories(category)
        return replace(
            self,
            categories=shares,
            levels=self.levels if category is None else levels_of(shares),
            facets=facets,
            stages=self.stages if stage is None else _given_stage(stage),
            specificity=self.specificity if specificity is None else _fraction("specificity", specificity),
            confidence=_fraction("confidence", sure),
            known=self.known or category is not None or brand is not None,
            overridden=tuple(dict.fromkeys((*self.overridden, *named))),
        )

    def to_json(self) -> dict[str, Any]:
        """A readable object of plain values; the vector stays out."""
        found: dict[str, Any] = {
            "text": self.text,
            "known": self.known,
            "confidence": round(self.confidence, 3),
            "specificity": round(self.specificity, 3),
            "stage": self.stage,
            "stages": {name: round(self.stages[name], 3) for name in STAGES},
            "categories": [{"path": c.path, "probability": round(c.probability, 3)} for c in self.categories],
            "unknown": round(self.unknown, 3),
            "facets": self.facets.to_json(),
            "signals": list(self.signals),
            "explanation": self.explain(),
        }
        if self.answers:
            found["answers"] = [answer.to_json() for answer in self.answers]
        return {**found, "overridden": list(self.overridden)} if self.overridden else found

    def explain(self) -> str:
        """One sentence for a reader."""
        if not self.text.strip() and not self.overridden:
            return "An empty query: nothing is known about what is wanted."
        if not self.known:
            reason = f" ({'; '.join(self.signals[:2])})" if self.signals else ""
            return f"Not sure that this is about anything sold here{reason}; confidence {self.confidence:.2f}."
        category = self.category()
        if category is not None:
            parts = [f"{STAGE_WORDS[self.stage]} {category.path} ({category.probability:.0%})"]
        else:
            parts = [f"{STAGE_WORDS[self.stage]} across categories"]
        facets = self.facets
        if facets.brands:
            parts.append("brand " + " and ".join(b.brand for b in facets.brands))
        if facets.price is not None:
            parts.append(f"price {facets.price}")
        parts += [f"{a.name.replace('_', ' ')} {a.value}" for a in facets.attributes]
        if facets.models:
            parts.append("model " + ", ".join(facets.models))
        how = "very specific" if self.specificity >= 0.7 else "specific" if self.specificity >= 0.45 else "broad"
        said = f"{', '.join(parts)}; {how} ({self.specificity:.2f}), confidence {self.confidence:.2f}."
        return said[0].upper() + said[1:]


def _given_categories(category: str | Mapping[str, float]) -> tuple[CategoryShare, ...]:
    """A caller's category or distribution as shares, most likely first."""
    given = {category: 1.0} if isinstance(category, str) else category
    shares = [CategoryShare(path, _fraction("category", p)) for path, p in given.items()]
    if sum(s.probability for s in shares) > 1.0 + 1e-6:
        total = sum(s.probability for s in shares)
        raise ConfigError(f"category: probabilities must sum to at most 1, got {total:.3g}; divide them by their sum")
    return tuple(sorted(shares, key=lambda s: (-s.probability, s.path)))


def levels_of(shares: tuple[CategoryShare, ...]) -> tuple[CategoryShare, ...]:
    """`Intent.levels` of shares that are all there is."""
    totals: dict[str, float] = {}
    for share in shares:
        for prefix in prefixes(share.path):
            totals[prefix] = totals.get(prefix, 0.0) + share.probability
    found: list[CategoryShare] = []
    within = ""
    while beneath := [path for path in totals if path.rpartition(SEPARATOR)[0] == within]:
        within = max(beneath, key=lambda path: totals[path])
        found.append(CategoryShare(within, totals[within]))
    return tuple(found)


def _given_stage(stage: Stage) -> dict[Stage, float]:
    """A caller's stage as certainty."""
    if stage not in STAGES:
        raise ConfigError(f"stage must be one of {', '.join(STAGES)}, got {stage!r}")
    return {name: float(name == stage) for name in STAGES}


def _fraction(name: str, value: float) -> float:
    """``value`` if it lies in [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"{name} must lie in [0, 1], got {value!r}")
    return float(value)
