"""What every index of item vectors offers, and the checks they share.

Covers the interface, answers of a batch, and the refusal of matrices and queries that make no sense. Which kinds there
are is `kinds`' to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...profiling.errors import ArtefactError, ExtraMissingError

NO_ROW = int(np.iinfo(np.int64).max)
"""Fills the rows of a batch that found fewer than ``k``: no array is that long, so using it fails at once."""

_PIECE = 8_192  # rows looked at in one go

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Found:
    """Answers to a batch of queries.

    Attributes:
        rows: best first, ties by row, (n, k) int64; `NO_ROW` from ``count`` on
        scores: their inner products, (n, k) float32; -inf from ``count`` on
        count: how many were found for each query, (n,) int64
    """

    rows: Rows
    scores: Scores
    count: NDArray[np.int64]

    def one(self, query: int) -> tuple[Rows, Scores]:
        """Rows and scores found for the query at this place, without filling."""
        m = int(self.count[query])
        return self.rows[query, :m], self.scores[query, :m]


class ItemIndex(Protocol):
    """An index over item vectors, whatever it is made of.

    Attributes:
        kind: a key of `INDEXES`
        n_items, dim: shape of the indexed matrix
        resident_bytes: memory that its own structures hold, without the caller's matrix
    """

    @property
    def kind(self) -> str:
        """A key of `INDEXES`."""
        ...

    @property
    def n_items(self) -> int:
        """Rows of the indexed matrix."""
        ...

    @property
    def dim(self) -> int:
        """Width of the indexed matrix."""
        ...

    @property
    def resident_bytes(self) -> int:
        """Memory of its own structures, without the caller's matrix."""
        ...

    def slack(self, query: NDArray[np.float32]) -> float | None:
        """How far a score of this query (dim,) can be from the exact inner product.

        No row is missed that is better by more. None = approximate, no bound.
        """
        ...

    def search(self, query: NDArray[np.float32], k: int, *, allowed: Mask | None = None) -> tuple[Rows, Scores]:
        """The ``k`` rows with the largest inner product, best first, ties by row.

        Args:
            query: (dim,) float32
            k: rows wanted, >= 1; fewer come back where fewer are allowed
            allowed: rows that may come back, (n_items,); None for all

        Returns:
            rows (m,) int64 and their inner products (m,), m <= k

        Raises:
            ValueError: k < 1, the query or ``allowed`` has another width, or the query is not finite.
        """
        ...

    def search_batch(self, queries: NDArray[np.float32], k: int, *, allowed: Mask | None = None) -> Found:
        """As `search`, for many queries with the same ``allowed``, (n, dim)."""
        ...


def check_matrix(matrix: NDArray[np.float32], *, kind: str, largest: float = float(np.finfo(np.float32).max)) -> None:
    """Refuse what cannot be indexed.

    Args:
        matrix: item vectors
        kind: for the message
        largest: the largest number, either sign, that the kind can hold

    Raises:
        ArtefactError: no row, no dimension, or numbers that are not finite or too large.
    """
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ArtefactError(f"an index needs at least one row and one dimension, got shape {matrix.shape}")
    for start in range(0, len(matrix), _PIECE):  # the masks of a large matrix are large too
        fits = np.abs(matrix[start : start + _PIECE]) <= largest  # false for NaN
        if not fits.all():
            bad = start + int(np.argmin(fits.all(axis=1)))
            raise ArtefactError(f"item vectors must be finite numbers that {kind} can hold; row {bad} is not")


def check_queries(queries: NDArray[np.float32], dim: int, k: int) -> NDArray[np.float32]:
    """The queries as FAISS wants them, (n, dim) float32.

    Raises:
        ValueError: another width, not finite, or k < 1.
    """
    if queries.ndim != 2 or queries.shape[1] != dim or not np.isfinite(queries).all():
        raise ValueError(f"query must be {dim} finite numbers, got shape {queries.shape[1:]}")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return np.ascontiguousarray(queries, dtype=np.float32)


def check_allowed(allowed: Mask | None, n_items: int) -> None:
    """Refuse a mask of another catalogue.

    Raises:
        ValueError: another length or not of booleans.
    """
    if allowed is not None and (allowed.shape != (n_items,) or allowed.dtype != np.bool_):
        raise ValueError(
            f"allowed must be {n_items} booleans, one an item, got {allowed.dtype} of shape {allowed.shape}"
        )


def best_of(rows: Rows, scores: Scores, k: int) -> Found:
    """The best ``k`` of candidates by query, ties by row.

    Args:
        rows: candidates, (n, m); a negative one, or `NO_ROW`, is none
        scores: theirs, (n, m)
        k: wanted

    >>> best_of(np.array([[4, 2, -1]]), np.array([[1.0, 1.0, 9.0]], np.float32), 2).rows.tolist()
    [[2, 4]]
    """
    width = rows.shape[1]
    if width == k and (rows >= 0).all() and (scores[:, 1:] < scores[:, :-1]).all() and (rows != NO_ROW).all():
        return Found(rows, scores, np.full(len(rows), k, dtype=np.int64))  # in order already, as is usual
    none = (rows < 0) | (rows == NO_ROW)
    rows, scores = np.where(none, NO_ROW, rows), np.where(none, -np.inf, scores).astype(np.float32)
    if width < k:
        more = ((0, 0), (0, k - width))
        rows = np.pad(rows, more, constant_values=NO_ROW)
        scores = np.pad(scores, more, constant_values=-np.inf)
    order = np.lexsort((rows, -scores), axis=1)[:, :k]
    line = np.arange(len(rows))[:, None]
    rows, scores = rows[line, order], scores[line, order]
    return Found(rows, scores, np.count_nonzero(rows != NO_ROW, axis=1).astype(np.int64))


def import_faiss() -> Any:
    """FAISS.

    Raises:
        ExtraMissingError: it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ExtraMissingError("FAISS is not installed; run: pip install 'tasteprint[cpu]' (or [gpu])") from error
    return faiss
