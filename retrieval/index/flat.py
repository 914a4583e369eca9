"""Exhaustive search: every query is compared with every row, in shards that the cores take in parallel.

Nothing is missed. ``flat-fp16`` halves the memory that has to be read, ``sq8`` and ``int8`` quarter it, and each says
how far rounding can move a score. ``int8`` rounds the query as well, so that FAISS multiplies whole numbers: the
quickest for a single query. Kinds that skip rows are `approximate`'s.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .types import Found, Mask, Rows, Scores, best_of, check_allowed, check_matrix, check_queries, import_faiss

FLAT: Mapping[str, str] = {"flat": "Flat", "flat-fp16": "SQfp16", "sq8": "SQ8", "int8": "SQ8_direct_signed"}
"""Kind of index -> what FAISS calls it."""

_SHARD_ROWS = 65_536
"""Rows worth a thread of their own: fewer are searched before another has woken up."""
_PIECE_ROWS = 4_096  # worked on in one go
_FP16_MOST = 65_504.0
_PRECISION: Mapping[str, float] = {"flat": 1e-6, "flat-fp16": 2.0**-11 + 1e-6, "sq8": 1e-6, "int8": 1e-6}
"""Relative rounding of a score, beside that of 8-bit codes, which is measured; rounding is to nearest."""
_WHOLE = 127
"""Largest whole number of ``int8``, either sign."""
_LANES = 32
"""Numbers that FAISS multiplies at once: rows of ``int8`` are filled up to a multiple."""


@dataclass(frozen=True, eq=False)
class WholeNumbers:
    """What the codes of ``int8`` stand for.

    Attributes:
        steps: what 1 is in each dimension, (dim,) float32
        longest: length of the longest row of codes
    """

    steps: NDArray[np.float32]
    longest: float

    def codes(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Item rows as whole numbers, (n, dim up to a multiple of `_LANES`)."""
        return _filled(np.rint(rows / self.steps))

    def asked(self, queries: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Queries as whole numbers, (n, as `codes`), and what a product of 1 with them is worth, (n, 1)."""
        wide = queries * self.steps
        worth = np.maximum(np.abs(wide).max(axis=1, keepdims=True, initial=0.0) / _WHOLE, np.float32(1e-30))
        return _filled(np.rint(wide / worth)), worth

    def off(self, query: NDArray[np.float32]) -> float:
        """How far rounding this query can move a score: by Cauchy and Schwarz."""
        codes, worth = self.asked(query[None])
        return float(np.linalg.norm(query * self.steps - codes[0, : len(query)] * worth[0])) * self.longest


@dataclass(frozen=True, eq=False)
class BlockIndex:
    """Exhaustive inner-product search over item rows.

    Attributes:
        kind: a key of `INDEXES`
        n_items, dim: shape of the indexed matrix
        shards: (first row, FAISS index) of consecutive row ranges, searched in parallel
        rounding: how far the codes can move an inner product with a query of length 1
        whole: what the codes stand for, of kind ``int8`` only
    """

    kind: str
    n_items: int
    dim: int
    shards: tuple[tuple[int, Any], ...]
    rounding: float
    pool: ThreadPoolExecutor = field(repr=False)
    whole: WholeNumbers | None = None

    @property
    def resident_bytes(self) -> int:
        """Bytes of the codes."""
        return sum(int(index.ntotal) * int(index.sa_code_size()) for _, index in self.shards)

    def slack(self, query: NDArray[np.float32]) -> float:
        """How far a score of this query can be from the exact one; see `ItemIndex.slack`."""
        codes = self.rounding * float(np.linalg.norm(query))
        return codes if self.whole is None else codes + self.whole.off(query)

    def search(self, query: NDArray[np.float32], k: int, *, allowed: Mask | None = None) -> tuple[Rows, Scores]:
        """The ``k`` rows with the largest inner product; see `ItemIndex.search`."""
        return self.search_batch(query[None], k, allowed=allowed).one(0)

    def search_batch(self, queries: NDArray[np.float32], k: int, *, allowed: Mask | None = None) -> Found:
        """As `search`, for many queries."""
        wide = check_queries(queries, self.dim, k)
        check_allowed(allowed, self.n_items)
        asked, worth = (wide, np.float32(1)) if self.whole is None else self.whole.asked(wide)
        if len(self.shards) > 1:
            found = list(self.pool.map(lambda shard: _search_shard(shard, asked, k, allowed), self.shards))
        else:
            search = _search_alone if len(wide) == 1 else _search_shard  # FAISS shares out a batch by itself
            found = [search(self.shards[0], asked, k, allowed)]
        return best_of(np.hstack([f[0] for f in found]), np.hstack([f[1] for f in found]) * worth, k)


def build_flat(matrix: NDArray[np.float32], *, kind: str) -> BlockIndex:
    """Index the rows of ``matrix``, (n_items, dim).

    Raises:
        ArtefactError: the matrix is empty, holds NaN, infinity or (``flat-fp16``) numbers beyond 65,504.
        ExtraMissingError: FAISS is not installed.
    """
    check_matrix(matrix, kind=kind, largest=_FP16_MOST if kind == "flat-fp16" else float(np.finfo(np.float32).max))
    n_items, dim = matrix.shape
    bounds = np.linspace(0, n_items, shard_count(n_items) + 1).astype(int)
    whole = _whole_numbers(matrix) if kind == "int8" else None
    shards, worst = [], 0.0
    for first, last in itertools.pairwise(bounds):
        rows = np.ascontiguousarray(matrix[first:last], dtype=np.float32)
        shard = _shard(rows, kind, whole)
        shards.append((int(first), shard))
        if kind in ("sq8", "int8"):
            worst = max(worst, _rounding(shard, rows, whole))
    return open_flat(kind, n_items, dim, tuple(shards), worst + _PRECISION[kind] * _longest(matrix), whole)


def open_flat(
    kind: str,
    n_items: int,
    dim: int,
    shards: tuple[tuple[int, Any], ...],
    rounding: float,
    whole: WholeNumbers | None = None,
) -> BlockIndex:
    """An index of these shards, ready to search; arguments as in `BlockIndex`."""
    # one thread a shard: FAISS's own team would only spin on the cores that the others need
    pool = ThreadPoolExecutor(len(shards), "index", initializer=import_faiss().omp_set_num_threads, initargs=(1,))
    return BlockIndex(kind, n_items, dim, shards, rounding, pool, whole)


def code_dims(kind: str, dim: int) -> int:
    """Dimensions of what FAISS holds for rows of ``dim``."""
    return -(-dim // _LANES) * _LANES if kind == "int8" else dim


def _shard(rows: NDArray[np.float32], kind: str, whole: WholeNumbers | None) -> Any:
    """A FAISS index of these rows."""
    faiss = import_faiss()
    if whole is None:
        shard = faiss.index_factory(rows.shape[1], FLAT[kind], faiss.METRIC_INNER_PRODUCT)
        shard.train(rows)
        shard.add(rows)
        return shard
    shard = faiss.index_factory(whole.codes(rows[:1]).shape[1], FLAT[kind], faiss.METRIC_INNER_PRODUCT)
    coded = np.empty((len(rows), shard.sa_code_size()), dtype=np.uint8)
    for start in range(0, len(rows), _PIECE_ROWS):  # in pieces: codes are four times as large before FAISS has them
        coded[start : start + _PIECE_ROWS] = shard.sa_encode(whole.codes(rows[start : start + _PIECE_ROWS]))
    shard.add_sa_codes(coded)
    return shard


def shard_count(n_items: int) -> int:
    """Parts that so many rows are searched in, each by a thread of its own."""
    return max(1, min(os.cpu_count() or 1, -(-n_items // _SHARD_ROWS)))


def _whole_numbers(matrix: NDArray[np.float32]) -> WholeNumbers:
    """Steps by the largest number of each dimension."""
    largest = np.max([np.abs(piece).max(axis=0) for piece in _pieces(matrix)], axis=0).astype(np.float32)
    whole = WholeNumbers(np.where(largest > 0, largest / np.float32(_WHOLE), np.float32(1)), 0.0)
    return replace(whole, longest=max(_longest(whole.codes(piece)) for piece in _pieces(matrix)))


def _filled(codes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows with zeros at their end, up to a multiple of `_LANES`."""
    out = np.zeros((len(codes), code_dims("int8", codes.shape[1])), dtype=np.float32)
    out[:, : codes.shape[1]] = codes
    return out


def _longest(rows: NDArray[np.float32]) -> float:
    """Length of the longest row."""
    return float(np.sqrt(max(np.einsum("nd,nd->n", p, p, dtype=np.float64).max() for p in _pieces(rows))))


def _rounding(shard: Any, rows: NDArray[np.float32], whole: WholeNumbers | None) -> float:
    """Largest distance between a row and what its code stands for: by Cauchy and Schwarz no score errs by more."""
    worst = 0.0
    for start in range(0, int(shard.ntotal), _PIECE_ROWS):
        coded = shard.reconstruct_n(start, min(_PIECE_ROWS, int(shard.ntotal) - start))
        coded = coded if whole is None else coded[:, : rows.shape[1]] * whole.steps
        worst = max(worst, float(np.linalg.norm(rows[start : start + len(coded)] - coded, axis=1).max()))
    return worst


def _pieces(matrix: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    return (matrix[start : start + _PIECE_ROWS] for start in range(0, len(matrix), _PIECE_ROWS))


def _search_alone(
    shard: tuple[int, Any], queries: NDArray[np.float32], k: int, allowed: Mask | None
) -> tuple[Rows, Scores]:
    """`_search_shard` on the caller's thread, whose own number of OpenMP threads stays as it was."""
    faiss = import_faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        return _search_shard(shard, queries, k, allowed)
    finally:
        faiss.omp_set_num_threads(before)


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
