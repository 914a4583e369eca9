"""Facets of a query: the brands, price, attribute values, sizes and model numbers it names.

Covers parsing one text against one catalogue's own brands, prices and attributes, without a model and without training.
What the rest of the text means is the encoder's and `intent`'s work.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from .brands import BrandIndex, BrandMatch, brands_from_state, brands_state, fit_brands
from .catalogue_words import WordIndex, fit_words
from .price_wishes import PriceBand, parse_price
from .units import model_numbers, normalise, sizes, stem, words

_NO_VALUE = {"yes", "no", "true", "false", "none", "other", "unknown", "n", "y", "na", "not applicable"}
_MOST_WORDS = 4
_COLOURS = """
black white grey gray silver red blue green yellow orange purple violet pink brown beige gold bronze copper ivory cream navy turquoise teal burgundy maroon tan khaki charcoal lavender magenta cyan multicolour multicolor
"""
COLOURS: frozenset[str] = frozenset(_COLOURS.split())
"""Colour words used where the catalogue has no colour attribute of its own."""


class FacetConfig(BaseModel):
    """What counts as a facet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    brand_min_probability: float = Field(0.3, ge=0, le=1, description="drop a brand less likely meant than this")
    attribute_min_items: int = Field(3, ge=1, description="an attribute value needs this many items")
    attribute_min_share: float = Field(
        0.3, ge=0, le=1, description="of the items whose text has a value's words, this share must have the value"
    )
    most_values: int = Field(20_000, ge=0, description="attribute values kept, the commonest first")
    currency: str | None = Field(None, description="the shop's money; GBP makes 'pounds' money, not weight")


@dataclass(frozen=True)
class AttributeMatch:
    """One attribute value a query names, e.g. ``product_colour = Black``; sizes have the name ``size``."""

    name: str
    value: str
    text: str


@dataclass(frozen=True)
class Facets:
    """Everything definite a query says.

    Attributes:
        brands: left to right
        price: the price wish, or None
        attributes: catalogue attribute values and sizes
        models: words that look like model numbers or product codes
        rest: the query without its price words
    """

    brands: tuple[BrandMatch, ...] = ()
    price: PriceBand | None = None
    attributes: tuple[AttributeMatch, ...] = ()
    models: tuple[str, ...] = ()
    rest: str = ""

    def to_json(self) -> dict[str, Any]:
        """A readable object of plain values; empty parts are left out."""
        price = self.price
        found: dict[str, Any] = {}
        if self.brands:
            found["brands"] = [
                {"brand": b.brand, "text": b.text, "probability": round(b.probability, 3)} for b in self.brands
            ]
        if price:
            fields = {"min": price.min, "max": price.max, "relative": price.relative, "currency": price.currency}
            found["price"] = {"text": price.text, **{k: v for k, v in fields.items() if v is not None}}
        if self.attributes:
            found["attributes"] = [{"name": a.name, "value": a.value, "text": a.text} for a in self.attributes]
        if self.models:
            found["models"] = list(self.models)
        return found


@dataclass(frozen=True, eq=False)
class FacetModel:
    """A catalogue's brands, attribute values and whether it has prices; `parse` reads a query against them."""

    config: FacetConfig
    brands: BrandIndex
    values: Mapping[str, tuple[str, str]]
    has_prices: bool
    own_colours: bool

    def parse(self, text: str, known: WordIndex) -> Facets:
        """The facets of one query; ``known`` is the index of the catalogue this was fitted on."""
        price, rest = parse_price(text, bare=self.has_prices, currency=self.config.currency)
        brands = self.brands.find(rest, known, at_least=self.config.brand_min_probability)
        return Facets(
            brands=tuple(brands),
            price=price,
            attributes=(*self._attributes(rest, {b.text for b in brands}), *_sizes(rest)),
            models=tuple(model_numbers(rest)),
            rest=rest,
        )

    def _attributes(self, text: str, taken: set[str]) -> list[AttributeMatch]:
        """Attribute values in the text, longest first, not overlapping brands or each other."""
        said = words(text)
        keys = [stem(word) for word in said]
        used = {i for i, word in enumerate(said) if any(word in t.split() for t in taken)}
        found: list[tuple[int, AttributeMatch]] = []
        for n in range(min(_MOST_WORDS, len(said)), 0, -1):
            for first in range(len(said) - n + 1):
                span = set(range(first, first + n))
                hit = self.values.get(" ".join(keys[first : first + n]))
                if hit is None and n == 1 and not self.own_colours and keys[first] in COLOURS:
                    hit = ("colour", keys[first])
                if hit is not None and not span & used:
                    used |= span
                    found.append((first, AttributeMatch(hit[0], hit[1], " ".join(said[first : first + n]))))
        return [match for _, match in sorted(found, key=lambda pair: pair[0])]

    def to_state(self) -> dict[str, Any]:
        """JSON-able form; `facets_from_state` rebuilds the model."""
        return {
            "config": self.config.model_dump(),
            "brands": brands_state(self.brands),
            "values": {key: list(pair) for key, pair in self.values.items()},
            "has_prices": self.has_prices,
            "own_colours": self.own_colours,
        }


