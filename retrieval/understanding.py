"""What a query says about items, put to use: its brand, category and price as boosts, a certain price as a filter.

A boost is added to an item's score as a part of its own, ``intent``, so that an explanation tells it; a filter is told
in the answer. Nothing is done where the intent does not know what it reads. Inferring an intent is profiling's work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..profiling.intent.price_wishes import PriceBand
from ..profiling.intent.types import Intent
from .filters import Filters, ItemFacts

Float = NDArray[np.float32]

PART = "intent"
"""Name of the part that boosts are told as."""
BOOSTS: Mapping[str, float] = {"brand": 0.1, "category": 0.1, "price": 0.1}
"""What a certain brand, category or price band adds to an item's score; a cosine with the query adds up to 1."""
PRICED = 0.8
"""Share of the items that must have a price before a price in a query may hide those without."""


@dataclass(frozen=True, eq=False)
class Understood:
    """What a query says about items.

    Attributes:
        filters: the caller's conditions, and what the query adds for certain
        boosts: what is added to each item's score, (n_items,); None where nothing is
        said: what was done about it, in words
    """

    filters: Filters | None
    boosts: Float | None
    said: tuple[str, ...]


def understand(
    intent: Intent | None, facts: ItemFacts, filters: Filters | None, *, currency: str | None = None
) -> Understood:
    """Boosts and certain filters of one query.

    A price is certain where it is a number in the shop's money ("under 50", not "cheap"), the intent is known, and
    nearly all items have prices; a caller's own price condition stands above it. Otherwise items in the band are
    boosted. Prices in other money say nothing.

    Args:
        intent: of the query; None without one
        facts: of the catalogue
        filters: the caller's
        currency: the shop's money, three letters; None = not told
    """
    if intent is None or not intent.known:
        return Understood(filters, None, ())
    boosts = np.zeros(len(facts.price), dtype=np.float32)
    said: list[str] = []
    for brand in intent.facets.brands:
        rows = [facts.brand_rows[name.lower()] for name in brand.brands if name.lower() in facts.brand_rows]
        if rows:
            boosts[np.concatenate(rows)] += np.float32(BOOSTS["brand"] * brand.probability)
            said.append(f"Items of the brand {brand.brand} come first where all else is equal.")
    for share in intent.categories:
        below = facts.category_rows.get(share.path)
        if below is not None:
            boosts[below] += np.float32(BOOSTS["category"] * share.probability)
    price = intent.facets.price
    if price is not None and (price.min is not None or price.max is not None):
        filters = _priced(price, facts, filters, boosts, said, currency)
    return Understood(filters, boosts if boosts.any() else None, tuple(said))


def _priced(
    price: PriceBand,
    facts: ItemFacts,
    filters: Filters | None,
    boosts: Float,
    said: list[str],
    currency: str | None,
) -> Filters | None:
    """The filters with a certain price in them; an uncertain one is added to ``boosts``, and either is ``said``."""
    if price.currency is not None and currency is not None and price.currency != currency:
        return filters
    given = filters or Filters()
    if given.ignore_query_price or given.price_min is not None or given.price_max is not None:
        return filters
    low, high = price.min or 0.0, np.inf if price.max is None else price.max
    ours = price.currency is None or price.currency == currency
    if price.relative is None and ours and np.isfinite(facts.price).mean() >= PRICED and low <= high:
        said.append(f"Only items at {price}, as the query says.")
        return replace(given, price_min=price.min, price_max=price.max)
    boosts[(facts.price >= low) & (facts.price <= high)] += np.float32(BOOSTS["price"])
    said.append(f"Items at {price} come first where all else is equal.")
    return filters
