"""Axes: catalogue columns as vectors whose inner products say how alike two items are in that respect.

Whitened text, pseudo-random vectors of names, bands of numbers. Which axes make which block is `blocks`' to say.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Whitening:
    """What `whiten` learned of a catalogue's text vectors, for texts that come later.

    Attributes:
        mean: of the texts, (d,) float32
        scale: axes divided by their standard deviation, (d, width) float32; zeros where there was nothing to learn from
    """

    mean: Float
    scale: Float

    def rows(self, vectors: Float) -> Float:
        """These vectors whitened, unit rows, (n, width); zero rows stay zero."""
        first, group = distinct_rows(vectors)
        white = (vectors[first] - self.mean) @ self.scale
        white[np.linalg.norm(vectors[first], axis=1) == 0] = 0.0
        return unit_rows(white)[group]


def fit_whitening(vectors: Float, dim: int) -> Whitening:
    """Learn the ``dim`` strongest axes of text vectors, (n, d); fewer where the texts have no more.

    Whitening takes away what all texts of a catalogue share, which otherwise dominates cosines
    (Su et al., "Whitening sentence representations", 2021).
    """
    width = vectors.shape[1]
    nothing = Whitening(np.zeros(width, dtype=np.float32), np.zeros((width, 1), dtype=np.float32))
    known = np.linalg.norm(vectors, axis=1) > 0
    if known.sum() < 2:
        return nothing
    mean = vectors[known].mean(axis=0, dtype=np.float64)
    covariance = np.cov(vectors[known].astype(np.float64), rowvar=False).reshape(width, -1)
    variance, axes = np.linalg.eigh(covariance)
    order = np.argsort(-variance)[:dim]
    order = order[variance[order] > max(1e-10 * float(variance.max()), 1e-12)]  # below is rounding, not meaning
    if not len(order):
        return nothing
    scale = axes[:, order] / np.sqrt(variance[order])
    return Whitening(mean.astype(np.float32), scale.astype(np.float32))


def whiten(vectors: Float, dim: int) -> Float:
    """PCA-whitened vectors scaled to unit length, (n, min(dim, rank)) or (n, 1) of zeros; zero rows stay zero."""
    return fit_whitening(vectors, dim).rows(vectors)


def distinct_rows(matrix: Float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that are equal to the bit, such as the vectors of items with one text.

    Returns:
        first: a row of each group, ascending, (n_distinct,)
        group: the group of each row, (n,): ``matrix[first][group]`` equals ``matrix``

    >>> first, group = distinct_rows(np.array([[1, 2], [3, 4], [1, 2]], dtype=np.float32))
    >>> first.tolist(), group.tolist()
    ([0, 1], [0, 1, 0])
    """
    seen: dict[bytes, int] = {}
    rows = np.ascontiguousarray(matrix, dtype=np.float32)
    group = [seen.setdefault(hashlib.blake2b(row.tobytes(), digest_size=16).digest(), len(seen)) for row in rows]
    codes = np.array(group, dtype=np.int64)
    first = np.full(len(seen), len(rows), dtype=np.int64)
    np.minimum.at(first, codes, np.arange(len(rows)))
    return first, codes


def unit_rows(rows: NDArray[np.floating]) -> Float:
    """Rows scaled to unit length; rows shorter than 1e-12 become zero."""
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(norm > 1e-12, rows / np.maximum(norm, 1e-12), 0.0).astype(np.float32)


def name_axes(names: pd.Series, dim: int) -> Float:
    """A fixed pseudo-random unit vector for each distinct name, zeros for null, (n, dim).

    Different names are nearly orthogonal (inner products of size ``dim ** -.5``), so averages of these vectors are
    a compressed histogram of names (Johnson and Lindenstrauss, 1984). The same name has the same vector in every run.
    """
    code, distinct = pd.factorize(names.to_numpy(object))
    table = np.zeros((len(distinct) + 1, dim), dtype=np.float32)  # the last row serves code -1, null
    for row, name in enumerate(distinct):
        seed = int.from_bytes(hashlib.blake2b(str(name).encode(), digest_size=8).digest(), "little")
        table[row] = np.random.default_rng(seed).standard_normal(dim)
    return unit_rows(table)[code]


def level_axes(values: NDArray[np.float64], levels: int, *, among: NDArray[np.float64] | None = None) -> Float:
    """Which quantile band of ``among`` a value lies in, shared by its two nearest bands, (n, levels).

    Args:
        values: NaN where unknown, which has no band, (n,)
        levels: number of bands
        among: whose quantiles, ascending and finite; None = those of ``values``
    """
    out = np.zeros((len(values), levels), dtype=np.float32)
    known = np.isfinite(values)
    ordered = np.sort(values[known]) if among is None else among
    if not known.any() or not len(ordered):
        return out
    rank = (np.searchsorted(ordered, values[known], "left") + np.searchsorted(ordered, values[known], "right")) / 2
    place = np.clip(rank / len(ordered) * levels - 0.5, 0, levels - 1)
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, levels - 1)
    rows = np.flatnonzero(known)
    out[rows, low] += (1 - (place - low)).astype(np.float32)
    out[rows, high] += (place - low).astype(np.float32)
    return unit_rows(out)
