"""Plain dense search: cosine of the query's vector with each item's. What a shop gets from an encoder alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ...profiling.encoders.encoder import Encoder
from ...profiling.errors import ConfigError
from ...profiling.log import Requests
from ...retrieval.scorer import TrainingSet


class DenseConfig(BaseModel):
    """Plain dense search has no options: the encoder is chosen for the whole run."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, eq=False)
class DenseModel:
    """An encoder for queries and the unit vectors of the items, (n_items, d)."""

    encoder: Encoder
    vectors: NDArray[np.float32]

    def scores(self, requests: Requests) -> NDArray[np.float32]:
        """Cosine of query and item, (n_requests, n_items); zeros without text."""
        if not requests.texts:
            return np.zeros((len(requests), len(self.vectors)), dtype=np.float32)
        return self.encoder.encode(list(requests.texts), "query") @ self.vectors.T


def fit_dense(
    train: TrainingSet,
    config: DenseConfig | None = None,
    *,
    rng: np.random.Generator | None = None,
    encoder: Encoder | None = None,
) -> DenseModel:
    """Nothing is learned.

    Raises:
        ConfigError: no encoder, or no item vectors.
    """
    if encoder is None or train.vectors is None:
        raise ConfigError("dense: needs an encoder and item vectors, got none; name an encoder (--encoder)")
    return DenseModel(encoder, train.vectors)
