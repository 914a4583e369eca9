"""Learned orders of candidates: trees boosted for NDCG, and a linear model. Both say what each feature adds.

`RANKERS` is the one list. A fitted ranker scores rows of features; its contributions and its bias sum to the score, so
an explanation stays true. Which candidates and features it gets is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ...profiling.errors import ConfigError
from .pool import standing_before

Float = NDArray[np.float32]
Double = NDArray[np.float64]
Ints = NDArray[np.int64]

_FEW_LEVELS, _TOP, _STEP, _RANKS = 8, 14, 2, 20
_ENOUGH = 4000  # requests that a linear model learns from at most

CUT = 10
"""Ranks that count where a number of trees is chosen."""

RankerKind = Literal["lambdamart", "xendcg", "linear", "both"]


class RankerConfig(BaseModel):
    """Options of the rankers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: RankerKind = Field("lambdamart", description="trees of one gradient or another, a weighted sum, or both")
    trees: int = Field(400, ge=1, description="trees grown at most")
    patience: int = Field(100, ge=1, description="trees without a better held-out NDCG@10 before growing stops")
    learning_rate: float = Field(0.03, gt=0, le=1, description="share of each tree that counts")
    leaves: int = Field(15, ge=2, description="leaves of a tree")
    least_rows: int = Field(200, ge=1, description="candidates in a leaf at least")
    feature_share: float = Field(0.5, gt=0, le=1, description="features each tree may use")
    row_share: float = Field(0.7, gt=0, le=1, description="candidates each tree sees")
    l2: float = Field(10.0, ge=0, description="pull of leaf values, and of weights of the linear model, to 0")
    truncation: int | None = Field(None, ge=1, description="ranks that count; null = an eighth of all, 20 at least")


class RankerModel(Protocol):
    """A fitted ranker."""

    @property
    def names(self) -> tuple[str, ...]:
        """Features it reads, in order."""

    @property
    def bias(self) -> float:
        """What every candidate gets before any feature speaks."""

    def scores(self, values: Float) -> Double:
        """Score of each row of features (n, n_features), (n,)."""

    def contributions(self, values: Float) -> Double:
        """What each feature adds to each row's score beside the bias, (n, n_features)."""


@dataclass(frozen=True, eq=False)
class LinearRanker:
    """A weighted sum of standardised features; an unknown feature adds nothing.

    Attributes:
        names: features it reads
        mean, spread: what a feature is standardised with, (n_features,)
        weight: weight of each standardised feature, (n_features,)
    """

    names: tuple[str, ...]
    mean: Double
    spread: Double
    weight: Double

    bias: float = 0.0

    def scores(self, values: Float) -> Double:
        """Sum of the contributions, (n,)."""
        return self.contributions(values).sum(axis=1)

    def contributions(self, values: Float) -> Double:
        """``weight * (value - mean) / spread``, 0 where unknown, (n, n_features)."""
        return np.nan_to_num((values.astype(np.float64) - self.mean) / self.spread) * self.weight


@dataclass(frozen=True, eq=False)
class TreeRanker:
    """Boosted trees, held as the text that LightGBM reads them from.

    Attributes:
        names: features it reads
        text: the trees
        bias: mean score over the training rows
    """

    names: tuple[str, ...]
    text: str
    bias: float

    @cached_property
    def booster(self) -> Any:
        """The trees, ready to run."""
        return _lightgbm().Booster(model_str=self.text)

    @property
    def trees(self) -> int:
        """Number of trees."""
        return int(self.booster.num_trees())

    def scores(self, values: Float) -> Double:
        """Sum of the trees, (n,)."""
        if not len(values):
            return np.zeros(0)
        return np.asarray(self.booster.predict(values, num_threads=1), dtype=np.float64)

    def contributions(self, values: Float) -> Double:
        """Shapley values of the features by the paths of the trees, (n, n_features).

        Source: Lundberg et al., "From local explanations to global understanding with explainable AI for trees", 2020.
        """
        if not len(values):
            return np.zeros((0, len(self.names)))
        return np.asarray(self.booster.predict(values, pred_contrib=True, num_threads=1), dtype=np.float64)[:, :-1]


