"""Complements: what is taken together with an item and is not like it.

Counts are worked out for one item when it is asked for, from the log as it is: `fit_taken` only puts it in order. How
surely two items go together is the log-likelihood ratio of their counts; what is much like the item (another brand of
the same thing) is left out.

Source: Dunning, "Accurate methods for the statistics of surprise and coincidence", Computational Linguistics 19, 1993.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..profiling.errors import ConfigError
from ..profiling.log import EventLog
from .filters import Filters, allowed_items
from .ranking import Reason, Recommendation

if TYPE_CHECKING:
    from .engine import Engine

Ints = NDArray[np.int64]


class ComplementsConfig(BaseModel):
    """What counts as going together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_s: float = Field(3600.0, ge=0, description="seconds between two events of one shopper that are one basket")
    least_together: int = Field(2, ge=1, description="shoppers who must have taken both")
    most_alike: float = Field(0.75, gt=-1, le=1, description="cosine of the texts above which items are alike")


@dataclass(frozen=True, eq=False)
class Together:
    """How often other items were taken together with one item; by shoppers, each counted once.

    Attributes:
        rows: the other items, ascending, (n,)
        both: shoppers who took both within the window, (n,)
        others: shoppers who took the other item at all, (n,)
        own: shoppers who took the item
        shoppers: shoppers who took anything
    """

    rows: Ints
    both: Ints
    others: Ints
    own: int
    shoppers: int


@dataclass(frozen=True, eq=False)
class Taken:
    """A log's events that speak for their items, ready to be counted.

    Attributes:
        item: item row of each, (n,)
        user: shopper of each, ascending, (n,)
        line: when, with shoppers one after another on one axis, farther apart than the window, ascending, (n,)
        holders: shoppers who took each item, (n_items,)
        shoppers: shoppers who took anything
        window_s: seconds between two events that are one basket
    """

    item: Ints
    user: Ints
    line: NDArray[np.float64]
    holders: Ints
    shoppers: int
    window_s: float

    def together(self, row: int) -> Together:
        """What was taken with the item at ``row`` and within the window; the item itself is left out."""
        mine, n_items = np.flatnonzero(self.item == row), len(self.holders)
        first = np.searchsorted(self.line, self.line[mine] - self.window_s, side="left")
        last = np.searchsorted(self.line, self.line[mine] + self.window_s, side="right")
        near = np.repeat(first, last - first) + _steps(last - first)
        pairs = np.unique(self.user[near] * n_items + self.item[near])
        both = np.bincount(pairs % n_items, minlength=n_items)
        both[row] = 0
        rows = np.flatnonzero(both)
        return Together(rows, both[rows], self.holders[rows], int(self.holders[row]), self.shoppers)


def complements(
    engine: Engine,
    item_id: str,
    *,
    k: int = 10,
    filters: Filters | None = None,
    config: ComplementsConfig | None = None,
    taken: Taken | None = None,
) -> tuple[Recommendation, ...]:
    """The ``k`` items that most surely go with an item, best first; fewer where fewer do.

    The score is the log-likelihood ratio, in nats times two: 10.8 would come about by chance once in 1,000 pairs.

    Args:
        engine: of the shop
        item_id: the item; it may have been removed from sale
        k: items wanted, >= 1
        filters: hard conditions
        config: what counts as going together
        taken: of the engine's log, where many items are asked about; its window stands above the config's. None = found
            here, which reads the whole log

    Raises:
        UnknownIdError: no such item.
        ConfigError: ``k`` below 1.
    """
    if k < 1:
        raise ConfigError(f"k must be at least 1, got {k}")
    config = config or ComplementsConfig()
    row = engine.facts.any_row(item_id)
    told = (fit_taken(engine.log, window_s=config.window_s) if taken is None else taken).together(row)
    meaning = engine.recommender.space.items["meaning"]
    surely = surprise(told.both, told.own, told.others, told.shoppers)
    allowed = allowed_items(filters, engine.facts, np.array([row], dtype=np.int64))
    kept = (told.both >= config.least_together) & (surely > 0)
    kept &= meaning[told.rows] @ meaning[row] <= config.most_alike
    if allowed is not None:
        kept &= allowed[told.rows]
    places = np.flatnonzero(kept)
    places = places[np.lexsort((told.rows[places], -surely[places]))[:k]]
    return tuple(
        _told(engine, told, int(place), rank, float(surely[place]), item_id) for rank, place in enumerate(places)
    )


def fit_taken(log: EventLog, *, window_s: float) -> Taken:
    """What `complements` needs of a log, found once where many items are asked about; of events for their item only."""
    good = log.weight > 0
    item, at_s, user = log.item[good].astype(np.int64), log.at_s[good], log.user()[good].astype(np.int64)
    if not len(item):
        return Taken(item, user, at_s, np.zeros(log.n_items, dtype=np.int64), 0, window_s)
    line = user * (float(np.ptp(at_s)) + 2.0 * window_s + 1.0) + (at_s - at_s.min())
    holders = np.bincount(np.unique(user * log.n_items + item) % log.n_items, minlength=log.n_items)
    return Taken(item, user, line, holders, len(np.unique(user)), window_s)


def surprise(both: Ints, own: int, others: Ints, total: int) -> NDArray[np.float64]:
    """Log-likelihood ratio of each pair against independence, negative where they meet less often, (n,).

    Args:
        both: shoppers with both items, (n,)
        own: shoppers with the one item
        others: shoppers with the other, (n,)
        total: all shoppers

    >>> surprise(np.array([10, 1]), 10, np.array([10, 10]), 100).round(1).tolist()
    [65.0, 0.0]
    """
    n11, n12 = both.astype(np.float64), np.maximum(own - both, 0).astype(np.float64)
    n21 = np.maximum(others - both, 0).astype(np.float64)
    n22 = np.maximum(total - n11 - n12 - n21, 0.0)
    ratio = np.zeros(len(both))
    for cell, of_row, of_column in (
        (n11, n11 + n12, n11 + n21),
        (n12, n11 + n12, n12 + n22),
        (n21, n21 + n22, n11 + n21),
        (n22, n21 + n22, n12 + n22),
    ):
        expected = of_row * of_column / max(total, 1)
        ratio += 2.0 * cell * np.log(np.where(cell > 0, cell / np.maximum(expected, 1e-300), 1.0))
    return np.where(n11 * total >= (n11 + n12) * (n11 + n21), ratio, -ratio) + 0.0


def _steps(counts: Ints) -> Ints:
    """0 to n - 1 for each n, one after another, (sum of counts,)."""
    return np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)


def _told(engine: Engine, told: Together, place: int, rank: int, score: float, item_id: str) -> Recommendation:
    """One complement in words."""
    other = str(engine.log.item_ids[told.rows[place]])
    both = int(told.both[place])
    share, usual = both / max(told.own, 1), int(told.others[place]) / max(told.shoppers, 1)
    said = (
        f"{both} of {told.own} shoppers who took {engine.titles[item_id]} took it too ({share:.0%}; usual {usual:.1%})."
    )
    reason = Reason("together", score, ((item_id, score),))
    return Recommendation(other, engine.titles[other], score, rank + 1, (reason,), said)
