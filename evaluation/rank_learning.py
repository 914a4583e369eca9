"""Learning a second stage: candidates with answers from events that the parts have not seen, and whether it wins.

Three regimes say where the answers come from. ``validation``: the validation requests, which no part was fitted on.
``train``: the last basket or item of every user's training events, with all parts fitted anew on what lies before it.
``impressions``: what was shown and what was chosen of it, where a shop logs that. A part of the users is held out in
each, and a ranker that does not win there is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..profiling.attributes import attributes_of
from ..profiling.log import Requests
from ..retrieval.histories import Ties, step_of_event
from ..retrieval.rank_facts import RankFacts, fit_rank_facts, text_rows
from ..retrieval.rank_features import Asked, Features, rank_features
from ..retrieval.ranker import RankerConfig, RankerModel, RankTable, fit_ranker
from ..retrieval.ranker_default import default_ranker
from ..retrieval.recommender import Recommender
from ..retrieval.scorer import TrainingSet
from ..retrieval.second_stage import DEPTH, SecondStage, feature_groups
from .metrics import Relevance, ideal_dcg, relevance
from .splits import Split

Regime = Literal["validation", "train", "impressions"]

REGIMES: Mapping[Regime, str] = {
    "validation": "the ranker's answers are the validation requests, on which no part was fitted",
    "train": "the ranker's answers are each user's last training events, with every part fitted before them",
    "impressions": "the ranker's answers are what was chosen of what was shown",
}
"""Where the answers come from, as results tell it."""

_CELLS = 5e7  # scores of all parts held at once


class RankLearningConfig(BaseModel):
    """Options of learning a second stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    regime: Regime = Field("validation", description="where the answers come from, see REGIMES")
    rankers: tuple[Literal["lambdamart", "linear"], ...] = Field(
        ("lambdamart", "linear"), description="rankers that are tried; empty = no second stage"
    )
    default: bool = Field(True, description="whether the ranker that ships is tried too")
    popularity: bool = Field(True, description="whether rankers may read how often an item was taken")
    options: RankerConfig = Field(default_factory=RankerConfig, description="options of the rankers")
    depth: int = Field(DEPTH, ge=10, description="candidates that are ordered anew")
    learn_from: int = Field(100, ge=10, description="best candidates of a request that are learned from")
    most_requests: int = Field(20_000, ge=1, description="requests that are learned from at most")
    most_cells: float = Field(2.5e8, gt=0, description="scores of one part computed at most: requests times items")
    held_out: float = Field(0.25, gt=0, lt=1, description="share of the users that decides")
    few: int = Field(300, ge=0, description="with fewer requests that can be learned from only the default is tried")
    margin: float = Field(1.0, ge=0, description="standard errors by which a ranker must win to be used")


