"""How well the words of a query and of an item match, beyond BM25: the ranker's text features.

Covers exact, near and missing words by field, head nouns, phrases, numbers and sizes, and what the query is like.
Meaning is the encoder's, the part ``bm25`` is `lexical`'s. English particles mark where a head noun ends; in other
languages the head is the last word, and all other features work the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...profiling.intent.attribute_values import attribute_table
from ...profiling.intent.units import sizes, stems
from ..lexical import Spelling, texts_of
from ..lexical.analysis import PARTICLES, head_noun, terms
from ..lexical.spelling import can_be_read, spelled

Float = NDArray[np.float32]
Ints = NDArray[np.int64]

TEXT_FEATURES: tuple[str, ...] = (
    "title_words",
    "title_idf",
    "title_near",
    "title_missing",
    "title_covered",
    "title_bm25",
    "title_first",
    "title_pairs",
    "title_phrase",
    "title_length",
    "head_in_title",
    "head_is_head",
    "head_is_asked",
    "numbers",
    "sizes",
    "size_conflict",
    "brand",
    "facts_idf",
    "description_idf",
    "anywhere_idf",
    "query_words",
    "query_idf",
    "query_rarest",
    "query_numbers",
    "query_unknown",
)
"""Names of the columns of `text_values`; `docs/ranker.md` says what each is."""

_K1, _B = 1.2, 0.5
_PREFIX = 4


@dataclass(frozen=True, eq=False)
class Bags:
    """Lists of numbers of every item, one after another: those of item ``i`` are ``value[start[i]:start[i + 1]]``."""

    start: Ints
    value: NDArray[np.int32]

    def of(self, rows: Ints) -> tuple[Ints, NDArray[np.int32], Ints]:
        """Numbers of these items: position in ``rows``, the number, and its place in its item's list; each (n,)."""
        count = self.start[rows + 1] - self.start[rows]
        owner = np.repeat(np.arange(len(rows)), count)
        place = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
        return owner, self.value[np.repeat(self.start[rows], count) + place], place


@dataclass(frozen=True, eq=False)
class ItemWords:
    """The words of a catalogue, ready to be matched.

    Attributes:
        vocabulary: stemmed word -> number
        idf: ``log(1 + n_items / (1 + items with the word))`` of each word, (n_words,)
        prefix: number of each word's first letters, equal for words that begin alike, (n_words,)
        title: words of each title in order
        head: number of the head noun of each title, -2 without one, (n_items,)
        brand, facts, description: distinct words of each item's brand, of category and attributes, of description
        sizes: number of each size in titles and attributes
        size_of: size such as ``3/4 in`` -> number
        size_unit: number of the unit of each size, (n_sizes,)
    """

    vocabulary: Mapping[str, int]
    idf: Float
    prefix: NDArray[np.int32]
    title: Bags
    head: NDArray[np.int32]
    brand: Bags
    facts: Bags
    description: Bags
    sizes: Bags
    size_of: Mapping[str, int]
    size_unit: NDArray[np.int32]

    @cached_property
    def prefix_of(self) -> dict[str, int]:
        """First letters -> their number in ``prefix``."""
        return {word[:_PREFIX]: int(self.prefix[number]) for word, number in self.vocabulary.items()}

    @cached_property
    def spelling(self) -> Spelling:
        """What queries' unknown words may stand for: the catalogue's own, as common as their weights say."""
        held = (len(self.head) / np.expm1(self.idf.astype(np.float64)) - 1.0).round().astype(np.int64)
        readable = [(word, int(held[n])) for word, n in self.vocabulary.items() if can_be_read(word, shortest=3)]
        return Spelling(tuple(word for word, _ in readable), np.array([n for _, n in readable], dtype=np.int64))

    @cached_property
    def unit_of(self) -> dict[str, int]:
        """Unit -> its number in ``size_unit``."""
        return {_unit(size): int(self.size_unit[number]) for size, number in self.size_of.items()}


@dataclass(frozen=True, eq=False)
class AskedWords:
    """A query against one catalogue's words.

    Attributes:
        word: number of each distinct word in order, -1 where the catalogue does not have it, (n,)
        prefix: number of each word's first letters, -1 where no word of the catalogue begins so, (n,)
        idf: weight of each; an unknown word weighs like the rarest, (n,)
        number: whether it is a number, (n,)
        head: position of the head noun in ``word``
        size: numbers of the sizes asked for, -1 where unknown, (n_sizes,)
        size_unit: their units, -1 where unknown, (n_sizes,)
        sequence: every word in order, repeats included, (m,)
    """

    word: Ints
    prefix: Ints
    idf: Float
    number: NDArray[np.bool_]
    head: int
    size: Ints
    size_unit: Ints
    sequence: Ints


