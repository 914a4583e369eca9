"""The `Profile` noun: all that is known of one shopper at one time, in numbers for machines and in names for people.

Holds what others computed and exports it; `profile_build` makes it, `describe` puts it in sentences. The block vectors
come from outside, as does the store it is kept in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reviews.reviews import AspectSummary
from .behaviour import BehaviourFeatures
from .habits import Habits
from .interest import advance
from .interest_set import InterestSet
from .provenance import ItemShare
from .tags import Tag


@dataclass(frozen=True)
class ItemCycle:
    """Something a shopper buys again and again.

    Attributes:
        item_id, title: the item
        times: days on which it was bought
        every_days: expected days from one purchase to the next
        due: elapsed share of that; 1 = just due, far over 1 = given up
    """

    item_id: str
    title: str
    times: int
    every_days: float
    due: float


@dataclass(frozen=True, eq=False)
class Profile:
    """One shopper at one time; what is not known is empty, None or NaN.

    Attributes:
        user_id: external id
        at_s: time of the profile, seconds since 1970 UTC
        blocks: shopper side of each block vector by name
        interests: decayed sums by scene and horizon
        made_of: the items each horizon's interest is made of, largest share first
        seen: how many things they did before that time, whatever the kind
        last_seen_s: when the last of them with a time was; NaN without any
        behaviour: how they buy; None without any order
        tags: readable names of what they hold; ``recent_tags`` of what they hold lately
        cycles: what they buy again and again, most overdue first
        habits: when, where and on what they come
        praised, complained: aspects of their own reviews
        attributes: known attributes (age band...), as given
        currency: of the money in ``behaviour``
        norms: bounds of what is usual in the shop, ``price_level_low`` and so on
        verb: what an order is in this shop, in the past tense
    """

    user_id: str
    at_s: float
    blocks: Mapping[str, NDArray[np.floating]]
    interests: InterestSet
    made_of: Mapping[str, tuple[ItemShare, ...]] = field(default_factory=dict)
    seen: int = 0
    last_seen_s: float = math.nan
    behaviour: BehaviourFeatures | None = None
    tags: tuple[Tag, ...] = ()
    recent_tags: tuple[Tag, ...] = ()
    cycles: tuple[ItemCycle, ...] = ()
    habits: Habits | None = None
    praised: tuple[AspectSummary, ...] = ()
    complained: tuple[AspectSummary, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    currency: str | None = None
    norms: Mapping[str, float] = field(default_factory=dict)
    verb: str = "Ordered"

    def __post_init__(self) -> None:
        if not self.user_id:
            raise ValueError("user_id must be a non-empty string; give the shopper's id")
        for name, vector in self.blocks.items():
            if np.ndim(vector) != 1 or not np.isfinite(vector).all():
                raise ValueError(f"blocks[{name!r}] must be a finite vector, got shape {np.shape(vector)}")

    def to_json(self, *, vectors: bool = False) -> dict[str, Any]:
        """A JSON-able dictionary with names, rounded numbers and ISO times; null is unknown.

        ``vectors`` adds the block vectors themselves; without it only their dimension and length are told.
        """
        return {
            "user_id": self.user_id,
            "at": iso_time(self.at_s),
            "summary": self.describe(),
            "seen": self.seen,
            "last_seen": iso_time(self.last_seen_s),
            "attributes": dict(self.attributes),
            "tags": [_plain(tag) for tag in self.tags],
            "recent_tags": [_plain(tag) for tag in self.recent_tags],
            "behaviour": None if self.behaviour is None else _behaviour_json(self.behaviour),
            "cycles": [_plain(cycle) for cycle in self.cycles],
            "habits": None if self.habits is None else _plain(self.habits),
            "opinions": {
                "praises": [_plain(aspect) for aspect in self.praised],
                "complains": [_plain(aspect) for aspect in self.complained],
            },
            "interests": self._interests_json(),
            "blocks": {name: _block_json(vector, vectors) for name, vector in self.blocks.items()},
        }

    def describe(self) -> list[str]:
        """A few sentences a shopper would understand; see `describe.describe`."""
        from .describe import describe

        return describe(self)

    def _interests_json(self) -> dict[str, Any]:
        """Each horizon with its half-life, what it is made of and how much each scene gave, at the profile's time."""
        out: dict[str, Any] = {}
        for horizon, half_life_s in self.interests.half_lives_s.items():
            whole = self.interests.whole(horizon)
            if math.isinf(whole.at_s):
                continue
            parts = {s: state for (s, h), state in self.interests.parts.items() if h == horizon}
            scenes = {s: advance(state, self.at_s).weight for s, state in parts.items()}
            out[horizon] = {
                "half_life_days": None if math.isinf(half_life_s) else round(half_life_s / 86_400, 4),
                "weight": tidy_number(advance(whole, self.at_s).weight),
                "updated": None if math.isinf(half_life_s) else iso_time(whole.at_s),
                "scenes": {scene: tidy_number(weight) for scene, weight in sorted(scenes.items())},
                "made_of": [_plain(share) for share in self.made_of.get(horizon, ())],
            }
        return out


def iso_time(at_s: float) -> str | None:
    """ISO 8601 in UTC, to the second; None where the time is unknown.

    >>> iso_time(0.0)
    '1970-01-01T00:00:00Z'
    """
    if not math.isfinite(at_s):
        return None
    return datetime.fromtimestamp(at_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def tidy_number(value: float) -> float | int | None:
    """A number short enough to read: three decimals, three digits if small; None where it is not finite.

    >>> tidy_number(2.0), tidy_number(0.123456), tidy_number(0.000123456), tidy_number(float("nan"))
    (2, 0.123, 0.000123, None)
    """
    if not math.isfinite(value):
        return None
    short = round(float(value), 3) if abs(value) >= 0.01 else float(f"{value:.3g}")
    return int(short) if short == int(short) else short


def _plain(noun: Any) -> dict[str, Any]:
    """A flat noun as a dictionary: numbers tidied, ``..._s`` times as ISO under the name without ``_s``."""
    out: dict[str, Any] = {}
    for name, value in asdict(noun).items():
        if name.endswith("_s"):
            out[name[:-2]] = iso_time(value)
        else:
            out[name] = tidy_number(value) if isinstance(value, float) else value
    return out


def _behaviour_json(features: BehaviourFeatures) -> dict[str, Any]:
    """Behaviour with affinities as ratios under their names."""
    out = _plain(features)
    for name in ("categories", "brands"):
        pairs: tuple[tuple[str, float], ...] = getattr(features, name)
        out[name] = {label: tidy_number(math.exp(log_ratio)) for label, log_ratio in pairs}
    return out


def _block_json(vector: NDArray[np.floating], whole: bool) -> dict[str, Any]:
    """Dimension and length of a block, and its numbers if wanted."""
    out: dict[str, Any] = {"dim": len(vector), "length": tidy_number(float(np.linalg.norm(vector)))}
    return {**out, "vector": [tidy_number(float(x)) for x in vector]} if whole else out