@dataclass(frozen=True, eq=False)
class RankTable:
    """Candidates with features and gains, request by request.

    Attributes:
        names: feature names
        values: (n, n_features) float32, NaN where unknown
        gain: gain of each candidate, >= 0, (n,)
        count: candidates of each request, (n_requests,)
        ideal: best possible DCG@10 of each request over the whole catalogue, (n_requests,)
        start: NDCG@10 of the first stage on the same candidates is that of these scores, (n,)
    """

    names: tuple[str, ...]
    values: Float
    gain: Float
    count: Ints
    ideal: Double
    start: Float = field(default_factory=lambda: np.zeros(0, dtype=np.float32))

    def take(self, requests: NDArray[np.bool_]) -> RankTable:
        """The requests where ``requests`` (n_requests,) is true."""
        rows = np.repeat(requests, self.count)
        start = self.start[rows] if len(self.start) else self.start
        return RankTable(
            self.names, self.values[rows], self.gain[rows], self.count[requests], self.ideal[requests], start
        )

    def ndcg(self, scores: NDArray[np.floating], *, k: int = CUT) -> Double:
        """NDCG at ``k`` of each request's candidates ordered by ``scores`` (n,), (n_requests,); 0 where none is right.

        Ties go to the earlier row.
        """
        right = np.flatnonzero(self.gain > 0)
        rank = standing_before(np.asarray(scores), right, self.count)
        gained = np.where(rank < k, self.gain[right] / np.log2(rank + 2.0), 0.0)
        request = np.searchsorted(np.cumsum(self.count), right, side="right")
        return np.bincount(request, gained, minlength=len(self.count)) / np.maximum(self.ideal, 1e-12)


def fit_linear(
    table: RankTable, config: RankerConfig, *, rng: np.random.Generator, held_out: RankTable | None = None
) -> LinearRanker:
    """Weights that maximise the likelihood of the gains under a softmax over each request's candidates.

    Source: ListNet's top-one loss with the gains as target (Cao et al., "Learning to rank", ICML 2007, eq. 5), with
    ``config.l2`` pulling weights to 0. A few thousand requests are enough for so few weights.
    """
    from scipy.optimize import minimize

    if len(table.count) > _ENOUGH:
        table = table.take(np.isin(np.arange(len(table.count)), rng.permutation(len(table.count))[:_ENOUGH]))
    mean, spread = _moments(table.values)
    rows = np.nan_to_num((table.values - mean) / spread)
    first = np.cumsum(table.count) - table.count
    target = table.gain / np.maximum(np.repeat(np.add.reduceat(table.gain, first), table.count), 1e-12)

    def loss(weight: Double) -> tuple[float, Double]:
        score = rows @ weight
        score -= np.repeat(np.maximum.reduceat(score, first), table.count)
        share = np.exp(score)
        total = np.add.reduceat(share, first)
        share /= np.repeat(total, table.count)
        missed = -float(target @ (score - np.repeat(np.log(total), table.count)))
        slope = rows.T @ (share * np.repeat(np.add.reduceat(target, first), table.count) - target)
        return missed + 0.5 * config.l2 * float(weight @ weight), slope + config.l2 * weight

    found = minimize(loss, np.zeros(len(table.names)), jac=True, method="L-BFGS-B")
    return LinearRanker(table.names, mean, spread, np.asarray(found.x))


