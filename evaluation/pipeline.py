"""Tasteprint as a method: fit the parts, choose settings and weights on validation, fit again on all of training.

Nothing here looks at a test stage, and nothing is chosen for one shop: the same search runs on every shop's own
validation requests. Where a shop has none, the defaults of `retrieval.recommender` serve.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..profiling.blocks import PART_BLOCK
from ..profiling.encoder import Encoder
from ..profiling.log import EventLog, Requests
from ..profiling.taste_model import TasteModel
from ..retrieval.fusion import choose_weights
from ..retrieval.gate import Gate, gate_state
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
from ..retrieval.repeats import choose_repeat
from ..retrieval.scorer import Scorer, TrainingSet
from ..retrieval.taste.config import TasteConfig
from ..retrieval.transitions_choice import choose_transitions
from .gate_choice import choose_gate
from .new_items import only_new
from .rank_learning import LearnedRanker, RankLearningConfig, learn_ranker, with_ranker
from .sampled import gather, single_ndcg
from .splits import Split
from .taste_learning import Progress, TrainedTaste, same_events, train_again, train_taste

if TYPE_CHECKING:
    from .methods import Resources

TasteOf = Callable[[TrainingSet], TasteModel | None]
"""Gives the taste model that learned exactly a training set; None where none is used."""

_CELLS = 1e8  # scores of one part that are looked at while choosing weights
_TRIAL_EVENTS = 200_000
_TRIAL_REQUESTS = 400


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
    most_requests: int = Field(1500, ge=1, description="validation requests used at most")


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


@dataclass(frozen=True, eq=False)
class Fitted:
    """The pipeline fitted, with what it chose.

    Attributes:
        model: ranks
        learned: settings and weights
        ranker: the second stage that was tried
        taste: the taste model's training, or None
    """

    model: Recommender
    learned: Learned
    ranker: LearnedRanker
    taste: TrainedTaste | None

    def scores(self, requests: Requests) -> NDArray[np.float32]:
        """Scores of the whole catalogue, (n_requests, n_items)."""
        return self.model.scores(requests)

    def chosen(self) -> dict[str, Any]:
        """Weights and memories, epochs of the taste model, and the ranker."""
        gate = {"gate": gate_state(self.learned.gate)} if self.learned.gate is not None else {}
        return self.model.chosen() | gate | ({} if self.taste is None else dict(self.taste.about)) | self.ranker.said()


def fit_tasteprint(train: TrainingSet, config: TasteprintConfig, resources: Resources) -> Scorer:
    """Fit the pipeline with a taste model, settings, weights and a ranker that the validation stage chose."""
    validation = None if config.weights is not None or resources.validation is None else resources.validation()
    if validation is None:
        weights = config.weights or default_weights(train)
        fusion = "scaled" if config.weights else config.recommender.fallback
        return fit_recommender(
            train,
            config.recommender,
            weights=weights,
            newcomer_weights=DEFAULT_NEWCOMER_WEIGHTS,
            encoder=resources.encoder,
            fusion=fusion,
        )
    return fit_learned(train, validation, config, resources)


def fit_learned(
    train: TrainingSet, validation: tuple[TrainingSet, Split], config: TasteprintConfig, resources: Resources
) -> Fitted:
    """Train, choose and learn on ``validation``, a training set and requests after it; then fit on all of ``train``."""
    before, split = validation
    rng, seed = resources.rng, int(resources.rng.integers(2**31))
    trained = None
    if wants_taste(config, before, split):
        trained = train_taste(
            train,
            validation,
            config.taste,
            seed=seed,
            minutes=None if resources.clock is None else config.minutes,
            clock=resources.clock,
            folder=resources.models,
            progress=resources.tell,
        )

    known = () if trained is None else ((train, trained.final), (before, trained.before))
    taste_of = tastes(trained, known, config, folder=resources.models, progress=resources.tell)
    answers = None if resources.answers is None else resources.answers(split)
    learned, ranker = choose(
        before, split, config, rng=rng, encoder=resources.encoder, taste_of=taste_of, answers=answers
    )
    model = fit_chosen(train, learned, split, encoder=resources.encoder, taste_model=taste_of(train))
    return Fitted(with_ranker(model, train, ranker), learned, ranker, trained)


def choose(
    before: TrainingSet,
    split: Split,
    config: TasteprintConfig,
    *,
    rng: np.random.Generator,
    encoder: Encoder | None,
    taste_of: TasteOf,
    answers: Split | None = None,
) -> tuple[Learned, LearnedRanker]:
    """Settings and weights of the first stage, and a second stage, chosen on ``split``.

    ``before`` ends before the requests of ``split``; ``taste_of`` gives the taste model that learned a training set;
    from ``answers``, judged training queries, the second stage learns instead, and ``split`` decides whether it wins.
    """
    learned, parts = _learn(before, split, config, rng=rng, encoder=encoder, taste_model=taste_of(before))
    fitted = weighed(parts, weights=learned.weights, newcomer_weights=learned.newcomer_weights, gate=learned.gate)

    def fit(data: TrainingSet) -> Recommender:
        return fit_chosen(data, learned, split, encoder=encoder, taste_model=taste_of(data))

    return learned, learn_ranker(fit, before, split, config.ranking, rng=rng, fitted=fitted, answers=answers)


def tastes(
    trained: TrainedTaste | None,
    known: Sequence[tuple[TrainingSet, TasteModel]],
    config: TasteprintConfig,
    *,
    folder: Path | None,
    progress: Progress | None,
) -> TasteOf:
    """A function from a training set to the taste model that learned exactly it, None where there is no training.

    It is one of the ``known``, or is trained as long as they were.
    """

    def taste_of(data: TrainingSet) -> TasteModel | None:
        if trained is None:
            return None
        for train, model in known:
            if same_events(train.log, data.log):
                return model
        return train_again(data, config.taste, trained, folder=folder, progress=progress)

    return taste_of


def fit_chosen(
    train: TrainingSet,
    learned: Learned,
    split: Split,
    *,
    encoder: Encoder | None = None,
    taste_model: TasteModel | None = None,
) -> Recommender:
    """The first stage on ``train`` with what was chosen on ``split``."""
    return fit_recommender(
        train,
        learned.recommender,
        weights=learned.weights,
        newcomer_weights=learned.newcomer_weights,
        exclude_seen=split.exclude_seen,
        encoder=encoder,
        taste_model=taste_model,
        gate=learned.gate,
    )


def wants_taste(config: TasteprintConfig, train: TrainingSet, split: Split) -> bool:
    """Whether a taste model is to be trained: there is time, the part is wanted, and requests have histories."""
    wanted = config.minutes > 0 and "taste_learned" in config.recommender.parts and not split.requests.texts
    return wanted and len(train.log) > 0 and bool((split.requests.stop > split.requests.start).any())


def default_weights(train: TrainingSet) -> dict[str, float]:
    """Weights where there is nothing to choose on, of the parts that can be used."""
    return {name: weight for name, weight in DEFAULT_WEIGHTS.items() if name in usable_parts(train)}


def usable_parts(train: TrainingSet) -> tuple[str, ...]:
    """Parts that this training set can feed: personal ones need events, some need text, some a clock users share."""
    parts = PARTS if len(train.log) else SEARCH_PARTS
    without: set[str] = set() if train.vectors is not None else {"meaning", "taste_long", "taste_short"}
    without |= set() if train.shared_clock else {"recent_popular"}
    return tuple(part for part in parts if part not in without)


def learn(
    train: TrainingSet,
    split: Split,
    config: TasteprintConfig | None = None,
    *,
    rng: np.random.Generator,
    encoder: Encoder | None = None,
    taste_model: TasteModel | None = None,
) -> Learned:
    """Choose settings and weights on a validation split whose training set is ``train``; ``taste_model`` learned it."""
    return _learn(train, split, config or TasteprintConfig(), rng=rng, encoder=encoder, taste_model=taste_model)[0]


def _learn(
    train: TrainingSet,
    split: Split,
    config: TasteprintConfig,
    *,
    rng: np.random.Generator,
    encoder: Encoder | None,
    taste_model: TasteModel | None,
) -> tuple[Learned, Recommender]:
    """What `learn` chose, and the parts it chose among, fitted on ``train``."""
    n = int(np.clip(_CELLS / max(train.log.n_items, 1), config.least_requests, config.most_requests))
    sample = split.sample(n, rng)
    settings = config.recommender
    if len(train.log):
        settings = choose_settings(train, sample, settings, rng=rng)
    asked = SEARCH_PARTS if sample.requests.texts else PERSONAL_PARTS
    everything = {name: 1.0 for name in usable_parts(train) if name in asked and name in settings.parts}
    model = fit_recommender(
        train,
        settings,
        weights=everything,
        exclude_seen=split.exclude_seen,
        encoder=encoder,
        taste_model=taste_model,
    )
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
    return Learned(settings, weights, ndcg, single, new, gate=gate), model


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
    """Settings that change what a part counts: what follows what, and how long own purchases are remembered.

    Where goods are bought again, transitions are chosen on new items alone: another part ranks the old ones.
    """
    small = replace(train, log=_some_users(train.log, _TRIAL_EVENTS, rng), vectors=None)
    few = sample.sample(_TRIAL_REQUESTS, rng)
    fresh = few if sample.exclude_seen else only_new(sample).sample(_TRIAL_REQUESTS, rng)
    asked = fresh if len(fresh.requests) else few
    transitions = choose_transitions(small, lambda model: single_ndcg(model, asked), config=settings.transitions)
    repeat = choose_repeat(train, lambda model: single_ndcg(model, few), config=settings.repeat)
    return settings.model_copy(update={"transitions": transitions, "repeat": repeat})


def _some_users(log: EventLog, most: int, rng: np.random.Generator) -> EventLog:
    """The log of randomly drawn users with about ``most`` events together, or the whole log if it has fewer."""
    if len(log) <= most:
        return log
    order = rng.permutation(log.n_users)
    taken = np.zeros(log.n_users, dtype=bool)
    taken[order[np.cumsum(np.diff(log.user_start)[order]) <= most]] = True
    return log.select(taken[log.user()])
