"""Attribute values named in a query: the catalogue's own colours, materials, formats, genres, ...

Covers which values are worth knowing, which attribute a word means when several have it ("red": of the cable or of the
product?), and telling a value from a mere word by the words beside it. Numbers are `units`' work.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..catalogue_words import WordIndex, overlap
from .units import normalise, stem, words

_NO_VALUE = {"yes", "no", "true", "false", "none", "other", "unknown", "n", "y", "na", "not applicable"}
_MOST_WORDS = 4
_MOST_MEANINGS = 4
_UNLIKELY = -2.0
_COLOURS = """
black white grey gray red blue green yellow purple violet pink brown beige silver gold turquoise teal burgundy maroon
multicolour multicolor
"""
COLOURS: frozenset[str] = frozenset(_COLOURS.split())
"""Colour words used where the catalogue has no colour attribute; those that are also goods (orange, cream) are out."""


@dataclass(frozen=True)
class AttributeMatch:
    """One attribute value a query names, e.g. ``product_colour = Black``; sizes have the name ``size``."""

    name: str
    value: str
    text: str


@dataclass(frozen=True, eq=False)
class Meaning:
    """One attribute that has a value of these words, and the items that have it, ascending, (n,) int32."""

    name: str
    value: str
    items: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class AttributeValues:
    """Stemmed words of a value joined by blanks -> what it can mean, most items first."""

    meanings: Mapping[str, tuple[Meaning, ...]]
    own_colours: bool

    def find(self, text: str, known: WordIndex, *, taken: Sequence[str] = ()) -> list[AttributeMatch]:
        """Values named in ``text``, left to right, longest first; words of the phrases in ``taken`` are not used."""
        said = words(text)
        keys = [stem(word) for word in said]
        gone = {word for phrase in taken for word in phrase.split()}
        used = {i for i, word in enumerate(said) if word in gone}
        found: list[tuple[int, AttributeMatch]] = []
        for n in range(min(_MOST_WORDS, len(said)), 0, -1):
            for first in range(len(said) - n + 1):
                span = set(range(first, first + n))
                if span & used:
                    continue
                beside = [key for i, key in enumerate(keys) if i not in span]
                hit = self._meant(" ".join(keys[first : first + n]), beside, known)
                if hit is not None:
                    used |= span
                    found.append((first, AttributeMatch(*hit, " ".join(said[first : first + n]))))
        return [match for _, match in sorted(found, key=lambda pair: pair[0])]

    def _meant(self, key: str, beside: Sequence[str], known: WordIndex) -> tuple[str, str] | None:
        """The likeliest attribute and value of these words next to those, or None."""
        best, most = None, -math.inf
        for meaning in self.meanings.get(key, ()):
            support = company(meaning.items, beside, known)
            score = math.log(len(meaning.items)) + support
            if support > _UNLIKELY and score > most:
                best, most = (meaning.name, meaning.value), score
        if best is None and key in COLOURS and not self.own_colours and known.frequency(key):
            return "colour", key
        return best


def company(items: NDArray[np.int32], beside: Sequence[str], known: WordIndex) -> float:
    """How much likelier than chance these items hold the words beside, as a sum of log ratios (0 = as chance).

    A word counts at most +-1.5, and in that proportion to which chance expects to see it at all.
    """
    total = 0.0
    for word in beside:
        held = known.holding(word)
        if len(held):
            expected = len(items) * len(held) / known.n_items
            ratio = math.log((overlap(items, held) + 0.5) / (expected + 0.5))
            total += min(1.5, max(-1.5, ratio))
    return total


def fit_attributes(
    items: pd.DataFrame, known: WordIndex, *, min_items: int = 3, min_share: float = 0.3, most: int = 20_000
) -> AttributeValues:
    """Choose the attribute values worth recognising.

    Args:
        items: the shop's items table
        known: index of the items' texts
        min_items: items a value needs
        min_share: of the items that have the value or its words in their text, this share must have the value
        most: values kept, the commonest first
    """
    rows: dict[str, dict[tuple[str, str], list[int]]] = defaultdict(lambda: defaultdict(list))
    for name, pairs in attribute_table(items).items():
        if len(pairs) > 20 and len({value for _, value in pairs}) > 0.5 * len(pairs):
            continue  # free text, not a choice
        for row, value in pairs:
            said = [stem(word) for word in words(value)]
            if 0 < len(said) <= _MOST_WORDS and len("".join(said)) > 1:
                rows[" ".join(said)][name, value].append(row)
    chosen: list[tuple[int, str, tuple[Meaning, ...]]] = []
    for key, held in rows.items():
        meanings = _meanings(held)
        having = np.unique(np.concatenate([m.items for m in meanings]))
        if len(having) >= min_items and _share(key.split(), having, known) >= min_share:
            chosen.append((len(having), key, meanings))
    chosen.sort(key=lambda c: (-c[0], c[1]))
    names = {meaning.name for _, _, meanings in chosen for meaning in meanings}
    return AttributeValues(
        meanings={key: meanings for _, key, meanings in chosen[:most]},
        own_colours=any("color" in name.lower() or "colour" in name.lower() for name in names),
    )


def attribute_table(items: pd.DataFrame) -> dict[str, list[tuple[int, str]]]:
    """Attribute name -> (item row, value) of every text value; numbers and yes/no are left out.

    What is no JSON object is taken as absent: `validate` is what reports it.
    """
    table: dict[str, list[tuple[int, str]]] = defaultdict(list)
    raws = items["attributes"].tolist() if "attributes" in items else []
    for row, raw in enumerate(raws):
        for name, value in _object(raw).items():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, str) and any(c.isalpha() for c in one) and normalise(one).strip() not in _NO_VALUE:
                    table[name].append((row, one.strip()))
    return dict(table)


def attributes_state(values: AttributeValues) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and JSON-able form; `attributes_from_state` rebuilds."""
    flat = [(key, m) for key, meanings in values.meanings.items() for m in meanings]
    arrays: dict[str, NDArray[Any]] = {
        "start": np.cumsum([0, *(len(m.items) for _, m in flat)]).astype(np.int64),
        "items": np.concatenate([np.zeros(0, np.int32), *(m.items for _, m in flat)]).astype(np.int32),
    }
    return arrays, {"values": [[key, m.name, m.value] for key, m in flat], "own_colours": values.own_colours}


