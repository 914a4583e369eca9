"""How hard an index has to search: found on a shop's own queries, for each mix of blocks they weigh.

Half of the queries choose the effort, the other half says what recall it gives, so the figure that is kept was not
chosen for being high. Covers effort, rescoring and how few allowed rows are better compared all; the truth is an exact
search. Where queries come from is the caller's to know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...profiling.encoders.peak import Clock
from ...profiling.errors import ConfigError
from .approximate import ApproximateIndex, Efforts, block_mix
from .subset import best_among, one_thread
from .types import NO_ROW, Found, ItemIndex, Mask, Rows, best_of

Queries = Mapping[str, NDArray[np.float32]]
"""Name of a mix of blocks, such as ``meaning`` -> queries that weigh just these, (n, dim)."""

_PIECE = 1 << 15
_MOST_REFINE = 80
_PROBES = 15


@dataclass(frozen=True)
class Tuned:
    """What tuning found.

    Attributes:
        k: rows a query
        target: recall that was asked for
        recall: by mix, on queries that chose nothing
        efforts: by mix
        refine: candidates rescored per row wanted
        exact_rows: allowed rows up to which all are compared
        n_queries: by mix, those that measured
    """

    k: int
    target: float
    recall: Mapping[str, float]
    efforts: Mapping[str, int]
    refine: int
    exact_rows: int
    n_queries: Mapping[str, int]

    @property
    def met(self) -> bool:
        """Whether every mix reaches the target."""
        return all(found >= self.target for found in self.recall.values())

    def to_dict(self) -> dict[str, Any]:
        """JSON values, for the manifest."""
        return {**vars(self), "met": self.met}


def tune_index(
    index: ItemIndex,
    queries: Queries,
    vectors: NDArray[np.float32],
    *,
    target: float = 0.95,
    k: int = 10,
    clock: Clock | None = None,
) -> tuple[ItemIndex, Tuned]:
    """The index searched just hard enough, and the recall that gives; exact kinds are only measured.

    Args:
        index: any
        queries: at least two of each mix
        vectors: the indexed rows, for the truth
        target: recall at ``k`` wanted, in (0, 1]
        k: rows a query
        clock: times single queries, to find how few rows are compared sooner than searched; None = leave that as it is

    Raises:
        ConfigError: no queries, fewer than two of a mix, or a target out of range.
    """
    if not queries or any(len(some) < 2 for some in queries.values()):
        raise ConfigError("queries: tuning needs at least two of every mix of blocks; give more")
    if not 0 < target <= 1:
        raise ConfigError(f"target must lie in (0, 1], got {target}")
    k = min(k, index.n_items)
    truth = {name: exact_rows(vectors, some, k) for name, some in queries.items()}
    efforts: dict[str, int] = {}
    if isinstance(index, ApproximateIndex):
        index = _refined(index, queries, truth, target, k)
        found = {name: _least_effort(index, some[::2], truth[name][::2], target, k) for name, some in queries.items()}
        efforts = found
        mixes: dict[int, int] = {}
        for name, some in queries.items():
            for mix in np.unique(block_mix(some, index.efforts.widths)).tolist():
                mixes[mix] = max(mixes.get(mix, 1), found[name])
        index = index.tuned(efforts=Efforts(index.efforts.widths, mixes, max(found.values())))
        if clock is not None:
            index = replace(index, exact_rows=_fewest(index, list(queries.values())[-1], k, clock))
    recall = {name: recall_at(index.search_batch(some[1::2], k), truth[name][1::2]) for name, some in queries.items()}
    counts = {name: len(some[1::2]) for name, some in queries.items()}
    refine, few = (index.refine, index.exact_rows) if isinstance(index, ApproximateIndex) else (0, 0)
    return index, Tuned(k, target, recall, efforts, refine, few, counts)


def exact_rows(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], k: int, *, allowed: NDArray[np.bool_] | None = None
) -> Rows:
    """The true best ``k`` rows of each query, (n_queries, k), -1 where fewer are allowed; ties by row."""
    rows, scores = np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0), np.float32)
    for start in range(0, len(vectors), _PIECE):
        products = queries @ vectors[start : start + _PIECE].T
        if allowed is not None:
            products[:, ~allowed[start : start + _PIECE]] = -np.inf
        m = min(k, products.shape[1])
        top = np.argpartition(-products, m - 1, axis=1)[:, :m]
        rows = np.hstack([rows, top + start])
        scores = np.hstack([scores, np.take_along_axis(products, top, 1)])
    best = best_of(np.where(np.isneginf(scores), -1, rows), scores, k)
    return np.where(np.arange(k) < best.count[:, None], best.rows, -1)


def recall_at(found: Found, truth: Rows) -> float:
    """Mean share of the true rows that were found.

    >>> found = Found(np.array([[3, 1]]), np.array([[2.0, 1.0]], np.float32), np.array([2]))
    >>> recall_at(found, np.array([[3, 9]]))
    0.5
    """
    return float(np.mean(_shares(found, truth)))


def violations(found: Found, allowed: Mask) -> int:
    """Rows that came back though they were not allowed."""
    real = found.rows[found.rows != NO_ROW]
    return int(np.count_nonzero(~allowed[real]))


def _shares(found: Found, truth: Rows) -> list[float]:
    """Share of each query's true rows that were found; of queries with any, else 1."""
    shares = []
    for i, some in enumerate(truth):
        true = set(some[some >= 0].tolist())
        if true:
            shares.append(len(true.intersection(found.one(i)[0].tolist())) / len(true))
    return shares or [1.0]


