"""The whole pipeline as one fitted thing: blocks and sources, scaled, weighted and added.

`Recommender` scores the whole catalogue for batches of requests (evaluation, batch jobs). Answering one shopper fast,
with filters and reasons, is `engine`'s work and uses the same parts and weights; choosing the weights is `learn`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..profiling.blocks import PART_BLOCK, BlocksConfig, BlockSpace, fit_blocks
from ..profiling.encoders.encoder import Encoder
from ..profiling.log import Requests
from ..profiling.taste_model import TasteModel
from .fusion import inverse_scale, reciprocal_rank
from .gate import Gate
from .lexical import LexicalConfig, TextNeighboursConfig, fit_lexical, fit_text_neighbours
from .scorer import Scorer, TrainingSet
from .second_stage.facts import text_rows
from .second_stage.pool import Pool
from .second_stage.stage import SecondStage, above_the_rest, pool_of
from .sources.alike import fit_alike
from .sources.directions import DirectionsConfig, fit_directions
from .sources.neighbours import NeighboursModel
from .sources.popularity import DAY_S, RecentPopularConfig, fit_popular, fit_recent_popular
from .sources.repeats import RepeatConfig, RepeatModel, fit_own_most_bought, fit_repeat
from .sources.transitions import TransitionsConfig, fit_transitions

Float = NDArray[np.float32]
Fusion = Literal["scaled", "reciprocal_rank"]

_CELLS = 5e7  # scores of all parts that are held at once while candidates are ordered anew

SEARCH_PARTS: tuple[str, ...] = ("meaning", "bm25")
PERSONAL_PARTS: tuple[str, ...] = (
    "taste_long",
    "taste_short",
    "taste_learned",
    "behaviour",
    "context",
    "popular",
    "recent_popular",
    "own",
    "repeat",
    "transitions",
    "text_neighbours",
    "directions",
)
PARTS: tuple[str, ...] = (*SEARCH_PARTS, *PERSONAL_PARTS)

DEFAULT_WEIGHTS: Mapping[str, float] = {
    "meaning": 1.4,
    "bm25": 1.0,
    "taste_long": 0.3,
    "taste_short": 0.1,
    "recent_popular": 0.3,
    "repeat": 0.5,
    "transitions": 0.5,
    "text_neighbours": 0.3,
}
"""Where a shop has nothing to choose weights on; chosen once on validation data of several shops."""

NEWCOMER_PARTS: tuple[str, ...] = ("popular", "recent_popular", "context")
"""Personal parts that need no history."""

DEFAULT_NEWCOMER_WEIGHTS: Mapping[str, float] = {"popular": 1.0}
"""`DEFAULT_WEIGHTS` of shoppers without history: one part, so the unit does not matter."""


class RecommenderConfig(BaseModel):
    """Options of every part, and how they come together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    blocks: BlocksConfig = BlocksConfig()
    bm25: LexicalConfig = LexicalConfig()
    recent_popular: RecentPopularConfig = RecentPopularConfig()
    repeat: RepeatConfig = RepeatConfig()
    transitions: TransitionsConfig = TransitionsConfig()
    text_neighbours: TextNeighboursConfig = TextNeighboursConfig()
    directions: DirectionsConfig = DirectionsConfig()
    parts: tuple[str, ...] = Field(PARTS, description="parts that are built at all")
    fallback: Fusion = Field(
        "scaled", description="fusion where a shop has no validation requests: scaled scores or reciprocal_rank"
    )
    attributes: tuple[str, ...] | None = Field(
        None, description="columns of the users table that rankings may use; null = all, empty = none"
    )
    personalisation: float = Field(
        1.0,
        ge=0,
        description="weight of all personal parts together under a wholly vague query; an item with every word of the "
        "query counts 1 by its words alone",
    )


