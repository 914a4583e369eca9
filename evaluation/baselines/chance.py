"""Random scores: what a metric is worth for nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ...profiling.log import Requests
from ...retrieval.scorer import TrainingSet


class RandomConfig(BaseModel):
    """Random scores have no options."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, eq=False)
class RandomModel:
    """Uniform scores; the same request gets the same scores in any batch."""

    seed: int
    n_items: int

    def scores(self, requests: Requests) -> NDArray[np.float32]:
        """Uniform in [0, 1), (n_requests, n_items)."""
        rows = [self._row(*key) for key in self._keys(requests)]
        return np.stack(rows) if rows else np.zeros((0, self.n_items), dtype=np.float32)

    def _keys(self, requests: Requests) -> list[tuple[int, ...]]:
        """What tells one request from another: its place in the log, or its words."""
        texts = requests.texts or ("",) * len(requests)
        return [
            (self.seed, int(start), int(stop), *text.encode())
            for start, stop, text in zip(requests.start, requests.stop, texts, strict=True)
        ]

    def _row(self, *key: int) -> NDArray[np.float32]:
        return np.random.default_rng(key).random(self.n_items, dtype=np.float32)


def fit_random(
    train: TrainingSet, config: RandomConfig | None = None, *, rng: np.random.Generator | None = None
) -> RandomModel:
    """Learn nothing; ``rng`` (seed 0 without one) decides the scores."""
    rng = np.random.default_rng(0) if rng is None else rng
    return RandomModel(int(rng.integers(2**32)), train.log.n_items)
