"""Histories as matrices: which items, how long ago, how much they count. Shared by every source.

A *step* is the unit of age. With ``ties="together"`` all events of a user at one time are one step (a basket has
no order inside); with ``ties="sequence"`` each event is its own step, in the order of the log.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..profiling.log import EventLog, Requests
from .largest import rows_summed

Ties = Literal["together", "sequence"]


def step_of_event(log: EventLog, ties: Ties) -> NDArray[np.int64]:
    """Step number of each event, (n_events,), increasing along the log and never shared by two users."""
    if ties == "sequence":
        return np.arange(len(log), dtype=np.int64)
    if len(log) == 0:
        return np.zeros(0, dtype=np.int64)
    user = log.user()
    starts = np.r_[True, (user[1:] != user[:-1]) | (log.at_s[1:] != log.at_s[:-1])]
    return np.cumsum(starts) - 1


def steps_ago(requests: Requests, ties: Ties, *, last: int) -> tuple[NDArray[np.int64], ...]:
    """Flattened newest ``last`` history events of each request with their age in steps, 0 for the newest step.

    Returns:
        request, event, age: each (n_history_events,); see `Requests.events` for the first two
    """
    request, event = requests.events(last)
    step = _steps_in_slices(requests.log, request, event, ties)
    newest = np.full(len(requests), -1, dtype=np.int64)
    newest[request] = step  # events are oldest first, so the newest of each request is written last
    return request, event, newest[request] - step


def _steps_in_slices(
    log: EventLog, request: NDArray[np.int64], event: NDArray[np.int64], ties: Ties
) -> NDArray[np.int64]:
    """Step counter over flattened history events; only differences inside one request mean anything."""
    if len(event) == 0:
        return event
    if ties == "sequence":
        return event
    at_s = log.at_s[event]
    return np.cumsum(np.r_[False, (request[1:] != request[:-1]) | (at_s[1:] != at_s[:-1])])


def history_matrix(
    requests: Requests, request: NDArray[np.int64], event: NDArray[np.int64], weight: NDArray[np.floating]
) -> sp.csr_matrix:
    """Sum of ``weight`` over each request's events of each item, (n_requests, n_items) float32 CSR."""
    shape = (len(requests), requests.log.n_items)
    values = weight.astype(np.float32)
    return sp.coo_matrix((values, (request, requests.log.item[event])), shape=shape).tocsr()


def history_sums(
    requests: Requests, request: NDArray[np.int64], event: NDArray[np.int64], weight: NDArray[np.floating]
) -> NDArray[np.float32]:
    """`history_matrix` with its zeros, (n_requests, n_items)."""
    if len(requests) == 1:  # one shopper's request: no matrix to make
        item = requests.log.item[event]
        return np.bincount(item, weight, minlength=requests.log.n_items).astype(np.float32)[None]
    return history_matrix(requests, request, event, weight).toarray()


def history_scores(
    requests: Requests,
    request: NDArray[np.int64],
    event: NDArray[np.int64],
    weight: NDArray[np.floating],
    *,
    to_items: sp.csr_matrix,
) -> NDArray[np.float32]:
    """Sum over each request's events of ``weight`` times the row of ``to_items`` (n_items, n_items) of its item.

    Returns:
        (n_requests, n_items)
    """
    if len(requests) == 1:
        return rows_summed(to_items, requests.log.item[event], weight)[None]
    return (history_matrix(requests, request, event, weight) @ to_items).toarray()


def interaction_matrix(log: EventLog, row: NDArray[np.int64], n_rows: int) -> sp.csr_matrix:
    """Binary row x item matrix, (n_rows, n_items): which items a row (user, step) holds with positive weight."""
    matrix = interaction_counts(log, row, n_rows)
    matrix.data[:] = 1.0
    return matrix


def interaction_counts(log: EventLog, row: NDArray[np.int64], n_rows: int) -> sp.csr_matrix:
    """How often a row (user, step) holds each item with positive weight, (n_rows, n_items) float32 CSR."""
    liked = log.weight > 0
    ones = np.ones(int(liked.sum()), dtype=np.float32)
    return sp.csr_matrix((ones, (row[liked], log.item[liked])), shape=(n_rows, log.n_items))


def keep_largest(matrix: sp.csr_matrix, k: int) -> sp.csr_matrix:
    """The ``k`` largest entries of each row; ties at the edge go to the smaller column."""
    counts = np.diff(matrix.indptr)
    if counts.max(initial=0) <= k:
        return matrix
    matrix = matrix.sorted_indices()
    keep = np.ones(matrix.nnz, dtype=bool)
    for row in np.flatnonzero(counts > k):  # only rows that are too full: most rows of a long tail are not
        first, last = matrix.indptr[row], matrix.indptr[row + 1]
        values = matrix.data[first:last]
        edge = np.partition(values, len(values) - k)[len(values) - k]
        kept = values > edge
        kept[np.flatnonzero(values == edge)[: k - int(kept.sum())]] = True
        keep[first:last] = kept
    indptr = np.r_[0, np.cumsum(np.minimum(counts, k))]
    return sp.csr_matrix((matrix.data[keep], matrix.indices[keep], indptr), shape=matrix.shape)
