"""Learning a second stage: candidates with answers from events that the parts have not seen, and whether it wins.

Three regimes say where the answers come from. ``validation``: the validation requests, which no part was fitted on.
``train``: the last basket or item of every user's training events, with all parts fitted anew on what lies before it.
``impressions``: what was shown and what was chosen of it, where a shop logs that. A ranker that does not win on users
it has not learned from is not used: on all of them in turn where answers are few, else on a part of them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..profiling.errors import ConfigError
from ..retrieval.histories import Ties
from ..retrieval.recommender import Recommender
from ..retrieval.scorer import TrainingSet
from ..retrieval.second_stage.both import BothRanker, with_line
from ..retrieval.second_stage.default import default_ranker
from ..retrieval.second_stage.facts import fit_rank_facts
from ..retrieval.second_stage.features import part_names
from ..retrieval.second_stage.ranker import (
    LinearRanker,
    RankerConfig,
    RankerKind,
    RankerModel,
    RankTable,
    TreeRanker,
    fit_ranker,
)
from ..retrieval.second_stage.stage import DEPTH, SEARCH_DEPTH, SecondStage, feature_groups, usual_depth
from .dealt import deal_users, only_first
from .earlier import earlier_split
from .rank_tables import Impressions, gather_ranks, impression_table, joined, without_parts
from .splits import Split

Regime = Literal["validation", "train", "impressions"]

REGIMES: Mapping[Regime, str] = {
    "validation": "the ranker's answers are the validation requests, on which no part was fitted",
    "train": "the ranker's answers are each user's last training events, with every part fitted before them",
    "impressions": "the ranker's answers are what was chosen of what was shown",
}
"""Where the answers come from, as results tell it."""

_ALL = "_all_parts"


class RankLearningConfig(BaseModel):
    """Options of learning a second stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    regime: Regime = Field("validation", description="where the answers come from, see REGIMES")
    rankers: tuple[RankerKind, ...] | None = Field(None, description="rankers tried; null = all usable, empty = none")
    default: bool = Field(True, description="whether the ranker that ships is tried too")
    all_parts: bool = Field(True, description="whether rankers are tried on parts too that have no weight in the sum")
    popularity: bool = Field(True, description="whether rankers may read how often an item was taken")
    options: RankerConfig = Field(default_factory=RankerConfig, description="options of the rankers")
    depth: int | None = Field(
        None, ge=10, description=f"candidates ordered anew; null = {SEARCH_DEPTH} for requests in words, else {DEPTH}"
    )
    most_requests: int = Field(20_000, ge=1, description="requests that are learned from at most")
    most_cells: float = Field(1e9, gt=0, description="scores of one part computed at most: requests times items")
    held_out: float = Field(0.25, gt=0, lt=1, description="share of the users that decides at a time")
    in_turn: int = Field(4000, ge=0, description="with fewer requests to learn from all users decide in turn")
    few: int = Field(300, ge=0, description="with fewer requests that can be learned from only the default is tried")
    margin: float = Field(1.0, ge=0, description="standard errors by which a ranker must win to be used")

    def candidates(self, *, asked: bool) -> int:
        """How many candidates of a request are ordered anew, of one in words or another."""
        return self.depth or usual_depth(asked=asked)


@dataclass(frozen=True, eq=False)
class LearnedRanker:
    """What was learned, and what it reached on the users held out.

    Attributes:
        model: the ranker, None where none wins
        name: which: one of `RANKERS`, ``default``, or ``none``
        groups: groups of features it reads
        depth: candidates it orders
        asked: whether its requests are in words
        regime: where its answers came from
        n_requests: requests with a right candidate that it learned from
        first: NDCG@10 of the first stage on the users who decided
        reached: NDCG@10 there of every ranker tried; ``_all_parts``: on the parts without a weight too
        reads: parts without a weight in the first stage that it reads
    """

    model: RankerModel | None
    name: str
    groups: tuple[str, ...]
    depth: int
    asked: bool
    regime: Regime
    n_requests: int
    first: float
    reached: Mapping[str, float]
    reads: tuple[str, ...] = ()

    def said(self) -> dict[str, float | str | int]:
        """What results tell of it."""
        told: dict[str, float | str | int] = {"ranker": self.name, "ranker_answers": self.regime}
        if self.n_requests:
            told |= {"ranker_requests": self.n_requests, "ranker_first_stage": round(self.first, 4)}
        return told | {f"ranker_{name}": round(value, 4) for name, value in self.reached.items()}