SOURCES: Mapping[str, Callable[[TrainingSet, RecommenderConfig], Scorer]] = {
    "bm25": lambda train, config: fit_lexical(train, config.bm25),
    "popular": lambda train, config: fit_alike(train, fit_popular(train), attributes=config.attributes),
    "recent_popular": lambda train, config: fit_alike(
        train, fit_recent_popular(train, config.recent_popular), attributes=config.attributes
    ),
    "own": lambda train, config: fit_own_most_bought(train),
    "repeat": lambda train, config: fit_repeat(train, config.repeat),
    "transitions": lambda train, config: fit_transitions(train, config.transitions),
    "text_neighbours": lambda train, config: fit_text_neighbours(train, config.text_neighbours),
    "directions": lambda train, config: fit_directions(train, config.directions),
}
"""Parts that are not blocks: name -> how it is fitted."""


@dataclass(frozen=True, eq=False)
class Recommender:
    """Everything needed to score the catalogue for a request.

    Attributes:
        space: item blocks and the way to put shoppers on their axes
        sources: the other parts by name
        weights: weight of each part, >= 0, in units of its standard deviation over the catalogue
        newcomer_weights: the same of the personal parts for shoppers without any history
        exclude_seen: whether items a shopper already took are left out of recommendations
        personalisation: weight of all personal parts together under a wholly vague query
        encoder: embeds query texts; None where nobody asks in words
        fusion: what is weighted and added: scaled scores, or reciprocal ranks
        gate: moves the weights of requests without words by their shopper's history; None = nothing does
        second: orders the best items of the sum anew, for requests of known shoppers without words; None = nothing does
        second_search: the same for requests in words
        reads: parts that add nothing to the sum and are fitted because a second stage reads them
    """

    space: BlockSpace
    sources: Mapping[str, Scorer]
    weights: Mapping[str, float]
    newcomer_weights: Mapping[str, float]
    exclude_seen: bool
    personalisation: float
    encoder: Encoder | None = None
    fusion: Fusion = "scaled"
    gate: Gate | None = None
    second: SecondStage | None = None
    second_search: SecondStage | None = None
    reads: tuple[str, ...] = ()

    def scores(self, requests: Requests) -> Float:
        """Scores of the whole catalogue, (n_requests, n_items) float32: the fused sum, the best of it ordered anew."""
        stage = self.stage_for(asked=bool(requests.texts))
        if stage is None:
            return self.first_stage(requests)[0]
        step = max(1, int(_CELLS / (len(PARTS) * max(requests.log.n_items, 1))))
        out = np.empty((len(requests), requests.log.n_items), dtype=np.float32)
        for first in range(0, len(requests), step):
            rows = slice(first, first + step)
            some = requests.take(rows)
            fused, pool = self.candidates(some, depth=stage.depth)
            out[rows] = above_the_rest(fused, pool, stage.scores(pool, some, self.text_rows))
        return out

    @cached_property
    def text_rows(self) -> Float:
        """Item rows whose inner products say how alike two texts are, (n_items, d); found once, not a request."""
        return text_rows(self.space.items)

    def stage_for(self, *, asked: bool) -> SecondStage | None:
        """The second stage of requests in words, or of those without; none where ranks are fused."""
        if self.fusion != "scaled":
            return None
        return self.second_search if asked else self.second

    def candidates(
        self, requests: Requests, *, depth: int, also: NDArray[np.bool_] | None = None
    ) -> tuple[Float, Pool]:
        """Fused scores of the whole catalogue, and the best ``depth`` items of each request as a second stage's pool.

        Without words a request has candidates only if its shopper has a history: newcomers keep the first stage's
        order. Items a shopper has are none where rankings leave them out; those that ``also`` (n_requests, n_items)
        names are some.
        """
        fused, parts = self.first_stage(requests, keep=True)
        shown = fused if requests.texts else np.where((requests.stop > requests.start)[:, None], fused, -np.inf)
        hide = self.exclude_seen and not requests.texts
        pool = pool_of(requests, shown, parts, depth=depth, also=also, hide_taken=hide)
        return fused, pool

    def first_stage(self, requests: Requests, *, keep: bool = False) -> tuple[Float, dict[str, Float]]:
        """The weighted sum of the parts, (n_requests, n_items).

        With ``keep`` also the scaled scores of each part that a second stage reads: those that weigh something for
        known shoppers, and `read_beside`.
        """
        total = np.zeros((len(requests), requests.log.n_items), dtype=np.float32)
        asked = bool(requests.texts)
        known, new = (self.request_weights(has_text=asked, newcomer=newcomer) for newcomer in (False, True))
        newcomer = requests.stop == requests.start
        moved = self.gate_factors(requests)
        weights = {
            name: np.where(newcomer, new.get(name, 0.0), known.get(name, 0.0)) * moved.get(name, 1.0) for name in PARTS
        }
        beside = self.read_beside(asked=asked) if keep else ()
        parts = {}
        for name, part in self.part_scores(requests, [name for name in PARTS if weights[name].any() or name in beside]):
            ranked = self.fusion == "reciprocal_rank"
            scaled = reciprocal_rank(part) if ranked else part * inverse_scale(name, part, asked=asked)[:, None]
            if weights[name].any():
                total += scaled * weights[name].astype(np.float32)[:, None]
            if keep and (known.get(name) or name in beside):
                parts[name] = scaled
        return total, parts

    def read_beside(self, *, asked: bool) -> tuple[str, ...]:
        """Parts without a weight that the second stage reads: of requests in words, or of those without."""
        return tuple(name for name in self.reads if (name in SEARCH_PARTS) == asked and not self.weights.get(name))

    def part_scores(self, requests: Requests, parts: Sequence[str] | None = None) -> Iterator[tuple[str, Float]]:
        """Raw scores of the named parts, all that have a weight if None, one by one, each (n_requests, n_items)."""
        if parts is None:
            parts = [name for name in PARTS if self.weights.get(name) or self.newcomer_weights.get(name)]
        vectors = self.shopper_vectors(requests)
        for name in parts:
            if name in self.sources:
                yield name, self.sources[name].scores(requests)
            elif name in vectors:
                yield name, vectors[name] @ self.space.items[PART_BLOCK[name]].T

    def shopper_vectors(self, requests: Requests) -> dict[str, Float]:
        """Shopper side of the block parts, each (n_requests, d_b); ``meaning`` only where there is text."""
        vectors = self.space.shoppers(requests)
        if requests.texts and self.encoder is not None:
            vectors["meaning"] = self.encoder.encode(requests.texts, kind="query")
        return vectors

    def request_weights(self, *, has_text: bool, specificity: float = 1.0, newcomer: bool = False) -> dict[str, float]:
        """Weights for one kind of request.

        Without text the search parts are off. With text the personal parts count ``personalisation`` times
        ``1 - specificity`` together: a precise query is not personalised, a vague one is. The unit they were chosen in
        does not matter then: without words any unit gives the same order, and words must not drown in a large one.
        A ``newcomer`` has no history.
        """
        search = {n: w if has_text else 0.0 for n, w in self.weights.items() if n in SEARCH_PARTS}
        by_shopper = self.newcomer_weights if newcomer else self.weights
        personal = {n: w for n, w in by_shopper.items() if n not in SEARCH_PARTS}
        together = sum(personal.values())
        if has_text and together:
            unit = self.personalisation * (1.0 - specificity) / together
            personal = {n: w * unit for n, w in personal.items()}
        return search | personal

    def gate_factors(self, requests: Requests) -> dict[str, Float]:
        """What the gate multiplies the weights of parts by, (n_requests,) each; nothing for requests in words."""
        return {} if self.gate is None or requests.texts else self.gate.factors(requests)

    def chosen(self) -> dict[str, Any]:
        """Weights and, where their parts are used, the memories that were chosen."""
        said: dict[str, Any] = {name: float(f"{weight:.3g}") for name, weight in self.weights.items()}
        said |= {f"newcomer_{name}": float(f"{weight:.3g}") for name, weight in self.newcomer_weights.items()}
        repeat, transitions = self.sources.get("repeat"), self.sources.get("transitions")
        if isinstance(repeat, RepeatModel):
            said["repeat_half_life_days"] = round(repeat.half_life_s / DAY_S, 1)
        if isinstance(transitions, NeighboursModel):
            said["ties"] = transitions.ties
        return said


