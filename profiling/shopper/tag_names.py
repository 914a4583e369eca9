"""The names a catalogue gives its items: category steps, brands, attribute values, words and phrases of titles.

Each distinct category, brand, attribute text and title is read once. How well a name reads is judged by its looks
(digits, brackets, words without vowels, length), not by any list of names. `tags` chooses among them for a shopper.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from ..readable import STOP_WORDS, abbreviations, readable_brand, readable_name, singular, words_of

LONGEST_PHRASE = 4
_KIND_FACTOR = {"category": 1.2, "attribute": 1.1, "brand": 1.0, "term": 0.8}


@dataclass(frozen=True)
class Name:
    """A candidate: what it is, how it is told from others, how it is shown."""

    kind: str
    key: str
    display: str


def item_names(items: pd.DataFrame, *, least_items: int, most: int) -> tuple[list[Name], sparse.csr_array]:
    """All names on at least ``least_items`` items, at most ``most``, and which items carry them, (n_items, n_names)."""
    readers: dict[str, Callable[[pd.Series], dict[object, list[Name]]]] = {
        "category": _category_names,
        "brand": _brand_names,
        "attributes": _attribute_names,
        "title": _title_names,
    }
    names: list[Name] = []
    blocks = []
    for column, read in readers.items():
        if column in items:
            found, block = _carried(items[column], read(items[column]), least_items)
            names += found
            blocks.append(block)
    together = sparse.csr_array(sparse.hstack(blocks)) if blocks else sparse.csr_array((len(items), 0))
    if len(names) > most:
        count = np.asarray(together.sum(axis=0)).ravel()
        top = np.sort(np.argsort(-count, kind="stable")[:most])
        return [names[k] for k in top], sparse.csr_array(together[:, top])
    return names, together


def plainness(name: Name, *, categorised: bool = False) -> float:
    """How well a name reads as a tag, about 0.2 to 1.5.

    Longer phrases read better than the parts of them; loose title words read worst where the shop has categories
    (``categorised``), which name the same things on purpose.

    >>> plainness(Name("term", "tea", "tea")) < plainness(Name("term", "tea cup", "tea cup"))
    True
    """
    words = [word for word in re.findall(r"[^\W\d_]+", name.display) if len(word) > 1]
    factor = _KIND_FACTOR[name.kind]
    if name.kind == "term":
        factor *= (1.0, 1.0, 1.25, 1.35, 1.4)[min(len(words), 4)] * (0.65 if categorised else 1.0)
    if any(c.isdigit() for c in name.display):
        factor *= 0.7
    if any(c in "()[]:%" for c in name.display):
        factor *= 0.8
    if any(len(w) > 2 and w.isascii() and not set(w.lower()) & set("aeiouy") for w in words):
        factor *= 0.7
    return factor * (0.8 if len(words) > 5 else 1.0)


def _carried(
    column: pd.Series, found: Mapping[object, list[Name]], least_items: int
) -> tuple[list[Name], sparse.csr_array]:
    """Names on enough items, in order of frequency, and the items that carry them."""
    code, values = pd.factorize(column)
    size = np.bincount(code[code >= 0], minlength=len(values))
    frequency: Counter[tuple[str, str]] = Counter()
    shown: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for value, n in zip(values, size, strict=True):
        for name in found.get(value, []):
            frequency[name.kind, name.key] += int(n)
            shown[name.kind, name.key][name.display] += int(n)
    kept = [key for key, n in sorted(frequency.items(), key=lambda pair: (-pair[1], pair[0])) if n >= least_items]
    position = {key: k for k, key in enumerate(kept)}
    rows, columns = [], []
    for row, value in enumerate(values):
        mine = {position[name.kind, name.key] for name in found.get(value, []) if (name.kind, name.key) in position}
        rows += [row] * len(mine)
        columns += sorted(mine)
    cells = (np.ones(len(rows)), (np.asarray(rows, dtype=np.int64), np.asarray(columns, dtype=np.int64)))
    of_value = sparse.csr_array(sparse.coo_array(cells, shape=(len(values) + 1, len(kept))))
    carries = of_value[np.where(code < 0, len(values), code)]  # nulls take the empty last row
    names = [Name(kind, key, shown[kind, key].most_common(1)[0][0]) for kind, key in kept]
    return names, sparse.csr_array(carries)


def _category_names(column: pd.Series) -> dict[object, list[Name]]:
    """Every step of each category path; a deep step of one word or with several parents is shown with its parent."""
    paths = {path: [step.strip() for step in str(path).split(" > ")] for path in column.dropna().unique()}
    spelled = abbreviations({step for steps in paths.values() for step in steps})
    parents: dict[str, set[str]] = defaultdict(set)
    for steps in paths.values():
        for above, step in zip(["", *steps], steps, strict=False):
            parents[step].add(above)
    out: dict[object, list[Name]] = {}
    for path, steps in paths.items():
        out[path] = []
        for k, step in enumerate(steps):
            shown = readable_name(step, spelled)
            words = set(words_of(step)) - {""}
            vague = len(parents[step]) > 1 or len(words) == 1
            if k > 1 and vague and not words & set(words_of(steps[k - 1])):
                shown = f"{readable_name(steps[k - 1], spelled)}: {shown[:1].lower()}{shown[1:]}"
            out[path].append(Name("category", " > ".join(steps[: k + 1]), shown))
    return out


def _brand_names(column: pd.Series) -> dict[object, list[Name]]:
    """Each brand."""
    return {
        brand: [Name("brand", str(brand).lower(), readable_brand(str(brand)))] for brand in column.dropna().unique()
    }


def _attribute_names(column: pd.Series) -> dict[object, list[Name]]:
    """Attribute values that are short words: genres, materials, colours; no numbers, no yes and no."""
    return {text: _values(json.loads(text)) for text in column.dropna().unique()}


def _values(attributes: Mapping[str, Any]) -> list[Name]:
    """Names in one item's attributes."""
    found = {}
    for value in attributes.values():
        for word in value if isinstance(value, list) else [value]:
            if not isinstance(word, str) or any(c.isdigit() for c in word) or word.lower() in STOP_WORDS:
                continue
            if 3 <= len(word) <= 30 and len(word.split()) <= 3 and word.lower() not in ("yes", "none", "n/a"):
                found[word.lower()] = Name("attribute", word.lower(), word)
    return list(found.values())


def _title_names(column: pd.Series) -> dict[object, list[Name]]:
    """Words of each title and phrases of up to `LONGEST_PHRASE` that start and end with a telling word."""
    return {title: _phrases(words_of(str(title))) for title in column.dropna().unique()}


def _phrases(words: list[str]) -> list[Name]:
    """Telling words and phrases in these words; ``""`` separates phrases."""
    telling = [len(word) > 2 and word not in STOP_WORDS for word in words]
    found = {}
    for start, first in enumerate(words):
        if not telling[start]:
            continue
        found[singular(first)] = Name("term", singular(first), first)
        for stop in range(start + 1, min(start + LONGEST_PHRASE, len(words))):
            if not words[stop]:
                break
            if telling[stop]:
                phrase = " ".join(words[start:stop])
                key = f"{phrase} {singular(words[stop])}"
                found[key] = Name("term", key, f"{phrase} {words[stop]}")
    return list(found.values())