def attributes_from_state(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> AttributeValues:
    """The values that `attributes_state` described."""
    meanings: dict[str, list[Meaning]] = defaultdict(list)
    start, items = arrays["start"], arrays["items"]
    for i, (key, name, value) in enumerate(meta["values"]):
        meanings[key].append(Meaning(name, value, items[start[i] : start[i + 1]]))
    return AttributeValues({key: tuple(ms) for key, ms in meanings.items()}, bool(meta["own_colours"]))


def _object(raw: Any) -> dict[str, Any]:
    """The JSON object in ``raw``, or an empty one."""
    if not isinstance(raw, str):
        return {}
    try:
        value = json.loads(raw)
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _meanings(held: Mapping[tuple[str, str], Sequence[int]]) -> tuple[Meaning, ...]:
    """One meaning an attribute, under its commonest spelling, most items first."""
    by_name: dict[str, list[tuple[str, Sequence[int]]]] = defaultdict(list)
    for (name, value), rows in held.items():
        by_name[name].append((value, rows))
    found = []
    for name, spellings in by_name.items():
        value = min(spellings, key=lambda s: (-len(s[1]), s[0]))[0]
        found.append(Meaning(name, value, np.unique([row for _, rows in spellings for row in rows]).astype(np.int32)))
    return tuple(sorted(found, key=lambda m: (-len(m.items), m.name))[:_MOST_MEANINGS])


def _share(key: Sequence[str], having: NDArray[np.int32], known: WordIndex) -> float:
    """Items with the value / items with the value or all its words in their text."""
    held = known.holding(key[0])
    for word in key[1:]:
        held = np.intersect1d(held, known.holding(word), assume_unique=True)
    return len(having) / max(len(np.union1d(having, held)), 1)