def fit_recommender(
    train: TrainingSet,
    config: RecommenderConfig | None = None,
    *,
    weights: Mapping[str, float] | None = None,
    newcomer_weights: Mapping[str, float] | None = None,
    exclude_seen: bool = False,
    encoder: Encoder | None = None,
    fusion: Fusion = "scaled",
    taste_model: TasteModel | None = None,
    gate: Gate | None = None,
    also: Sequence[str] = (),
) -> Recommender:
    """Fit the parts that have a weight, and those that are read beside them.

    Args:
        train: what may be learned from
        config: options of every part
        weights: weight of each part; None = 1 for all of ``config.parts``
        newcomer_weights: weights for shoppers without history; None = ``weights``
        exclude_seen: whether items a shopper already took are left out of recommendations
        encoder: embeds query texts
        fusion: what is weighted and added
        taste_model: trained on this catalogue; without one ``taste_learned`` is left out
        gate: moves the weights by a shopper's history
        also: parts that a second stage reads, whether they have a weight or not
    """
    config = config or RecommenderConfig()
    chosen = _usable(dict.fromkeys(config.parts, 1.0) if weights is None else weights, config)
    if taste_model is None:
        chosen.pop("taste_learned", None)
    new = {n: w for n, w in _usable(newcomer_weights or chosen, config).items() if n in NEWCOMER_PARTS}
    vectors = train.vectors if train.vectors is not None else np.zeros((train.log.n_items, 1), dtype=np.float32)
    clock = train.shared_clock
    space = fit_blocks(train.items, vectors, train.log, config.blocks, calendar=clock, taste_model=taste_model)
    reads = tuple(name for name in _usable(dict.fromkeys(also, 1.0), config) if name not in chosen)
    reads = tuple(name for name in reads if name != "taste_learned" or taste_model is not None)
    needed = {*chosen, *new, *reads}
    sources = {name: SOURCES[name](train, config) for name in PARTS if name in needed and name in SOURCES}
    model = Recommender(space, sources, chosen, new, exclude_seen, config.personalisation, encoder, fusion, gate)
    return replace(model, reads=reads)


