"""What everybody buys: popularity over all time, or lately.

Not personal; useful as a baseline, as a tie-break, and as what a shopper without history starts from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ...profiling.log import Requests
from ..scorer import TrainingSet

DAY_S = 86_400.0


class PopularConfig(BaseModel):
    """Popularity over all time has no options."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RecentPopularConfig(BaseModel):
    """How fast popularity is forgotten."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    half_life_days: float = Field(28.0, gt=0, description="age at which an event counts half")


@dataclass(frozen=True, eq=False)
class PopularModel:
    """One score an item, the same for every request; (n_items,) float32."""

    item_score: NDArray[np.float32]

    def scores(self, requests: Requests) -> NDArray[np.float32]:
        """The item scores, repeated, (n_requests, n_items)."""
        return np.broadcast_to(self.item_score, (len(requests), len(self.item_score)))


def fit_popular(
    train: TrainingSet, config: PopularConfig | None = None, *, rng: np.random.Generator | None = None
) -> PopularModel:
    """Number of training events with positive weight of each item."""
    return PopularModel(_counts(train, np.ones(len(train.log))))


def fit_recent_popular(
    train: TrainingSet, config: RecentPopularConfig | None = None, *, rng: np.random.Generator | None = None
) -> PopularModel:
    """Training events of each item, each counted ``2 ** (-age / half life)`` at the end of the training time."""
    config = config or RecentPopularConfig()
    age_s = train.until_s - train.log.at_s
    return PopularModel(_counts(train, np.exp2(-age_s / (config.half_life_days * DAY_S))))


def _counts(train: TrainingSet, weight: NDArray[np.floating]) -> NDArray[np.float32]:
    liked = train.log.weight > 0
    counts = np.bincount(train.log.item[liked], weight[liked], minlength=train.log.n_items)
    return cast("NDArray[np.float32]", counts.astype(np.float32))