def fit_item_words(items: pd.DataFrame) -> ItemWords:
    """Read the words of a catalogue; behaviour is not used."""
    fields = {name: [stems(text) for text in texts_of(items, (name,))] for name in ("title", "brand", "description")}
    facts = _facts(items)
    fields["facts"] = [stems(text) for text in facts]
    vocabulary: dict[str, int] = {}
    bags = {name: _bags(rows, vocabulary, distinct=name != "title") for name, rows in fields.items()}
    n_items, n_words = len(items), len(vocabulary)
    owner = np.concatenate([np.repeat(np.arange(n_items), np.diff(bag.start)) for bag in bags.values()])
    pairs = np.unique(owner * max(n_words, 1) + np.concatenate([bag.value for bag in bags.values()]))
    having = np.bincount(pairs % max(n_words, 1), minlength=n_words)
    prefixes: dict[str, int] = {}
    prefix = [prefixes.setdefault(word[:_PREFIX], len(prefixes)) for word in vocabulary]
    size_of: dict[str, int] = {}
    titles = texts_of(items, ("title",))
    sized = _bags([sizes(f"{title} ; {fact}") for title, fact in zip(titles, facts, strict=True)], size_of)
    units: dict[str, int] = {}
    return ItemWords(
        vocabulary=vocabulary,
        idf=np.log(1.0 + n_items / (1.0 + having)).astype(np.float32),
        prefix=np.array(prefix, dtype=np.int32),
        head=np.array([vocabulary.get(head_noun(row), -2) for row in fields["title"]], dtype=np.int32),
        sizes=sized,
        size_of=size_of,
        size_unit=np.array([units.setdefault(_unit(size), len(units)) for size in size_of], dtype=np.int32),
        **bags,
    )


def read_query(query: str, known: ItemWords) -> AskedWords:
    """The words of a query by the numbers a catalogue gives them; a slip of spelling is what it likely stands for."""
    found = spelled(terms(query), known.vocabulary, known.spelling)
    distinct = list(dict.fromkeys(word for word in found if word not in PARTICLES)) or list(dict.fromkeys(found))
    word = np.array([known.vocabulary.get(w, -1) for w in distinct], dtype=np.int64)
    rarest = float(known.idf.max(initial=1.0))
    idf = np.array([rarest if w < 0 else known.idf[w] for w in word], dtype=np.float32)
    asked_sizes = sizes(query)
    size = np.array([known.size_of.get(s, -1) for s in asked_sizes], dtype=np.int64)
    head = head_noun(found)
    return AskedWords(
        word=word,
        prefix=np.array([known.prefix_of.get(w[:_PREFIX], -1) for w in distinct], dtype=np.int64),
        idf=idf,
        number=np.array([w[0].isdigit() for w in distinct], dtype=bool),
        head=distinct.index(head) if head in distinct else max(len(distinct) - 1, 0),
        size=size,
        size_unit=np.array([known.unit_of.get(_unit(s), -1) for s in asked_sizes], dtype=np.int64),
        sequence=np.array([known.vocabulary.get(w, -1) for w in found], dtype=np.int64),
    )


def text_values(asked: AskedWords, known: ItemWords, rows: Ints) -> Float:
    """How a query and the items at ``rows`` match, (n_rows, len(TEXT_FEATURES)); NaN where a feature has no meaning."""
    out = np.full((len(rows), len(TEXT_FEATURES)), np.nan, dtype=np.float32)
    if not len(asked.word) or not len(rows):
        return out
    column = {name: place for place, name in enumerate(TEXT_FEATURES)}
    idf, total = asked.idf, float(asked.idf.sum())
    owner, value, place = known.title.of(rows)
    length = np.bincount(owner, minlength=len(rows))
    same = value[:, None] == asked.word[None, :]  # (n_title_words, n_query_words)
    times = _sums(owner, same, len(rows))
    there = times > 0
    alike = known.prefix[value][:, None] == asked.prefix[None, :]
    told: dict[str, Any] = {
        "title_words": there.mean(axis=1),
        "title_idf": there @ idf / total,
        "title_near": (_sums(owner, alike, len(rows)) > 0) @ idf / total,
        "title_missing": np.where(there, 0.0, idf).max(axis=1),
        "title_covered": _covered(owner, known.idf[value], same.any(axis=1), len(rows)),
        "title_bm25": _bm25(times, idf, length, float(np.diff(known.title.start).mean())),
        "title_first": _first(owner, place, same.any(axis=1), length),
        "title_length": length,
        "head_in_title": there[:, asked.head],
        "head_is_head": known.head[rows] == asked.word[asked.head],
        "head_is_asked": (known.head[rows][:, None] == asked.word[None, :]).any(axis=1),
        **_phrases(asked, owner, value, len(rows)),
        **_numbers(asked, known, there, rows),
        **_fields(asked, known, there, rows),
        "query_words": len(asked.word),
        "query_idf": idf.mean(),
        "query_rarest": idf.max(),
        "query_numbers": asked.number.sum(),
        "query_unknown": (asked.word < 0).mean(),
    }
    for name, values in told.items():
        out[:, column[name]] = values
    return out


def _sums(owner: Ints, rows: NDArray[np.bool_], n: int) -> NDArray[np.float64]:
    """Number of true entries by owner and column, (n, columns)."""
    columns = rows.shape[1]
    entry, column = np.nonzero(rows)
    return np.bincount(owner[entry] * columns + column, minlength=n * columns).reshape(n, columns).astype(np.float64)