def learn_ranker(
    fit: Callable[[TrainingSet], Recommender],
    train: TrainingSet,
    split: Split,
    config: RankLearningConfig | None = None,
    *,
    rng: np.random.Generator,
    fitted: Recommender | None = None,
    answers: Split | None = None,
) -> LearnedRanker:
    """Learn a second stage for the recommender that ``fit`` makes with the settings and weights already chosen.

    Rankers are tried on the parts that have a weight, and on those that the recommender ``reads`` too.

    Args:
        fit: fits the recommender, without a second stage, on a training set
        train: training events that end before ``split``
        split: a validation split
        config: options; for the regime ``impressions`` there is `learn_from_impressions`
        rng: the only randomness
        fitted: ``fit(train)``, where it is at hand already
        answers: judged queries for training; ``split`` then only decides. None = a part of ``split`` decides

    Raises:
        ConfigError: the regime is ``impressions``, which are not at hand here.
    """
    config = config or RankLearningConfig()
    if config.regime == "impressions":
        raise ConfigError(
            "ranking.regime: impressions are learned from ahead of building: tasteprint train ranker SHOP --workspace "
            "WORKSPACE --impressions STORE; for a build give validation or train"
        )
    asked = bool(split.requests.texts)
    groups, depth = feature_groups(asked=asked, popularity=config.popularity), config.candidates(asked=asked)
    if config.rankers == () and not config.default:
        return LearnedRanker(None, "none", groups, depth, asked, config.regime, 0, float("nan"), {})
    if config.regime == "train" and not asked:
        train, split = earlier_split(train, split)
        fitted = None
    model = fit(train) if fitted is None else fitted
    facts = fit_rank_facts(train, ties=ties_of(model), words=asked)
    most = int(np.clip(config.most_cells / max(train.log.n_items, 1), 1, config.most_requests))
    sample = split.sample(most, rng)
    table = gather_ranks(model, facts, sample, groups=groups, depth=depth)
    if answers is None:
        folds = deal_users(sample.cluster, config.held_out, rng)
    else:
        taught = answers.sample(most, rng)
        more = gather_ranks(model, facts, taught, groups=groups, depth=depth)
        folds = only_first(len(table.count), len(more.count))
        table = joined(table, more)
    beside = model.read_beside(asked=asked)
    return learn_from_table(table, folds, config, rng=rng, groups=groups, asked=asked, beside=beside)


def learn_from_impressions(
    model: Recommender,
    train: TrainingSet,
    impressions: Impressions,
    config: RankLearningConfig | None = None,
    *,
    rng: np.random.Generator,
) -> LearnedRanker:
    """Learn a second stage from what shoppers chose of what they were shown.

    Args:
        model: the first stage, fitted on ``train``
        train: events before the first page
        impressions: pages of requests that are all in words, or none
        config: options, but the regime
        rng: the only randomness
    """
    config = (config or RankLearningConfig()).model_copy(update={"regime": "impressions"})
    asked = bool(impressions.requests.texts)
    groups, depth = feature_groups(asked=asked, popularity=config.popularity), config.candidates(asked=asked)
    facts = fit_rank_facts(train, ties=ties_of(model), words=asked)
    table = impression_table(impressions, model, facts, groups=groups, depth=depth)
    folds = deal_users(impressions.cluster, config.held_out, rng)
    beside = model.read_beside(asked=asked)
    return learn_from_table(table, folds, config, rng=rng, groups=groups, asked=asked, beside=beside)


def learn_from_table(
    table: RankTable,
    folds: NDArray[np.int64],
    config: RankLearningConfig,
    *,
    rng: np.random.Generator,
    groups: tuple[str, ...],
    asked: bool,
    beside: Sequence[str] = (),
) -> LearnedRanker:
    """Try every ranker on requests it has not learned from, and fit the best of them on all, if it wins.

    Args:
        table: candidates with features, gains and the first stage's scores
        folds: which requests decide together on rankers that learned all others; those of one user must have one
            number, -1 = they never decide, (n_requests,). Only the first is used where there is enough to learn from
        config: options
        rng: the only randomness
        groups: groups of features the table was made of
        asked: whether the requests are in words
        beside: parts of the table without a weight: rankers are tried with and without them, the shipped one without
    """
    request = np.repeat(np.arange(len(table.count)), table.count)
    right = np.bincount(request, table.gain, minlength=len(table.count)) > 0
    if right.sum() >= config.in_turn:
        folds = np.where(folds == 0, 0, -1)
    decides = folds >= 0
    tables = {"": without_parts(table, beside)} | ({_ALL: table} if beside else {})
    first = tables[""].take(decides)
    default = default_ranker(first.names, asked=asked) if config.default else None
    start, tried = first.ndcg(first.start), {} if default is None else {"default": _Tried(_ndcg(default, first), 0)}
    held = [(right & (folds != fold), folds == fold) for fold in np.unique(folds[decides])]
    enough = all(taught.sum() >= max(config.few, 1) and (right & left).any() for taught, left in held)
    for which, some in tables.items() if enough else ():
        for kind in installed_rankers(asked=asked) if config.rankers is None else config.rankers:
            options = config.options.model_copy(update={"kind": kind})
            like = tried.get(f"lambdamart{which}") if kind == "both" else None  # its trees are those
            tried[kind + which] = _in_turn(some, right, held, options, rng, like=like)
    reached = {name: float(one.ndcg.mean()) for name, one in tried.items()}
    best = max(reached, key=lambda name: reached[name], default="none")
    wins = best != "none" and _wins(tried[best].ndcg, start, config.margin)
    name = best.removesuffix(_ALL) if wins else "none"
    model: RankerModel | None = default if wins and name == "default" else None
    if model is None and wins:
        options = config.options.model_copy(update={"kind": name, "trees": max(tried[best].trees, 1)})
        model = fit_ranker(tables[best.removeprefix(name)].take(right), options, rng=rng)
    return LearnedRanker(
        model=model,
        name=name,
        groups=groups,
        depth=config.candidates(asked=asked),
        asked=asked,
        regime=config.regime,
        n_requests=int(right.sum()),
        first=float(start.mean()) if len(start) else float("nan"),
        reached=reached,
        reads=() if model is None else tuple(part for part in beside if used_columns(model) & part_names(part)),
    )


