"""Words as features of a head: TF-IDF of words and pairs of neighbours, sparse rows without any library but numpy.

Covers fitting the vocabulary, rows of texts and a state to save. Runs of a script that is written without blanks are
cut into single characters, whose pairs stand for its words. What the weights of the features are is `head`'s to know.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(r"\w+")
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]")


@dataclass(frozen=True, eq=False)
class SparseRows:
    """Rows of a sparse matrix.

    Attributes:
        column: columns that are not zero, row after row, (n_values,)
        value: their values, (n_values,)
        start: where each row begins, and at last the end, (n_rows + 1,)
    """

    column: NDArray[np.int64]
    value: NDArray[np.float32]
    start: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> SparseRows:
        """Some of the rows, in the order given."""
        length = self.start[rows + 1] - self.start[rows]
        start = np.concatenate([[0], np.cumsum(length)])
        at = np.repeat(self.start[rows] - start[:-1], length) + np.arange(start[-1])
        return SparseRows(self.column[at], self.value[at], start)

    def times(self, dense: NDArray[np.float32]) -> NDArray[np.float32]:
        """The product with a dense matrix (n_columns, k), (n_rows, k)."""
        out = np.zeros((len(self.start) - 1, dense.shape[1]), dtype=np.float32)
        for row, (begin, end) in enumerate(pairwise(self.start.tolist())):
            out[row] = self.value[begin:end] @ dense[self.column[begin:end]]
        return out


@dataclass(frozen=True, eq=False)
class WordFeatures:
    """A vocabulary of words and pairs, most frequent first; made by `fit_words_of`.

    Attributes:
        terms: words, and pairs joined by a blank
        idf: log((1 + n_texts) / (1 + n_texts with the term)) + 1, (n_terms,)
    """

    terms: tuple[str, ...]
    idf: NDArray[np.float32]

    @cached_property
    def _place(self) -> Mapping[str, int]:
        return {term: place for place, term in enumerate(self.terms)}

    def rows(self, texts: Sequence[str]) -> SparseRows:
        """TF-IDF of each text: (1 + log count) x idf, rows of unit length; unknown terms count nothing."""
        columns, values, start = [], [], [0]
        for text in texts:
            known = Counter(place for term in terms_of(text) if (place := self._place.get(term)) is not None)
            column = np.fromiter(known, dtype=np.int64, count=len(known))
            value = (1.0 + np.log(np.fromiter(known.values(), dtype=np.float64, count=len(known)))) * self.idf[column]
            columns.append(column)
            values.append((value / max(float(np.linalg.norm(value)), 1e-12)).astype(np.float32))
            start.append(start[-1] + len(column))
        empty = np.zeros(0)
        return SparseRows(
            np.concatenate([*columns, empty]).astype(np.int64),
            np.concatenate([*values, empty]).astype(np.float32),
            np.asarray(start, dtype=np.int64),
        )


def words_of(text: str) -> list[str]:
    """Words in lower case; a run of a script without blanks is cut into single characters.

    >>> words_of("iPad 很好用")
    ['ipad', '很', '好', '用']
    """
    out: list[str] = []
    for word in _WORD.findall(text.lower()):
        out += list(word) if _UNSPACED.search(word) else [word]
    return out


def terms_of(text: str) -> list[str]:
    """Words of a text, then its pairs of neighbours.

    >>> terms_of("Red red wine")
    ['red', 'red', 'wine', 'red red', 'red wine']
    """
    words = words_of(text)
    return words + [f"{first} {second}" for first, second in pairwise(words)]


def fit_words_of(texts: Sequence[str], *, at_least: int = 2, at_most: int = 50_000) -> WordFeatures:
    """The terms of ``texts`` that at least so many of them hold, at most ``at_most``, most frequent first.

    >>> fit_words_of(["red wine", "white wine"]).terms
    ('wine',)
    """
    count = Counter(term for text in texts for term in set(terms_of(text)))
    kept = sorted((term for term, n in count.items() if n >= at_least), key=lambda term: (-count[term], term))[:at_most]
    texts_with = np.asarray([count[term] for term in kept], dtype=np.float64)
    return WordFeatures(tuple(kept), (np.log((1 + len(texts)) / (1 + texts_with)) + 1.0).astype(np.float32))