def ladder(most: int) -> list[int]:
    """Efforts worth trying: about a fifth apart.

    >>> ladder(10)
    [1, 2, 3, 4, 5, 6, 7, 9, 10]
    """
    steps = sorted({min(most, round(1.2**step)) for step in range(1, 80) if 1.2 ** (step - 1) < most} | {1, most})
    return steps


def _least_effort(index: ApproximateIndex, queries: NDArray[np.float32], truth: Rows, target: float, k: int) -> int:
    """The smallest effort that reaches the target on these queries; the largest where none does."""
    steps = ladder(index.scanner.most)
    low, high = 0, len(steps) - 1
    while low < high:  # recall grows with effort
        middle = (low + high) // 2
        if _recall(index, steps[middle], queries, truth, k) >= target:
            high = middle
        else:
            low = middle + 1
    return steps[low]


def _refined(
    index: ApproximateIndex, queries: Queries, truth: Mapping[str, Rows], target: float, k: int
) -> ApproximateIndex:
    """The index with enough rescoring that the codes themselves do not stand in the way of the target."""
    wanted = target + (1 - target) / 2  # half of what may be missed is left to the effort
    hard = max(1, min(index.scanner.most, 4 * index.efforts.otherwise))
    while index.refine < _MOST_REFINE:
        if all(_recall(index, hard, some[::2], truth[name][::2], k) >= wanted for name, some in queries.items()):
            break
        more = index.tuned(refine=max(2, 2 * index.refine))
        gains = [
            _recall(more, hard, some[::2], truth[name][::2], k) - _recall(index, hard, some[::2], truth[name][::2], k)
            for name, some in queries.items()
        ]
        if max(gains) < (1 - target) / 10:
            break
        index = more
    return index


def _recall(index: ApproximateIndex, effort: int, queries: NDArray[np.float32], truth: Rows, k: int) -> float:
    """Recall less its standard error: what other queries can be expected to reach."""
    set_to = index.tuned(efforts=Efforts(index.efforts.widths, {}, effort))
    shares = _shares(set_to.search_batch(queries, k), truth)
    return float(np.mean(shares) - np.std(shares) / len(shares) ** 0.5)


def _fewest(index: ApproximateIndex, queries: NDArray[np.float32], k: int, clock: Clock) -> int:
    """Allowed rows that are compared, all of them, in twice the time of an unfiltered query."""
    some = queries[:_PROBES]
    n = min(index.n_items, 2_000)
    rows = np.linspace(0, index.n_items - 1, n).astype(np.int64)
    with one_thread():
        search_s = median_s(lambda query: index.search(query, k), some, clock)
        compare_s = median_s(lambda query: best_among(index.vectors, rows, query[None], k), some, clock)
    return int(np.clip(2 * search_s / max(compare_s, 1e-9) * n, 500, max(500, index.n_items // 4)))


def median_s(call: Callable[[NDArray[np.float32]], object], queries: NDArray[np.float32], clock: Clock) -> float:
    """Median seconds of a call over these queries, each made once before."""
    taken = []
    for query in queries:
        call(query)
        start = clock()
        call(query)
        taken.append(clock() - start)
    return float(np.median(taken))
