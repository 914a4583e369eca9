"""Filters: which items may be shown at all. Hard rules, never a matter of score."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..profiling.categories import prefixes
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
        attributes: values that an item must have, such as ``{"colour": "black"}``, case ignored
        ignore_query_price: whether a price in the query's own words ("under 50") is no condition
    """

    category: str | None = None
    brand: str | None = None
    price_min: float | None = None
    price_max: float | None = None
    in_stock: bool = False
    exclude_bought: bool | None = None
    exclude: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    ignore_query_price: bool = False

    def __post_init__(self) -> None:
        low, high = self.price_min, self.price_max
        for name, value in (("price_min", low), ("price_max", high)):
            if value is not None and not (np.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} must be a finite number >= 0, got {value}")
        if low is not None and high is not None and low > high:
            raise ConfigError(f"price_min must not exceed price_max, got {low} and {high}; swap them")

    @property
    def open(self) -> bool:
        """Whether they leave every item, but what the shopper took before."""
        named = (self.category, self.brand, self.price_min, self.price_max)
        return named == (None,) * len(named) and not (self.in_stock or self.exclude or self.attributes)

    def describe(self) -> str:
        """The set conditions in words, empty where there are none."""
        said = [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in fields(self)
            if not (
                getattr(self, f.name) is None or getattr(self, f.name) is False or getattr(self, f.name) in ((), {})
            )
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
        with_value: (attribute, value), both lower-case -> rows that have it, ascending
    """

    row_of: Mapping[str, int]
    category: NDArray[np.object_]
    brand: NDArray[np.object_]
    price: NDArray[np.float64]
    in_stock: NDArray[np.bool_]
    sold: NDArray[np.bool_] | None = None
    with_value: Mapping[tuple[str, str], NDArray[np.int64]] = field(default_factory=dict)

    @cached_property
    def brand_rows(self) -> Mapping[str, NDArray[np.int64]]:
        """Lower-case brand -> rows of its items, ascending."""
        return rows_by(self.brand)

    @cached_property
    def category_rows(self) -> Mapping[str, NDArray[np.int64]]:
        """Category path, whole or a beginning of one -> rows of the items in and below it, ascending."""
        below: dict[str, list[NDArray[np.int64]]] = {}
        for path, rows in rows_by(self.category).items():
            for prefix in prefixes(path):
                below.setdefault(prefix, []).append(rows)
        return {path: np.sort(np.concatenate(rows), kind="stable") for path, rows in below.items()}

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


def item_facts(
    items: pd.DataFrame,
    *,
    in_stock: NDArray[np.bool_] | None = None,
    with_value: Mapping[tuple[str, str], NDArray[np.int64]] | None = None,
) -> ItemFacts:
    """What filters need of a catalogue in the data contract; what is given of it is not worked out again."""
    ids = items["item_id"].tolist()
    told = items["attributes"].fillna("").tolist() if in_stock is None or with_value is None else []
    return ItemFacts(
        row_of={item_id: row for row, item_id in enumerate(ids)},
        category=items["category"].fillna("").to_numpy(object),
        brand=items["brand"].fillna("").str.lower().to_numpy(object),
        price=items["price"].to_numpy(np.float64, na_value=np.nan),
        in_stock=in_stock_rows(told) if in_stock is None else in_stock,
        with_value=attribute_rows(told) if with_value is None else with_value,
    )


def in_stock_rows(attributes: Sequence[str]) -> NDArray[np.bool_]:
    """Whether the attributes do not say that an item is sold out, (n_items,)."""
    return np.array([_in_stock(said) for said in attributes], dtype=bool)


def rows_by(values: NDArray[np.object_]) -> dict[str, NDArray[np.int64]]:
    """Distinct value -> rows that have it, ascending; "" left out.

    >>> {value: rows.tolist() for value, rows in rows_by(np.array(["b", "", "a", "b"], dtype=object)).items()}
    {'a': [2], 'b': [0, 3]}
    """
    codes, names = pd.factorize(values, sort=True)
    order = np.argsort(codes, kind="stable")
    start = np.searchsorted(codes[order], np.arange(len(names) + 1))
    found = {str(name): order[start[code] : start[code + 1]] for code, name in enumerate(names)}
    return {name: rows for name, rows in found.items() if name}


def attribute_rows(attributes: Sequence[str]) -> dict[tuple[str, str], NDArray[np.int64]]:
    """(attribute, value), both lower-case -> rows that have it, ascending; lists give all their values.

    >>> attribute_rows(['{"Colour": ["Red", "blue"]}', "", '{"colour": "red"}'])[("colour", "red")].tolist()
    [0, 2]
    """
    found: dict[tuple[str, str], list[int]] = {}
    for row, raw in enumerate(attributes):
        table: Any = json.loads(raw) if raw else {}
        for name, value in table.items():
            for one in dict.fromkeys(_said(v) for v in (value if isinstance(value, list) else [value])):
                found.setdefault((_said(name), one), []).append(row)
    return {pair: np.array(rows, dtype=np.int64) for pair, rows in found.items()}


def merged_values(
    old: Mapping[tuple[str, str], NDArray[np.int64]],
    given: Mapping[tuple[str, str], NDArray[np.int64]],
    rows: NDArray[np.int64],
) -> dict[tuple[str, str], NDArray[np.int64]]:
    """`ItemFacts.with_value` after items came to ``rows``: what those had is gone, and they have what is ``given``.

    Args:
        old: so far
        given: of the items that come, by their place among them
        rows: row of each of those, (n,)
    """
    most = 1 + max([int(rows.max(initial=0)), *(int(having[-1]) for having in old.values() if len(having))])
    came = np.zeros(most, dtype=bool)
    came[rows] = True
    left = {pair: having[~came[having]] if came[having].any() else having for pair, having in old.items()}
    added = {pair: np.sort(np.concatenate([left.get(pair, rows[:0]), rows[place]])) for pair, place in given.items()}
    return {pair: having for pair, having in {**left, **added}.items() if len(having)}


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
    if facts.sold is None and not len(bought) and filters.open:
        return None
    mask = np.ones(len(facts.price), dtype=bool) if facts.sold is None else facts.sold.copy()
    if filters.category is not None:
        mask &= _held(facts.category_rows, filters.category, len(mask))
    if filters.brand is not None:
        mask &= _held(facts.brand_rows, filters.brand.lower(), len(mask))
    if filters.price_min is not None:
        mask &= facts.price >= filters.price_min
    if filters.price_max is not None:
        mask &= facts.price <= filters.price_max
    for name, value in filters.attributes.items():
        mask &= _held(facts.with_value, (_said(name), _said(value)), len(mask))
    if filters.in_stock:
        mask &= facts.in_stock
    mask[bought] = False
    mask[[facts.any_row(item_id) for item_id in filters.exclude]] = False
    return None if mask.all() else mask


def _held(rows: Mapping[Any, NDArray[np.int64]], key: Any, n: int) -> NDArray[np.bool_]:
    """Mask of the rows that have a key, (n,)."""
    mask = np.zeros(n, dtype=bool)
    if key in rows:
        mask[rows[key]] = True
    return mask


def _said(value: Any) -> str:
    """A value as filters compare it: without case and blanks around; 3.0 is 3."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().lower()


def _in_stock(attributes: str) -> bool:
    """Whether the attributes do not say that the item is sold out."""
    if "in_stock" not in attributes:
        return True
    said: Any = json.loads(attributes).get("in_stock", True)
    return str(said).strip().lower() not in ("false", "no", "0", "0.0", "")
