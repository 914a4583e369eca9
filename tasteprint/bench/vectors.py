"""Vectors for benchmarks as large as wanted, drawn from a distribution that was fitted to real ones.

A mixture: k-means clusters of the real vectors, each with its share of them, its mean and the full covariance of its
members about it. Covers fitting and drawing; uniform noise, which flatters no index that groups rows and is like no
catalogue, is not offered. What the vectors are and who times what is `bench.index`' work.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..profiling.errors import ConfigError
from ..retrieval.index.types import import_faiss

_ROUNDS = 10


@dataclass(frozen=True, eq=False)
class VectorMixture:
    """A Gaussian mixture over vectors made of unit-length blocks.

    Attributes:
        means: of each cluster, (n_clusters, dim)
        residuals: real vectors less their cluster's mean, by cluster, (n_real, dim)
        start: members of cluster c are ``residuals[start[c]:start[c + 1]]``, (n_clusters + 1,)
        widths: of the blocks, which are scaled to length 1 after drawing
    """

    means: NDArray[np.float32]
    residuals: NDArray[np.float32]
    start: NDArray[np.int64]
    widths: tuple[int, ...]

    def draw(self, n: int, *, rng: np.random.Generator) -> NDArray[np.float32]:
        """``n`` new vectors in random order, (n, dim) float32.

        A draw of a cluster is its mean and a random combination of its members' residuals, which has just their
        covariance without forming it.
        """
        sizes = np.diff(self.start)
        counts = rng.multinomial(n, sizes / sizes.sum())
        place = rng.permutation(n)
        drawn = np.empty((n, self.means.shape[1]), dtype=np.float32)
        at = 0
        for cluster, count in enumerate(counts.tolist()):
            members = self.residuals[self.start[cluster] : self.start[cluster + 1]]
            mix = rng.standard_normal((count, len(members)), dtype=np.float32) / np.float32(len(members)) ** 0.5
            drawn[place[at : at + count]] = _unit_blocks(self.means[cluster] + mix @ members, self.widths)
            at += count
        return drawn


def fit_mixture(
    vectors: NDArray[np.float32], widths: tuple[int, ...], *, n_clusters: int, seed: int = 0
) -> VectorMixture:
    """The mixture of ``vectors``, (n_real, dim), made of blocks of these ``widths``.

    Args:
        vectors: real ones, at least two a cluster
        widths: of the blocks, adding up to ``dim``
        n_clusters: groups to find
        seed: of k-means

    Raises:
        ConfigError: too few vectors, or widths that do not add up.
        ExtraMissingError: FAISS is not installed.
    """
    if len(vectors) < 2 * n_clusters:
        raise ConfigError(f"n_clusters must be at most half of the {len(vectors)} vectors, got {n_clusters}")
    if sum(widths) != vectors.shape[1]:
        raise ConfigError(f"widths must add up to {vectors.shape[1]}, got {widths}")
    faiss = import_faiss()
    means = faiss.Kmeans(vectors.shape[1], n_clusters, niter=_ROUNDS, seed=seed + 1)
    means.train(np.ascontiguousarray(vectors, dtype=np.float32))
    of = means.index.search(vectors, 1)[1][:, 0]
    order = np.argsort(of, kind="stable")
    start = np.r_[0, np.cumsum(np.bincount(of, minlength=n_clusters))].astype(np.int64)
    own = np.zeros_like(means.centroids)
    np.add.at(own, of, vectors)
    own /= np.maximum(np.diff(start), 1)[:, None]
    return VectorMixture(own, (vectors - own[of])[order], start, widths)


def _unit_blocks(vectors: NDArray[np.float32], widths: tuple[int, ...]) -> NDArray[np.float32]:
    """Each block of each row at length 1; a block of zeros stays."""
    stops = np.cumsum(widths)
    blocks = []
    for start, stop in zip(np.r_[0, stops[:-1]], stops, strict=True):
        block = vectors[:, start:stop]
        blocks.append(block / np.maximum(np.linalg.norm(block, axis=1, keepdims=True), 1e-12))
    return np.hstack(blocks).astype(np.float32)
