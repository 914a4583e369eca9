"""What a catalogue calls its products: short phrases at the head of titles, such as "patch cable" or "lip gloss".

Covers reading titles and categories as pieces, finding which neighbouring words stick together, and which phrase an
item *is* rather than merely mentions: "laptop" heads "Laptop 15 in." but not "Laptop case" or "Case for laptop". Works
by counting alone; English function words and colours are known, no shop's names are. Queries are `catalogue_pairs`'
work.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..profiling.intent.units import UNITS, model_numbers, normalise, stem, words
from ..profiling.readable import STOP_WORDS

LONGEST = 3
COHESION = 0.25
"""Normalised pointwise mutual information from which two neighbours are one name (Bouma, 2009, equation 7)."""

_BREAK = re.compile(r"[,;:()\[\]{}|•·–—\n*+=<>]|\s[-/&]\s|\.\s|/(?=\d)")
_SIGNS = re.compile(r"[™®©]|\bin-(?=[a-z]{3})", re.I)  # "in-line" is no "in"
_NUMBER = re.compile(r"[\d.,/]+")
_ABOUT = frozenset(
    (
        "for",
        "with",
        "without",
        "to",
        "compatible",
        "fits",
        "includes",
        "including",
        "featuring",
        "replaces",
        "equivalent",
    )
)
_QUALITIES = """
black white gray grey silver red blue green yellow orange purple pink brown beige gold golden ivory cyan magenta navy
transparent clear multicolor multicolour colour color colours colors original genuine standard premium professional pro
deluxe basic classic compact ultra super high low full mini new best free extra heavy light dark wide slim thin thick
long short big huge soft hard smooth digital electric natural wireless internal external indoor outdoor left right top
bottom upper lower type series version style size model unit edition generation
"""
QUALITIES: frozenset[str] = frozenset(_QUALITIES.split())
"""Words that say what a thing is like and head no product's name."""


@dataclass(frozen=True, eq=False)
class Phrases:
    """Names of products and the items that are one.

    Attributes:
        texts: the phrase as shoppers would type it, (n_phrases,)
        keys: its stems, (n_phrases,)
        headed: share of the titles with these words in a row in which they are the head, (n_phrases,)
        makers: how many brands use it, as the exponential of their entropy, >= 1, (n_phrases,)
        start, items: items of phrase ``p`` are ``items[start[p]:start[p + 1]]``, ascending; (n_phrases + 1,), (n,)
        item_start, phrases: phrases of item ``i`` are ``phrases[item_start[i]:item_start[i + 1]]``
    """

    texts: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]
    headed: NDArray[np.float32]
    makers: NDArray[np.float32]
    start: NDArray[np.int64]
    items: NDArray[np.int32]
    item_start: NDArray[np.int64]
    phrases: NDArray[np.int32]

    def of(self, item: int) -> NDArray[np.int32]:
        """Phrase rows of one item."""
        return self.phrases[self.item_start[item] : self.item_start[item + 1]]

    def holding(self, phrase: int) -> NDArray[np.int32]:
        """Item rows of one phrase, ascending."""
        return self.items[self.start[phrase] : self.start[phrase + 1]]


def pieces(text: str) -> list[list[str]]:
    """A title as runs of words that punctuation does not part, lower-case.

    >>> pieces("Lumo TX-2 desk lamp, Black (2 pack)")
    [['lumo', 'tx', '2', 'desk', 'lamp'], ['black'], ['2', 'pack']]
    """
    return [found for part in _BREAK.split(_SIGNS.sub(" ", text)) if (found := words(part))]


def cohesive_pairs(runs: Sequence[Sequence[Sequence[str]]], *, least: int = 3) -> frozenset[tuple[str, str]]:
    """Neighbouring stems that occur together far more often than by chance: parts of one name.

    Bouma (2009), Normalized pointwise mutual information in collocation extraction, equation 7, over `COHESION`.
    """
    single: Counter[str] = Counter()
    double: Counter[tuple[str, str]] = Counter()
    for title in runs:
        for run in title:
            stems = [stem(word) for word in run]
            single.update(stems)
            double.update(pairwise(stems))
    total = max(sum(single.values()), 1)
    return frozenset(
        pair
        for pair, n in double.items()
        if n >= least and math.log(n * total / (single[pair[0]] * single[pair[1]])) >= COHESION * -math.log(n / total)
    )


