"""From a matrix of scores to ranked item rows: the best k of each request, ties by row, seen items left out.

Covers selection and masking only; what a ranking is worth is `metrics`' question.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..profiling.errors import ConfigError
from ..profiling.log import Requests


@dataclass(frozen=True, eq=False)
class TopK:
    """Ranked item rows of a batch of requests, best first.

    Attributes:
        items: item row at each rank, 0 where ``valid`` is false, (n_requests, k) int32
        scores: its score, 0 where ``valid`` is false, (n_requests, k) float32
        valid: whether there is an item at this rank, (n_requests, k) bool
    """

    items: NDArray[np.int32]
    scores: NDArray[np.float32]
    valid: NDArray[np.bool_]


def top_k(scores: NDArray[np.float32], k: int) -> TopK:
    """The ``k`` best columns of each row of ``scores`` (n, m), descending, ties by column; ``-inf`` is never chosen.

    Selection is a partition, then only the survivors are sorted. A tie at the boundary goes to the lower columns,
    so the answer does not depend on the partition's inner order or on the batch.

    Raises:
        ConfigError: ``k`` is below 1, or ``scores`` is not a matrix or holds NaN.

    >>> best = top_k(np.array([[1, 3, 3, -np.inf]], dtype=np.float32), 4)
    >>> best.items.tolist(), best.valid.tolist()
    ([[1, 2, 0, 0]], [[True, True, True, False]])
    """
    if k < 1:
        raise ConfigError(f"k: must be at least 1, got {k}")
    if scores.ndim != 2:
        raise ConfigError(f"scores: must be a matrix (n_requests, n_items), got shape {scores.shape}")
    n, m = scores.shape
    width = min(k, m)
    if n == 0 or m == 0:
        return TopK(np.zeros((n, k), np.int32), np.zeros((n, k), np.float32), np.zeros((n, k), bool))
    if np.isnan(scores.max(axis=1)).any():
        raise ConfigError("scores: must not hold NaN; a method has to answer 0 where it knows nothing")
    chosen = np.stack([_columns(row, _boundary(row, width), width) for row in scores])  # (n, width)
    values = np.take_along_axis(scores, chosen, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")  # columns ascend, so a stable sort breaks ties by column
    chosen, values = np.take_along_axis(chosen, order, axis=1), np.take_along_axis(values, order, axis=1)
    return _padded(chosen, values, k)


def exclude(
    scores: NDArray[np.float32], rows: NDArray[np.integer], columns: NDArray[np.integer]
) -> NDArray[np.float32]:
    """A copy of ``scores`` (n, m) with ``-inf`` at the paired (``rows``, ``columns``).

    >>> exclude(np.ones((1, 3), dtype=np.float32), np.array([0]), np.array([1])).tolist()
    [[1.0, -inf, 1.0]]
    """
    masked = np.array(scores, dtype=np.float32)
    masked[rows, columns] = -np.inf
    return masked


def seen(requests: Requests, kinds: Collection[int]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Paired request positions and item rows of every history event whose kind (a `KINDS` position) is in ``kinds``."""
    request, event = requests.events()
    keep = np.isin(requests.log.kind[event], list(kinds))
    return request[keep], requests.log.item[event[keep]]


def _boundary(row: NDArray[np.float32], width: int) -> np.float32:
    """The ``width``-th best value of one row.

    Most methods score most items 0, and a partition of equal values is slow: only what is above 0 is partitioned.
    """
    above = row[row > 0]
    if len(above) >= width:
        return np.partition(above, len(above) - width)[len(above) - width]
    if np.count_nonzero(row >= 0) >= width:
        return np.float32(0)
    return np.partition(row, len(row) - width)[len(row) - width]


def _columns(row: NDArray[np.float32], boundary: np.float32, width: int) -> NDArray[np.int64]:
    """Ascending columns of the ``width`` best of one row whose ``width``-th best value is ``boundary``."""
    above = np.flatnonzero(row > boundary)
    ties = np.flatnonzero(row == boundary)[: width - len(above)]
    return np.sort(np.concatenate([above, ties]))


def _padded(items: NDArray[np.int64], values: NDArray[np.float32], k: int) -> TopK:
    """Rankings of width ``k`` with zeros where there is no item or its score is ``-inf``."""
    n, width = items.shape
    valid = np.zeros((n, k), dtype=bool)
    valid[:, :width] = values > -np.inf
    rows, scores = np.zeros((n, k), dtype=np.int32), np.zeros((n, k), dtype=np.float32)
    rows[:, :width] = np.where(valid[:, :width], items, 0)
    scores[:, :width] = np.where(valid[:, :width], values, 0)
    return TopK(rows, scores, valid)
