"""The first stage's settings and weights, chosen on validation requests.

Nothing here looks at a test stage, and nothing is chosen for one shop: the same search runs on every shop's own
validation requests. Where a shop has none, the defaults of `retrieval.recommender` serve. What is built from the
choice, and the second stage, are `pipeline`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ..profiling.blocks import PART_BLOCK
from ..profiling.encoders.encoder import Encoder
from ..profiling.log import EventLog
from ..profiling.taste_model import TasteModel
from ..retrieval.fusion import choose_weights
from ..retrieval.gate import Gate
from ..retrieval.recommender import (
    DEFAULT_NEWCOMER_WEIGHTS,
    DEFAULT_WEIGHTS,
    NEWCOMER_PARTS,
    PARTS,
    PERSONAL_PARTS,
    SEARCH_PARTS,
    Fusion,
    Recommender,
    RecommenderConfig,
    fit_recommender,
    weighed,
)
from ..retrieval.scorer import TrainingSet
from ..retrieval.sources.directions import choose_directions
from ..retrieval.sources.repeats import choose_repeat
from ..retrieval.sources.transitions_choice import choose_transitions
from ..retrieval.taste.config import TasteConfig
from .gate_choice import choose_gate
from .new_items import only_new
from .rank_learning import RankLearningConfig
from .sampled import gather, single_ndcg
from .splits import Split

_CELLS = 4e8  # scores of one part that are looked at while choosing weights
_TRIAL_EVENTS = 200_000
_TRIAL_REQUESTS = 400
_MORE_REQUESTS = 1500  # where few ways are tried


class TasteprintConfig(BaseModel):
    """Options of the pipeline in an evaluation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recommender: RecommenderConfig = RecommenderConfig()
    taste: TasteConfig = TasteConfig()
    ranking: RankLearningConfig = RankLearningConfig()
    minutes: float = Field(10.0, ge=0, description="minutes that the taste model may train; 0 = there is none")
    weights: dict[str, float] | None = Field(None, description="weight of each part; None = chosen on validation")
    candidates: int = Field(100, ge=10, description="best items of each part that weights are chosen among")
    least_requests: int = Field(500, ge=1, description="validation requests used however large the catalogue")
    most_requests: int = Field(4000, ge=1, description="validation requests used at most")


@dataclass(frozen=True)
class Learned:
    """What validation chose.

    Attributes:
        recommender: settings of the parts
        weights: weight of each part
        ndcg: NDCG@10 reached on the validation sample, NaN where there was none
        single: NDCG@10 of each part alone on the same sample
        newcomer_weights: weights for shoppers without history
        fusion: how the parts come together
        gate: moves the weights by a shopper's history, where that won
    """

    recommender: RecommenderConfig
    weights: Mapping[str, float]
    ndcg: float
    single: Mapping[str, float]
    newcomer_weights: Mapping[str, float] = field(default_factory=lambda: DEFAULT_NEWCOMER_WEIGHTS)
    fusion: Fusion = "scaled"
    gate: Gate | None = None


class OneSearchConfig(TasteprintConfig):
    """One dense profile and one search: the blocks alone, and no second stage."""

    recommender: RecommenderConfig = RecommenderConfig(parts=tuple(PART_BLOCK))
    ranking: RankLearningConfig = RankLearningConfig(rankers=(), default=False)


class TasteOnlyConfig(OneSearchConfig):
    """The learned taste block and nothing else."""

    recommender: RecommenderConfig = RecommenderConfig(parts=("taste_learned",))


def default_weights(train: TrainingSet) -> dict[str, float]:
    """Weights where there is nothing to choose on, of the parts that can be used."""
    return {name: weight for name, weight in DEFAULT_WEIGHTS.items() if name in usable_parts(train)}


def usable_parts(train: TrainingSet) -> tuple[str, ...]:
    """Parts that this training set can feed: personal ones need events, some need text, some a clock users share."""
    parts = PARTS if len(train.log) else SEARCH_PARTS
    without: set[str] = set() if train.vectors is not None else {"meaning", "taste_long", "taste_short"}
    without |= set() if train.shared_clock else {"recent_popular"}
    return tuple(part for part in parts if part not in without)


def candidate_parts(train: TrainingSet, settings: RecommenderConfig, *, asked: bool) -> tuple[str, ...]:
    """Parts that weights are chosen for: of requests in words, or of those without."""
    kind = SEARCH_PARTS if asked else PERSONAL_PARTS
    return tuple(name for name in usable_parts(train) if name in settings.parts and name in kind)


