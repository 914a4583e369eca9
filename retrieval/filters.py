"""Filters: which items may be shown at all. Hard rules, never a matter of score."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..profiling.errors import ConfigError, UnknownIdError


@dataclass(frozen=True)
class Filters:
    """Conditions that every shown item fulfils; unset ones allow everything.

    Attributes:
        category: a category path or a beginning of one, such as ``Garden`` or ``Garden > Tools``
        brand: exact name, case ignored
        price_min, price_max: in the shop's currency, inclusive; items without a price never pass
        in_stock: only items whose attribute ``in_stock`` is not false, no or 0 (items without the attribute pass)
        exclude_bought: leave out what the shopper took before; None = as the shop's own data suggests
        exclude: item ids to leave out
    """

    category: str | None = None
    brand: str | None = None
    price_min: float | None = None
    price_max: float | None = None
    in_stock: bool = False
    exclude_bought: bool | None = None
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        low, high = self.price_min, self.price_max
        for name, value in (("price_min", low), ("price_max", high)):
            if value is not None and not (np.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} must be a finite number >= 0, got {value}")
        if low is not None and high is not None and low > high:
            raise ConfigError(f"price_min must not exceed price_max, got {low} and {high}; swap them")

    def describe(self) -> str:
        """The set conditions in words, empty where there are none."""
        said = [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in fields(self)
            if getattr(self, f.name) is not None and getattr(self, f.name) is not False and getattr(self, f.name) != ()
        ]
        return ", ".join(said)


@dataclass(frozen=True, eq=False)
class ItemFacts:
    """Columns that filters read, aligned with the catalogue.

    Attributes:
        row_of: item id -> row
        category: category path of each item, "" where unknown, (n_items,)
        brand: lower-case brand of each item, "" where unknown, (n_items,)
        price: NaN where unknown, (n_items,)
        in_stock: (n_items,)
        sold: false for items that were removed and whose rows only histories hold, (n_items,); None = all are sold
    """

    row_of: Mapping[str, int]
    category: NDArray[np.object_]
    brand: NDArray[np.object_]
    price: NDArray[np.float64]
    in_stock: NDArray[np.bool_]
    sold: NDArray[np.bool_] | None = None

    def row(self, item_id: str) -> int:
        """Row of an item that is sold.

        Raises:
            UnknownIdError: no such item, or it was removed.
        """
        row = self.any_row(item_id)
        if self.sold is not None and not self.sold[row]:
            raise UnknownIdError(f"item_id {item_id!r} was removed from this catalogue; name another one, or add it")
        return row

    def any_row(self, item_id: str) -> int:
        """Row of an item, removed or not.

        Raises:
            UnknownIdError: no such item.
        """
        if item_id not in self.row_of:
            raise UnknownIdError(f"item_id {item_id!r} is not in this catalogue of {len(self.row_of)} items")
        return self.row_of[item_id]


def item_facts(items: pd.DataFrame) -> ItemFacts:
    """What filters need of a catalogue in the data contract."""
    ids = items["item_id"].tolist()
    return ItemFacts(
        row_of={item_id: row for row, item_id in enumerate(ids)},
        category=items["category"].fillna("").to_numpy(object),
        brand=items["brand"].fillna("").str.lower().to_numpy(object),
        price=items["price"].to_numpy(np.float64, na_value=np.nan),
        in_stock=np.array([_in_stock(a) for a in items["attributes"].fillna("").tolist()], dtype=bool),
    )


def allowed_items(filters: Filters | None, facts: ItemFacts, bought: NDArray[np.integer]) -> NDArray[np.bool_] | None:
    """Mask of the items that may be shown, (n_items,); None where all may.

    Args:
        filters: conditions; None = none
        facts: columns they read
        bought: rows the shopper took before and that are to be left out, empty where repeats are welcome

    Raises:
        UnknownIdError: ``exclude`` names an unknown item.
    """
    filters = filters or Filters()
    mask = np.ones(len(facts.price), dtype=bool) if facts.sold is None else facts.sold.copy()
    if filters.category is not None:
        path, below = filters.category, filters.category + " > "
        mask &= np.fromiter((c == path or c.startswith(below) for c in facts.category), dtype=bool, count=len(mask))
    if filters.brand is not None:
        mask &= facts.brand == filters.brand.lower()
    if filters.price_min is not None:
        mask &= facts.price >= filters.price_min
    if filters.price_max is not None:
        mask &= facts.price <= filters.price_max
    if filters.in_stock:
        mask &= facts.in_stock
    mask[bought] = False
    mask[[facts.any_row(item_id) for item_id in filters.exclude]] = False
    return None if mask.all() else mask


def _in_stock(attributes: str) -> bool:
    """Whether the attributes do not say that the item is sold out."""
    if "in_stock" not in attributes:
        return True
    said: Any = json.loads(attributes).get("in_stock", True)
    return str(said).strip().lower() not in ("false", "no", "0", "0.0", "")
