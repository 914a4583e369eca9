"""EASE: the item-item weights that best rebuild every user's items from their other items, in closed form.

Source: Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019, equation 8. The closed form inverts an
n x n matrix, so a larger catalogue is cut to its ``max_items`` most popular items; the others score 0. At the default
of 12,500 items that takes 2 GB and about 25 s on one core, growing with the square and the cube.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ...profiling.errors import ConfigError
from ...profiling.log import Requests
from ...retrieval.scorer import TrainingSet
from ...retrieval.sources.neighbours import popular_tie_break
from .matrices import DECAY, Counts, request_items, user_items


class EaseConfig(BaseModel):
    """Options of EASE."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ridge: float = Field(default=50.0, gt=0, description="L2 penalty, lambda of the paper; larger for busier shops")
    max_items: int = Field(default=12_500, ge=1, le=40_000, description="most popular items that take part")
    counts: Counts = Field(default="binary", description="whether buying twice says more than once")
    decay: float = Field(default=1.0, gt=0, le=1, description=DECAY)


@dataclass(frozen=True, eq=False)
class EaseModel:
    """Item-item weights over some of the catalogue.

    Attributes:
        weights: from a history item (row) to a candidate (column), diagonal 0, (n_kept, n_kept)
        kept: item row of each of them, ascending, (n_kept,)
        counts, decay: see `EaseConfig`
        tie_break: added to every score, (n_items,)
    """

    weights: NDArray[np.float32]
    kept: NDArray[np.int64]
    counts: Counts
    decay: float
    tie_break: NDArray[np.float32]

    def scores(self, requests: Requests) -> NDArray[np.float32]:
        """History times weights, (n_requests, n_items); only the tie-break for items that were cut."""
        history = request_items(requests, self.counts, decay=self.decay)[:, self.kept]
        scores = np.zeros((len(requests), requests.log.n_items), dtype=np.float32)
        scores[:, self.kept] = history @ self.weights
        return scores + self.tie_break


def fit_ease(
    train: TrainingSet, config: EaseConfig | None = None, *, rng: np.random.Generator | None = None
) -> EaseModel:
    """Solve for the weights in float32 by Cholesky.

    Raises:
        ConfigError: ``ridge`` is too small for float32 (the matrix is not positive definite).
    """
    config = config or EaseConfig()
    taken = user_items(train.log, config.counts)
    popular = np.bincount(taken.indices, minlength=taken.shape[1])
    kept = np.sort(np.lexsort((np.arange(len(popular)), -popular))[: config.max_items])
    return EaseModel(
        ease_weights(taken[:, kept], config.ridge), kept, config.counts, config.decay, popular_tie_break(train)
    )


def ease_weights(taken: sp.csr_matrix, ridge: float) -> NDArray[np.float32]:
    """``-P / diag(P)`` by column with a zero diagonal, ``P = inv(X'X + ridge I)``, (n_items, n_items)."""
    from scipy.linalg import lapack

    n = taken.shape[1]
    gram = np.zeros((n, n), dtype=np.float32, order="F")
    columns = taken.T.tocsr()
    for first in range(0, n, 1000):
        gram[first : first + 1000] = (columns[first : first + 1000] @ taken).toarray()
    gram[np.diag_indices(n)] += ridge
    factor, failed = lapack.spotrf(gram, lower=1, overwrite_a=1)
    if failed:
        raise ConfigError(f"ridge: {ridge} leaves the item matrix singular in float32; use a larger one")
    inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)  # lower triangle only
    scale = np.ascontiguousarray(inverse.diagonal())
    weights = np.tril(inverse, -1)
    weights += weights.T.copy()
    weights /= -scale
    return np.ascontiguousarray(weights, dtype=np.float32)