def choose_first(
    train: TrainingSet,
    split: Split,
    config: TasteprintConfig | None = None,
    *,
    rng: np.random.Generator,
    encoder: Encoder | None = None,
    taste_model: TasteModel | None = None,
) -> tuple[Learned, Recommender]:
    """Choose settings and weights on a validation split whose training set is ``train``, which ``taste_model`` learned.

    Returns the choice, and all parts it was made among, fitted on ``train`` with weights of 1.
    """
    config = config or TasteprintConfig()
    n = int(np.clip(_CELLS / max(train.log.n_items, 1), config.least_requests, config.most_requests))
    sample = split.sample(n, rng)
    settings = config.recommender
    if len(train.log):
        settings = choose_settings(train, sample, settings, rng=rng)
    ones = dict.fromkeys(candidate_parts(train, settings, asked=bool(sample.requests.texts)), 1.0)
    parts = fit_recommender(
        train,
        settings,
        weights=ones,
        newcomer_weights={name: 1.0 for name in usable_parts(train) if name in NEWCOMER_PARTS},
        exclude_seen=split.exclude_seen,
        encoder=encoder,
        taste_model=taste_model,
    )
    model = weighed(parts, weights=ones, newcomer_weights={})
    history = np.flatnonzero(sample.requests.stop > sample.requests.start)
    with_history = sample if sample.requests.texts or not len(history) else sample.take(history)
    found = gather(model, with_history, n=config.candidates)
    weights, _ = choose_weights(found)
    ndcg = found.ndcg([weights[name] for name in found.parts])
    single = {name: found.ndcg(np.eye(len(found.parts))[p]) for p, name in enumerate(found.parts)}
    new = _newcomer_weights(model, sample, n=config.candidates)
    gate = None
    if not sample.requests.texts:
        gate = choose_gate(found, weights, with_history.requests, with_history.cluster, rng=rng).gate
    return Learned(settings, weights, ndcg, single, new, gate=gate), parts


def _newcomer_weights(model: Recommender, sample: Split, *, n: int) -> dict[str, float]:
    """Weights of the parts that need no history, chosen on the same requests with their histories hidden."""
    requests = sample.requests
    hidden = replace(sample, requests=replace(requests, start=requests.stop))
    parts = {name: 1.0 for name in NEWCOMER_PARTS if name in model.weights}
    if requests.texts or not parts:
        return dict(DEFAULT_NEWCOMER_WEIGHTS)
    found = gather(replace(model, weights=parts, newcomer_weights=parts), hidden, n=n)
    return {name: weight for name, weight in choose_weights(found)[0].items() if weight > 0}


def choose_settings(
    train: TrainingSet, sample: Split, settings: RecommenderConfig, *, rng: np.random.Generator
) -> RecommenderConfig:
    """Settings that change what a part counts: what follows what, and how long histories and own purchases last.

    Where goods are bought again, all but the own purchases are chosen on new items alone: another part ranks the old.
    """
    small = replace(train, log=_some_users(train.log, _TRIAL_EVENTS, rng), vectors=None)
    new = sample if sample.exclude_seen else only_new(sample)
    new = new if len(new.requests) else sample
    few, asked = sample.sample(_TRIAL_REQUESTS, rng), new.sample(_TRIAL_REQUESTS, rng)
    more = new.sample(_MORE_REQUESTS, rng)
    transitions = choose_transitions(small, lambda model: single_ndcg(model, asked), config=settings.transitions)
    repeat = choose_repeat(train, lambda model: single_ndcg(model, few), config=settings.repeat)
    directions = settings.directions
    if "directions" in settings.parts:
        directions = choose_directions(train, lambda model: single_ndcg(model, more), config=directions)
    return settings.model_copy(update={"transitions": transitions, "repeat": repeat, "directions": directions})


def _some_users(log: EventLog, most: int, rng: np.random.Generator) -> EventLog:
    """The log of randomly drawn users with about ``most`` events together, or the whole log if it has fewer."""
    if len(log) <= most:
        return log
    order = rng.permutation(log.n_users)
    taken = np.zeros(log.n_users, dtype=bool)
    taken[order[np.cumsum(np.diff(log.user_start)[order]) <= most]] = True
    return log.select(taken[log.user()])
