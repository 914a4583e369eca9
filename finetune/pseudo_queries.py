"""Short queries as shoppers might type them, written from one item's own words.

Covers what can be said of an item (product names, brand, values, sizes, model numbers, rare title words) and drawing
queries from it. Which items answer a query is `catalogue_pairs`' work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..profiling.intent.relevance import slip
from ..profiling.intent.units import model_numbers, normalise, sizes, stem, stems, words
from ..profiling.readable import STOP_WORDS
from ..profiling.templates import readable_attributes
from .pairs_config import CatalogueConfig, QueryKind
from .phrases import QUALITIES, Phrases, mine_phrases, pieces

_LONGEST_VALUE = 3  # words of an attribute value that a query may hold
_LENGTHS = (0.3, 0.5, 0.2)  # how often a product name of one, two and three words is typed
_NAMES_A_KIND = frozenset(
    f"{what}{name}" for what in ("", "product ", "item ") for name in ("type", "category", "kind", "genre", "genres")
)
_OFF = (",", " / ", ";")


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What can be said of each item.

    Attributes:
        titles: as written, (n_items,)
        brands: as written, or empty, (n_items,)
        said: short attribute values, sizes and qualities of each item, lower-case
        phrases: product names
        chance: how likely each phrase is typed for an item it names, (n_phrases,)
        rarity: log of items over items that have a stem
        near: words of title, brand and category of each item
        anywhere: all words of each item
    """

    titles: tuple[str, ...]
    brands: tuple[str, ...]
    said: tuple[tuple[str, ...], ...]
    phrases: Phrases
    chance: NDArray[np.float64]
    rarity: Mapping[str, float]
    near: tuple[frozenset[str], ...]
    anywhere: tuple[frozenset[str], ...]


@dataclass(frozen=True)
class Query:
    """One pseudo-query: its text, its kind, and the row of the product name in it (-1 = none)."""

    text: str
    kind: QueryKind
    phrase: int


def read_catalogue(items: pd.DataFrame, config: CatalogueConfig) -> Catalogue:
    """Read a shop's ``items`` once: names, values and rarities."""
    titles = _texts(items, "title")
    brands = _texts(items, "brand")
    attributes = [readable_attributes(text or None) for text in _texts(items, "attributes")]
    levels = [text.split(" > ") for text in _texts(items, "category")]
    kinds = [[value for name, said in named.items() if name in _NAMES_A_KIND for value in said] for named in attributes]
    named = [", ".join([t, *reversed(c), *k]) for t, c, k in zip(titles, levels, kinds, strict=True)]
    makers = [brand or next(iter(words(title)), "") for brand, title in zip(brands, titles, strict=True)]
    phrases = mine_phrases(named, [normalise(maker) for maker in makers], least_items=config.least_items)
    values = _values(titles, attributes, config.least_items)
    near = [
        frozenset(stems(f"{title} {brand} {' '.join(path)}"))
        for title, brand, path in zip(titles, brands, levels, strict=True)
    ]
    told = [
        f"{text} {' '.join(name + ' ' + ' '.join(said) for name, said in mine.items())}"
        for text, mine in zip(_texts(items, "description"), attributes, strict=True)
    ]
    anywhere = [close | frozenset(stems(text)) for close, text in zip(near, told, strict=True)]
    held = Counter(word for mine in near for word in mine)
    rarity = {word: float(np.log(len(titles) / n)) for word, n in held.items()}
    chance = phrase_chance(phrases)
    return Catalogue(tuple(titles), tuple(brands), values, phrases, chance, rarity, tuple(near), tuple(anywhere))


def phrase_chance(phrases: Phrases) -> NDArray[np.float64]:
    """How likely each product name is typed for an item it names, up to a constant, (n_phrases,).

    High for names that head most of the titles they stand in, that many brands use and that many items share; names
    of one brand only (its lines and the brand itself) keep a little.
    """
    lengths = np.asarray([len(key) for key in phrases.keys], dtype=np.int64)
    by_length = np.asarray(_LENGTHS)[np.minimum(lengths, len(_LENGTHS)) - 1] if len(lengths) else np.zeros(0)
    shared = np.diff(phrases.start)
    many = 0.03 + 0.97 * (1 - np.exp(-(phrases.makers.astype(np.float64) - 1) / 2))
    return np.asarray(by_length * phrases.headed.astype(np.float64) ** 2 * many * np.log1p(shared))


