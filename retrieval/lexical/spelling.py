"""Spelling by the catalogue's own words: slips of the finger, words run together and words pulled apart.

A query word the catalogue does not have is read as the words it most likely stands for: few edits, and common on items.
Only words of Latin letters are touched; numbers and model numbers are what they are. Distances are rapidfuzz's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

SHORTEST = 4
"""Letters a word needs before it is read as another."""
_EDIT = 3.0  # what an edit costs, in logarithms of how common a word is
_OTHER_START = 1.0  # what another first letter costs on top: slips are rare there
_LEAST_PART = 3  # letters of each part of two words run together
_KNOWN_PART = 3  # items that must hold such a part


@dataclass(frozen=True, eq=False)
class Spelling:
    """The words of a catalogue that others may be read as.

    Attributes:
        words: words of Latin letters as written on items, each once
        count: items that hold each, (n_words,)
    """

    words: tuple[str, ...]
    count: Ints

    def readings(self, word: str, *, most: int = 3) -> tuple[tuple[str, float], ...]:
        """The likeliest known words for an unknown one, best first, with their likelihood against the best's.

        One edit is allowed up to four letters, two up to eight, three beyond; two letters swapped are one edit.

        >>> known = Spelling(("valve", "value", "vane"), np.array([90, 20, 5]))
        >>> [(w, round(p, 2)) for w, p in known.readings("vavle", most=2)]
        [('valve', 1.0), ('value', 0.01)]
        """
        from rapidfuzz.distance import OSA
        from rapidfuzz.process import cdist

        allowed = 1 if len(word) <= 4 else 2 if len(word) <= 8 else 3
        lengths = [n for n in range(len(word) - allowed, len(word) + allowed + 1) if n in self._by_length]
        if not lengths:
            return ()
        rows = np.concatenate([self._by_length[n][0] for n in lengths])
        each = [cdist([word], self._by_length[n][1], scorer=OSA.distance, score_cutoff=allowed)[0] for n in lengths]
        near = np.concatenate(each)
        close = np.flatnonzero((near <= allowed) & (near > 0))
        rows, edits = rows[close], near[close].astype(np.float64)
        start = np.array([self.words[row][0] != word[0] for row in rows], dtype=np.float64)
        score = np.log1p(self.count[rows]) - _EDIT * edits - _OTHER_START * start
        order = np.lexsort((rows, -score))[:most]
        return tuple((self.words[rows[at]], float(np.exp(score[at] - score[order[0]]))) for at in order)

    def parts(self, word: str) -> tuple[str, str] | None:
        """Two known words that a word is made of, the pair whose rarer part is the most common; None without one.

        >>> Spelling(("rain", "bird", "bir"), np.array([9, 7, 1])).parts("rainbird")
        ('rain', 'bird')
        """
        best: tuple[int, str, str] | None = None
        for cut in range(_LEAST_PART, len(word) - _LEAST_PART + 1):
            first, second = word[:cut], word[cut:]
            known = min(self.count_of.get(first, 0), self.count_of.get(second, 0))
            if known >= _KNOWN_PART and (best is None or known > best[0]):
                best = (known, first, second)
        return None if best is None else best[1:]

    @cached_property
    def count_of(self) -> Mapping[str, int]:
        """Word -> items that hold it."""
        return dict(zip(self.words, self.count.tolist(), strict=True))

    @cached_property
    def _by_length(self) -> Mapping[int, tuple[Ints, list[str]]]:
        """Number of letters -> rows of the words that have so many, and those words."""
        length = np.array([len(word) for word in self.words], dtype=np.int64)
        rows = {int(n): np.flatnonzero(length == n) for n in np.unique(length)}
        return {n: (each, [self.words[row] for row in each]) for n, each in rows.items()}


def fit_spelling(texts: Iterable[Iterable[str]]) -> Spelling:
    """The words that queries may stand for, from the words of each item."""
    held: Counter[str] = Counter(
        word for item in texts for word in set(item) if can_be_read(word, shortest=_LEAST_PART)
    )
    ordered = sorted(held)
    return Spelling(tuple(ordered), np.array([held[word] for word in ordered], dtype=np.int64))


def can_be_read(word: str, *, shortest: int = SHORTEST) -> bool:
    """Whether a word is of Latin letters and long enough to be read as another."""
    return len(word) >= shortest and word.isascii() and word.isalpha()


def spelled(words: Sequence[str], known: Container[str], spelling: Spelling) -> list[str]:
    """Words with each that is not ``known`` replaced by the likeliest known one, or the two it is made of."""
    told: list[str] = []
    for word in words:
        if word in known or not can_be_read(word):
            told.append(word)
            continue
        parts = spelling.parts(word)
        told += parts if parts is not None else [read for read, _ in spelling.readings(word, most=1)] or [word]
    return told
