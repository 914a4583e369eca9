"""Room for new items in the facts that a second stage reads: counts, codes, prices, cycles, words.

As in `catalogue.parts`: what counts events starts at nothing, what reads columns is read anew. Attribute values are not
kept by name, so a new item is like nobody in its attributes, and a replaced one as before, until the next build.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...profiling.shopper.cycles import CycleModel
from ..filters import ItemFacts
from ..second_stage.facts import RankFacts
from ..second_stage.text_features import Bags, ItemWords, fit_item_words
from .parts import Placed, placed_indptr

Ints = NDArray[np.int64]


def extended_rank_facts(facts: RankFacts, placed: Placed, known: ItemFacts) -> RankFacts:
    """The facts with these items.

    Args:
        facts: so far
        placed: the items that come
        known: what filters know of the catalogue so far: names of the codes, prices
    """
    category = _codes(facts.category, known.category, placed.items["category"].tolist(), placed)
    brand = _codes(facts.brand, known.brand, placed.items["brand"].str.lower().tolist(), placed)
    rows = facts.attributes
    indptr = placed_indptr(rows.indptr, placed.n_items)
    return replace(
        facts,
        count=placed.room(facts.count, 0.0),
        category=category,
        brand=brand,
        log_price=_log_price(facts, placed, known),
        attributes=sp.csr_matrix((rows.data, rows.indices, indptr), shape=(placed.n_items, rows.shape[1])),
        cycles=_cycles(facts.cycles, category, placed),
        words=None if facts.words is None else extended_words(facts.words, placed),
    )


def extended_words(known: ItemWords, placed: Placed) -> ItemWords:
    """The words with those of these items; new words are as rare as they are among them."""
    given = fit_item_words(placed.items)
    n_given = len(placed.items)
    vocabulary, size_of = dict(known.vocabulary), dict(known.size_of)
    word = np.array([vocabulary.setdefault(w, len(vocabulary)) for w in given.vocabulary], dtype=np.int32)
    size = np.array([size_of.setdefault(s, len(size_of)) for s in given.size_of], dtype=np.int32)
    new_words, new_sizes = word >= len(known.vocabulary), size >= len(known.size_of)
    having = n_given / np.expm1(given.idf[new_words].astype(np.float64)) - 1.0  # what their idf was made of
    idf = np.log(1.0 + placed.n_items / (1.0 + having)).astype(np.float32)
    prefixes, units = dict(known.prefix_of), dict(known.unit_of)
    first = [start for start, _ in sorted(given.prefix_of.items(), key=lambda held: held[1])]
    unit = [name for name, _ in sorted(given.unit_of.items(), key=lambda held: held[1])]
    prefix_of = np.array([prefixes.setdefault(p, len(prefixes)) for p in first], dtype=np.int32)
    unit_of = np.array([units.setdefault(u, len(units)) for u in unit], dtype=np.int32)
    head = np.where(given.head >= 0, np.append(word, -2)[np.maximum(given.head, 0)], given.head)
    names = ("title", "brand", "facts", "description")
    bags = {name: _put(getattr(known, name), getattr(given, name), word, placed) for name in names}
    return ItemWords(
        vocabulary=vocabulary,
        idf=np.concatenate([known.idf, idf]),
        prefix=np.concatenate([known.prefix, prefix_of[given.prefix[new_words]]]).astype(np.int32),
        head=placed.put(known.head, head),
        sizes=_put(known.sizes, given.sizes, size, placed),
        size_of=size_of,
        size_unit=np.concatenate([known.size_unit, unit_of[given.size_unit[new_sizes]]]).astype(np.int32),
        **bags,
    )


def _put(known: Bags, given: Bags, number: NDArray[np.int32], placed: Placed) -> Bags:
    """Lists by item with those that come in their places; ``number`` says what their numbers are here."""
    count = placed.put(np.diff(known.start), np.diff(given.start))
    start = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    value = np.empty(int(start[-1]), dtype=np.int32)
    came = np.zeros(placed.n_items, dtype=bool)
    came[placed.rows] = True
    kept = np.flatnonzero(~came)
    for rows, bags, values in ((kept, known, known.value), (placed.rows, given, number[given.value])):
        sources = rows if bags is known else np.arange(len(rows))
        length = count[rows]
        within = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length, length)
        value[np.repeat(start[rows], length) + within] = values[np.repeat(bags.start[sources], length) + within]
    return Bags(start, value)


def _codes(
    codes: NDArray[np.int32], names: NDArray[np.object_], given: Sequence[object], placed: Placed
) -> NDArray[np.int32]:
    """Numbers of names by item; a name that was never seen gets the next one, none is -1."""
    code_of = dict(zip(names.tolist(), codes.tolist(), strict=True))
    next_code = int(codes.max(initial=-1)) + 1
    found = []
    for name in given:
        if not isinstance(name, str) or not name:
            found.append(-1)
            continue
        if name not in code_of:
            code_of[name] = next_code
            next_code += 1
        found.append(code_of[name])
    return placed.put(codes, np.array(found, dtype=np.int32))


def _log_price(facts: RankFacts, placed: Placed, known: ItemFacts) -> NDArray[np.float32]:
    """Usual prices: what was paid so far for items whose listed price is the same, else the listed price."""
    price = placed.items["price"].to_numpy(np.float64, na_value=np.nan)
    listed = np.log(np.where(price > 0, price, np.nan)).astype(np.float32)
    old = ~placed.is_new
    before = known.price[placed.rows[old]]
    same = (before == price[old]) | (np.isnan(before) & np.isnan(price[old]))
    listed[old] = np.where(same, facts.log_price[placed.rows[old]], listed[old])
    return placed.put(facts.log_price, listed)


def _cycles(cycles: CycleModel, category: NDArray[np.int32], placed: Placed) -> CycleModel:
    """Cycles with room for new items: the mean of their category, or of the shop where it has none."""
    new = np.arange(placed.n_before, placed.n_items)
    return replace(
        cycles,
        item_log_gap=_category_mean(cycles.item_log_gap, category, new),
        repeat_share=_category_mean(cycles.repeat_share, category, new),
    )


def _category_mean(values: NDArray[np.float64], category: NDArray[np.int32], new: Ints) -> NDArray[np.float64]:
    told = np.isfinite(values)
    place = category.astype(np.int64) + 1
    n = int(place.max(initial=0)) + 1
    total = np.bincount(place[: len(values)][told], values[told], minlength=n)
    count = np.bincount(place[: len(values)][told], minlength=n)
    overall = float(values[told].mean()) if told.any() else np.nan
    mean = np.where(count > 0, total / np.maximum(count, 1), overall)
    return np.concatenate([values, mean[place[new]]])
