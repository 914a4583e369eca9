"""An index with changes: any index of the stage, rows of it that are gone, and a few added rows searched exactly.

A view is immutable and an index itself: its rows are the base's, then the added ones in the order they came, so ties
fall as in an index built anew from the rows that are left, in this order. Ids, the disk and building the base anew are
`live_index`'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...profiling.errors import ArtefactError
from .types import NO_ROW, Found, ItemIndex, Mask, Rows, Scores, best_of, check_allowed, check_matrix, check_queries

LARGEST = 65_504.0
"""Largest number a vector may hold: what every kind of index can."""

_ROUNDING = 1e-6  # of a float32 inner product, relative to the longest row
_LEAST_ROOM = 64
_FEW_GONE, _SPARE = 0.05, 8
_CELLS = 1 << 24  # scores of added rows held at once


class _Growing:
    """Rows in an array with room at its end; who appends after the last row writes into the room."""

    def __init__(self, array: NDArray[np.float32], used: int) -> None:
        self.array, self._used = array, used

    def append(self, rows: NDArray[np.float32], after: int) -> _Growing:
        """The first ``after`` rows followed by these; views of what was there before stay as they are."""
        wanted = after + len(rows)
        if after == self._used and wanted <= len(self.array):
            self.array[after:wanted] = rows
            self._used = wanted
            return self
        array = np.empty((max(2 * wanted, _LEAST_ROOM), self.array.shape[1]), dtype=np.float32)
        array[:after] = self.array[:after]
        array[after:wanted] = rows
        return _Growing(array, wanted)


@dataclass(frozen=True, eq=False)
class LiveView:
    """A base and what changed since; made by `live_view`.

    Attributes:
        base: what was built; None where there was nothing yet
        dim: width of the rows
        alive: rows that are still there, base rows then added ones, (n_items,)
        room: the added rows
        longest: length of the longest added row so far
    """

    base: ItemIndex | None
    dim: int
    alive: Mask
    room: _Growing
    longest: float = 0.0

    @property
    def kind(self) -> str:
        """Kind of the base; ``flat`` where there is none."""
        return "flat" if self.base is None else self.base.kind

    @property
    def n_base(self) -> int:
        """Rows of the base, those that are gone included."""
        return 0 if self.base is None else self.base.n_items

    @property
    def n_items(self) -> int:
        """Rows altogether, those that are gone included: what ``allowed`` is aligned with."""
        return len(self.alive)

    @property
    def n_alive(self) -> int:
        """Rows that can be found."""
        return int(np.count_nonzero(self.alive))

    @property
    def added(self) -> NDArray[np.float32]:
        """The added rows, those that are gone included, (n_added, dim)."""
        return self.room.array[: self.n_items - self.n_base]

    @property
    def resident_bytes(self) -> int:
        """Bytes of the base, the added rows with their room, and the marks of what is gone."""
        base = 0 if self.base is None else self.base.resident_bytes
        return base + self.room.array.nbytes + self.alive.nbytes

    def slack(self, query: NDArray[np.float32]) -> float | None:
        """See `ItemIndex.slack`."""
        base = 0.0 if self.base is None else self.base.slack(query)
        return None if base is None else max(base, _ROUNDING * self.longest * float(np.linalg.norm(query)))

    def search(self, query: NDArray[np.float32], k: int, *, allowed: Mask | None = None) -> tuple[Rows, Scores]:
        """The ``k`` rows with the largest inner product that are there; see `ItemIndex.search`."""
        return self.search_batch(query[None], k, allowed=allowed).one(0)

    def search_batch(self, queries: NDArray[np.float32], k: int, *, allowed: Mask | None = None) -> Found:
        """As `search`, for many queries."""
        wide = check_queries(queries, self.dim, k)
        check_allowed(allowed, self.n_items)
        may = self.alive if allowed is None else self.alive & allowed
        n_base = self.n_base
        none = np.zeros((len(wide), 0))
        rows, scores = none.astype(np.int64), none.astype(np.float32)
        if self.base is not None and may[:n_base].any():
            found = _of_base(self.base, wide, k, may[:n_base], wanted=allowed is None)
            rows, scores = found.rows, found.scores
        if may[n_base:].any():
            near, near_scores = _best_added(wide, self.added, may[n_base:], k)
            rows = np.hstack([rows, near + n_base])
            scores = np.hstack([scores, near_scores])
        return best_of(rows, scores, k)

    def changed(self, *, gone: Rows | None = None, vectors: NDArray[np.float32] | None = None) -> LiveView:
        """The view after some rows have gone and others were added at the end; this one stays as it is.

        Args:
            gone: rows that are not to be found any more
            vectors: rows to add, (n, dim) float32

        Raises:
            ArtefactError: vectors of another width, or numbers that are not finite or beyond `LARGEST`.
        """
        alive, room, longest = self.alive.copy(), self.room, self.longest
        if vectors is not None and len(vectors):
            check_vectors(vectors, self.dim)
            alive = np.concatenate([alive, np.ones(len(vectors), dtype=bool)])
            room = room.append(np.asarray(vectors, dtype=np.float32), self.n_items - self.n_base)
            longest = max(longest, float(np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64).max())))
        if gone is not None:
            alive[gone] = False
        return replace(self, alive=alive, room=room, longest=longest)


def live_view(base: ItemIndex | None, *, dim: int | None = None) -> LiveView:
    """A view of an index without any change; of nothing at all where ``base`` is None, then ``dim`` says the width."""
    width = base.dim if base is not None else dim
    if width is None or width < 1:
        raise ArtefactError(f"dim must be at least 1 where there is no base, got {dim}")
    alive = np.ones(0 if base is None else base.n_items, dtype=bool)
    return LiveView(base, width, alive, _Growing(np.empty((0, width), dtype=np.float32), 0))


def check_vectors(vectors: NDArray[np.float32], dim: int) -> None:
    """Refuse vectors that cannot be added.

    Raises:
        ArtefactError: they are not (n, dim), or hold NaN, infinity or numbers beyond `LARGEST`.
    """
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise ArtefactError(f"vectors must be (n, {dim}) like those that are there, got shape {vectors.shape}")
    if len(vectors):
        check_matrix(vectors, kind="a live index", largest=LARGEST)


def _of_base(base: ItemIndex, queries: NDArray[np.float32], k: int, may: Mask, *, wanted: bool) -> Found:
    """The best ``k`` rows of the base that may be found; ``wanted``: all but the rows that are gone.

    Where few rows are gone, some more than ``k`` are asked for and those that are gone passed over, which costs less
    than telling the index of every row; queries that get fewer than ``k`` so are asked again with all that is known.
    """
    gone = base.n_items - int(np.count_nonzero(may))
    if not gone:
        return base.search_batch(queries, k)
    if not wanted or gone > _FEW_GONE * base.n_items:
        return base.search_batch(queries, k, allowed=may)
    width = min(base.n_items, k + _SPARE + math.ceil(2 * k * gone / base.n_items))
    found = base.search_batch(queries, width)
    there = found.rows != NO_ROW
    there[there] = may[found.rows[there]]
    best = best_of(np.where(there, found.rows, NO_ROW), found.scores, k)
    short = np.flatnonzero(best.count < min(k, base.n_items - gone))
    if not len(short):
        return best
    again = base.search_batch(queries[short], k, allowed=may)
    best.rows[short], best.scores[short], best.count[short] = again.rows, again.scores, again.count
    return best


def _best_added(
    queries: NDArray[np.float32], added: NDArray[np.float32], may: Mask, k: int
) -> tuple[Rows, NDArray[np.float32]]:
    """The best of the added rows that may be found, by query, unordered: as many as there are up to ``k``."""
    some = np.flatnonzero(may)
    width = min(k, len(some))
    whole = 2 * len(some) > len(added)  # most may be found: cheaper to score the others too than to copy these together
    places = np.arange(len(added)) if whole else some
    vectors = added if whole else added[some]
    rows = np.empty((len(queries), width), dtype=np.int64)
    scores = np.empty((len(queries), width), dtype=np.float32)
    step = max(1, _CELLS // len(places))
    for start in range(0, len(queries), step):
        part = queries[start : start + step] @ vectors.T
        if whole and len(some) < len(added):
            part[:, ~may] = -np.inf
        place = _first_of_ties(part, width)
        rows[start : start + step] = places[place]
        scores[start : start + step] = np.take_along_axis(part, place, 1)
    return rows, scores


def _first_of_ties(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Places of the ``k`` largest scores of each row, the first of equals, (n, k), unordered."""
    if k == scores.shape[1]:
        return np.broadcast_to(np.arange(k), scores.shape)
    place = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    edge = np.take_along_axis(scores, place, 1).min(axis=1)
    for row in np.flatnonzero((scores == edge[:, None]).sum(axis=1) > 1):
        above = np.flatnonzero(scores[row] > edge[row])
        place[row] = np.concatenate([above, np.flatnonzero(scores[row] == edge[row])[: k - len(above)]])
    return place
