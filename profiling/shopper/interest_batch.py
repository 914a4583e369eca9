"""Interests of many requests at once, equal to building each one by one.

Histories are slices of one log, and requests of one shopper share prefixes; interests merge, so each event is summed
once, into the segment between two requests, and segments are scanned forward in time. Nothing here is approximate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..log import EventLog, Requests
from .interest import decay


def event_weights(log: EventLog) -> NDArray[np.float64]:
    """Signed weight of each event, (n_events,): a returned line (negative quantity) counts against its item.

    Lines of no units (voids, coupons) count nothing; unknown quantities leave the log's own weight.
    """
    returned = np.where(log.quantity < 0, -np.abs(log.weight), log.weight)
    return np.where(log.quantity == 0, 0.0, returned).astype(np.float64)


def interests(
    requests: Requests,
    vectors: NDArray[np.floating],
    half_life_s: float,
    *,
    weights: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Interest of each request as seen at its own time.

    Args:
        requests: whose histories, and when
        vectors: item vectors, (n_items, d)
        half_life_s: seconds after which an event counts half; inf for never
        weights: signed weight of each event of the log, (n_events,); `event_weights` if None

    Returns:
        totals (n_requests, d) and weights (n_requests,), float64: what `from_events` and `advance` give

    Raises:
        ValueError: a request is earlier than an event of its own history.
    """
    return interests_of(requests, [(vectors, half_life_s)], weights=weights)[0]


def interests_of(
    requests: Requests,
    asked: Sequence[tuple[NDArray[np.floating], float]],
    *,
    weights: NDArray[np.float64] | None = None,
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """`interests` for several pairs of item vectors and half-life: histories are walked through once for all."""
    log = requests.log
    signed = event_weights(log) if weights is None else weights
    order, begin, depth = _segments(requests)
    stop = requests.stop[order]
    known = stop > requests.start[order]
    newest = np.where(known, log.at_s[np.maximum(stop - 1, 0)] if len(log) else 0.0, requests.now_s[order])
    age = requests.now_s[order] - newest
    segments = _Segments.of(Requests(log, begin, stop, newest), signed)
    used = {id(vectors): vectors[segments.used].astype(np.float64) for vectors, _ in asked}  # each read once
    found = []
    for vectors, half_life_s in asked:
        sums = segments.sums(used[id(vectors)], half_life_s)  # (n_requests, d + 1)
        for level in range(1, int(depth.max(initial=0)) + 1):
            rows = np.flatnonzero(depth == level)
            before = known[rows - 1]
            left = np.where(before, decay(np.where(before, newest[rows] - newest[rows - 1], 0.0), half_life_s), 0.0)
            sums[rows] += left[:, None] * sums[rows - 1]
        seen = np.empty_like(sums)
        seen[order] = sums * decay(age, half_life_s)[:, None]
        found.append((seen[:, :-1], seen[:, -1]))
    return found


def _segments(requests: Requests) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Order by shopper and history length, where each request's own segment begins, and its place in the chain."""
    order = np.lexsort((requests.stop, requests.start))
    start, stop = requests.start[order], requests.stop[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = start[1:] != start[:-1]
    begin = np.where(first, start, np.concatenate([[0], stop[:-1]])[: len(order)])
    position = np.arange(len(order))
    depth = position - np.maximum.accumulate(np.where(first, position, 0)) if len(order) else position
    return order, begin, depth


@dataclass(frozen=True, eq=False)
class _Segments:
    """Events by segment, each with its age at the segment's end.

    Attributes:
        n: segments
        segment: of each event, (n_events,)
        age_s: of each event, (n_events,)
        weight: of each event, signed, (n_events,)
        used: items that occur, (n_used,)
        column: place in ``used`` of each event's item, (n_events,)
    """

    n: int
    segment: NDArray[np.int64]
    age_s: NDArray[np.float64]
    weight: NDArray[np.float64]
    used: NDArray[np.integer]
    column: NDArray[np.intp]

    @staticmethod
    def of(ends: Requests, weights: NDArray[np.float64]) -> _Segments:
        """Histories of ``ends`` taken as segments."""
        segment, event = ends.events()
        used, column = np.unique(ends.log.item[event], return_inverse=True)
        age_s = ends.now_s[segment] - ends.log.at_s[event]
        return _Segments(len(ends), segment, age_s, weights[event], used, column)

    def sums(self, rows: NDArray[np.float64], half_life_s: float) -> NDArray[np.float64]:
        """Decayed sum of the vectors of ``used`` (n_used, d) over each segment at its end, weight last, (n, d + 1)."""
        value = self.weight * decay(self.age_s, half_life_s)
        out = np.empty((self.n, rows.shape[1] + 1))
        out[:, -1] = np.bincount(self.segment, weights=value, minlength=self.n)
        if self.n == 1:  # one shopper's request: no matrix to make
            out[:, :-1] = np.bincount(self.column, weights=value, minlength=len(self.used)) @ rows
            return out
        mixing = sparse.coo_array((value, (self.segment, self.column)), shape=(self.n, len(self.used)))
        out[:, :-1] = sparse.csr_array(mixing) @ rows
        return out