def _covered(owner: Ints, idf: Float, asked: NDArray[np.bool_], n: int) -> NDArray[np.float64]:
    """Share of the title's own weight that was asked for."""
    total = np.bincount(owner, idf, minlength=n)
    return np.bincount(owner, idf * asked, minlength=n) / np.maximum(total, 1e-9)


def _bm25(times: NDArray[np.float64], idf: Float, length: Ints, mean: float) -> NDArray[np.float64]:
    """BM25 of stemmed title words, over the best a title could reach."""
    held = _K1 * (1 - _B + _B * length / max(mean, 1e-9))
    return (times * (_K1 + 1) / (times + held[:, None])) @ idf / (max(float(idf.sum()), 1e-9) * (_K1 + 1))


def _first(owner: Ints, place: Ints, asked: NDArray[np.bool_], length: Ints) -> NDArray[np.float64]:
    """Where in the title the first asked word stands, 0 at its beginning, 1 where there is none."""
    first = np.where(length > 0, length, 1).astype(np.float64)
    np.minimum.at(first, owner[asked], place[asked])
    return first / np.maximum(length, 1)


def _phrases(asked: AskedWords, owner: Ints, value: NDArray[np.int32], n: int) -> dict[str, Any]:
    """Neighbours in the query that are neighbours in the title, and whether the whole query stands there."""
    sequence = asked.sequence
    if len(sequence) < 2:
        return {"title_pairs": np.nan, "title_phrase": np.nan}
    together = owner[1:] == owner[:-1]
    pairs = together[:, None] & (value[:-1, None] == sequence[:-1]) & (value[1:, None] == sequence[1:])
    found = _sums(owner[1:], pairs, n) > 0
    whole = np.ones(max(len(value) - len(sequence) + 1, 0), dtype=bool)
    for step, word in enumerate(sequence):
        whole &= value[step : step + len(whole)] == word
    last = len(sequence) - 1
    whole &= owner[: len(whole)] == owner[last : last + len(whole)]
    phrase = np.bincount(owner[: len(whole)][whole], minlength=n) > 0
    return {"title_pairs": found.mean(axis=1), "title_phrase": phrase}


def _numbers(asked: AskedWords, known: ItemWords, there: NDArray[np.bool_], rows: Ints) -> dict[str, Any]:
    """Numbers and sizes asked for that the item has, and sizes that it has otherwise."""
    told: dict[str, Any] = {"numbers": there[:, asked.number].mean(axis=1)} if asked.number.any() else {}
    if not len(asked.size):
        return told
    owner, size, _ = known.sizes.of(rows)
    has = _sums(owner, size[:, None] == asked.size[None, :], len(rows)) > 0
    unit = _sums(owner, known.size_unit[size][:, None] == asked.size_unit[None, :], len(rows)) > 0
    return told | {"sizes": has.mean(axis=1), "size_conflict": (unit & ~has).mean(axis=1)}


def _fields(asked: AskedWords, known: ItemWords, there: NDArray[np.bool_], rows: Ints) -> dict[str, Any]:
    """Weight of the query that brand, category and attributes, description, and all fields together hold."""
    total = max(float(asked.idf.sum()), 1e-9)
    told: dict[str, Any] = {}
    anywhere = there.copy()
    for name, bag in (("facts", known.facts), ("description", known.description), ("brand", known.brand)):
        owner, value, _ = bag.of(rows)
        if not len(value):
            continue
        same = value[:, None] == asked.word[None, :]
        here = _sums(owner, same, len(rows)) > 0
        anywhere |= here
        empty = np.bincount(owner, minlength=len(rows)) == 0
        if name == "brand":
            told["brand"] = np.where(empty, np.nan, _covered(owner, known.idf[value], same.any(axis=1), len(rows)))
        else:
            told[f"{name}_idf"] = np.where(empty, np.nan, here @ asked.idf / total)
    return told | {"anywhere_idf": anywhere @ asked.idf / total}


def _facts(items: pd.DataFrame) -> list[str]:
    """Category and attribute values of each item as one text."""
    parts = [[text] for text in texts_of(items, ("category",))]
    for held in attribute_table(items).values():
        for row, value in held:
            parts[row].append(str(value))
    return [" ; ".join(row) for row in parts]


def _bags(rows: Sequence[Sequence[str]], vocabulary: dict[str, int], *, distinct: bool = True) -> Bags:
    """Numbers of each row's words, new words added to ``vocabulary``."""
    coded = [[vocabulary.setdefault(word, len(vocabulary)) for word in row] for row in rows]
    coded = [list(dict.fromkeys(row)) for row in coded] if distinct else coded
    start = np.concatenate([[0], np.cumsum([len(row) for row in coded])]).astype(np.int64)
    return Bags(start, np.fromiter((word for row in coded for word in row), dtype=np.int32, count=int(start[-1])))


def _unit(size: str) -> str:
    """What a size counts: its text without numbers."""
    return " ".join(part for part in size.split() if not part[0].isdigit())
