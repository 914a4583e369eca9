"""Facets of a query: the brands, price, attribute values, sizes and model numbers it names.

Covers parsing one text against one catalogue's own brands, prices and attributes, without a model and without training.
What the rest of the text means is the encoder's and `intent`'s work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..catalogue_words import WordIndex, fit_words
from .attribute_values import (
    AttributeMatch,
    AttributeValues,
    attributes_from_state,
    attributes_state,
    fit_attributes,
)
from .brands import BrandIndex, BrandMatch, brands_from_state, brands_state, fit_brands
from .price_wishes import PriceBand, parse_price
from .units import model_numbers, sizes, words


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
    attributes: AttributeValues
    has_prices: bool

    def parse(self, text: str, known: WordIndex) -> Facets:
        """The facets of one query; ``known`` is the index of the catalogue this was fitted on."""
        price, rest = parse_price(text, bare=self.has_prices, currency=self.config.currency)
        brands = self.brands.find(rest, known, at_least=self.config.brand_min_probability)
        models = model_numbers(rest)
        taken = [*(brand.text for brand in brands), *(" ".join(words(model)) for model in models)]
        named = self.attributes.find(rest, known, taken=taken)
        said = {match.text for match in named}
        sized = [AttributeMatch("size", size, size) for size in sizes(rest) if size not in said]
        return Facets(tuple(brands), price, (*named, *sized), tuple(models), rest)

    def to_state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays and JSON-able form; `facets_from_state` rebuilds the model."""
        arrays, values = attributes_state(self.attributes)
        meta = {"config": self.config.model_dump(), "brands": brands_state(self.brands), "attributes": values}
        return arrays, {**meta, "has_prices": self.has_prices}


def facets_from_state(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> FacetModel:
    """The model that `FacetModel.to_state` described."""
    return FacetModel(
        config=FacetConfig(**meta["config"]),
        brands=brands_from_state(meta["brands"]),
        attributes=attributes_from_state(arrays, meta["attributes"]),
        has_prices=bool(meta["has_prices"]),
    )


def fit_facets(items: pd.DataFrame, config: FacetConfig | None = None, *, known: WordIndex | None = None) -> FacetModel:
    """Learn a catalogue's facets.

    Args:
        items: the shop's items table
        config: what counts as a facet
        known: index of `word_texts`, built here where absent
    """
    config = config or FacetConfig()
    known = known or fit_words(word_texts(items))
    return FacetModel(
        config=config,
        brands=fit_brands(column(items, "brand"), known),
        attributes=fit_attributes(
            items,
            known,
            min_items=config.attribute_min_items,
            min_share=config.attribute_min_share,
            most=config.most_values,
        ),
        has_prices="price" in items and bool(items["price"].notna().any()),
    )


def word_texts(items: pd.DataFrame) -> list[str]:
    """Title and category of each item as one text, (n_items,): what word statistics are taken over."""
    titles, categories = column(items, "title"), column(items, "category")
    return [f"{title or ''} {category or ''}".strip() for title, category in zip(titles, categories, strict=True)]


def column(items: pd.DataFrame, name: str) -> list[str | None]:
    """A text column as a list with None for null or where the column is absent, (n_items,)."""
    if name not in items:
        return [None] * len(items)
    return [value if isinstance(value, str) else None for value in items[name].tolist()]
