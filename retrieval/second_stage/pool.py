"""The candidates that a second stage orders: some items of each request, side by side, with what each part says.

Choosing them is here; what is known of them beside the parts is `second_stage.features`' work, their order `ranker`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Ints = NDArray[np.int64]

_COMPARED = 1_000_000  # pairs of candidates compared at once


@dataclass(frozen=True, eq=False)
class Pool:
    """Candidates of a batch of requests, request by request.

    Attributes:
        request: position of each candidate's request, ascending, (n,)
        item: item row of each candidate, (n,)
        count: candidates of each request, (n_requests,)
        parts: part -> its scaled scores, as they are weighted and added, (n,)
        fused: weighted sum of the parts, (n,)
    """

    request: Ints
    item: Ints
    count: Ints
    parts: Mapping[str, Float]
    fused: Float

    def __len__(self) -> int:
        return len(self.item)

    def take(self, rows: NDArray[np.bool_]) -> Pool:
        """The candidates where ``rows`` (n,) is true; requests keep their positions."""
        return Pool(
            request=self.request[rows],
            item=self.item[rows],
            count=np.bincount(self.request[rows], minlength=len(self.count)),
            parts={name: values[rows] for name, values in self.parts.items()},
            fused=self.fused[rows],
        )


def best_items(fused: Float, n: int) -> tuple[Ints, Ints]:
    """The ``n`` best items of each row of ``fused`` (n_requests, n_items); ``-inf`` is never chosen.

    Returns:
        request, item: paired positions, request by request, items ascending
    """
    width = min(n, fused.shape[1])
    if not fused.size:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    edge = np.partition(fused, fused.shape[1] - width, axis=1)[:, fused.shape[1] - width]
    above = fused > edge[:, None]
    ties = (fused == edge[:, None]) & np.isfinite(fused)
    left = width - above.sum(axis=1)
    ties &= np.cumsum(ties, axis=1) <= left[:, None]  # a tie at the edge goes to the smaller rows
    request, item = np.nonzero(above | ties)
    return request.astype(np.int64), item.astype(np.int64)


def make_pool(request: Ints, item: Ints, *, n_requests: int, parts: Mapping[str, Float], fused: Float) -> Pool:
    """Candidates at paired (``request``, ``item``) of whole-catalogue scores, each (n_requests, n_items)."""
    return Pool(
        request=request,
        item=item,
        count=np.bincount(request, minlength=n_requests),
        parts={name: np.ascontiguousarray(scores[request, item]) for name, scores in parts.items()},
        fused=np.ascontiguousarray(fused[request, item]),
    )


def ranks(values: NDArray[np.floating], request: Ints, count: Ints) -> Float:
    """Rank of each candidate in its request by ``values`` (n,), 1 first; equal values share the best rank.

    >>> ranks(np.array([.2, .9, .2, .5]), np.array([0, 0, 0, 1]), np.array([3, 1])).tolist()
    [2.0, 1.0, 2.0, 1.0]
    """
    order = np.lexsort((-values, request))
    place = np.arange(len(values)) - np.repeat(np.cumsum(count) - count, count)
    ordered, asked = values[order], request[order]
    fresh = np.ones(len(values), dtype=bool)
    fresh[1:] = (ordered[1:] != ordered[:-1]) | (asked[1:] != asked[:-1])
    out = np.empty(len(values), dtype=np.float32)
    out[order] = (
        np.maximum.accumulate(np.where(fresh, np.arange(len(values)), 0)) - (np.arange(len(values)) - place) + 1
    )
    return out


def standing_before(scores: NDArray[np.floating], rows: Ints, count: Ints) -> Ints:
    """How many candidates of its own request stand before each of ``rows`` (n_rows,), of equal scores the earlier.

    Nothing is sorted: where a few of each request's candidates count, comparing those with the others is much cheaper.

    Args:
        scores: of candidates, request by request, (n,)
        rows: which candidates, (n_rows,)
        count: candidates of each request, (n_requests,)

    >>> standing_before(np.array([.2, .9, .2, .5]), np.array([0, 2, 3]), np.array([3, 1])).tolist()
    [1, 2, 0]
    """
    out = np.empty(len(rows), dtype=np.int64)
    last = np.cumsum(count)
    width = int(count.max(initial=1))
    step = max(1, _COMPARED // width)
    for begin in range(0, len(rows), step):
        row = rows[begin : begin + step, None]
        request = np.searchsorted(last, row, side="right")
        other = (last - count)[request] + np.arange(width)  # (n_rows, width)
        score = scores[np.minimum(other, len(scores) - 1)]
        before = (score > scores[row]) | ((score == scores[row]) & (other < row))
        out[begin : begin + step] = (before & (other < last[request])).sum(axis=1)
    return out
