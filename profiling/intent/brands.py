"""Brand names in a query, matched against the catalogue's own brands.

Covers case, accents, hyphens and blanks ("black+decker" = "black and decker" = "BlackDecker"), legal suffixes, lists of
makers in one field, one slip of the finger in longer names, and brands that are also words ("apple juice"): those are
settled by how often the word stands in other brands' items and by the words beside it. Brands the catalogue lacks are
not guessed, nor is a label on more than half of the items (it tells nothing apart).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..catalogue_words import ItemWords, WordIndex, deletions, item_words, one_slip
from .units import normalise, stem, words

_LEGAL_FORMS = """
inc llc ltd limited co corp corporation company gmbh ag kg sa sas srl spa bv nv oy ab as plc pty kk lp
"""
_LEGAL = frozenset(_LEGAL_FORMS.split())
_LINK = {"and", "und", "et", "y", "&"}
_CONTEXT_WORDS = 200
_TYPO_TRUST = 0.85
_COMMON = 0.5
_SHORTEST_SLIP = 6  # letters a name needs before a slip in it is looked for


@dataclass(frozen=True)
class BrandMatch:
    """One brand a query names.

    Attributes:
        brand: the catalogue's value with the most items among those the words can mean
        brands: every catalogue value they can mean, most items first
        text: the words in the query
        probability: that the brand is meant, not the common word, in [0, 1]
    """

    brand: str
    brands: tuple[str, ...]
    text: str
    probability: float


@dataclass(frozen=True)
class BrandName:
    """One way to write one brand or a family of brands.

    Attributes:
        values: catalogue values, most items first
        log_odds: log(items of these brands / other items whose text holds the words)
        context: stem -> how much its presence in the query moves the log odds
    """

    values: tuple[str, ...]
    log_odds: float
    context: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class BrandIndex:
    """All ways to write the catalogue's brands.

    Attributes:
        names: normalised words joined by blanks -> what they mean
        longest: most words in a name
    """

    names: dict[str, BrandName]
    longest: int
    _compact: dict[str, str] = field(default_factory=dict, repr=False)
    _slips: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def find(self, text: str, known: WordIndex, *, at_least: float = 0.3) -> list[BrandMatch]:
        """Brands named in ``text``, left to right, longest names first; ``known`` words are never taken for slips."""
        query = [word for word in words(text) if word not in _LINK]
        found: list[tuple[int, BrandMatch]] = []
        taken: set[int] = set()
        for n in range(min(self.longest + 2, len(query)), 0, -1):
            for first in range(len(query) - n + 1):
                span = range(first, first + n)
                if taken.intersection(span):
                    continue
                match = self._match(query, first, n, known)
                if match is not None and match.probability >= at_least:
                    taken.update(span)
                    found.append((first, match))
        return [match for _, match in sorted(found, key=lambda pair: pair[0])]

    def _match(self, query: Sequence[str], first: int, n: int, known: WordIndex) -> BrandMatch | None:
        """The brand that ``n`` query words from ``first`` name, or None."""
        said = query[first : first + n]
        written, joined = " ".join(said), "".join(said)
        trust = 1.0
        key = written if written in self.names else None
        if key is None and (n == 1 or len(joined) >= _SHORTEST_SLIP):
            key = self._compact.get(joined)
        if key is None and n <= 2 and not any(known.frequency(stem(word)) for word in said if len(word) > 2):
            key, trust = self._slip(joined), _TYPO_TRUST
        if key is None:
            return None
        name = self.names[key]
        beside = {stem(word) for i, word in enumerate(query) if not first <= i < first + n}
        log_odds = name.log_odds + sum(name.context.get(word, 0.0) for word in beside)
        return BrandMatch(name.values[0], name.values, written, trust / (1.0 + math.exp(-log_odds)))

    def _slip(self, joined: str) -> str | None:
        """The one name within one insertion, deletion, substitution or swap of ``joined``, first letter kept."""
        if len(joined) < _SHORTEST_SLIP or joined.isdigit():
            return None
        near = {key for part in deletions(joined) for key in self._slips.get(part, ())}
        near = {key for key in near if key[0] == joined[0] and one_slip(joined, key.replace(" ", ""))}
        return near.pop() if len(near) == 1 else None


def fit_brands(brands: Sequence[str | None], known: WordIndex) -> BrandIndex:
    """Learn the ways to write a catalogue's brands and how often each is just a word.

    Args:
        brands: each item's brand or None, (n_items,)
        known: index of the items' texts without their brand field
    """
    counts = Counter(b for b in brands if isinstance(b, str) and b.strip())
    rows: dict[str, list[int]] = {}
    for row, brand in enumerate(brands):
        if isinstance(brand, str) and brand.strip():
            rows.setdefault(brand, []).append(row)
    values: dict[str, set[str]] = {}
    for brand in counts:
        if counts[brand] > _COMMON * len(brands):
            continue
        for name in brand_names(brand):
            values.setdefault(name, set()).add(brand)
    inside = item_words(known)
    stems_ = list(known.vocabulary)
    names = {}
    for name, meant in values.items():
        ordered = tuple(sorted(meant, key=lambda b: (-counts[b], b)))
        own = np.unique(np.concatenate([np.asarray(rows[b], dtype=np.int64) for b in ordered]))
        names[name] = _weigh(name, ordered, own, known, (inside, stems_))
    return brand_index(names)


def brand_names(brand: str) -> list[str]:
    """Ways to write one catalogue value, each as normalised words joined by blanks.

    >>> brand_names("StarTech.com"), brand_names("KOEI TECMO GAMES CO., LTD."), brand_names("Black & Decker")
    (['startech com', 'startech'], ['koei tecmo games'], ['black decker'])
    """
    parts = [brand, *re.split(r"[,/|;]", brand)] if re.search(r"[,/|;]", brand) else [brand]
    found: list[str] = []
    for part in parts:
        plain = [word for word in words(re.sub(r"\([^)]*\)", " ", part)) if word not in _LINK]
        while len(plain) > 1 and plain[-1] in _LEGAL:
            plain.pop()
        if not plain or (len(plain) == 1 and (plain[0] in _LEGAL or len(plain[0]) < 2)) or not any(map(_wordy, plain)):
            continue
        found.append(" ".join(plain))
        if len(plain) == 2 and plain[1] in ("com", "net", "de", "eu") and len(plain[0]) > 3:
            found.append(plain[0])
    return list(dict.fromkeys(found))


def brand_index(names: dict[str, BrandName]) -> BrandIndex:
    """The lookup tables over these names."""
    compact: dict[str, str] = {}
    slips: dict[str, set[str]] = {}
    for name in names:
        joined = name.replace(" ", "")
        if len(joined) >= 4 or " " not in name:
            compact.setdefault(joined, name)
        if len(joined) >= _SHORTEST_SLIP:
            for part in deletions(joined):
                slips.setdefault(part, set()).add(name)
    longest = max((name.count(" ") + 1 for name in names), default=0)
    return BrandIndex(names, min(longest, 6), compact, {part: tuple(keys) for part, keys in slips.items()})


def brands_state(index: BrandIndex) -> list[list[Any]]:
    """JSON-able form of the index."""
    return [[name, list(meant.values), meant.log_odds, meant.context] for name, meant in index.names.items()]


def brands_from_state(state: Iterable[Sequence[Any]]) -> BrandIndex:
    """The index that `brands_state` described."""
    return brand_index({name: BrandName(tuple(values), odds, dict(context)) for name, values, odds, context in state})


def _weigh(
    name: str,
    values: tuple[str, ...],
    own: NDArray[np.int64],
    known: WordIndex,
    forward: tuple[ItemWords, Sequence[str]],
) -> BrandName:
    """How likely the words mean the brand, from the items that hold them and are not of it."""
    key = [stem(word) for word in name.split()]
    held = known.holding(key[0]).astype(np.int64)
    for word in key[1:]:
        held = np.intersect1d(held, known.holding(word), assume_unique=True)
    other = np.setdiff1d(held, own, assume_unique=True)
    log_odds = math.log((len(own) + 0.5) / (len(other) + 0.1))
    if not len(other):
        return BrandName(values, log_odds)
    return BrandName(values, log_odds, _context(own, other, set(key), forward))


def _context(
    own: NDArray[np.int64], other: NDArray[np.int64], key: set[str], forward: tuple[ItemWords, Sequence[str]]
) -> dict[str, float]:
    """log P(word | item of the brand) - log P(word | other item with the name's words), the most telling words."""
    inside, stems_ = forward
    ours, theirs = inside.counts(own, len(stems_)), inside.counts(other, len(stems_))
    seen = np.flatnonzero(ours + theirs)
    moves = np.log((ours[seen] + 0.5) / (len(own) + 2.0)) - np.log((theirs[seen] + 0.5) / (len(other) + 2.0))
    telling = np.argsort(-np.abs(moves) * (ours + theirs)[seen], kind="stable")[: _CONTEXT_WORDS + len(key)]
    found = {stems_[seen[i]]: round(float(moves[i]), 3) for i in telling.tolist()}
    return {word: move for word, move in found.items() if word not in key}


def _wordy(word: str) -> bool:
    """Whether a word has a letter in it."""
    return any(c.isalpha() for c in normalise(word))
