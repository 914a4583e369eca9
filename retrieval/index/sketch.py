"""Signs of the rows about their mean, one bit a dimension: which of some thousand rows are worth comparing exactly.

For filters that leave too few rows for a search by groups, and too many to compare all: their signs are compared with
the query's, each weighted by how much that dimension counts for the query, in bit planes, by counting bits. A bit a
dimension is what RaBitQ keeps too (Gao and Long, SIGMOD 2024); no rotation and no correction here, because what is
found is rescored exactly. Rows are kept in the catalogue's order, so picking some is one lookup.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .types import Rows

_PIECE = 1 << 16
_PLANES = 2
_SEEN = 1 << 16


@dataclass(frozen=True, eq=False)
class Sketch:
    """One bit a number.

    Attributes:
        bits: whether each number is above its dimension's mean, 64 to a word, (n_items, n_words) uint64
        centre: mean of each dimension, (dim,)
        spread: standard deviation of each dimension, (dim,)
    """

    bits: NDArray[np.uint64]
    centre: NDArray[np.float32]
    spread: NDArray[np.float32]

    def likeliest(self, rows: Rows, query: NDArray[np.float32], n: int) -> Rows:
        """The ``n`` of these rows whose signs suit the query best, in no order.

        Args:
            rows: to choose from, (m,)
            query: (dim,) float32
            n: rows wanted; all come back where there are no more
        """
        if len(rows) <= n:
            return rows
        weight = np.abs(query) * self.spread
        most = (1 << _PLANES) - 1
        level = np.minimum(weight / max(float(weight.max()), 1e-30) * (most + 1), most).astype(np.int64)
        words = np.flatnonzero(_packed(level[None] > 0)[0])  # blocks that the query does not weigh are not read
        taken = np.ascontiguousarray(np.take(self.bits, rows, axis=0).T[words])  # words first: sums over rows are long
        taken ^= _packed((query > 0)[None])[0][words, None]
        off = np.zeros(len(rows), dtype=np.uint16)
        for plane in range(_PLANES):
            counted = _packed((level >> plane & 1).astype(np.bool_)[None])[0][words, None]
            off += np.bitwise_count(taken & counted).sum(axis=0, dtype=np.uint16) << np.uint16(plane)
        return rows[np.argpartition(off, n - 1)[:n]]


def make_sketch(vectors: NDArray[np.float32]) -> Sketch:
    """The signs of ``vectors``, (n_items, dim)."""
    some = np.asarray(vectors[:: max(1, len(vectors) // _SEEN)], dtype=np.float32)
    centre, spread = some.mean(axis=0), some.std(axis=0)
    pieces = [_packed(vectors[start : start + _PIECE] > centre) for start in range(0, len(vectors), _PIECE)]
    return Sketch(np.vstack(pieces), centre, spread)


def _packed(flags: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Booleans (n, dim) as words of 64, (n, n_words); the last is filled with zeros."""
    octets = np.packbits(flags, axis=1)
    octets = np.pad(octets, ((0, 0), (0, -octets.shape[1] % 8)))
    return np.ascontiguousarray(octets).view(np.uint64)
