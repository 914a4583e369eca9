"""The catalogue's own words: which item holds which word, how rare each is, and what its spelling looks like.

Covers an inverted index over item texts (titles, brands, categories), the evidence a query's words give about the
catalogue (how much of it is known, how many items hold it, is it nearly one item's title) and letter statistics that
tell words from keyboard noise. Ranking by words is `retrieval`'s work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from .intent.units import stems

_SYMBOLS = 29  # boundary, a-z, digit, anything else
_FLOOR = 2.0  # pseudo-count of a letter triple
_STRANGE = -6.0
SHORTEST_SLIP = 5  # letters a word needs before a slip in it is looked for


@dataclass(frozen=True)
class WordEvidence:
    """What a query's words say about the catalogue; all in [0, 1] unless said.

    Attributes:
        known: share of the query's information (inverse document frequency) in words the catalogue has
        together: largest share of it that one single item holds
        matches: how many items hold that share
        duplicate: overlap of the query with the closest item's words, F1 weighted by rarity
        spelling: `WordIndex.spelling` of the strangest of its words that the catalogue lacks (not in [0, 1])
        n_words: how many words were asked about
        information: sum of the known words' inverse document frequencies in nats; log(n_items) singles out one item
    """

    known: float = 0.0
    together: float = 0.0
    matches: int = 0
    duplicate: float = 0.0
    spelling: float = -6.0
    n_words: int = 0
    information: float = 0.0


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
        rare: idf of a word that three quarters of the words on items are commoner than; what unknown words weigh
        usual: mean log-likelihood of the letters of the catalogue's own words
        near: word, whole or with one letter gone -> known words it may stand for
    """

    vocabulary: dict[str, int]
    start: NDArray[np.int64]
    items: NDArray[np.int32]
    idf: NDArray[np.float32]
    mass: NDArray[np.float32]
    letters: NDArray[np.float32]
    rare: float
    usual: float
    near: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    @property
    def n_items(self) -> int:
        """Number of items indexed."""
        return len(self.mass)

    def holding(self, word: str) -> NDArray[np.int32]:
        """Rows of the items whose text holds this stem, ascending; empty where none does."""
        row = self.vocabulary.get(word)
        return self.items[:0] if row is None else self.items[self.start[row] : self.start[row + 1]]

    def rows(self, words: Sequence[str]) -> list[int]:
        """Rows of the distinct stems among these that the catalogue has, in order."""
        return [row for word in dict.fromkeys(words) if (row := self.vocabulary.get(word)) is not None]

    def mended(self, words: Sequence[str]) -> list[str]:
        """The stems with each unknown one of five letters or more replaced by a known one that is one slip away.

        The commonest such word with the same first letter wins; where there is none the stem stays.
        """
        return [word if word in self.vocabulary else self._mend(word) for word in words]

    def _mend(self, word: str) -> str:
        """The commonest known word one slip from this one, or itself."""
        if len(word) < SHORTEST_SLIP or not word.isalpha():
            return word
        found = {near for part in deletions(word) for near in self.near.get(part, ())}
        found = {near for near in found if near[0] == word[0] and one_slip(word, near)}
        return min(found, key=lambda near: (-self.frequency(near), near), default=word)

    def frequency(self, word: str) -> int:
        """How many items hold this stem."""
        row = self.vocabulary.get(word)
        return 0 if row is None else int(self.start[row + 1] - self.start[row])

    def evidence(self, words: Sequence[str], *, without: int | None = None) -> WordEvidence:
        """What these stems say about the catalogue; ``without`` leaves one item out (for self-calibration)."""
        distinct = list(dict.fromkeys(words))
        if not distinct:
            return WordEvidence()
        rows = self.rows(distinct)
        alone = [row for row in rows if without is not None and self._only(row, without)]
        total = float(self.idf[rows].sum() + self.rare * (len(distinct) - len(rows)))
        strange = [w for w in distinct if self.vocabulary.get(w) is None or self.vocabulary[w] in alone]
        spelling = min((self.spelling(word) for word in strange), default=self.usual)
        if len(rows) == len(alone):
            return WordEvidence(spelling=spelling, n_words=len(distinct))
        held, having = self._held(rows)  # of items that hold none of them nothing need be known
        known = float(self.idf[rows].sum() - self.idf[alone].sum())
        if without is not None:
            held[having == without] = 0.0
        best = float(held.max(initial=0.0))
        f1 = 2 * held / (total + self.mass[having])
        return WordEvidence(
            known=known / total,
            together=best / total,
            matches=len(np.unique(having[held >= best - 1e-4])) if best > 0 else 0,
            duplicate=float(f1.max(initial=0.0)),
            spelling=spelling,
            n_words=len(distinct),
            information=known,
        )

    def spelling(self, word: str) -> float:
        """Mean log-likelihood of a word's letters under the catalogue's words, about -1.5 to -5.

        Numbers and words of one or two letters are `usual`; words of another script are as strange as can be.
        """
        if not word.isascii():
            return _STRANGE
        if not word.isalpha() or len(word) < 3:
            return self.usual
        codes = _codes(word)
        return float(np.mean([self.letters[codes[i], codes[i + 1], codes[i + 2]] for i in range(len(codes) - 2)]))

    def _held(self, rows: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.integer]]:
        """Sum of idf of the given stems in each item that holds any, and those items, some of them more than once."""
        held = np.zeros(self.n_items, dtype=np.float32)
        postings = [self.items[self.start[row] : self.start[row + 1]] for row in rows]
        for row, items in zip(rows, postings, strict=True):
            held[items] += self.idf[row]
        having = np.concatenate(postings)
        return held[having], having

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
    letters = _letters(vocabulary, counts)
    index = WordIndex(
        vocabulary={word: row for row, word in enumerate(vocabulary)},
        start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        items=item_of[order].astype(np.int32),
        idf=idf,
        mass=np.bincount(item_of, weights=idf[word_of], minlength=n_items).astype(np.float32),
        letters=letters,
        rare=float(np.quantile(idf[word_of], 0.75)) if len(word_of) else 1.0,
        usual=-2.5,
    )
    plain = [word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 2][:5000]
    usual = float(np.mean([index.spelling(word) for word in plain])) if plain else index.usual
    return replace(index, usual=usual, near=_near(vocabulary, counts))