def heads(run: Sequence[str], sticks: frozenset[tuple[str, str]]) -> Iterator[tuple[int, int]]:
    """Where in a run of words the name of a product stands: (first, last + 1) of each phrase that heads it.

    A head ends where its last word does not stick to the next, is a noun by its looks, counts nothing (as "ports" in
    "4 ports") and comes before words such as "for" and "with"; every shorter ending of a head is a head too.

    >>> list(heads(["2", "packs", "blue", "desk", "lamp", "with", "shade"], frozenset({("desk", "lamp")})))
    [(4, 5), (3, 5)]
    """
    stop = next((i for i, word in enumerate(run) if _turns(run, i)), len(run))
    for last in range(stop):
        if not _noun(run[last]) or (last + 1 < stop and _goes_on(run[last], run[last + 1], sticks)):
            continue
        if last and _NUMBER.fullmatch(run[last - 1]):
            continue
        yield last, last + 1
        first = last
        while first and last - first + 1 < LONGEST and (stem(run[first - 1]), stem(run[first])) in sticks:
            first -= 1
            if _NUMBER.fullmatch(run[first]):
                break
            if run[first] not in STOP_WORDS:
                yield first, last + 1


def mine_phrases(titles: Sequence[str], brands: Sequence[str], *, least_items: int = 3) -> Phrases:
    """The product names that at least ``least_items`` of these titles are headed by.

    Args:
        titles: one text an item, with its category and kind after it, parted by commas, (n_items,)
        brands: who makes each item, (n_items,)
        least_items: items a name needs

    Returns:
        Phrases in order of their first item.
    """
    runs = [pieces(_without_models(title)) for title in titles]
    sticks = cohesive_pairs(runs)
    places: dict[tuple[str, ...], list[int]] = {}
    written: dict[tuple[str, ...], Counter[str]] = {}
    for item, title in enumerate(runs):
        for run in title:
            for first, stop in heads(run, sticks):
                key = tuple(stem(word) for word in run[first:stop])
                held = places.setdefault(key, [])
                if not held or held[-1] != item:
                    held.append(item)
                written.setdefault(key, Counter())[" ".join(run[first:stop])] += 1
    kept = [key for key, held in places.items() if len(held) >= least_items]
    texts = [min(written[key].items(), key=lambda pair: (-pair[1], pair[0]))[0] for key in kept]
    mentions = _mentions(runs, frozenset(kept))
    headed = np.asarray([len(places[key]) / max(mentions[key], 1) for key in kept], dtype=np.float32)
    return _phrases(texts, kept, headed, [places[key] for key in kept], brands)


def _phrases(
    texts: Sequence[str],
    keys: Sequence[tuple[str, ...]],
    headed: NDArray[np.float32],
    places: Sequence[Sequence[int]],
    brands: Sequence[str],
) -> Phrases:
    """Both directions of the table, as arrays."""
    sizes = np.asarray([len(held) for held in places], dtype=np.int64)
    items = np.asarray([item for held in places for item in held], dtype=np.int32)
    of = np.repeat(np.arange(len(keys), dtype=np.int32), sizes)
    counts = np.bincount(items, minlength=len(brands))
    return Phrases(
        texts=tuple(texts),
        keys=tuple(keys),
        headed=headed,
        makers=np.asarray([_effective(brands[item] for item in held) for held in places], dtype=np.float32),
        start=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        items=items,
        item_start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        phrases=of[np.argsort(items, kind="stable")],
    )


def _effective(values: Iterable[str]) -> float:
    """The exponential of the entropy of these values: how many there are, were they equally frequent."""
    shares = np.asarray(list(Counter(values).values()), dtype=np.float64)
    shares /= shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _mentions(runs: Sequence[Sequence[Sequence[str]]], wanted: frozenset[tuple[str, ...]]) -> Counter[tuple[str, ...]]:
    """How many titles have each phrase's words in a row, head or not."""
    counted: Counter[tuple[str, ...]] = Counter()
    for title in runs:
        found: set[tuple[str, ...]] = set()
        for run in title:
            stems = [stem(word) for word in run]
            for length in range(1, LONGEST + 1):
                found.update(tuple(stems[i : i + length]) for i in range(len(stems) - length + 1))
        counted.update(found & wanted)
    return counted


def _without_models(title: str) -> str:
    """A title with a comma where a model number stands: "TX" of "TX-200" names no product."""
    for model in model_numbers(title):
        title = title.replace(model, ", ")
    return title


def _turns(run: Sequence[str], i: int) -> bool:
    """Whether what follows is about the product and no longer its name; "in" after a number is a unit."""
    return run[i] in _ABOUT or (run[i] == "in" and i > 0 and not _NUMBER.fullmatch(run[i - 1]))


def _noun(word: str) -> bool:
    """Whether a word can end a product's name by its looks."""
    plain = normalise(word)
    if not plain.isalpha() or (plain.isascii() and len(plain) < 2):
        return False
    return plain not in STOP_WORDS and plain not in QUALITIES and plain not in UNITS and stem(plain) not in QUALITIES


def _goes_on(word: str, following: str, sticks: frozenset[tuple[str, str]]) -> bool:
    """Whether a name goes on with the next word."""
    return (stem(word), stem(following)) in sticks and _noun(following)
