"""Tasteprint as a method: train the taste model, choose both stages on validation, fit again on all of training.

Settings and weights of the first stage are `first_stage`'s, the ranker is `rank_learning`'s. Nothing here looks at a
test stage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..profiling.encoders.encoder import Encoder
from ..profiling.log import Requests
from ..profiling.taste_model import TasteModel
from ..retrieval.gate import gate_state
from ..retrieval.recommender import (
    DEFAULT_NEWCOMER_WEIGHTS,
    Recommender,
    fit_recommender,
    weighed,
)
from ..retrieval.scorer import Scorer, TrainingSet
from .first_stage import Learned, TasteprintConfig, candidate_parts, choose_first, default_weights
from .rank_learning import LearnedRanker, learn_ranker, with_ranker
from .splits import Split
from .taste_learning import Progress, TrainedTaste, same_events, train_again, train_taste

if TYPE_CHECKING:
    from .methods import Resources

TasteOf = Callable[[TrainingSet], TasteModel | None]
"""Gives the taste model that learned exactly a training set; None where none is used."""


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
    taste_of = tastes(trained, known, folder=resources.models, progress=resources.tell)
    answers = None if resources.answers is None else resources.answers(split)
    learned, parts = choose_first(
        before, split, config, rng=rng, encoder=resources.encoder, taste_model=taste_of(before)
    )
    ranker = choose_second(
        learned,
        before,
        split,
        config,
        rng=rng,
        encoder=resources.encoder,
        taste_of=taste_of,
        parts=parts,
        answers=answers,
    )
    model = fit_chosen(train, learned, split, encoder=resources.encoder, taste_model=taste_of(train), also=ranker.reads)
    return Fitted(with_ranker(model, train, ranker), learned, ranker, trained)


def choose_second(
    learned: Learned,
    before: TrainingSet,
    split: Split,
    config: TasteprintConfig,
    *,
    rng: np.random.Generator,
    encoder: Encoder | None,
    taste_of: TasteOf,
    parts: Recommender | None = None,
    answers: Split | None = None,
) -> LearnedRanker:
    """A second stage for the first stage ``learned``, tried on ``split``.

    Args:
        learned: settings and weights of the first stage
        before: ends before the requests of ``split``
        split: a validation split
        config: options
        rng: the only randomness
        encoder: embeds queries
        taste_of: gives the taste model that learned a training set
        parts: the parts that ``learned`` was chosen among, fitted on ``before``, where they are at hand
        answers: judged training queries; the second stage learns from them, and ``split`` decides whether it wins
    """

    also = candidate_parts(before, learned.recommender, asked=bool(split.requests.texts))
    also = also if config.ranking.all_parts else ()

    def fit(data: TrainingSet) -> Recommender:
        return fit_chosen(data, learned, split, encoder=encoder, taste_model=taste_of(data), also=also)

    fitted = None
    if parts is not None:
        new = learned.newcomer_weights
        fitted = weighed(parts, weights=learned.weights, newcomer_weights=new, gate=learned.gate, also=also)
    return learn_ranker(fit, before, split, config.ranking, rng=rng, fitted=fitted, answers=answers)


def tastes(
    trained: TrainedTaste | None,
    known: Sequence[tuple[TrainingSet, TasteModel]],
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
        return train_again(data, trained, folder=folder, progress=progress)

    return taste_of


def fit_chosen(
    train: TrainingSet,
    learned: Learned,
    split: Split,
    *,
    encoder: Encoder | None = None,
    taste_model: TasteModel | None = None,
    also: Sequence[str] = (),
) -> Recommender:
    """The first stage on ``train`` with what was chosen on ``split``, and ``also`` the parts that a ranker reads."""
    return fit_recommender(
        train,
        learned.recommender,
        weights=learned.weights,
        newcomer_weights=learned.newcomer_weights,
        exclude_seen=split.exclude_seen,
        encoder=encoder,
        taste_model=taste_model,
        gate=learned.gate,
        also=also,
    )


def wants_taste(config: TasteprintConfig, train: TrainingSet, split: Split) -> bool:
    """Whether a taste model is to be trained: there is time, the part is wanted, and requests have histories."""
    wanted = config.minutes > 0 and "taste_learned" in config.recommender.parts and not split.requests.texts
    return wanted and len(train.log) > 0 and bool((split.requests.stop > split.requests.start).any())