@dataclass(frozen=True, eq=False)
class LearnedRanker:
    """What was learned, and what it reached on the users held out.

    Attributes:
        model: the ranker, None where none wins
        name: which: ``lambdamart``, ``linear``, ``default``, or ``none``
        groups: groups of features it reads
        depth: candidates it orders
        asked: whether its requests are in words
        regime: where its answers came from
        n_requests: requests with a right candidate that it learned from
        first: NDCG@10 of the first stage on the users held out
        reached: NDCG@10 there of every ranker tried
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
) -> LearnedRanker:
    """Learn a second stage for the recommender that ``fit`` makes with the settings and weights already chosen.

    Args:
        fit: fits the recommender, without a second stage, on a training set
        train: training events that end before ``split``
        split: a validation split
        config: options; the regime ``impressions`` has `learn_from_table` instead
        rng: the only randomness
        fitted: ``fit(train)``, where it is at hand already
    """
    config = config or RankLearningConfig()
    asked = bool(split.requests.texts)
    if config.regime == "train" and not asked:
        train, split = earlier_split(train, split)
        fitted = None
    model = fit(train) if fitted is None else fitted
    most = int(np.clip(config.most_cells / max(train.log.n_items, 1), 1, config.most_requests))
    sample = split.sample(most, rng)
    groups = feature_groups(asked=asked, popularity=config.popularity)
    facts = fit_rank_facts(train, ties=_ties(model), words=asked)
    table = gather_ranks(model, facts, sample, groups=groups, depth=config.depth, learn_from=config.learn_from)
    return learn_from_table(table, sample.cluster, config, rng=rng, groups=groups, asked=asked)


def learn_from_table(
    table: RankTable,
    cluster: NDArray[np.int64],
    config: RankLearningConfig,
    *,
    rng: np.random.Generator,
    groups: tuple[str, ...],
    asked: bool,
) -> LearnedRanker:
    """Try every ranker on users held out, and fit the best of them on all, if it wins.

    Args:
        table: candidates with features, gains and the first stage's scores
        cluster: user or query of each request: requests of one are never on both sides, (n_requests,)
        config: options
        rng: the only randomness
        groups: groups of features the table was made of
        asked: whether the requests are in words
    """
    right = np.bincount(np.repeat(np.arange(len(table.count)), table.count), table.gain, minlength=len(table.count)) > 0
    users = np.unique(cluster)
    decides = np.isin(cluster, users[rng.permutation(len(users))[: int(round(config.held_out * len(users)))]])
    learning, deciding = table.take(right & ~decides), table.take(decides)
    first = deciding.ndcg(deciding.start)
    tried: dict[str, RankerModel] = {}
    if config.default and (default := default_ranker(table.names, asked=asked)) is not None:
        tried["default"] = default
    enough = int((right & ~decides).sum()) >= max(config.few, 1) and bool(decides.any())
    for kind in config.rankers if enough else ():
        options = config.options.model_copy(update={"kind": kind})
        tried[kind] = fit_ranker(learning, options, rng=rng, held_out=table.take(right & decides))
    each = {name: deciding.ndcg(model.scores(deciding.values)) for name, model in tried.items()}
    reached = {name: float(value.mean()) for name, value in each.items()}
    best = max(reached, key=lambda name: reached[name], default="none")
    wins = best != "none" and _wins(each[best], first, config.margin)
    model = None
    if wins:
        trees = getattr(tried[best], "trees", config.options.trees)
        options = config.options.model_copy(update={"kind": best, "trees": max(trees, 1)})
        model = tried[best] if best == "default" else fit_ranker(table.take(right), options, rng=rng)
    return LearnedRanker(
        model=model,
        name=best if wins else "none",
        groups=groups,
        depth=config.depth,
        asked=asked,
        regime=config.regime,
        n_requests=int(right.sum()),
        first=float(first.mean()) if len(first) else float("nan"),
        reached=reached,
    )


def with_ranker(model: Recommender, train: TrainingSet, learned: LearnedRanker) -> Recommender:
    """The recommender, fitted on ``train``, with the learned ranker behind it; as it is where none was learned."""
    if learned.model is None:
        return model
    facts = fit_rank_facts(train, ties=_ties(model), words=learned.asked)
    stage = SecondStage(learned.model, facts, learned.groups, learned.depth)
    return replace(model, second_search=stage) if learned.asked else replace(model, second=stage)


def gather_ranks(
    model: Recommender,
    facts: RankFacts,
    sample: Split,
    *,
    groups: tuple[str, ...],
    depth: int,
    learn_from: int | None = None,
) -> RankTable:
    """Candidates of every request of ``sample`` with features, gains and the first stage's scores.

    Features are those of the ``depth`` best; with ``learn_from`` only that many of them, and all right ones, are kept.
    """
    ideal = ideal_dcg(sample.truth, 10)
    step = max(1, int(_CELLS / (10 * max(model.space.items["meaning"].shape[0], 1))))
    values, gains, counts, starts = [], [], [], []
    features = Features((), (), np.zeros((0, 0), dtype=np.float32))
    for first in range(0, len(sample.requests), step):
        rows = np.arange(first, min(first + step, len(sample.requests)))
        requests, truth = sample.requests.take(rows), sample.truth.take(rows)
        _, pool = model.candidates(requests, depth=depth, allowed=_judged(truth, sample, requests.log.n_items))
        features = rank_features(Asked(pool, requests, facts, text_rows(model.space.items)), groups)
        gain = gains_of(truth, pool.request, pool.item)
        kept = np.ones(len(pool), dtype=bool)
        if learn_from is not None and learn_from < depth:
            place = features.values[:, features.names.index("fused_rank")]
            kept = (place <= np.log(learn_from)) | (gain > 0)
        values.append(features.values[kept])
        gains.append(gain[kept])
        counts.append(pool.take(kept).count)
        starts.append(pool.fused[kept])
    return RankTable(
        names=features.names,
        values=np.concatenate(values),
        gain=np.concatenate(gains),
        count=np.concatenate(counts),
        ideal=ideal,
        start=np.concatenate(starts),
    )


def gains_of(truth: Relevance, request: NDArray[np.int64], item: NDArray[np.int64]) -> NDArray[np.float32]:
    """Gain of each paired request and item, 0 where it is not right, (n,)."""
    if not len(truth.items) or not len(item):
        return np.zeros(len(item), dtype=np.float32)
    stride = int(max(item.max(), truth.items.max())) + 1
    known = truth.request() * stride + truth.items
    wanted = request * stride + item
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[place] == wanted, truth.gain[place], np.float32(0))


def earlier_split(train: TrainingSet, like: Split) -> tuple[TrainingSet, Split]:
    """A split inside the training events that asks what ``like`` asks, only earlier, and what lies before it.

    For ``leave_one_out`` the last event of each user with two or more is asked for; for ``time_split`` the baskets of a
    last stretch of time as long as the one ``like`` covers. Events of the kinds ``like`` predicts are the answers.
    """
    log = train.log
    target = np.isin(log.kind, list(like.seen_kinds)) & ~(log.quantity < 0)
    user = log.user()
    if like.protocol == "time_split":
        span = float(like.requests.now_s.max() - like.until_s)
        until_s = max(like.until_s - max(span, 1.0), float(log.at_s.min(initial=0.0)) + 1.0)
        learned = log.at_s < until_s
        inside = np.flatnonzero(target & ~learned)
        step = step_of_event(log, "together")
        start = np.flatnonzero(np.r_[True, np.diff(step) > 0])[step] if len(step) else step
        stops, request = np.unique(start[inside], return_inverse=True)
        truth = relevance(request, log.item[inside], len(stops))
    else:
        position = np.flatnonzero(target)
        count = np.bincount(user[position], minlength=log.n_users)
        stops = position[(np.cumsum(count) - 1)[count >= 2]]
        limit = log.user_start[1:].copy()
        limit[user[stops]] = stops
        learned = np.arange(len(log)) < limit[user]
        truth = relevance(np.arange(len(stops)), log.item[stops], len(stops))
        until_s = float(log.at_s[learned].max(initial=0.0)) + 1.0
    return _cut(train, like, learned=learned, stops=stops, truth=truth, until_s=until_s)


def impression_table(
    requests: Requests,
    shown: tuple[NDArray[np.int64], NDArray[np.int64]],
    chosen: NDArray[np.floating],
    model: Recommender,
    facts: RankFacts,
    *,
    groups: tuple[str, ...],
) -> RankTable:
    """A table of logged impressions: what was shown at each request, and the gain of what was chosen of it.

    Args:
        requests: one a page that was shown; histories must end before it
        shown: request and item row of each impression, distinct, sorted by request, (n,) each
        chosen: gain of each impression, 0 where it was passed by, (n,)
        model: whose parts are features
        facts: fitted on events before the first impression
        groups: groups of features
    """
    allowed = np.zeros((len(requests), requests.log.n_items), dtype=bool)
    allowed[shown] = True
    truth = relevance(shown[0], shown[1], len(requests), gain=np.asarray(chosen, dtype=np.float32))
    _, pool = model.candidates(requests, depth=int(allowed.sum(axis=1).max(initial=1)), allowed=allowed)
    features = rank_features(Asked(pool, requests, facts, text_rows(model.space.items)), groups)
    gain = gains_of(truth, pool.request, pool.item)
    return RankTable(features.names, features.values, gain, pool.count, ideal_dcg(truth, 10), pool.fused)


def _cut(
    train: TrainingSet,
    like: Split,
    *,
    learned: NDArray[np.bool_],
    stops: NDArray[np.int64],
    truth: Relevance,
    until_s: float,
) -> tuple[TrainingSet, Split]:
    """Training set and split of a cut inside a log."""
    log = train.log
    user = log.user()[stops]
    known = attributes_of(train.users)
    attributes = tuple(known.get(str(u), {}) for u in log.user_ids[user]) if known else ()
    where = replace(log.where.take(stops), scene=None)
    requests = Requests(log, log.user_start[user], stops, log.at_s[stops], where=where, attributes=attributes)
    earlier = log.select(learned)
    changed = {
        "train": earlier, "until_s": until_s, "requests": requests, "truth": truth, "cluster": user.astype(np.int64),
        "slices": {}, "target_slices": {},
    }  # fmt: skip
    return replace(train, log=earlier, until_s=until_s), Split(**{**vars(like), **changed})


def _wins(each: NDArray[np.float64], first: NDArray[np.float64], margin: float) -> bool:
    """Whether the mean difference is above 0 by ``margin`` standard errors."""
    difference = each - first
    if len(difference) < 2:
        return False
    error = float(difference.std(ddof=1)) / np.sqrt(len(difference))
    return bool(difference.mean() > max(margin * error, 1e-9))


def _judged(truth: Relevance, sample: Split, n_items: int) -> NDArray[np.bool_] | None:
    """Items that may be ranked, None where all may."""
    if not sample.judged_only:
        return None
    allowed = np.zeros((len(truth), n_items), dtype=bool)
    allowed[truth.request(), truth.items] = True
    return allowed


def _ties(model: Recommender) -> Ties:
    """Whether events at one time are one step, as the recommender's transitions have it."""
    ties: Ties = getattr(model.sources.get("transitions"), "ties", "sequence")
    return ties
