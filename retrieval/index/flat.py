"""Exhaustive search: every query is compared with every row, in shards that the cores take in parallel.

Nothing is missed. ``flat-fp16`` and ``sq8`` halve and quarter the memory that has to be read, which is what a single
query waits for, and say how far rounding can move a score. Kinds that skip rows are `approximate`'s.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .types import Found, Mask, Rows, Scores, best_of, check_allowed, check_matrix, check_queries, import_faiss

FLAT: Mapping[str, str] = {"flat": "Flat", "flat-fp16": "SQfp16", "sq8": "SQ8"}
"""Kind of index -> what FAISS calls it."""

_SHARD_ROWS = 16_384
_FP16_MOST = 65_504.0
_PRECISION: Mapping[str, float] = {"flat": 1e-6, "flat-fp16": 2.0**-11 + 1e-6, "sq8": 1e-6}
"""Relative rounding of a score, beside that of the codes of ``sq8``, which is measured; rounding is to nearest."""


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

    @property
    def resident_bytes(self) -> int:
        """Bytes of the codes."""
        return sum(int(index.ntotal) * int(index.sa_code_size()) for _, index in self.shards)

    def search(self, query: NDArray[np.float32], k: int, *, allowed: Mask | None = None) -> tuple[Rows, Scores]:
        """The ``k`` rows with the largest inner product; see `ItemIndex.search`."""
        return self.search_batch(query[None], k, allowed=allowed).one(0)

    def search_batch(self, queries: NDArray[np.float32], k: int, *, allowed: Mask | None = None) -> Found:
        """As `search`, for many queries."""
        wide = check_queries(queries, self.dim, k)
        check_allowed(allowed, self.n_items)
        found = list(self.pool.map(lambda shard: _search_shard(shard, wide, k, allowed), self.shards))
        return best_of(np.hstack([f[0] for f in found]), np.hstack([f[1] for f in found]), k)


def build_flat(matrix: NDArray[np.float32], *, kind: str) -> BlockIndex:
    """Index the rows of ``matrix``, (n_items, dim).

    Raises:
        ArtefactError: the matrix is empty, holds NaN, infinity or (``flat-fp16``) numbers beyond 65,504.
        ExtraMissingError: FAISS is not installed.
    """
    faiss = import_faiss()
    check_matrix(matrix, kind=kind, largest=_FP16_MOST if kind == "flat-fp16" else float(np.finfo(np.float32).max))
    n_items, dim = matrix.shape
    workers = max(1, min(os.cpu_count() or 1, -(-n_items // _SHARD_ROWS)))
    bounds = np.linspace(0, n_items, workers + 1).astype(int)
    shards = []
    for first, last in itertools.pairwise(bounds):
        shard = faiss.index_factory(dim, FLAT[kind], faiss.METRIC_INNER_PRODUCT)
        rows = np.ascontiguousarray(matrix[first:last], dtype=np.float32)
        shard.train(rows)
        shard.add(rows)
        shards.append((int(first), shard))
    longest = float(np.sqrt(max(np.einsum("nd,nd->n", p, p, dtype=np.float64).max() for p in _pieces(matrix))))
    off = max(_rounding(shard, matrix[first:]) for first, shard in shards) if kind == "sq8" else 0.0
    return open_flat(kind, n_items, dim, tuple(shards), off + _PRECISION[kind] * longest)


def open_flat(kind: str, n_items: int, dim: int, shards: tuple[tuple[int, Any], ...], slack: float) -> BlockIndex:
    """An index of these shards, ready to search."""
    # one thread a shard: FAISS's own team would only spin on the cores that the others need
    pool = ThreadPoolExecutor(len(shards), "index", initializer=import_faiss().omp_set_num_threads, initargs=(1,))
    return BlockIndex(kind, n_items, dim, shards, slack, pool)


def _rounding(shard: Any, rows: NDArray[np.float32]) -> float:
    """Largest distance between a row and what its code stands for: by Cauchy and Schwarz no score errs by more."""
    worst = 0.0
    for start in range(0, int(shard.ntotal), _SHARD_ROWS):
        coded = shard.reconstruct_n(start, min(_SHARD_ROWS, int(shard.ntotal) - start))
        worst = max(worst, float(np.linalg.norm(rows[start : start + len(coded)] - coded, axis=1).max()))
    return worst


def _pieces(matrix: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    return (matrix[start : start + _SHARD_ROWS] for start in range(0, len(matrix), _SHARD_ROWS))


def _search_shard(
    shard: tuple[int, Any], queries: NDArray[np.float32], k: int, allowed: Mask | None
) -> tuple[Rows, Scores]:
    first, index = shard
    options = None
    if allowed is not None:
        faiss = import_faiss()
        bits = np.packbits(allowed[first : first + index.ntotal], bitorder="little")
        options = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
    scores, rows = index.search(queries, min(k, index.ntotal), params=options)
    return np.where(rows >= 0, rows + first, rows), scores  # FAISS pads with -1, and row -1 would be a real item
