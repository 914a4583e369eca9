"""What a ranking is worth: NDCG, recall, reciprocal rank, average precision, hit rate; coverage, novelty, Gini.

Plain functions on arrays. A batch of rankings is looked up once in its `Relevance` (`look_up`), and each metric reads
the result at its own cut-off. A request without a relevant item has no value (NaN) and is left out of means.
Which items are candidates is decided before (`ranking`), which requests count is decided by the protocol (`splits`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..profiling.errors import ConfigError

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Relevance:
    """Which items are right for each request, as rows of a sparse matrix.

    Attributes:
        indptr: entries of request ``r`` are ``indptr[r]:indptr[r + 1]``, (n_requests + 1,)
        items: item rows, ascending and distinct inside a request, (n_entries,)
        gain: gain of each entry for NDCG, >= 0; 1 where relevance is binary, (n_entries,)
        relevant: whether the entry counts for the binary metrics, (n_entries,)
    """

    indptr: NDArray[np.int64]
    items: NDArray[np.int32]
    gain: NDArray[np.float32]
    relevant: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def request(self) -> NDArray[np.int64]:
        """Request of each entry, (n_entries,)."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.indptr))

    def count(self) -> NDArray[np.int64]:
        """Number of entries of each request that count for the binary metrics, (n_requests,)."""
        return np.bincount(self.request()[self.relevant], minlength=len(self))

    def take(self, rows: NDArray[np.int64]) -> Relevance:
        """The entries of these requests, in this order."""
        lengths = np.diff(self.indptr)[rows]
        first = np.cumsum(lengths) - lengths
        entry = np.arange(lengths.sum()) - np.repeat(first, lengths) + np.repeat(self.indptr[rows], lengths)
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return Relevance(indptr, self.items[entry], self.gain[entry], self.relevant[entry])

    def only(self, keep: NDArray[np.bool_]) -> Relevance:
        """The same requests with only the entries where ``keep`` (n_entries,) is true."""
        counts = np.bincount(self.request()[keep], minlength=len(self))
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return Relevance(indptr, self.items[keep], self.gain[keep], self.relevant[keep])


def relevance(
    request: NDArray[np.integer],
    item: NDArray[np.integer],
    n_requests: int,
    *,
    gain: NDArray[np.floating] | None = None,
    relevant: NDArray[np.bool_] | None = None,
) -> Relevance:
    """A `Relevance` from paired entries in any order; of a repeated pair the first is kept.

    >>> relevance(np.array([1, 0, 1, 1]), np.array([5, 2, 3, 5]), 2).items.tolist()
    [2, 3, 5]
    """
    order = np.lexsort((item, request))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(request[order]) != 0) | (np.diff(item[order]) != 0)
    order = order[first]
    counts = np.bincount(request[order], minlength=n_requests)
    return Relevance(
        indptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        items=item[order].astype(np.int32),
        gain=np.ones(len(order), np.float32) if gain is None else gain[order].astype(np.float32),
        relevant=np.ones(len(order), bool) if relevant is None else relevant[order],
    )


@dataclass(frozen=True, eq=False)
class Found:
    """What stands at each rank: its ``gain`` (n, k) float32, its ``hit`` (n, k) and whether it is ``judged`` (n, k)."""

    gain: NDArray[np.float32]
    hit: NDArray[np.bool_]
    judged: NDArray[np.bool_]


def look_up(items: NDArray[np.integer], valid: NDArray[np.bool_], truth: Relevance) -> Found:
    """Find ranked ``items`` (n, k), real where ``valid`` (n, k), in ``truth``; an absent item has gain 0.

    Raises:
        ConfigError: the number of rankings is not the number of requests.
    """
    if len(items) != len(truth):
        raise ConfigError(f"items: must have one row a request ({len(truth)}), got {len(items)}")
    if not len(truth.items) or not items.size:
        nothing = np.zeros(items.shape, dtype=bool)
        return Found(np.zeros(items.shape, np.float32), nothing, nothing)
    stride = int(max(items.max(), truth.items.max())) + 1
    known = truth.request() * stride + truth.items  # ascending, because entries are sorted by request, then item
    asked = np.arange(len(items), dtype=np.int64)[:, None] * stride + items
    place = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    judged = (known[place] == asked) & valid
    gain = np.where(judged, truth.gain[place], np.float32(0))
    return Found(gain, judged & truth.relevant[place], judged)


def ndcg(found: Found, truth: Relevance, k: int) -> Float:
    """Normalised discounted cumulative gain at ``k``, (n,) in [0, 1]; NaN where no entry has a gain.

    Gain at rank r counts ``1 / log2(1 + r)``; the ideal ranking holds the ``min(k, n)`` largest gains.
    Järvelin and Kekäläinen 2002, with the discount of Burges et al. 2005.
    """
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    gained = found.gain[:, :k].astype(np.float64) @ discount[: found.gain.shape[1]]
    return _ratio(gained, ideal_dcg(truth, k))


