"""SVD: histories projected onto the strongest directions of the user-item matrix.

Source: Cremonesi, Koren and Turrin, "Performance of recommender algorithms on top-N recommendation tasks", RecSys
2010 (PureSVD), with item columns scaled by popularity as in Nikolakopoulos et al., "EigenRec", 2019.
A request is folded in by its history: no user needs a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ...profiling.log import Requests
from ...retrieval.scorer import TrainingSet
from ...retrieval.sources.neighbours import popular_tie_break
from .matrices import DECAY, Counts, request_items, user_items


class SvdConfig(BaseModel):
    """Options of SVD."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    factors: int = Field(default=64, ge=1, description="directions kept; fewer where the matrix is smaller")
    popularity_power: float = Field(
        default=0.0, ge=-1, le=1, description="columns are scaled by popularity to this power"
    )
    counts: Counts = Field(default="binary", description="whether buying twice says more than once")
    decay: float = Field(default=1.0, gt=0, le=1, description=DECAY)


@dataclass(frozen=True, eq=False)
class SvdModel:
    """What folding in and scoring need.

    Attributes:
        basis: right singular vectors, (n_items, factors)
        scale: scale of each item's column, (n_items,)
        counts, decay: see `SvdConfig`
        tie_break: added to every score, (n_items,)
    """

    basis: NDArray[np.float32]
    scale: NDArray[np.float32]
    counts: Counts
    decay: float
    tie_break: NDArray[np.float32]

    def scores(self, requests: Requests) -> NDArray[np.float32]:
        """Scaled history projected on the basis, (n_requests, n_items)."""
        history = request_items(requests, self.counts, decay=self.decay) @ sp.diags(self.scale)
        return np.asarray((history @ self.basis) @ self.basis.T + self.tie_break, dtype=np.float32)


def fit_svd(train: TrainingSet, config: SvdConfig | None = None, *, rng: np.random.Generator | None = None) -> SvdModel:
    """Truncated SVD of the scaled user-item matrix; ``rng`` starts the iteration and hardly matters."""
    from scipy.sparse.linalg import svds

    config = config or SvdConfig()
    rng = np.random.default_rng(0) if rng is None else rng
    taken = user_items(train.log, config.counts)
    popular = np.maximum(np.asarray((taken > 0).sum(axis=0)).ravel(), 1)
    scale = (popular**config.popularity_power).astype(np.float32)
    factors = min(config.factors, min(taken.shape) - 1)
    if factors < 1 or not taken.nnz:
        return SvdModel(
            np.zeros((taken.shape[1], 1), dtype=np.float32),
            scale,
            config.counts,
            config.decay,
            popular_tie_break(train),
        )
    start = rng.standard_normal(min(taken.shape)).astype(np.float32)
    _, _, right = svds((taken @ sp.diags(scale)).tocsr(), k=factors, v0=start)
    return SvdModel(
        np.ascontiguousarray(right.T, dtype=np.float32), scale, config.counts, config.decay, popular_tie_break(train)
    )