def words_state(index: WordIndex) -> tuple[dict[str, NDArray[np.generic]], list[str]]:
    """Arrays and vocabulary from which `words_from_state` rebuilds the index."""
    return {"start": index.start, "items": index.items, "mass": index.mass}, list(index.vocabulary)


def words_from_state(arrays: dict[str, NDArray[np.generic]], vocabulary: Sequence[str]) -> WordIndex:
    """The index that `words_state` described."""
    start, items = arrays["start"].astype(np.int64), arrays["items"].astype(np.int32)
    word_of = np.repeat(np.arange(len(vocabulary), dtype=np.int32), np.diff(start))
    return index_from(vocabulary, word_of, items, len(arrays["mass"]))


def one_slip(a: str, b: str) -> bool:
    """Whether two different strings are one insertion, deletion, substitution or swap of neighbours apart.

    >>> one_slip("samsng", "samsung"), one_slip("smasung", "samsung"), one_slip("sony", "sony"), one_slip("abc", "cab")
    (True, True, False, False)
    """
    if a == b or abs(len(a) - len(b)) > 1:
        return False
    i = next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    if len(a) != len(b):
        short, long = sorted((a, b), key=len)
        return short[i:] == long[i + 1 :]
    return a[i + 1 :] == b[i + 1 :] or (a[i : i + 2] == b[i : i + 2][::-1] and a[i + 2 :] == b[i + 2 :])


def deletions(word: str) -> list[str]:
    """The word and every form with one letter gone (two words one slip apart share one of these)."""
    return [word, *(word[:i] + word[i + 1 :] for i in range(len(word)))]


def _near(vocabulary: Sequence[str], counts: NDArray[np.int64]) -> dict[str, tuple[str, ...]]:
    """Lookup of words that may have been meant: letters only, five or more, in at least two items."""
    found: dict[str, list[str]] = {}
    for word, count in zip(vocabulary, counts.tolist(), strict=True):
        if count >= 2 and len(word) >= SHORTEST_SLIP and word.isalpha():
            for part in deletions(word):
                found.setdefault(part, []).append(word)
    return {part: tuple(words) for part, words in found.items()}


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