def ideal_dcg(truth: Relevance, k: int) -> Float:
    """Discounted gain of the best possible ranking of each request, cut at ``k``, (n_requests,)."""
    request = truth.request()
    order = np.lexsort((-truth.gain, request))
    rank = np.arange(len(order)) - truth.indptr[request]  # from 0; sorting kept requests together
    gain = np.where(rank < k, truth.gain[order].astype(np.float64) / np.log2(rank + 2), 0.0)
    return np.bincount(request, weights=gain, minlength=len(truth)).astype(np.float64)


def recall(found: Found, truth: Relevance, k: int) -> Float:
    """Share of the relevant items that stand in the first ``k``, (n,) in [0, 1]; NaN where there are none."""
    return _ratio(found.hit[:, :k].sum(axis=1).astype(np.float64), truth.count())


def hit_rate(found: Found, truth: Relevance, k: int) -> Float:
    """1 where any of the first ``k`` is relevant, else 0, (n,); NaN where nothing is relevant."""
    return _ratio(found.hit[:, :k].any(axis=1).astype(np.float64), truth.count() > 0)


def reciprocal_rank(found: Found, truth: Relevance, k: int) -> Float:
    """One over the rank of the first relevant item, 0 beyond ``k``, (n,); NaN where nothing is relevant."""
    hit = found.hit[:, :k]
    value = np.where(hit.any(axis=1), 1.0 / (1 + hit.argmax(axis=1)), 0.0)
    return _ratio(value, truth.count() > 0)


def average_precision(found: Found, truth: Relevance, k: int) -> Float:
    """Mean of precision at the rank of each relevant item in the first ``k``, over ``min(k, n relevant)``, (n,)."""
    hit = found.hit[:, :k].astype(np.float64)
    precision = np.cumsum(hit, axis=1) / np.arange(1, hit.shape[1] + 1)
    return _ratio((precision * hit).sum(axis=1), np.minimum(truth.count(), k))


def judged_share(found: Found, truth: Relevance, k: int) -> Float:
    """Share of the first ``k`` ranks that hold a judged item, (n,); a rank without an item counts as unjudged."""
    return _ratio(found.judged[:, :k].sum(axis=1).astype(np.float64), np.full(len(truth), k))


METRICS: dict[str, Callable[[Found, Relevance, int], Float]] = {
    "ndcg": ndcg,
    "recall": recall,
    "mrr": reciprocal_rank,
    "map": average_precision,
    "hit": hit_rate,
    "judged": judged_share,
}
"""Metrics of one request by the name before the ``@`` of a metric key."""

DEFAULT_KEYS: tuple[str, ...] = ("ndcg@10", "recall@10", "recall@100", "mrr@10", "map@10", "hit@10")


def per_request(found: Found, truth: Relevance, keys: tuple[str, ...] = DEFAULT_KEYS) -> dict[str, Float]:
    """Each metric key (such as ``"ndcg@10"``) to its value for every request, (n,).

    Raises:
        ConfigError: a key does not name a metric of `METRICS` and a cut-off that the rankings reach.
    """
    parsed = {key: parse_key(key) for key in keys}
    return {key: METRICS[name](found, truth, k) for key, (name, k) in parsed.items()}


def parse_key(key: str) -> tuple[str, int]:
    """The metric's name and cut-off in a key.

    >>> parse_key("recall@100")
    ('recall', 100)
    """
    name, _, cut = key.partition("@")
    if name not in METRICS or not cut.isdigit() or int(cut) < 1:
        raise ConfigError(f"metric: must be one of {', '.join(METRICS)}, then @ and a cut-off, got {key!r}")
    return name, int(cut)


def coverage(items: NDArray[np.integer], valid: NDArray[np.bool_], n_items: int) -> float:
    """Share of the catalogue that stands in at least one of the rankings (n, k), in [0, 1]."""
    return len(np.unique(items[valid])) / n_items if n_items else 0.0


def novelty(items: NDArray[np.integer], valid: NDArray[np.bool_], counts: NDArray[np.integer]) -> float:
    """Mean self-information of the recommended items in bits; ``counts`` (n_items,) are training events.

    ``-log2((count + 1) / (total + n_items))``: add-one smoothing keeps items never sold finite.
    Vargas and Castells 2011 without rank discount. NaN where nothing is recommended.
    """
    bits = -np.log2((counts + 1.0) / (counts.sum() + len(counts)))
    return float(bits[items[valid]].mean()) if valid.any() else float("nan")


def gini(items: NDArray[np.integer], valid: NDArray[np.bool_], n_items: int) -> float:
    """Gini index of how often each item is recommended: 0 all alike, near 1 one item only; NaN where nothing is.

    >>> gini(np.array([[0, 1]]), np.array([[True, True]]), 2)
    0.0
    """
    shown = np.sort(np.bincount(items[valid], minlength=n_items)).astype(np.float64)
    if not shown.sum():
        return float("nan")
    rank = np.arange(1, n_items + 1)
    return float(((2 * rank - n_items - 1) @ shown) / (n_items * shown.sum()))


def _ratio(above: Any, below: NDArray[np.floating | np.integer | np.bool_]) -> Float:
    """``above / below`` with NaN where ``below`` is 0."""
    return np.divide(above, below, out=np.full(len(above), np.nan), where=np.asarray(below) > 0)
