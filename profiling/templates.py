"""Texts for the encoder: an item's columns, a query and a review, each written as one readable line.

Covers which fields are used, their order, labels and length, and reading the attributes' JSON so that codes without
meaning stay out. The defaults were chosen by measurement (``benchmarks/templates.py``). Cleaning and tokenising are the
encoder's work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, field_validator

FieldName = Literal["title", "brand", "category", "description", "attributes"]

_WORD = re.compile(r"\w+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|[_\s]+")
_NUMBER = re.compile(r"[-+]?[\d.,]+")
_CODE_NAMES = frozenset(
    {"id", "ids", "code", "codes", "key", "keys", "uuid", "guid", "sku", "ean", "gtin", "upc", "url"}
)
_LONG_NUMBER = 8


class TemplateConfig(BaseModel):
    """How an item becomes a text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fields: tuple[FieldName, ...] = Field(
        default=("title", "brand", "category", "description", "attributes"),
        min_length=1,
        description="columns in the order they are written",
    )
    labels: Literal["none", "attributes", "all"] = Field(
        default="attributes", description="whose names are written before the values, as in 'colour: red'"
    )
    separator: str = Field(default=". ", min_length=1, max_length=8, description="what stands between parts")
    category: Literal["root_first", "leaf_first", "leaf"] = Field(
        default="root_first", description="how much of a category's path is written, and in which order"
    )
    max_attributes: int = Field(default=8, ge=0, le=1000, description="attributes written at most")
    max_words: int = Field(
        default=128, ge=1, le=10_000, description="words kept of a description, and entries of a list"
    )
    skip_repeated: bool = Field(default=True, description="leave out a value whose words stand in the text already")

    @field_validator("fields")
    @classmethod
    def _no_field_twice(cls, fields: tuple[FieldName, ...]) -> tuple[FieldName, ...]:
        if len(set(fields)) < len(fields):
            raise ValueError(f"each field may be named once, got {', '.join(fields)}")
        return fields

    @property
    def text(self) -> str:
        """This template in one line, for stamps: equal texts mean equal templates."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)


def item_texts(items: pd.DataFrame, config: TemplateConfig | None = None) -> list[str]:
    """One text per row of ``items``, in its order; ``""`` where a row has nothing to say.

    Columns of the data contract that are absent are read as null; others are ignored.

    >>> attributes = '{"colour": "red", "shelf_id": 7}'
    >>> item_texts(pd.DataFrame({"title": ["Desk lamp"], "brand": ["Lumo"], "attributes": [attributes]}))
    ['Desk lamp. Lumo. colour: red']
    """
    config = TemplateConfig() if config is None else config
    columns = [_column(items, name) for name in config.fields]
    texts: dict[tuple[Any, ...], str] = {}
    for row in zip(*columns, strict=True):
        if row not in texts:  # catalogues repeat themselves
            texts[row] = _item_text(dict(zip(config.fields, row, strict=True)), config)
    return [texts[row] for row in zip(*columns, strict=True)]


def query_text(query: str | None) -> str:
    """What a shopper typed, blanks made single.

    >>> query_text("  red   lamp ")
    'red lamp'
    """
    return " ".join(query.split()) if isinstance(query, str) else ""


def review_text(review: str | None, title: str | None = None) -> str:
    """What a shopper wrote, after the title of what it is about where that is known.

    >>> review_text("Too dim.", "Desk lamp")
    'Desk lamp. Too dim.'
    """
    return ". ".join(part for part in (query_text(title), query_text(review)) if part)


def readable_attributes(attributes: Any) -> dict[str, list[str]]:
    """Name in words and values of each attribute that means something to a reader, in the order given.

    Left out: nulls, "no", codes (a number under a name such as ``shelf_id``, a list of numbers, a number of eight
    digits and more, a link) and nested objects. A "yes" gives no value: its name says it all. What is not a JSON object
    gives nothing.

    >>> readable_attributes('{"maker_id": "4373", "led_count": 12, "dimmable": "yes", "tagCodes": ["1", "2"]}')
    {'led count': ['12'], 'dimmable': []}
    """
    try:
        named = json.loads(attributes) if isinstance(attributes, str) else {}
    except ValueError:
        return {}
    if not isinstance(named, dict):
        return {}
    found = {}
    for name, value in named.items():
        words = _words_of_name(name)
        said = [text for part in (value if isinstance(value, list) else [value]) if (text := _readable(part))]
        if words and said and not _is_code(words, said, listed=isinstance(value, list)):
            found[words] = [] if [text.lower() for text in said] == ["yes"] else said
    return found


@lru_cache(maxsize=4096)
def _words_of_name(name: str) -> str:
    """An attribute's name as words: ``ledCount`` and ``led_count`` are "led count"."""
    return _CAMEL.sub(" ", name).strip().lower()


