"""Small work on long arrays: the largest of them, runs of places written out, and sums of sparse rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

_STRIDE = 64
"""One number of so many is looked at to guess where the largest begin."""


def largest(values: NDArray[np.floating], n: int) -> NDArray[np.int64]:
    """Places of the ``n`` largest values of a long array, in no order; which of equals at the edge is open.

    A sample tells where they about begin, so that most of the array is only compared once. Same result as
    `numpy.argpartition`, which takes over where the guess was too high.

    >>> sorted(largest(np.array([3.0, 9.0, 1.0, 7.0]), 2).tolist())
    [1, 3]
    """
    sample = values[::_STRIDE]
    near = 2 * n // _STRIDE + 4
    if near < len(sample) // 2:
        edge = np.partition(sample, len(sample) - near)[len(sample) - near]
        maybe = np.flatnonzero(values >= edge)
        if len(maybe) >= n:
            return maybe[np.argpartition(values[maybe], len(maybe) - n)[len(maybe) - n :]]
    return np.argpartition(values, len(values) - n)[len(values) - n :]


def spans(first: NDArray[np.integer], last: NDArray[np.integer]) -> NDArray[np.int64]:
    """The places ``first[i]`` to ``last[i] - 1`` of every i, one run after the other.

    >>> spans(np.array([5, 0]), np.array([7, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    length = last - first
    end = np.cumsum(length)
    return np.arange(int(end[-1]) if len(end) else 0) + np.repeat(first - (end - length), length)


def pieces(values: NDArray[Any], first: NDArray[np.integer], last: NDArray[np.integer]) -> list[NDArray[Any]]:
    """Views of ``values`` from ``first[i]`` to ``last[i] - 1`` of every i: quicker put together than place by place."""
    return [values[begin:end] for begin, end in zip(first.tolist(), last.tolist(), strict=True)]


def rows_summed(matrix: sp.csr_matrix, rows: NDArray[np.integer], weight: NDArray[np.floating]) -> NDArray[np.float32]:
    """Weighted sum of some rows of a sparse matrix with its zeros, (n_columns,); nothing sparse is made for it."""
    if not len(rows):
        return np.zeros(matrix.shape[1], dtype=np.float32)
    first, last = matrix.indptr[rows], matrix.indptr[rows + 1]
    value = np.concatenate(pieces(matrix.data, first, last)) * np.repeat(weight, last - first)
    return np.bincount(row_columns(matrix, rows), value, minlength=matrix.shape[1]).astype(np.float32)


def row_columns(matrix: sp.csr_matrix, rows: NDArray[np.integer]) -> NDArray[np.integer]:
    """Column of every entry of some rows of a sparse matrix, row after row, (n_entries,)."""
    if not len(rows):
        return np.zeros(0, dtype=np.int64)
    return np.concatenate(pieces(matrix.indices, matrix.indptr[rows], matrix.indptr[rows + 1]))


def entries(
    matrix: sp.csr_matrix,
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    *,
    columns: NDArray[np.integer] | None = None,
) -> NDArray[np.float64]:
    """The entries of a sparse matrix where these rows and columns meet, (n_row, n_column).

    Args:
        matrix: the matrix
        row: its rows
        column: its columns, none twice
        columns: what `row_columns` says of those rows, where that is known
    """
    out = np.zeros((len(row), len(column)))
    if not len(row):
        return out
    first, last = matrix.indptr[row], matrix.indptr[row + 1]
    wanted = np.zeros(matrix.shape[1], dtype=bool)
    wanted[column] = True
    hit = np.flatnonzero(wanted[row_columns(matrix, row) if columns is None else columns])
    end = np.cumsum(last - first)
    owner = np.searchsorted(end, hit, side="right")
    place = last[owner] - end[owner] + hit
    order = np.argsort(column)
    out[owner, order[np.searchsorted(column, matrix.indices[place], sorter=order)]] = matrix.data[place]
    return out
