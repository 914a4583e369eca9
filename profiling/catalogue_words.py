"""The catalogue's own words: which item holds which word, how rare each is, and what its spelling looks like.

Covers an inverted index over item texts (titles, brands, categories), the evidence a query's words give about the
catalogue (how much of it is known, how many items hold it, is it nearly one item's title) and letter statistics that
tell words from keyboard noise. Ranking by words is `retrieval`'s work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .units import stems

_SYMBOLS = 29  # boundary, a-z, digit, anything else
_FLOOR = 2.0  # pseudo-count of a letter triple


@dataclass(frozen=True)
class WordEvidence:
    """What a query's words say about the catalogue; all in [0, 1] but the counts.

    Attributes:
        known: share of the query's information (inverse document frequency) in words the catalogue has
        together: largest share of it that one single item holds
        matches: how many items hold that share
        duplicate: overlap of the query with the closest item's words, F1 weighted by rarity
        spelling: mean log-likelihood of the letters of its least word-like word (not in [0, 1]; about -1.5 to -4)
        n_words: how many words were asked about
    """

    known: float = 0.0
    together: float = 0.0
    matches: int = 0
    duplicate: float = 0.0
    spelling: float = -4.0
    n_words: int = 0


@dataclass(frozen=True, eq=False)
class WordIndex:
    """Stems of the catalogue and the items that hold them.

    Attributes:
        vocabulary: stem -> row
        start: items of stem ``w`` are ``items[start[w]:start[w + 1]]``, ascending, (n_stems + 1,)
        items: item rows, (n_postings,) int32
        idf: log((n_items + 1) / (n_holding + .5)), (n_stems,)
        mass: sum of idf over an item's distinct stems, (n_items,)
        letters: log P(third letter | two before), (29, 29, 29) float32
    """

    vocabulary: dict[str, int]
    start: NDArray[np.int64]
    items: NDArray[np.int32]
    idf: NDArray[np.float32]
    mass: NDArray[np.float32]
    letters: NDArray[np.float32]

    @property
    def n_items(self) -> int:
        """Number of items indexed."""
        return len(self.mass)

    def holding(self, word: str) -> NDArray[np.int32]:
        """Rows of the items whose text holds this stem, ascending; empty where none does."""
        row = self.vocabulary.get(word)
        return self.items[:0] if row is None else self.items[self.start[row] : self.start[row + 1]]

    def frequency(self, word: str) -> int:
        """How many items hold this stem."""
        row = self.vocabulary.get(word)
        return 0 if row is None else int(self.start[row + 1] - self.start[row])

    def evidence(self, words: Sequence[str], *, without: int | None = None) -> WordEvidence:
        """What these stems say about the catalogue; ``without`` leaves one item out (for self-calibration)."""
        distinct = list(dict.fromkeys(words))
        if not distinct:
            return WordEvidence()
        rows = [row for word in distinct if (row := self.vocabulary.get(word)) is not None]
        most = np.log((self.n_items + 1) / 0.5)
        total = float(self.idf[rows].sum() + most * (len(distinct) - len(rows)))
        spelling = min((self.spelling(word) for word in distinct), default=-4.0)
        if not rows:
            return WordEvidence(spelling=spelling, n_words=len(distinct))
        held = self._held(rows)
        known = float(self.idf[rows].sum())
        if without is not None:
            held[without] = 0.0
            known -= float(sum(self.idf[row] for row in rows if self._only(row, without)))
        best = float(held.max())
        f1 = 2 * held / (total + self.mass)
        return WordEvidence(
            known=known / total,
            together=best / total,
            matches=int((held >= best - 1e-4).sum()) if best > 0 else 0,
            duplicate=float(f1.max()),
            spelling=spelling,
            n_words=len(distinct),
        )

    def spelling(self, word: str) -> float:
        """Mean log-likelihood of a word's letters under the catalogue's words; numbers and other scripts score 0."""
        if not (word.isascii() and word.isalpha()) or len(word) < 3:
            return 0.0
        codes = _codes(word)
        return float(np.mean([self.letters[codes[i], codes[i + 1], codes[i + 2]] for i in range(len(codes) - 2)]))

    def _held(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """Sum of idf of the given stems in each item, (n_items,)."""
        held = np.zeros(self.n_items, dtype=np.float32)
        for row in rows:
            held[self.items[self.start[row] : self.start[row + 1]]] += self.idf[row]
        return held

    def _only(self, row: int, item: int) -> bool:
        """Whether a stem occurs in this one item and nowhere else."""
        return self.start[row + 1] - self.start[row] == 1 and self.items[self.start[row]] == item


def fit_words(texts: Sequence[str]) -> WordIndex:
    """Index item texts (n_items,) by stem."""
    vocabulary: dict[str, int] = {}
    word_of: list[int] = []
    item_of: list[int] = []
    for item, text in enumerate(texts):
        for word in dict.fromkeys(stems(text)):
            word_of.append(vocabulary.setdefault(word, len(vocabulary)))
            item_of.append(item)
    return index_from(list(vocabulary), np.asarray(word_of, np.int32), np.asarray(item_of, np.int32), len(texts))


def index_from(
    vocabulary: Sequence[str], word_of: NDArray[np.int32], item_of: NDArray[np.int32], n_items: int
) -> WordIndex:
    """Build the index from aligned (stem row, item row) pairs, each (n_postings,)."""
    order = np.lexsort((item_of, word_of))
    counts = np.bincount(word_of, minlength=len(vocabulary))
    idf = np.log((n_items + 1) / (counts + 0.5)).astype(np.float32)
    return WordIndex(
        vocabulary={word: row for row, word in enumerate(vocabulary)},
        start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        items=item_of[order].astype(np.int32),
        idf=idf,
        mass=np.bincount(item_of, weights=idf[word_of], minlength=n_items).astype(np.float32),
        letters=_letters(vocabulary, counts),
    )


def words_state(index: WordIndex) -> tuple[dict[str, NDArray[np.generic]], list[str]]:
    """Arrays and vocabulary from which `words_from_state` rebuilds the index."""
    return {"start": index.start, "items": index.items, "mass": index.mass}, list(index.vocabulary)


def words_from_state(arrays: dict[str, NDArray[np.generic]], vocabulary: Sequence[str]) -> WordIndex:
    """The index that `words_state` described."""
    start, items = arrays["start"].astype(np.int64), arrays["items"].astype(np.int32)
    word_of = np.repeat(np.arange(len(vocabulary), dtype=np.int32), np.diff(start))
    return index_from(vocabulary, word_of, items, len(arrays["mass"]))


def _codes(word: str) -> list[int]:
    """Letter codes of a word with a boundary either side (two before, so the first letter counts)."""
    inner = [1 + ord(c) - 97 if "a" <= c <= "z" else 27 if c.isdigit() else 28 for c in word]
    return [0, 0, *inner, 0]


def _letters(vocabulary: Sequence[str], counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """log P(letter | two letters before) over the vocabulary, each word weighing log(1 + its frequency)."""
    triples = np.zeros((_SYMBOLS,) * 3, dtype=np.float64)
    for word, count in zip(vocabulary, counts.tolist(), strict=True):
        if word.isascii() and word.isalpha():
            codes = _codes(word)
            weight = float(np.log1p(count))
            for i in range(len(codes) - 2):
                triples[codes[i], codes[i + 1], codes[i + 2]] += weight
    pairs = triples.sum(axis=0) + _FLOOR  # (letter before, letter): the shorter context backs the longer one up
    backoff = pairs / pairs.sum(axis=1, keepdims=True)
    smooth = (triples + _FLOOR * backoff[None]) / (triples.sum(axis=2, keepdims=True) + _FLOOR)
    return np.log(smooth).astype(np.float32)


@dataclass(frozen=True, eq=False)
class ItemWords:
    """The index turned round: stem rows of item ``i`` are ``words[start[i]:start[i + 1]]``. For fitting only."""

    start: NDArray[np.int64]
    words: NDArray[np.int32]

    def counts(self, rows: NDArray[np.int64], n_words: int) -> NDArray[np.int64]:
        """How many of these items hold each stem, (n_words,)."""
        lengths = self.start[rows + 1] - self.start[rows]
        first = np.cumsum(lengths) - lengths
        where = np.arange(int(lengths.sum())) - np.repeat(first - self.start[rows], lengths)
        return np.bincount(self.words[where], minlength=n_words)


def item_words(index: WordIndex) -> ItemWords:
    """Which stems each item holds, from which items each stem is in."""
    word_of = np.repeat(np.arange(len(index.vocabulary), dtype=np.int32), np.diff(index.start))
    order = np.argsort(index.items, kind="stable")
    counts = np.bincount(index.items, minlength=index.n_items)
    return ItemWords(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), word_of[order])


def overlap(a: NDArray[np.int32], b: NDArray[np.int32]) -> int:
    """Number of rows in both of two ascending row lists."""
    small, large = (a, b) if len(a) <= len(b) else (b, a)
    if not len(small):
        return 0
    at = np.minimum(np.searchsorted(large, small), len(large) - 1)
    return int((large[at] == small).sum())
