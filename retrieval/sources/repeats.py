"""What a shopper took before: counts of own purchases, plain or with memory.

A shopper's own history is the strongest signal wherever goods are bought again. `fit_own_most_bought` is the plain
count; `fit_repeat` lets it fade and multiplies it by how readily an item is bought again and by how it sells of late.
Whether an item is due by its cycle (`profiling.cycles`) is left out: with fading, rates and trends it ordered own items
no better on validation, nor did a logistic or boosted model of all of these. How much repeats count against new things
is `gate`'s question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ...profiling.log import KINDS, EventLog, Requests
from ..histories import history_sums, step_of_event
from ..scorer import TrainingSet
from .popularity import DAY_S, RecentPopularConfig, fit_popular, fit_recent_popular


class OwnMostBoughtConfig(BaseModel):
    """Counting own events has no options."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RepeatConfig(BaseModel):
    """How own purchases are remembered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    half_life_days: float = Field(120.0, gt=0, description="age at which an own purchase counts half")
    shrinkage: float = Field(5.0, ge=0, description="pseudo-purchases that pull an item's repeat rate to the shop's")
    rate_power: float = Field(0.5, ge=0, le=2, description="exponent of the item's repeat rate")
    trend_power: float = Field(0.25, ge=0, le=2, description="exponent of how an item sells of late against ever")
    trend_half_life_days: float = Field(14.0, gt=0, description="age at which a sale counts half in the trend")


REPEAT_GRID: Mapping[str, tuple[float, ...]] = {
    "half_life_days": (15.0, 30.0, 60.0, 120.0, 240.0),
    "rate_power": (0.0, 0.5, 1.0),
    "trend_power": (0.0, 0.25, 0.5, 1.0),
}
"""Values that `choose_repeat` tries, option by option."""


@dataclass(frozen=True, eq=False)
class OwnMostBoughtModel:
    """Popularity in [0, .5) breaks ties, so that a shopper without history still gets an order; (n_items,)."""

    tie_break: NDArray[np.float32]

    def scores(self, requests: Requests) -> NDArray[np.float32]:
        """Own event counts plus the tie-break, (n_requests, n_items)."""
        request, event = requests.events()
        liked = requests.log.weight[event] > 0
        return history_sums(requests, request[liked], event[liked], np.ones(int(liked.sum()))) + self.tie_break


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
        item_factor: how readily each item is bought again, against the shop's average, (n_items,) float32
    """

    half_life_s: float
    item_factor: NDArray[np.float32]

    @cached_property
    def nothing(self) -> NDArray[np.float32]:
        """Scores of who bought nothing before, (n_items,)."""
        return np.zeros_like(self.item_factor)

    def scores(self, requests: Requests) -> NDArray[np.float32]:
        """Decayed own counts, (n_requests, n_items); 0 for everything not bought before."""
        request, event = requests.events()
        return self.item_factor * history_sums(requests, request, event, self.event_weight(requests))

    def event_weight(self, requests: Requests) -> NDArray[np.float64]:
        """What each history event adds, before the item's factor, (n_history_events,)."""
        request, event = requests.events()
        age_s = requests.now_s[request] - requests.log.at_s[event]
        return np.maximum(requests.log.weight[event], 0) * np.exp2(-age_s / self.half_life_s)


def fit_repeat(
    train: TrainingSet, config: RepeatConfig | None = None, *, rng: np.random.Generator | None = None
) -> RepeatModel:
    """Learn each item's factor: its repeat rate and its trend, each to its power.

    There is no trend where the clocks of shoppers do not agree.
    """
    config = config or RepeatConfig()
    return _repeat_model(_rates_and_trends(train, config), config)


def _rates_and_trends(train: TrainingSet, config: RepeatConfig) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What both exponents are applied to, each (n_items,)."""
    rates = repeat_rates(train.log, shrinkage=config.shrinkage)
    clock = train.shared_clock
    return rates, trends(train, half_life_days=config.trend_half_life_days) if clock else np.ones(len(rates))


def _repeat_model(learned: tuple[NDArray[np.float64], NDArray[np.float64]], config: RepeatConfig) -> RepeatModel:
    rates, trend = learned
    factor = rates**config.rate_power * trend**config.trend_power
    return RepeatModel(config.half_life_days * DAY_S, factor.astype(np.float32))


def repeat_rates(log: EventLog, *, shrinkage: float) -> NDArray[np.float64]:
    """Share of each item's purchases that came again against the shop's share, shrunk to 1, (n_items,).

    Being shown an item is not taking it, and taking it twice at one time is taking it once.
    """
    log = log.select(log.weight > 0)
    step = step_of_event(log, "together")
    pairs = np.unique(np.stack([step, log.item]), axis=1)
    user_of_step = np.zeros(pairs[0].max(initial=-1) + 1, dtype=np.int64)
    user_of_step[step] = log.user()
    times = np.bincount(pairs[1], minlength=log.n_items)
    owners_pairs = np.unique(np.stack([user_of_step[pairs[0]], pairs[1]]), axis=1)
    owners = np.bincount(owners_pairs[1], minlength=log.n_items)
    overall = (times.sum() - owners.sum()) / max(times.sum(), 1)
    if overall <= 0:
        return np.ones(log.n_items)
    return (times - owners + shrinkage * overall) / np.maximum(times + shrinkage, 1e-9) / overall


def trends(train: TrainingSet, *, half_life_days: float, prior: float = 5.0) -> NDArray[np.float64]:
    """Recent share of each item's sales against the shop's, shrunk to 1 by ``prior`` sales, (n_items,).

    A sale is recent by ``2 ** (-age / half life)`` at the end of the training time.
    """
    recent = fit_recent_popular(train, RecentPopularConfig(half_life_days=half_life_days)).item_score
    ever = fit_popular(train).item_score.astype(np.float64)
    overall = recent.sum() / max(ever.sum(), 1.0)
    if overall <= 0:
        return np.ones(len(ever))
    return (recent + prior * overall) / (ever + prior) / overall


def choose_repeat(
    train: TrainingSet, objective: Callable[[RepeatModel], float], *, config: RepeatConfig | None = None
) -> RepeatConfig:
    """The options of `REPEAT_GRID` one after the other, each at its best by ``objective`` (higher is better).

    The first of equals stays, and the value that is there already before all others. ``objective`` may look at
    validation requests only.
    """
    best = config or RepeatConfig()
    learned = _rates_and_trends(train, best)
    reached = {best: objective(_repeat_model(learned, best))}
    for name, values in REPEAT_GRID.items():
        if name == "trend_power" and not train.shared_clock:
            continue  # all trends are 1
        for value in values:
            tried = best.model_copy(update={name: value})
            if tried not in reached:
                reached[tried] = objective(_repeat_model(learned, tried))
            best = tried if reached[tried] > reached[best] else best
    return best


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