def fit_lambdamart(
    table: RankTable, config: RankerConfig, *, rng: np.random.Generator, held_out: RankTable | None = None
) -> TreeRanker:
    """Trees boosted along the gradient of NDCG; with ``held_out`` as many as are best there.

    Source: Burges, "From RankNet to LambdaRank to LambdaMART", 2010, as LightGBM computes it.
    """
    levels = _levels(table.gain)[0]
    objective = {
        "objective": "lambdarank",
        "label_gain": levels,
        "lambdarank_truncation_level": config.truncation or max(_RANKS, int(table.count.max()) // 8),
    }
    return _fit_trees(table, config, objective, levels, rng=rng, held_out=held_out)


def fit_xendcg(
    table: RankTable, config: RankerConfig, *, rng: np.random.Generator, held_out: RankTable | None = None
) -> TreeRanker:
    """Trees boosted along a cross-entropy over whole lists that bounds NDCG; with ``held_out`` as many as are best.

    A label of n counts ``2^n`` less a random share of 1, and so does 0: to stand out from hundreds of wrong candidates
    right ones need high labels. The best of at most `_FEW_LEVELS` levels of gain has `_TOP`, each below it `_STEP`
    less, no gain 0. Source: Bruch, "An alternative cross entropy loss for learning-to-rank", WWW 2021, by LightGBM.
    """
    levels = _levels(table.gain, most=_FEW_LEVELS)[0]
    labels = np.arange(len(levels)) * _STEP + _TOP - _STEP * (len(levels) - 1)
    labels[0] = 0
    return _fit_trees(table, config, {"objective": "rank_xendcg"}, levels, labels=labels, rng=rng, held_out=held_out)


def _fit_trees(
    table: RankTable,
    config: RankerConfig,
    objective: Mapping[str, Any],
    levels: Sequence[float],
    *,
    rng: np.random.Generator,
    held_out: RankTable | None,
    labels: Ints | None = None,
) -> TreeRanker:
    """Trees grown for one of LightGBM's ranking objectives; a gain's label is its number in ``levels``, or of those."""
    lightgbm = _lightgbm()
    labels = np.arange(len(levels)) if labels is None else labels
    label = labels[_levels(table.gain, levels)[1]]
    options = _tree_options(config, int(rng.integers(2**31 - 1))) | dict(objective)
    data = lightgbm.Dataset(table.values, label, group=table.count, free_raw_data=True)
    watched: dict[str, Any] = {}
    if held_out is not None:
        held_label = labels[_levels(held_out.gain, levels)[1]]
        seen = lightgbm.Dataset(held_out.values, held_label, group=held_out.count, reference=data)

        def measured(scores: Double, _: Any) -> tuple[str, float, bool]:
            return "ndcg", float(held_out.ndcg(scores).mean()), True

        stop = lightgbm.early_stopping(config.patience, verbose=False)
        watched = {"valid_sets": [seen], "feval": measured, "callbacks": [stop]}
    booster = lightgbm.train({**options, "metric": "None"}, data, config.trees, **watched)
    text = booster.model_to_string(num_iteration=booster.best_iteration or None)
    fitted = TreeRanker(table.names, text, 0.0)
    bias = float(fitted.booster.predict(table.values[:1], pred_contrib=True, num_threads=1)[0, -1])
    return TreeRanker(table.names, text, bias)


def _fit_both(table: RankTable, config: RankerConfig, **given: Any) -> RankerModel:
    from .both import fit_both  # it needs two of the above

    return fit_both(table, config, **given)


RANKERS: Mapping[RankerKind, Callable[..., RankerModel]] = {
    "lambdamart": fit_lambdamart,
    "xendcg": fit_xendcg,
    "linear": fit_linear,
    "both": _fit_both,
}
"""Rankers by name -> how they are fitted."""


def fit_ranker(
    table: RankTable, config: RankerConfig | None = None, *, rng: np.random.Generator, held_out: RankTable | None = None
) -> RankerModel:
    """Fit the ranker that ``config.kind`` names.

    Args:
        table: candidates with features and gains; requests without any gain should be left out
        config: options
        rng: the only randomness
        held_out: candidates of other requests, to choose a number of trees on

    Raises:
        ConfigError: nothing to learn from, or LightGBM is not installed.
    """
    config = config or RankerConfig()
    if not len(table.gain) or not table.gain.any():
        raise ConfigError("table: a ranker needs at least one candidate with a gain above 0, got none")
    table = table.take(table.count > 0)
    held_out = None if held_out is None else held_out.take(held_out.count > 0)
    return RANKERS[config.kind](table, config, rng=rng, held_out=held_out)


def _moments(values: Float) -> tuple[Double, Double]:
    """Mean and standard deviation of the known values of each column; 0 and 1 where nothing is known or varies."""
    known = np.isfinite(values)
    n = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0.0).sum(axis=0, dtype=np.float64) / n
    spread = np.sqrt(np.where(known, (values - mean) ** 2, 0.0).sum(axis=0, dtype=np.float64) / n)
    return mean, np.where(spread > 1e-9, spread, 1.0)


def _tree_options(config: RankerConfig, seed: int) -> dict[str, Any]:
    return {
        "learning_rate": config.learning_rate,
        "num_leaves": config.leaves,
        "min_data_in_leaf": config.least_rows,
        "feature_fraction": config.feature_share,
        "bagging_fraction": config.row_share,
        "bagging_freq": 1,
        "lambda_l2": config.l2,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,  # two are a fifth faster for half as much more work; the trees would be the same
        "verbosity": -1,
    }


def _levels(gain: Float, known: Sequence[float] | None = None, *, most: int = 31) -> tuple[list[float], Ints]:
    """Distinct gains, 0 among them, at most so many, and each gain's level: LightGBM wants whole-number labels."""
    levels = np.unique(np.append(gain, 0.0)) if known is None else np.asarray(known)
    if known is None and len(levels) > most:
        levels = np.unique(np.append(np.quantile(levels, np.linspace(0, 1, most)), 0.0))
    place = np.clip(np.searchsorted(levels, gain), 1, max(len(levels) - 1, 1))
    nearer = np.abs(levels[place - 1] - gain) <= np.abs(levels[np.minimum(place, len(levels) - 1)] - gain)
    return levels.tolist(), np.where(nearer, place - 1, place).astype(np.int64)


def _lightgbm() -> Any:
    try:
        import lightgbm
    except ImportError as error:
        raise ConfigError(
            "the ranker lambdamart needs LightGBM: pip install 'tasteprint[rank]', or use the ranker linear"
        ) from error
    return lightgbm
