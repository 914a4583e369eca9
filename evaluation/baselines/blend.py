"""Two simple signals added: what the shopper took most often, and what tends to follow what they took.

In shops with repeats neither is enough alone, and their tuned sum is the rival to beat. Each is divided by its best
score of the request before weights, so the weight means the same for a short and for a long history.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...profiling.log import Requests
from ...retrieval.histories import history_matrix
from ...retrieval.scorer import TrainingSet
from ...retrieval.sources.neighbours import NeighboursModel
from ...retrieval.sources.popularity import DAY_S
from ...retrieval.sources.transitions import TransitionsConfig, fit_transitions

Float = NDArray[np.float32]


class BlendConfig(TransitionsConfig):
    """Options of the blend: those of transition counts, and how both come together."""

    weight: float = Field(0.5, ge=0, description="weight of transitions against own counts of weight 1")
    half_life_days: float | None = Field(
        None, gt=0, description="age at which an own event counts half; null = never forgotten"
    )


@dataclass(frozen=True, eq=False)
class BlendModel:
    """Own counts plus transitions.

    Attributes:
        transitions: fitted transition counts
        decay, weight, half_life_days: see `BlendConfig`
    """

    transitions: NeighboursModel
    decay: float
    weight: float
    half_life_days: float | None

    def scores(self, requests: Requests) -> Float:
        """Own counts and transitions, each at most 1, weighted and added, (n_requests, n_items)."""
        follows = replace(self.transitions, decay=self.decay).scores(requests)
        return _best_is_one(self.own(requests)) + np.float32(self.weight) * _best_is_one(follows)

    def own(self, requests: Requests) -> Float:
        """Own liked events of each item, decayed by age, (n_requests, n_items)."""
        request, event = requests.events()
        liked = requests.log.weight[event] > 0
        request, event = request[liked], event[liked]
        age_s = requests.now_s[request] - requests.log.at_s[event]
        half_life_s = np.inf if self.half_life_days is None else self.half_life_days * DAY_S
        return np.asarray(history_matrix(requests, request, event, np.exp2(-age_s / half_life_s)).toarray())


def fit_blend(
    train: TrainingSet, config: BlendConfig | None = None, *, rng: np.random.Generator | None = None
) -> BlendModel:
    """Only the transitions are learned."""
    config = config or BlendConfig()
    return BlendModel(fit_transitions(train, config), config.decay, config.weight, config.half_life_days)


def _best_is_one(scores: Float) -> Float:
    """Rows divided by their largest score, zero where nothing is positive."""
    best = scores.max(axis=1, keepdims=True, initial=0.0)
    return np.where(best > 0, scores / np.maximum(best, 1e-12), 0.0).astype(np.float32)