def weighed(
    model: Recommender,
    *,
    weights: Mapping[str, float],
    newcomer_weights: Mapping[str, float],
    gate: Gate | None = None,
    also: Sequence[str] = (),
) -> Recommender:
    """The same fitted parts under other weights: what `fit_recommender` makes of them, without fitting again.

    Parts must have been fitted for every name with a weight; those left without one are dropped, but for ``also``.
    """
    fitted = {**model.weights, **model.newcomer_weights}
    chosen = {n: float(weights[n]) for n in PARTS if n in model.weights and weights.get(n, 0.0) > 0}
    wanted = newcomer_weights or chosen
    new = {n: float(wanted[n]) for n in PARTS if n in NEWCOMER_PARTS and n in fitted and wanted.get(n, 0.0) > 0}
    reads = tuple(name for name in PARTS if name in also and name in model.weights and name not in chosen)
    sources = {name: source for name, source in model.sources.items() if name in {*chosen, *new, *reads}}
    return replace(model, weights=chosen, newcomer_weights=new, sources=sources, gate=gate, reads=reads)


def _usable(weights: Mapping[str, float], config: RecommenderConfig) -> dict[str, float]:
    """Positive weights of the parts that may be built, in the order of `PARTS`."""
    return {name: float(weights[name]) for name in PARTS if weights.get(name, 0.0) > 0 and name in config.parts}
