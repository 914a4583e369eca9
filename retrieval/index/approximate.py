"""Indexes that look at part of the rows: candidates from compact codes, then their exact order.

Covers what a kind of candidates does not have to know: checks, threads, how hard to search by what the query weighs,
the exact way where a filter leaves few rows or candidates fall short, and rescoring. Whatever the kind, a filtered
search returns ``k`` allowed rows where there are so many, and only allowed ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .sketch import Sketch
from .subset import best_among, one_thread, rescore
from .types import Found, Mask, Rows, Scores, best_of, check_allowed, check_queries, import_faiss

_CHUNK = 8  # queries a thread takes at least
_SHARED = 4  # times as many rows are compared, all of them, where a batch shares reading them
_RARE = 0.02  # share of the rows up to which the sketch chooses
_LIKELY = 600  # rows it chooses for up to ten wanted


class Scanner(Protocol):
    """What finds candidates: groups of an IVF index, the graph of HNSW, or anything else that takes an effort."""

    @property
    def most(self) -> int:
        """The largest effort that changes anything."""
        ...

    @property
    def resident_bytes(self) -> int:
        """Memory it holds."""
        ...

    def scan(
        self, queries: NDArray[np.float32], n: int, effort: int, allowed: Mask | None = None
    ) -> tuple[Rows, Scores]:
        """Up to ``n`` candidates of each query and their scores, both (n_queries, n); row -1 is none."""
        ...


@dataclass(frozen=True)
class Efforts:
    """How hard to search, by which blocks of the vector a query weighs: each mix of blocks is a geometry of its own.

    Attributes:
        widths: of the blocks, adding up to the dimensions
        by_blocks: bit set of the weighed blocks (bit 0 = the first) -> effort
        otherwise: effort of any other mix
    """

    widths: tuple[int, ...]
    by_blocks: Mapping[int, int]
    otherwise: int

    def of(self, queries: NDArray[np.float32]) -> NDArray[np.int64]:
        """Effort of each query, (n_queries,)."""
        if not self.by_blocks:
            return np.full(len(queries), self.otherwise, dtype=np.int64)
        mixes = block_mix(queries, self.widths)
        return np.array([self.by_blocks.get(mix, self.otherwise) for mix in mixes.tolist()], dtype=np.int64)


def block_mix(queries: NDArray[np.float32], widths: tuple[int, ...]) -> NDArray[np.int64]:
    """Bit set of the blocks that each query weighs, (n_queries,).

    >>> block_mix(np.array([[1, 0, 0], [0, 0, 2], [1, 1, 1]], np.float32), (2, 1)).tolist()
    [1, 2, 3]
    """
    starts = np.r_[0, np.cumsum(widths)[:-1]]
    weighed = np.logical_or.reduceat(queries != 0, starts, axis=1)
    return weighed @ (1 << np.arange(len(widths), dtype=np.int64))


@dataclass(frozen=True, eq=False)
class ApproximateIndex:
    """Candidates of a scanner, in their exact order.

    Attributes:
        kind: a key of `INDEXES`
        scanner: finds candidates
        vectors: the indexed rows, (n_items, dim) float32; the caller's own, or mapped from a file: none of it is copied
        efforts: how hard to search
        refine: candidates rescored exactly per row wanted; 0 = the scanner's scores stand
        exact_rows: where so few rows are allowed, all of them are compared, exactly
        threads: that share a batch
        sketch: chooses whom to compare where more rows than these are allowed, yet few of all; None = none
    """

    kind: str
    scanner: Scanner
    vectors: NDArray[np.float32]
    efforts: Efforts
    refine: int
    exact_rows: int
    threads: int = 1
    pool: ThreadPoolExecutor | None = field(default=None, repr=False)
    sketch: Sketch | None = field(default=None, repr=False)

    @property
    def n_items(self) -> int:
        """Rows."""
        return len(self.vectors)

    @property
    def dim(self) -> int:
        """Width of a row."""
        return int(self.vectors.shape[1])

    def slack(self, query: NDArray[np.float32]) -> None:
        """None: rows can be missed."""
        return None

    @property
    def resident_bytes(self) -> int:
        """Bytes of the scanner's structures and the sketch; ``vectors`` are the caller's."""
        return self.scanner.resident_bytes + (0 if self.sketch is None else self.sketch.bits.nbytes)

    def tuned(self, *, efforts: Efforts | None = None, refine: int | None = None) -> ApproximateIndex:
        """The same index, searched otherwise."""
        return replace(
            self,
            efforts=self.efforts if efforts is None else efforts,
            refine=self.refine if refine is None else refine,
        )

    def search(self, query: NDArray[np.float32], k: int, *, allowed: Mask | None = None) -> tuple[Rows, Scores]:
        """The ``k`` rows with the largest inner product; see `ItemIndex.search`."""
        return self.search_batch(query[None], k, allowed=allowed).one(0)

    def search_batch(self, queries: NDArray[np.float32], k: int, *, allowed: Mask | None = None) -> Found:
        """As `search`, for many queries."""
        wide = check_queries(queries, self.dim, k)
        check_allowed(allowed, self.n_items)
        if self.pool is None or len(wide) < 2 * _CHUNK:
            with one_thread():
                return self._search(wide, k, allowed)
        pieces = np.array_split(wide, min(self.threads, len(wide) // _CHUNK))
        found = list(self.pool.map(partial(self._search, k=k, allowed=allowed), pieces))
        return _stacked(found)

    def _search(self, queries: NDArray[np.float32], k: int, allowed: Mask | None) -> Found:
        """One thread's part."""
        may = self.n_items if allowed is None else int(np.count_nonzero(allowed))
        few = self.exact_rows * (_SHARED if len(queries) >= 2 * _CHUNK else 1)
        if may <= max(k, 0 if allowed is None else few):
            return self._exactly(queries, k, allowed)
        if allowed is not None and self.sketch is not None and may <= _RARE * self.n_items:
            return self._sketched(self.sketch, queries, k, allowed)
        efforts = self.efforts.of(queries)
        if not len(queries):
            return best_of(np.zeros((0, 0), np.int64), np.zeros((0, 0), np.float32), k)
        if (efforts == efforts[0]).all():
            found = self._candidates(queries, k, int(efforts[0]), allowed)
        else:
            parts = [(efforts == one).nonzero()[0] for one in np.unique(efforts)]
            pieces = [self._candidates(queries[part], k, int(efforts[part[0]]), allowed) for part in parts]
            back = np.argsort(np.concatenate(parts))
            whole = _stacked(pieces)
            found = Found(whole.rows[back], whole.scores[back], whole.count[back])
        if found.count.min() >= min(k, may):
            return found
        short = np.flatnonzero(found.count < min(k, may))
        return _with(found, short, self._exactly(queries[short], k, allowed))

    def _candidates(self, queries: NDArray[np.float32], k: int, effort: int, allowed: Mask | None) -> Found:
        """The best of what the scanner finds."""
        n = min(self.n_items, k * max(self.refine, 1))
        rows, scores = self.scanner.scan(queries, n, effort, allowed)
        return rescore(self.vectors, rows, queries, k) if self.refine else best_of(rows, scores, k)

    def _sketched(self, sketch: Sketch, queries: NDArray[np.float32], k: int, allowed: Mask) -> Found:
        """The allowed rows whose signs suit a query best, compared exactly."""
        rows, n = np.flatnonzero(allowed), max(_LIKELY, _LIKELY // 10 * k)
        chosen = np.stack([sketch.likeliest(rows, query, n) for query in queries])
        return rescore(self.vectors, chosen, queries, k)

    def _exactly(self, queries: NDArray[np.float32], k: int, allowed: Mask | None) -> Found:
        """All allowed rows compared."""
        rows = np.arange(self.n_items) if allowed is None else np.flatnonzero(allowed)
        return best_among(self.vectors, rows, queries, k)


def search_pool(threads: int) -> ThreadPoolExecutor | None:
    """Threads for batches, each holding FAISS to itself; None for one."""
    if threads < 2:
        return None
    return ThreadPoolExecutor(threads, "index", initializer=import_faiss().omp_set_num_threads, initargs=(1,))


def _stacked(found: list[Found]) -> Found:
    """Answers to one batch after another."""
    rows, scores = np.vstack([f.rows for f in found]), np.vstack([f.scores for f in found])
    return Found(rows, scores, np.concatenate([f.count for f in found]))


def _with(found: Found, places: NDArray[np.intp], others: Found) -> Found:
    """Other answers at these places."""
    rows, scores, count = found.rows.copy(), found.scores.copy(), found.count.copy()
    rows[places], scores[places], count[places] = others.rows, others.scores, others.count
    return Found(rows, scores, count)
