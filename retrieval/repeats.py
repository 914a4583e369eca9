"""What a shopper took before: counts of own purchases, plain or with memory.

A shopper's own history is the strongest signal wherever goods are bought again. `fit_own_most_bought` is the plain
count; `fit_repeat` adds a long and a short memory and how fast each item is usually bought again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..profiling.log import KINDS, EventLog, Requests
from .histories import history_matrix, step_of_event
from .popularity import DAY_S, fit_popular
from .scorer import TrainingSet


class OwnMostBoughtConfig(BaseModel):
    """Counting own events has no options."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RepeatConfig(BaseModel):
    """How own purchases are remembered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    half_life_days: float = Field(120.0, gt=0, description="age at which an own purchase counts half")
    shrinkage: float = Field(5.0, ge=0, description="pseudo-purchases that pull an item's repeat rate to the shop's")


@dataclass(frozen=True, eq=False)
class OwnMostBoughtModel:
    """Popularity in [0, .5) breaks ties, so that a shopper without history still gets an order; (n_items,)."""

    tie_break: NDArray[np.float32]

    def scores(self, requests: Requests) -> NDArray[np.float32]:
        """Own event counts plus the tie-break, (n_requests, n_items)."""
        request, event = requests.events()
        liked = requests.log.weight[event] > 0
        counts = history_matrix(requests, request[liked], event[liked], np.ones(int(liked.sum())))
        return counts.toarray() + self.tie_break


def fit_own_most_bought(
    train: TrainingSet, config: OwnMostBoughtConfig | None = None, *, rng: np.random.Generator | None = None
) -> OwnMostBoughtModel:
    """Own counts need no training; only the tie-break is learned."""
    popular = fit_popular(train).item_score
    return OwnMostBoughtModel((0.5 * popular / (popular.max(initial=0.0) + 1.0)).astype(np.float32))


@dataclass(frozen=True, eq=False)
class RepeatModel:
    """Decayed own counts times how readily an item is bought again.

    Attributes:
        half_life_s: age at which an own purchase counts half
        item_factor: repeat rate of each item against the shop's, (n_items,) float32
    """

    half_life_s: float
    item_factor: NDArray[np.float32]

    def scores(self, requests: Requests) -> NDArray[np.float32]:
        """Decayed own counts, (n_requests, n_items); 0 for everything not bought before."""
        request, event = requests.events()
        return self.item_factor * history_matrix(requests, request, event, self.event_weight(requests)).toarray()

    def event_weight(self, requests: Requests) -> NDArray[np.float64]:
        """What each history event adds, before the item's factor, (n_history_events,)."""
        request, event = requests.events()
        age_s = requests.now_s[request] - requests.log.at_s[event]
        return np.maximum(requests.log.weight[event], 0) * np.exp2(-age_s / self.half_life_s)


def fit_repeat(
    train: TrainingSet, config: RepeatConfig | None = None, *, rng: np.random.Generator | None = None
) -> RepeatModel:
    """Learn each item's repeat rate: the share of its purchases that came again, shrunk to the shop's."""
    config = config or RepeatConfig()
    log = train.log.select(train.log.weight > 0)  # being shown an item is not taking it
    pairs = np.unique(np.stack([step_of_event(log, "together"), log.item]), axis=1)
    user_of_step = np.zeros(pairs[0].max(initial=-1) + 1, dtype=np.int64)
    user_of_step[step_of_event(log, "together")] = log.user()
    times = np.bincount(pairs[1], minlength=log.n_items)
    owners_pairs = np.unique(np.stack([user_of_step[pairs[0]], pairs[1]]), axis=1)
    owners = np.bincount(owners_pairs[1], minlength=log.n_items)
    overall = (times.sum() - owners.sum()) / max(times.sum(), 1)
    rate = (times - owners + config.shrinkage * overall) / np.maximum(times + config.shrinkage, 1e-9)
    factor = rate / overall if overall > 0 else np.ones_like(rate)
    return RepeatModel(config.half_life_days * DAY_S, factor.astype(np.float32))


def repeat_share(log: EventLog) -> float:
    """Share of the purchases that repeat an earlier item of their user; 1 for an empty log.

    Where nothing is purchased reviews are looked at, then what is owned, then everything: looking at an item before
    buying it is no repeat. Returned lines do not count.
    """
    kept = log
    for kind in ("purchase", "review", "own"):
        taken = (log.kind == KINDS.index(kind)) & ~(log.quantity < 0)
        if taken.any():
            kept = log.select(taken)
            break
    if not len(kept):
        return 1.0
    distinct = len(np.unique(np.stack([kept.user(), kept.item]), axis=1).T)
    return 1.0 - distinct / len(kept)
