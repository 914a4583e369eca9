"""Exact inner products with chosen rows: for filters that few rows pass, and to put candidates in their exact order.

Works on the item matrix in place, memory-mapped or not; nothing of it is copied but, for batches, the chosen rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from .types import NO_ROW, Found, Rows, best_of, import_faiss

_PIECE = 1 << 14
_FEW = 4  # queries up to which rows are read in place


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold FAISS to the calling thread: a team for one query's work costs more than it brings, and then spins."""
    faiss = import_faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def rescore(vectors: NDArray[np.float32], candidates: Rows, queries: NDArray[np.float32], k: int) -> Found:
    """The best ``k`` of each query's candidates by their exact inner products.

    Args:
        vectors: (n_items, dim) float32, rows contiguous
        candidates: rows, (n, m); negative is none
        queries: (n, dim) float32
        k: wanted
    """
    return best_of(*_top(candidates, _products(vectors, candidates, queries), k), k)


def best_among(vectors: NDArray[np.float32], rows: Rows, queries: NDArray[np.float32], k: int) -> Found:
    """The best ``k`` of the same rows for every query, exactly.

    Args:
        vectors: (n_items, dim) float32, rows contiguous
        rows: ascending, (m,)
        queries: (n, dim) float32
        k: wanted
    """
    if len(queries) <= _FEW:
        single = np.vstack([_products(vectors, rows[None], query[None]) for query in queries])
        return best_of(*_top(np.repeat(rows[None], len(queries), 0), single, k), k)
    found, scores = np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0), np.float32)
    for start in range(0, len(rows), _PIECE):
        piece = rows[start : start + _PIECE]
        products = queries @ vectors[piece].T  # (n, m)
        some, theirs = _top(np.broadcast_to(piece, products.shape), products, k)
        found, scores = np.hstack([found, some]), np.hstack([scores, theirs])
    return best_of(found, scores, k)


def _top(rows: Rows, scores: NDArray[np.float32], k: int) -> tuple[Rows, NDArray[np.float32]]:
    """The best ``k`` of each line, in no order; where the last are equal, the smaller rows stay."""
    if rows.shape[1] <= k:
        return rows, scores
    least = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
    if (np.count_nonzero(scores >= least, axis=1) == k).all():
        keep = np.nonzero(scores >= least)[1].reshape(len(rows), k)
    else:
        keep = np.lexsort((rows, -scores), axis=1)[:, :k]
    return np.take_along_axis(rows, keep, 1), np.take_along_axis(scores, keep, 1)


def _products(vectors: NDArray[np.float32], rows: Rows, queries: NDArray[np.float32]) -> NDArray[np.float32]:
    """Inner product of each query with its own rows, (n, m); -inf for no row."""
    faiss = import_faiss()
    wanted = np.ascontiguousarray(np.where(rows == NO_ROW, -1, rows))
    products = np.empty(wanted.shape, dtype=np.float32)
    if wanted.size:
        faiss.fvec_inner_products_by_idx(
            faiss.swig_ptr(products), faiss.swig_ptr(queries), faiss.swig_ptr(vectors), faiss.swig_ptr(wanted),
            vectors.shape[1], *wanted.shape,
        )  # fmt: skip
    return products
