"""Content only: items whose text resembles what the shopper took lately. No other shopper has a say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ...profiling.errors import ConfigError
from ...profiling.log import Requests
from ...retrieval.histories import history_matrix, steps_ago
from ...retrieval.scorer import TrainingSet


class ContentConfig(BaseModel):
    """Options of the content baseline."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decay: float = Field(default=0.5, gt=0, le=1, description="weight of a history event for each event of age")
    last: int = Field(default=50, ge=1, description="newest history events that count")
    whiten: bool = Field(default=False, description="decorrelate the item vectors first: damps what all texts share")


@dataclass(frozen=True, eq=False)
class ContentModel:
    """Unit item vectors, (n_items, d), and how history events are weighed."""

    vectors: NDArray[np.float32]
    decay: float
    last: int

    def scores(self, requests: Requests) -> NDArray[np.float32]:
        """Cosine of each item with the decayed mean of the history, (n_requests, n_items)."""
        request, event, age = steps_ago(requests, "sequence", last=self.last)
        weight = np.maximum(requests.log.weight[event], 0) * self.decay**age
        mean = history_matrix(requests, request, event, weight) @ self.vectors
        return np.asarray(unit(mean) @ self.vectors.T, dtype=np.float32)


def fit_content(
    train: TrainingSet, config: ContentConfig | None = None, *, rng: np.random.Generator | None = None
) -> ContentModel:
    """Take the catalogue's text vectors, whitened where asked for.

    Raises:
        ConfigError: the training set has no item vectors.
    """
    config = config or ContentConfig()
    if train.vectors is None:
        raise ConfigError("content: needs item vectors, got none; name an encoder (--encoder)")
    vectors = whitened(train.vectors) if config.whiten else unit(train.vectors)
    return ContentModel(vectors, config.decay, config.last)


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows of ``vectors`` (n, d) divided by their length; a zero row stays zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors, dtype=np.float32), where=length > 0)


def whitened(vectors: NDArray[np.float32], *, floor: float = 1e-3) -> NDArray[np.float32]:
    """Centred, rotated to the principal axes, each axis scaled to variance 1, then unit rows; zero rows stay zero.

    Axes with less than ``floor`` of the largest variance are scaled as if they had that much.
    """
    known = np.linalg.norm(vectors, axis=1) > 0
    out = np.zeros_like(vectors)
    if known.sum() < 2:
        return out
    centred = vectors[known].astype(np.float64)
    centred -= centred.mean(axis=0)
    variance, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    scale = 1 / np.sqrt(np.maximum(variance, floor * max(variance[-1], 1e-30)))
    out[known] = unit((centred @ axes) * scale)
    return out
