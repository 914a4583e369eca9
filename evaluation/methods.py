"""Every method by its fixed name: how it is fitted, what can be tuned, which protocols it serves.

`METHODS` is the one list: the command checks names against it, tuning reads its grids, tables show its summaries.
The methods themselves live in `retrieval` (sources and the pipeline) and in `baselines`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from ..profiling.encoders.encoder import Encoder
from ..profiling.errors import ConfigError
from ..retrieval.lexical import Bm25Config, fit_bm25
from ..retrieval.scorer import Scorer, TrainingSet
from ..retrieval.sources.many_interests import ManyInterestsConfig, fit_many_interests
from ..retrieval.sources.neighbours import ItemKnnConfig, fit_item_knn
from ..retrieval.sources.popularity import PopularConfig, RecentPopularConfig, fit_popular, fit_recent_popular
from ..retrieval.sources.repeats import OwnMostBoughtConfig, fit_own_most_bought
from ..retrieval.sources.transitions import TransitionsConfig, fit_transitions
from .baselines.blend import BlendConfig, fit_blend
from .baselines.chance import RandomConfig, fit_random
from .baselines.content import ContentConfig, fit_content
from .baselines.dense import DenseConfig, fit_dense
from .baselines.ease import EaseConfig, fit_ease
from .baselines.factors import AlsConfig, BprConfig, fit_als, fit_bpr
from .baselines.neural_cf import NeuralCfConfig, fit_neural_cf
from .baselines.sasrec import SasrecConfig, SasrecSoftmaxConfig, fit_sasrec
from .baselines.svd import SvdConfig, fit_svd
from .baselines.user_knn import UserKnnConfig, fit_user_knn
from .first_stage import OneSearchConfig, TasteOnlyConfig, TasteprintConfig
from .pipeline import fit_tasteprint
from .splits import Split

BEHAVIOUR = ("leave_one_out", "time_split")
SEARCH = ("search_full", "search_rerank")


@dataclass(frozen=True, eq=False)
class Resources:
    """What a fit may use beside its training set.

    Attributes:
        rng: the only randomness
        encoder: makes query vectors, or None
        validation: gives the split of the validation stage and a training set cut before it, None where there is
            none; for methods that choose weights themselves. Called at most once a fit: making it takes seconds
        answers: gives the judged training queries that go with a validation split, None where there are none
        clock: gives seconds, for methods that train within a budget; without one they train until validation is content
        models: folder for checkpoints of long trainings, None = they are not kept
        tell: told what is going on
    """

    rng: np.random.Generator
    encoder: Encoder | None = None
    validation: Callable[[], tuple[TrainingSet, Split] | None] | None = None
    answers: Callable[[Split], Split | None] | None = None
    clock: Callable[[], float] | None = None
    models: Path | None = None
    tell: Callable[[str, int, int], None] | None = None


@dataclass(frozen=True, eq=False)
class Method:
    """One row of the table.

    Attributes:
        fit: makes a scorer from training set, configuration and resources
        config: its configuration, whose defaults are the reference settings
        protocols: names of the protocols it serves
        summary: what it is, in one line
        grid: values to try for each option, tuned in this order
        rescored: options that the fitted model carries as fields, so that trying them needs no new fit
        needs: ``vectors``, ``encoder`` or ``clock`` (times comparable between users)
        random: whether seeds matter
    """

    fit: Callable[[TrainingSet, Any, Resources], Scorer]
    config: type[BaseModel]
    protocols: tuple[str, ...]
    summary: str
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    rescored: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    random: bool = False


def _plain(fit: Callable[..., Scorer]) -> Callable[[TrainingSet, Any, Resources], Scorer]:
    """A fit that needs only its training set and ``rng``."""
    return lambda train, config, resources: fit(train, config, rng=resources.rng)


def _dense(train: TrainingSet, config: DenseConfig, resources: Resources) -> Scorer:
    return fit_dense(train, config, rng=resources.rng, encoder=resources.encoder)


_DECAY = (1.0, 0.9, 0.8, 0.6, 0.4)
_TIES = ("sequence", "together")
_COUNTS = ("binary", "log")

METHODS: dict[str, Method] = {
    "random": Method(_plain(fit_random), RandomConfig, BEHAVIOUR + SEARCH, "uniform scores", random=True),
    "popular": Method(_plain(fit_popular), PopularConfig, BEHAVIOUR, "most training events"),
    "recent-popular": Method(
        _plain(fit_recent_popular),
        RecentPopularConfig,
        BEHAVIOUR,
        "most training events, recent ones counting more",
        grid={"half_life_days": (3.0, 7.0, 14.0, 28.0, 56.0, 112.0)},
        needs=frozenset({"clock"}),
    ),
    "own-most-bought": Method(
        _plain(fit_own_most_bought), OwnMostBoughtConfig, BEHAVIOUR, "what the shopper took most often"
    ),
    "item-knn": Method(
        _plain(fit_item_knn),
        ItemKnnConfig,
        BEHAVIOUR,
        "items taken by the same users, cosine",
        grid={
            "decay": _DECAY,
            "ties": _TIES,
            "shrinkage": (0.0, 2.0, 10.0, 50.0),
            "neighbours": (100, 300, 1000),
            "last": (20, 200, 1000),
        },
        rescored=frozenset({"decay", "ties", "last"}),
    ),
    "user-knn": Method(
        _plain(fit_user_knn),
        UserKnnConfig,
        BEHAVIOUR,
        "what users with similar histories took",
        grid={
            "decay": _DECAY,
            "counts": _COUNTS,
            "neighbours": (50, 200, 1000),
            "power": (1.0, 2.0, 4.0, 8.0),
            "rarity": (0.0, 0.5, 1.0),
        },
        rescored=frozenset({"decay", "neighbours", "power"}),
    ),
    "transitions": Method(
        _plain(fit_transitions),
        TransitionsConfig,
        BEHAVIOUR,
        "what tends to follow what",
        grid={
            "ties": _TIES,
            "decay": _DECAY,
            "target_power": (0.0, 0.2, 0.4, 0.6),
            "source_power": (0.2, 0.5, 0.8, 1.0),
            "window": (1, 3, 10),
            "backward": (0.0, 0.5, 1.0),
        },
        rescored=frozenset({"decay"}),
    ),
    "own+transitions": Method(
        _plain(fit_blend),
        BlendConfig,
        BEHAVIOUR,
        "what the shopper took most often, and what tends to follow it",
        grid={
            "weight": (0.03, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0),
            "half_life_days": (None, 15.0, 30.0, 60.0, 120.0, 240.0),
            "ties": _TIES,
            "decay": _DECAY,
            "target_power": (0.0, 0.2, 0.4, 0.6),
            "source_power": (0.2, 0.5, 0.8, 1.0),
            "window": (1, 3, 10),
            "backward": (0.0, 0.5, 1.0),
        },
        rescored=frozenset({"weight", "half_life_days", "decay"}),
    ),
    "ease": Method(
        _plain(fit_ease),
        EaseConfig,
        BEHAVIOUR,
        "closed-form item-item weights",
        grid={"decay": _DECAY, "ridge": (10.0, 50.0, 200.0, 1000.0, 5000.0), "counts": _COUNTS},
        rescored=frozenset({"decay"}),
    ),
    "als": Method(
        _plain(fit_als),
        AlsConfig,
        BEHAVIOUR,
        "matrix factorisation, alternating least squares",
        grid={
            "decay": _DECAY,
            "factors": (32, 64, 128),
            "alpha": (1.0, 3.0, 10.0, 40.0),
            "counts": _COUNTS,
            "regularization": (0.01, 0.05, 1.0, 10.0),
        },
        rescored=frozenset({"decay"}),
        random=True,
    ),
    "svd": Method(
        _plain(fit_svd),
        SvdConfig,
        BEHAVIOUR,
        "histories projected on the strongest directions",
        grid={
            "decay": _DECAY,
            "factors": (32, 64, 128, 256, 512),
            "popularity_power": (0.0, -0.2, -0.4),
            "counts": _COUNTS,
        },
        rescored=frozenset({"decay"}),
    ),
    "bpr": Method(
        _plain(fit_bpr),
        BprConfig,
        BEHAVIOUR,
        "matrix factorisation, pairwise ranking",
        grid={
            "decay": _DECAY,
            "regularization": (0.001, 0.003, 0.01),
            "iterations": (60, 150),
            "learning_rate": (0.02, 0.05, 0.1),
        },
        rescored=frozenset({"decay"}),
        random=True,
    ),
    "content": Method(
        _plain(fit_content),
        ContentConfig,
        BEHAVIOUR,
        "items whose text resembles the history",
        grid={"whiten": (False, True), "decay": (1.0, 0.9, 0.8, 0.7, 0.6, 0.5), "last": (5, 50, 500)},
        rescored=frozenset({"decay", "last"}),
        needs=frozenset({"vectors"}),
    ),
    "interests": Method(
        _plain(fit_many_interests),
        ManyInterestsConfig,
        BEHAVIOUR,
        "items whose text resembles one of the history's several interests",
        grid={"most": (1, 2, 3, 5), "share_power": (0.0, 0.25, 0.6), "decay": _DECAY},
        needs=frozenset({"vectors"}),
    ),
    "bm25": Method(
        _plain(fit_bm25),
        Bm25Config,
        SEARCH,
        "words of the query in the item, Okapi BM25",
        grid={
            "k1": (0.6, 0.9, 1.2, 1.6, 2.0),
            "b": (0.0, 0.25, 0.5, 0.75, 1.0),
            "fields": (("title",), ("title", "brand"), ("title", "description", "brand")),
        },
    ),
    "dense": Method(
        _dense, DenseConfig, SEARCH, "cosine of query and item vectors", needs=frozenset({"vectors", "encoder"})
    ),
    "neural-cf": Method(
        _plain(fit_neural_cf),
        NeuralCfConfig,
        BEHAVIOUR,
        "user and item vectors through a small network",
        grid={"decay": _DECAY, "epochs": (10, 20, 40), "negatives": (4, 16), "dropout": (0.2, 0.5)},
        rescored=frozenset({"decay"}),
        random=True,
    ),
    "sasrec": Method(
        fit_sasrec,
        SasrecConfig,
        BEHAVIOUR,
        "causal transformer over ids, one negative, as published",
        random=True,
    ),
    "sasrec-softmax": Method(
        fit_sasrec,
        SasrecSoftmaxConfig,
        BEHAVIOUR,
        "causal transformer over ids, softmax over many negatives",
        random=True,
    ),
    "taste": Method(
        fit_tasteprint,
        TasteOnlyConfig,
        BEHAVIOUR,
        "the learned taste block alone",
        needs=frozenset({"vectors", "encoder"}),
        random=True,
    ),
    "tasteprint-blocks": Method(
        fit_tasteprint,
        OneSearchConfig,
        BEHAVIOUR + SEARCH,
        "one dense profile, one search: the blocks, no second stage",
        needs=frozenset({"vectors", "encoder"}),
        random=True,
    ),
    "tasteprint": Method(
        fit_tasteprint,
        TasteprintConfig,
        BEHAVIOUR + SEARCH,
        "the whole pipeline",
        needs=frozenset({"vectors", "encoder"}),
        random=True,
    ),
}


def chosen_methods(names: Sequence[str] | None, protocol: str) -> tuple[str, ...]:
    """The named methods without repeats, or without names all that serve ``protocol``.

    Raises:
        ConfigError: an unknown protocol or name, or a method that does not serve the protocol.
    """
    if protocol not in BEHAVIOUR + SEARCH:
        raise ConfigError(f"protocol: must be one of {', '.join(BEHAVIOUR + SEARCH)} or labels, got {protocol!r}")
    serving = tuple(name for name, method in METHODS.items() if protocol in method.protocols)
    if not names:
        return serving
    for name in names:
        if name not in METHODS:
            raise ConfigError(f"methods: must be among {', '.join(METHODS)}, got {name!r}")
        if name not in serving:
            raise ConfigError(f"methods: {name} does not serve {protocol}; these do: {', '.join(serving)}")
    return tuple(dict.fromkeys(names))
