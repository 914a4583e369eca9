"""What things usually cost: unit prices, price levels inside a category, and lines bought at a discount.

Prices come from the catalogue where it has them and from what was paid where it has not. Levels are ranks, so they
need no currency and survive outliers. A discount is a line paid clearly under the item's usual unit price, or one that
the shop's own discount column names.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..log import EventLog


def unit_prices(log: EventLog) -> NDArray[np.float64]:
    """Price paid for one unit in each event, (n_events,); NaN where price or units are unknown, zero or returned."""
    units = np.where(np.isnan(log.quantity), 1.0, log.quantity)
    paid = (log.price > 0) & (units > 0)
    return np.where(paid, log.price / np.where(paid, units, 1.0), np.nan).astype(np.float64)


def usual_prices(log: EventLog, listed: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
    """Usual unit price of each item, (n_items,): the median paid, else the listed price, else NaN."""
    usual = np.full(log.n_items, np.nan) if listed is None else np.asarray(listed, dtype=np.float64).copy()
    paid = pd.Series(unit_prices(log)).groupby(log.item).median().dropna()
    usual[paid.index.to_numpy(np.int64)] = paid.to_numpy()
    return usual


def price_levels(usual: NDArray[np.float64], category: NDArray[np.int64], *, least: int = 5) -> NDArray[np.float64]:
    """Where each item's price stands among its category, from -1 (cheapest) to 1 (dearest), (n_items,).

    Mid-rank among the priced items of the category, ``2 (rank - 0.5) / n - 1``, pulled to 0 by ``n / (n + least)`` so
    that the dearer of two says little. NaN without a price; items of category -1 are ranked among themselves.

    >>> price_levels(np.array([1.0, 2.0, 3.0, np.nan]), np.zeros(4, dtype=int), least=0).round(2).tolist()
    [-0.67, 0.0, 0.67, nan]
    """
    table = pd.DataFrame({"price": usual, "category": category})
    grouped = table.groupby("category")["price"]
    n = grouped.transform("count")
    level = 2 * (grouped.rank(method="average") - 0.5) / n.where(n > 0) - 1
    return (level * n / (n + least)).to_numpy(np.float64)


def discounted(
    log: EventLog, usual: NDArray[np.float64], *, discount: NDArray[np.floating] | None = None, least: float = 0.05
) -> NDArray[np.float64]:
    """Whether each event was bought at a discount, (n_events,): 1, 0, or NaN where it cannot be known.

    A line is discounted when its unit price is at least ``least`` (a share) under the item's usual one.
    With the shop's own ``discount`` of each event (money off the line, NaN or 0 for none), it is discounted when
    that is at least the same share of the price before it.
    """
    paid = unit_prices(log)
    if discount is not None:
        off = np.nan_to_num(np.asarray(discount, dtype=np.float64))
        full = np.nan_to_num(log.price).astype(np.float64) + off
        known = full > 0
        return np.where(known, off / np.where(known, full, 1.0) >= least, np.nan)
    before = usual[log.item]
    known = ~np.isnan(paid) & (before > 0)
    return np.where(known, paid <= (1 - least) * np.where(known, before, 1.0), np.nan)