def draw_query(catalogue: Catalogue, item: int, config: CatalogueConfig, rng: np.random.Generator) -> Query | None:
    """One pseudo-query about an item, of a kind drawn among those it allows; None where nothing can be said."""
    names = catalogue.phrases.of(item)
    phrase = _draw_phrase(catalogue, names, rng)
    brand = catalogue.brands[item].lower()
    if phrase >= 0 and brand and _within(catalogue.phrases.texts[phrase], brand):
        phrase = -1
    models = model_numbers(catalogue.titles[item])
    values = [v for v in catalogue.said[item] if phrase < 0 or not _within(v, catalogue.phrases.texts[phrase])]
    allowed: dict[QueryKind, bool] = {
        "type": phrase >= 0,
        "brand_type": phrase >= 0 and bool(brand),
        "value_type": phrase >= 0 and bool(values),
        "brand": bool(brand),
        "model": bool(models),
        "words": bool(catalogue.titles[item]),
        "title": bool(catalogue.titles[item]),
    }
    kinds = [kind for kind, can in allowed.items() if can and config.shares.get(kind, 0) > 0]
    if not kinds:
        return None
    share = np.asarray([config.shares[kind] for kind in kinds])
    kind = kinds[int(rng.choice(len(kinds), p=share / share.sum()))]
    name = catalogue.phrases.texts[phrase] if phrase >= 0 else ""
    if kind == "title":
        return Query(catalogue.titles[item], kind, -1)
    if kind == "words":
        text = _some_words(catalogue, item, rng)
    elif kind == "model":
        model = str(rng.choice(models)).lower()
        text = f"{brand} {model}".strip() if rng.random() < 0.5 else model
    elif kind == "brand":
        text = brand
    elif kind == "brand_type":
        text = f"{brand} {name}"
    elif kind == "value_type":
        value = str(rng.choice(values))
        text = f"{value} {name}" if rng.random() < 0.6 else f"{name} {value}"
    else:
        text = name
    return Query(text, kind, phrase if kind in ("type", "brand_type", "value_type") else -1) if text else None


def slipped(text: str, rng: np.random.Generator) -> str:
    """A query with a slip of the finger in one of its longer words."""
    parts = text.split()
    long = [i for i, part in enumerate(parts) if len(part) > 4 and part.isalpha()]
    if long:
        i = int(rng.choice(long))
        parts[i] = slip(parts[i], rng=rng)
    return " ".join(parts)


def _draw_phrase(catalogue: Catalogue, names: NDArray[np.int32], rng: np.random.Generator) -> int:
    """A product name of an item by its chance, -1 where it has none."""
    if not len(names):
        return -1
    chance = catalogue.chance[names]
    return int(rng.choice(names, p=chance / chance.sum()))


def _some_words(catalogue: Catalogue, item: int, rng: np.random.Generator) -> str:
    """Two to four words of a title, rarer ones likelier, in their order."""
    said = list(dict.fromkeys(w for run in pieces(catalogue.titles[item]) for w in run if w not in STOP_WORDS))
    said = [word for word in said if len(word) > 1]
    if not said:
        return ""
    rare = np.asarray([0.2 + catalogue.rarity.get(stem(w), 0.0) * (1 if len(w) > 2 else 0.3) for w in said])
    n = min(len(said), int(rng.integers(2, 5)))
    return " ".join(said[i] for i in np.sort(rng.choice(len(said), n, replace=False, p=rare / rare.sum())))


def _values(
    titles: Sequence[str], attributes: Sequence[Mapping[str, Sequence[str]]], least: int
) -> tuple[tuple[str, ...], ...]:
    """Short values that at least ``least`` items share, the sizes in each title, and its qualities."""
    found: list[list[str]] = []
    for title, named in zip(titles, attributes, strict=True):
        said = [part.strip().lower() for values in named.values() for value in values for part in _parted(value)]
        mine = [v for v in said if len(v.split()) <= _LONGEST_VALUE and any(c.isalpha() for c in v) and len(v) < 30]
        mine += [size.lower() for size in sizes(title)]
        mine += [word for word in words(title) if word in QUALITIES]
        found.append(list(dict.fromkeys(mine)))
    shared = Counter(value for mine in found for value in mine)
    return tuple(tuple(value for value in mine if shared[value] >= least) for mine in found)


def _parted(value: str) -> list[str]:
    """The parts of a list written as one value."""
    sign = next((sign for sign in _OFF if sign in value), None)
    return value.split(sign) if sign else [value]


def _within(part: str, whole: str) -> bool:
    """Whether all of one text's words stand in another."""
    return _stems_of(part) <= _stems_of(whole)


@lru_cache(maxsize=65536)
def _stems_of(text: str) -> frozenset[str]:
    """The distinct stems of a text."""
    return frozenset(stems(text))


def _texts(items: pd.DataFrame, column: str) -> list[str]:
    """A column's texts, blanks made single; empty for null and where the column is absent."""
    if column not in items:
        return [""] * len(items)
    return [" ".join(str(text).split()) for text in items[column].where(items[column].notna(), "")]