def facets_from_state(state: Mapping[str, Any]) -> FacetModel:
    """The model that `FacetModel.to_state` described."""
    return FacetModel(
        config=FacetConfig(**state["config"]),
        brands=brands_from_state(state["brands"]),
        values={key: (pair[0], pair[1]) for key, pair in state["values"].items()},
        has_prices=bool(state["has_prices"]),
        own_colours=bool(state["own_colours"]),
    )


def fit_facets(items: pd.DataFrame, config: FacetConfig | None = None, *, known: WordIndex | None = None) -> FacetModel:
    """Learn a catalogue's facets.

    Args:
        items: the shop's items table
        config: what counts as a facet
        known: index of `item_texts`, built here where absent
    """
    config = config or FacetConfig()
    texts = item_texts(items)
    known = known or fit_words(texts)
    values = _values(attribute_table(items), texts, known, config)
    return FacetModel(
        config=config,
        brands=fit_brands(column(items, "brand"), texts, known),
        values=values,
        has_prices="price" in items and bool(items["price"].notna().any()),
        own_colours=any("colo" in name and "r" in name for name, _ in values.values()),
    )


def item_texts(items: pd.DataFrame) -> list[str]:
    """Title and category of each item as one text, (n_items,): what word statistics are taken over."""
    titles, categories = column(items, "title"), column(items, "category")
    return [f"{title or ''} {category or ''}".strip() for title, category in zip(titles, categories, strict=True)]


def column(items: pd.DataFrame, name: str) -> list[str | None]:
    """A text column as a list with None for null or where the column is absent, (n_items,)."""
    if name not in items:
        return [None] * len(items)
    return [value if isinstance(value, str) else None for value in items[name].tolist()]


def attribute_table(items: pd.DataFrame) -> dict[str, list[tuple[int, str]]]:
    """Attribute name -> (item row, value) of every text value; numbers and yes/no are left out.

    Values that are no JSON object are taken as absent: `validate` is what reports them.
    """
    table: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for row, raw in enumerate(column(items, "attributes")):
        for name, value in _object(raw).items():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, str) and any(c.isalpha() for c in one) and normalise(one).strip() not in _NO_VALUE:
                    table[name].append((row, one.strip()))
    return dict(table)


def _object(raw: str | None) -> dict[str, Any]:
    """The JSON object in ``raw``, or an empty one."""
    if raw is None:
        return {}
    try:
        value = json.loads(raw)
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _values(
    table: Mapping[str, Sequence[tuple[int, str]]], texts: Sequence[str], known: WordIndex, config: FacetConfig
) -> dict[str, tuple[str, str]]:
    """Stemmed words -> (attribute, value) where a value is common enough and its words mostly mean it."""
    rows: dict[str, dict[tuple[str, str], list[int]]] = defaultdict(lambda: defaultdict(list))
    for name, pairs in table.items():
        if len(pairs) > 20 and len({value for _, value in pairs}) > 0.5 * len(pairs):
            continue  # free text, not a choice
        for row, value in pairs:
            key = [stem(word) for word in words(value)]
            if 0 < len(key) <= _MOST_WORDS and len("".join(key)) > 1:
                rows[" ".join(key)][name, value].append(row)
    chosen: list[tuple[int, str, tuple[str, str]]] = []
    for key, meanings in rows.items():
        by_field: Counter[str] = Counter()
        for (name, _), held in meanings.items():
            by_field[name] += len(held)
        field = min(by_field, key=lambda name: (-by_field[name], name))
        value = min((m for m in meanings if m[0] == field), key=lambda m: (-len(meanings[m]), m[1]))
        having = np.unique(np.concatenate([np.asarray(held, np.int64) for held in meanings.values()]))
        if (
            len(having) >= config.attribute_min_items
            and _share(key.split(), having, known) >= config.attribute_min_share
        ):
            chosen.append((len(having), key, value))
    chosen.sort(key=lambda c: (-c[0], c[1]))
    return {key: value for _, key, value in chosen[: config.most_values]}


def _share(key: Iterable[str], having: np.ndarray[Any, np.dtype[np.int64]], known: WordIndex) -> float:
    """Items with the value / items with the value or its words in their text."""
    held: np.ndarray[Any, Any] | None = None
    for word in key:
        rows = known.holding(word)
        held = rows if held is None else np.intersect1d(held, rows, assume_unique=True)
    either = len(having) if held is None else len(np.union1d(having, held))
    return len(having) / max(either, 1)


def _sizes(text: str) -> list[AttributeMatch]:
    """Sizes with units as attributes named ``size``."""
    return [AttributeMatch("size", value, value) for value in sizes(text)]


def price_levels(prices: Sequence[float | None], *, low: float = 1 / 3, high: float = 2 / 3) -> tuple[float, float]:
    """Prices below which "cheap" and above which "premium" lies; NaN where there are no prices.

    >>> price_levels([1, 2, 3, 4, 5, 6, 7])
    (3.0, 5.0)
    """
    known = [p for p in prices if p is not None and not math.isnan(p)]
    if not known:
        return math.nan, math.nan
    return float(np.quantile(known, low)), float(np.quantile(known, high))