@dataclass(frozen=True, eq=False)
class _Tried:
    """NDCG@10 of each deciding request in a ranker's order, how many trees it needs, and those grown each turn."""

    ndcg: NDArray[np.float64]
    trees: int
    forests: Sequence[TreeRanker] = ()


def _in_turn(
    table: RankTable,
    right: NDArray[np.bool_],
    held: Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]],
    options: RankerConfig,
    rng: np.random.Generator,
    *,
    like: _Tried | None = None,
) -> _Tried:
    """A ranker fitted for each pair of requests that teach and requests that decide, measured on the latter.

    It has as many trees as are best on average (the best for each pair would flatter it there), or those of ``like``.
    """
    models: list[RankerModel] = []
    trees = 0 if like is None else like.trees
    if like is not None:
        for forest, (taught, _) in zip(like.forests, held, strict=True):
            models.append(with_line(forest, table.take(taught), options, rng=rng))
    else:
        for taught, left in held:
            models.append(fit_ranker(table.take(taught), options, rng=rng, held_out=table.take(right & left)))
        grown = [model.trees for model in models if isinstance(model, TreeRanker | BothRanker)]
        trees = max(1, round(float(np.mean(grown)))) if grown else 0
        if trees and len(held) > 1:
            options = options.model_copy(update={"trees": trees})
            models = [fit_ranker(table.take(taught), options, rng=rng) for taught, _ in held]
    ndcg = np.full(len(right), np.nan)
    for model, (_, left) in zip(models, held, strict=True):
        ndcg[left] = _ndcg(model, table.take(left))
    measured = ndcg[np.any([left for _, left in held], axis=0)]
    return _Tried(measured, trees, [model for model in models if isinstance(model, TreeRanker)])


def _ndcg(model: RankerModel, table: RankTable) -> NDArray[np.float64]:
    """NDCG@10 of each request in the ranker's order."""
    return table.ndcg(model.scores(table.values))


def used_columns(model: RankerModel) -> set[str]:
    """Columns that can change a ranker's score."""
    if isinstance(model, TreeRanker):
        counts = model.booster.feature_importance("split")
        return {name for name, count in zip(model.names, counts, strict=True) if count}
    if isinstance(model, LinearRanker):
        return {name for name, weight in zip(model.names, model.weight, strict=True) if weight}
    if isinstance(model, BothRanker):
        return used_columns(model.forest) | used_columns(model.line)
    return set(model.names)


def installed_rankers(*, asked: bool) -> tuple[RankerKind, ...]:
    """Rankers that are tried unless told otherwise: trees need LightGBM.

    ``xendcg`` won for requests in words alone; ``both`` was measured for those without.
    """
    if not importlib.util.find_spec("lightgbm"):
        return ("linear",)
    return ("lambdamart", "xendcg", "linear") if asked else ("lambdamart", "linear", "both")


def with_ranker(model: Recommender, train: TrainingSet, learned: LearnedRanker) -> Recommender:
    """The recommender, fitted on ``train``, with the learned ranker behind it; as it is where none was learned."""
    if learned.model is None:
        return model
    facts = fit_rank_facts(train, ties=ties_of(model), words=learned.asked)
    stage = SecondStage(learned.model, facts, learned.groups, learned.depth)
    return replace(model, second_search=stage) if learned.asked else replace(model, second=stage)


def _wins(each: NDArray[np.float64], first: NDArray[np.float64], margin: float) -> bool:
    """Whether the mean difference is above 0 by ``margin`` standard errors."""
    difference = each - first
    if len(difference) < 2:
        return False
    error = float(difference.std(ddof=1)) / np.sqrt(len(difference))
    return bool(difference.mean() > max(margin * error, 1e-9))


def ties_of(model: Recommender) -> Ties:
    """Whether events at one time are one step, as the recommender's transitions have it."""
    ties: Ties = getattr(model.sources.get("transitions"), "ties", "sequence")
    return ties
