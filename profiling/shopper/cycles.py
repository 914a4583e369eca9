"""Repeat-purchase cycles: how long until a shopper buys an item again, and whether it is due.

The typical gap is a mean of log gaps with credibility at four levels: shop, category, item, this shopper with this
item; each level is pulled to the one above by a strength estimated from the data. Only closed gaps are counted, so
cycles of things bought once a year are seen too short in a short log; survival models of open gaps are not here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..log import KINDS, EventLog, Requests
from .orders import DAY_S
from .shrinkage import mean_strength, share_prior, shrunk_mean, shrunk_share


@dataclass(frozen=True, eq=False)
class Repeats:
    """One row for each item in each history.

    Attributes:
        request, item: which history, which item row, (n,)
        count: days on which it was bought, (n,)
        last_s: when it was bought last, (n,)
        log_gaps, squared_log_gaps: sums over its ``count - 1`` gaps of their logarithm in days and its square, (n,)
    """

    request: NDArray[np.int64]
    item: NDArray[np.int64]
    count: NDArray[np.int64]
    last_s: NDArray[np.float64]
    log_gaps: NDArray[np.float64]
    squared_log_gaps: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CycleModel:
    """How often things are bought again.

    Attributes:
        item_log_gap: typical logarithm of the gap in days of each item, (n_items,); NaN if nothing is ever repeated
        strength: how many gaps of one shopper the item's own cycle is worth
        repeat_share: share of an item's buyers who buy it again, (n_items,); NaN if nothing was ever bought
    """

    item_log_gap: NDArray[np.float64]
    strength: float
    repeat_share: NDArray[np.float64]

    def cycle_s(self, repeats: Repeats) -> NDArray[np.float64]:
        """Expected seconds between two purchases of each row's item by this shopper, (n,)."""
        log_gap = shrunk_mean(
            repeats.log_gaps, repeats.count - 1, mean=self.item_log_gap[repeats.item], strength=self.strength
        )
        return np.exp(log_gap) * DAY_S

    def due(self, repeats: Repeats, now_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Elapsed share of the cycle, (n,): 1 = just due, 3 = long overdue or dropped; ``now_s`` is per request."""
        return (now_s[repeats.request] - repeats.last_s) / self.cycle_s(repeats)


def repeats(requests: Requests) -> Repeats:
    """Purchases of each history by item; several on one UTC day count once, returns and voids not at all."""
    log = requests.log
    request, event = requests.events()
    bought = (log.kind[event] == KINDS.index("purchase")) & ~(log.quantity[event] <= 0) & (log.weight[event] > 0)
    request, event = request[bought], event[bought]
    pair = request * log.n_items + log.item[event]
    day = np.floor(log.at_s[event] / DAY_S)
    order = np.lexsort((log.at_s[event], pair))
    pair, day, at_s = pair[order], day[order], log.at_s[event][order]
    same_pair = np.zeros(len(pair), dtype=bool)
    same_pair[1:] = pair[1:] == pair[:-1]
    fresh = np.ones(len(pair), dtype=bool)
    fresh[1:] = ~same_pair[1:] | (day[1:] != day[:-1])
    pair, day, at_s = pair[fresh], day[fresh], at_s[fresh]
    row_pair, first, count = np.unique(pair, return_index=True, return_counts=True)
    gap = np.ones(len(pair))
    gap[1:] = np.where(pair[1:] == pair[:-1], day[1:] - day[:-1], 1.0)
    gap[first] = 1.0
    row = np.repeat(np.arange(len(first)), count)
    return Repeats(
        request=row_pair // log.n_items,
        item=row_pair % log.n_items,
        count=count,
        last_s=at_s[first + count - 1] if len(first) else np.zeros(0),
        log_gaps=np.bincount(row, np.log(gap), minlength=len(first)).astype(np.float64),
        squared_log_gaps=np.bincount(row, np.log(gap) ** 2, minlength=len(first)).astype(np.float64),
    )


def fit_cycles(log: EventLog, category: NDArray[np.int64]) -> CycleModel:
    """Learn cycles and repeat shares from every shopper of a log; ``category`` (n_items,) is -1 for none."""
    everyone = Requests(log, log.user_start[:-1], log.user_start[1:], np.full(log.n_users, np.inf))
    rows = repeats(everyone)
    n_categories = int(category.max(initial=-1)) + 2
    place = np.where(category < 0, n_categories - 1, category)
    item_log_gap, strength = _gap_levels(rows, place, n_categories, log.n_items)
    buyers = np.bincount(rows.item, minlength=log.n_items)
    again = np.bincount(rows.item, rows.count > 1, minlength=log.n_items)
    in_category = np.bincount(place, buyers, minlength=n_categories), np.bincount(place, again, minlength=n_categories)
    mean, worth = share_prior(in_category[1], in_category[0])
    share_of_category = shrunk_share(in_category[1], in_category[0], mean=mean, strength=worth)
    _, worth = share_prior(again, buyers)
    share = (again + worth * share_of_category[place]) / (buyers + worth)
    return CycleModel(item_log_gap, strength, share)


def _gap_levels(
    rows: Repeats, place: NDArray[np.int64], n_categories: int, n_items: int
) -> tuple[NDArray[np.float64], float]:
    """Mean log gap of each item after shrinking shop -> category -> item, and the strength against one shopper."""
    gaps = rows.count - 1
    if not gaps.sum():
        return np.full(n_items, np.nan), 1.0
    totals, counts = rows.log_gaps, gaps.astype(np.float64)
    level_mean = np.full(n_items, totals.sum() / counts.sum())
    for code, size in ((place, n_categories), (np.arange(n_items), n_items)):
        group = code[rows.item]
        t, n = np.bincount(group, totals, minlength=size), np.bincount(group, counts, minlength=size)
        s = np.bincount(group, rows.squared_log_gaps, minlength=size)
        above = np.zeros(size)
        above[code] = level_mean
        level_mean = shrunk_mean(t, n, mean=above, strength=mean_strength(t, s, n, mean=above))[code]
    return level_mean, mean_strength(totals, rows.squared_log_gaps, counts, mean=level_mean[rows.item])