def _readable(value: Any) -> str:
    """A JSON value in words, empty where it says nothing."""
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, (int, float)):
        return f"{value:.0f}" if float(value).is_integer() else f"{value:g}"
    said = " ".join(value.split()) if isinstance(value, str) else ""
    if said.lower() == "true":
        return "yes"
    return "" if said.lower() in ("no", "false", "none", "null", "n/a", "unknown") else said


def _is_code(name: str, said: list[str], *, listed: bool) -> bool:
    """Whether a value is for machines: an identifier, a list of numbers, a link."""
    if all(text.startswith(("http://", "https://")) for text in said):
        return True
    if name.split(" ")[-1] in _CODE_NAMES and all(any(sign.isdigit() for sign in text) for text in said):
        return True
    numbers = all(_NUMBER.fullmatch(text) for text in said)
    return numbers and (listed or sum(sign.isdigit() for sign in said[0]) >= _LONG_NUMBER)


def _column(items: pd.DataFrame, name: str) -> list[Any]:
    """A column's values, None for null and for a column that is absent."""
    if name not in items:
        return [None] * len(items)
    return items[name].astype(object).where(items[name].notna(), None).tolist()


def _item_text(values: dict[FieldName, Any], config: TemplateConfig) -> str:
    """The text of one item."""
    parts: list[str] = []
    so_far = " "
    for label, said in _parts(values, config):
        fresh = []
        for value in said or [label]:
            words = " ".join(_WORD.findall(value.casefold()))
            if not (config.skip_repeated and words and f" {words} " in so_far):
                fresh.append(value)
                so_far += f"{words} "
        if fresh:
            parts.append(f"{label}: {', '.join(fresh)}" if label and said else ", ".join(fresh))
    stop = config.separator.strip()
    return config.separator.join(part.removesuffix(stop) for part in parts)


def _parts(values: dict[FieldName, Any], config: TemplateConfig) -> Iterator[tuple[str, list[str]]]:
    """Label (empty for none) and values of each part of an item's text; no values where the label says it all."""
    for name, value in values.items():
        if value is None:
            continue
        if name == "attributes":
            yield from _attribute_parts(value, config)
            continue
        if name == "category":
            said = _category(value, config.category)
        else:
            words = str(value).split()
            said = [" ".join(words[: config.max_words] if name == "description" else words)]
        if any(said):
            yield name if config.labels == "all" else "", said


def _attribute_parts(attributes: Any, config: TemplateConfig) -> Iterator[tuple[str, list[str]]]:
    """Label and values of each attribute worth writing; bare numbers mean nothing without their label."""
    readable = readable_attributes(attributes)
    if config.labels == "none":
        kept = {name: [v for v in said if not _NUMBER.fullmatch(v)] for name, said in readable.items()}
        readable = {name: kept[name] for name, said in readable.items() if kept[name] or not said}
    for name, said in list(readable.items())[: config.max_attributes]:
        yield name if config.labels != "none" or not said else "", said[: config.max_words]


def _category(path: Any, how: str) -> list[str]:
    """The levels of a category path to write."""
    levels = [level.strip() for level in str(path).split(" > ") if level.strip()]
    if how == "leaf":
        return levels[-1:]
    return levels[::-1] if how == "leaf_first" else levels
