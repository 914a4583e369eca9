"""The block index: FAISS over the item matrix, behind one small interface.

Both kinds compare the query with every row, so nothing is missed; ``flat-fp16`` halves the memory that has to be read,
which is what a single query waits for. Approximate kinds, updates and GPUs belong to a later interface of this module.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..profiling.errors import ArtefactError, ExtraMissingError

INDEXES: Mapping[str, str] = {"flat": "Flat", "flat-fp16": "SQfp16"}
"""Kind of index -> what FAISS calls it."""

_SHARD_ROWS = 16_384
_FP16_MOST = 65_504.0
_PRECISION: Mapping[str, float] = {"flat": 1e-6, "flat-fp16": 2.0**-11 + 1e-6}  # relative; rounding is to nearest


@dataclass(frozen=True, eq=False)
class BlockIndex:
    """Exhaustive inner-product search over item rows.

    Attributes:
        kind: a key of `INDEXES`
        n_items, dim: shape of the indexed matrix
        shards: (first row, FAISS index) of consecutive row ranges, searched in parallel
        slack: how far an inner product with a query of length 1 can be from the exact one
    """

    kind: str
    n_items: int
    dim: int
    shards: tuple[tuple[int, Any], ...]
    slack: float
    pool: ThreadPoolExecutor = field(repr=False)

    def search(
        self, query: NDArray[np.float32], k: int, *, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The ``k`` rows with the largest inner product, best first, ties by row.

        Args:
            query: (dim,) float32
            k: rows wanted, >= 1; fewer come back when fewer are allowed
            allowed: rows that may come back, (n_items,); None for all

        Returns:
            rows (m,) int64 and their inner products (m,), m <= k

        Raises:
            ValueError: the query has another width or is not finite.
        """
        if query.shape != (self.dim,) or not np.isfinite(query).all():
            raise ValueError(f"query must be {self.dim} finite numbers, got shape {query.shape}")
        wide = np.ascontiguousarray(query[None], dtype=np.float32)
        found = list(self.pool.map(lambda shard: _search_shard(shard, wide, k, allowed), self.shards))
        rows, scores = np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])
        best = np.lexsort((rows, -scores))[:k]
        return rows[best], scores[best]


def build_index(matrix: NDArray[np.float32], *, kind: str = "flat-fp16") -> BlockIndex:
    """Index the rows of ``matrix``, (n_items, dim).

    Raises:
        ArtefactError: the matrix is empty, holds NaN, infinity or (``flat-fp16``) numbers beyond 65,504, or the kind is
            unknown.
        ExtraMissingError: FAISS is not installed.
    """
    faiss = _faiss()
    if kind not in INDEXES:
        raise ArtefactError(f"index kind must be one of {', '.join(INDEXES)}, got {kind!r}")
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ArtefactError(f"an index needs at least one row and one dimension, got shape {matrix.shape}")
    fits = np.abs(matrix) <= (_FP16_MOST if kind == "flat-fp16" else np.finfo(np.float32).max)  # false for NaN
    if not fits.all():
        bad = int(np.argmin(fits.all(axis=1)))
        raise ArtefactError(f"item vectors must be finite numbers that {kind} can hold; row {bad} is not")
    n_items, dim = matrix.shape
    workers = max(1, min(os.cpu_count() or 1, -(-n_items // _SHARD_ROWS)))
    bounds = np.linspace(0, n_items, workers + 1).astype(int)
    shards = []
    for first, last in itertools.pairwise(bounds):
        shard = faiss.index_factory(dim, INDEXES[kind], faiss.METRIC_INNER_PRODUCT)
        rows = np.ascontiguousarray(matrix[first:last], dtype=np.float32)
        shard.train(rows)
        shard.add(rows)
        shards.append((int(first), shard))
    longest = float(np.sqrt(np.einsum("nd,nd->n", matrix, matrix, dtype=np.float64).max()))
    # one thread a shard: FAISS's own team would only spin on the cores that the others need
    pool = ThreadPoolExecutor(workers, "index", initializer=faiss.omp_set_num_threads, initargs=(1,))
    return BlockIndex(kind, n_items, dim, tuple(shards), _PRECISION[kind] * longest, pool)


def _search_shard(
    shard: tuple[int, Any], query: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    first, index = shard
    options = None
    if allowed is not None:
        faiss = _faiss()
        bits = np.packbits(allowed[first : first + index.ntotal], bitorder="little")
        options = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
    scores, rows = index.search(query, min(k, index.ntotal), params=options)
    real = rows[0] >= 0  # FAISS pads with -1, and row -1 would be a real item
    return rows[0][real] + first, scores[0][real]


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ExtraMissingError("FAISS is not installed; run: pip install 'tasteprint[cpu]' (or [gpu])") from error
    return faiss
