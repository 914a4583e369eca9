"""Training pairs from a catalogue alone: pseudo-queries and every item that answers them, no behaviour needed.

A pseudo-query comes from one item, but many items answer "usb cable". All items that hold its words are found: those
that *are* it become positives, those that mention it get a little gain, the rest of them are spared as negatives. Long
anchors, a title against the rest of its item's text, are made here too.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..profiling.shop import Shop
from ..profiling.templates import TemplateConfig, item_texts
from ..profiling.units import stems
from .examples import Examples, link, merge
from .pairs_config import CatalogueConfig, PairsConfig
from .pseudo_queries import Catalogue, Query, draw_query, read_catalogue, slipped

Postings = Mapping[str, NDArray[np.int32]]
"""Word -> rows of the items that hold it, ascending."""

_REST = TemplateConfig(fields=("category", "description", "attributes"))
_LEAST_REST = 5  # words an item needs beside its title for a title to be an anchor


@dataclass(frozen=True, eq=False)
class _Answers:
    """Items that are a query, that mention it, and that have its words anywhere; ascending rows."""

    named: NDArray[np.int32]
    mentions: NDArray[np.int32]
    spared: NDArray[np.int32]


def catalogue_pairs(shop: Shop, config: PairsConfig, texts: Sequence[str], rng: np.random.Generator) -> Examples:
    """Pseudo-queries of a shop's items, and titles, linked to the items that answer them.

    A query drawn for many items becomes several anchors, each with other positives, so that broad queries are trained
    more often, but by less than their share of the catalogue.
    """
    items = shop.table("items")
    options = config.catalogue
    catalogue = read_catalogue(items, options)
    draws = max(1, min(options.per_item * len(items), options.most))
    drawn: Counter[Query] = Counter()
    origin: dict[Query, list[int]] = {}
    for item in _evenly(len(items), draws, rng):
        query = draw_query(catalogue, item, options, rng)
        if query is not None:
            drawn[query] += 1
            origin.setdefault(query, []).append(item)
    near, anywhere = postings(catalogue.near), postings(catalogue.anywhere)
    short = [query for query in drawn if query.kind != "title"]
    made = _linked(short, drawn, origin, catalogue, (near, anywhere), texts, options, rng)
    long = [query for query in drawn if query.kind == "title"]
    return merge([made, _titles(long, origin, items)]) if long else made


def _evenly(n_items: int, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Item rows in random order, each as often as any other, give or take one."""
    whole, rest = divmod(draws, n_items)
    rows = np.concatenate([np.tile(np.arange(n_items), whole), rng.permutation(n_items)[:rest]])
    return rng.permutation(rows)


def postings(words: Sequence[Collection[str]]) -> dict[str, NDArray[np.int32]]:
    """The items that hold each word, ascending.

    >>> {word: rows.tolist() for word, rows in postings([{"lamp"}, {"lamp", "desk"}]).items()}["lamp"]
    [0, 1]
    """
    found: dict[str, array[int]] = {}
    for item, mine in enumerate(words):
        for word in mine:
            found.setdefault(word, array("i")).append(item)
    return {word: np.frombuffer(rows, dtype=np.int32) for word, rows in found.items()}


def _answers(query: Query, catalogue: Catalogue, near: Postings, anywhere: Postings, mine: Sequence[int]) -> _Answers:
    """Who answers a query; the items it was drawn from always do."""
    asked = list(dict.fromkeys(stems(query.text)))
    close, wide = _holding(near, asked), _holding(anywhere, asked)
    own = np.unique(np.asarray(mine, dtype=np.int32))
    named = close
    if query.phrase >= 0:
        heads = catalogue.phrases.holding(query.phrase)
        named = heads if query.kind == "type" else np.intersect1d(heads, wide)
    named = np.union1d(named, own).astype(np.int32)
    mentions = np.setdiff1d(close, named, assume_unique=True)
    return _Answers(named, mentions, np.setdiff1d(wide, named, assume_unique=True))


def _holding(index: Postings, asked: Sequence[str]) -> NDArray[np.int32]:
    """Items that hold all of these stems, ascending."""
    none = np.zeros(0, dtype=np.int32)
    lists = sorted((index.get(word, none) for word in asked), key=len)
    found = lists[0] if lists else none
    for more in lists[1:]:
        if not len(found):
            break
        at = np.minimum(np.searchsorted(more, found), max(len(more) - 1, 0))
        found = found[more[at] == found]
    return found


def _linked(
    queries: Sequence[Query],
    drawn: Counter[Query],
    origin: dict[Query, list[int]],
    catalogue: Catalogue,
    indexes: tuple[Postings, Postings],
    texts: Sequence[str],
    config: CatalogueConfig,
    rng: np.random.Generator,
) -> Examples:
    """Anchors of short queries, with sampled positives and spared items."""
    anchors: list[str] = []
    rows: list[NDArray[np.int32]] = []
    gains: list[NDArray[np.float64]] = []
    spared: list[NDArray[np.int32]] = []
    for query in queries:
        found = _answers(query, catalogue, *indexes, origin[query])
        for _ in range(ceil(drawn[query] ** config.temper)):
            good = _sample(found.named, config.positives, rng)
            some = _sample(found.mentions, config.mentions if config.mention_gain else 0, rng)
            anchors.append(slipped(query.text, rng) if rng.random() < config.slips else query.text)
            rows.append(np.concatenate([good, some]))
            gains.append(np.concatenate([np.ones(len(good)), np.full(len(some), config.mention_gain)]))
            spared.append(np.concatenate([found.named, found.spared, found.mentions]))
    return link(
        anchors,
        texts,
        (_of(rows), _flat(rows)),
        gain=np.concatenate(gains) if gains else None,
        source="catalogue",
        spared=(_of(spared), _flat(spared)),
    )


def _titles(queries: Sequence[Query], origin: dict[Query, list[int]], items: pd.DataFrame) -> Examples:
    """Titles as anchors of what else is said of their items: category, description, attributes."""
    chosen = [(i, row) for i, query in enumerate(queries) for row in dict.fromkeys(origin[query])]
    told = item_texts(items.iloc[[row for _, row in chosen]], _REST)
    pairs = [(i, k) for k, (i, _) in enumerate(chosen) if len(told[k].split()) >= _LEAST_REST]
    anchors, documents = np.asarray(pairs, dtype=np.int64).reshape(-1, 2).T
    return link([query.text for query in queries], told, (anchors, documents), source="catalogue")


def _sample(rows: NDArray[np.int32], most: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """At most so many of these rows, drawn evenly."""
    return rows if len(rows) <= most else rng.choice(rows, most, replace=False)


def _of(lists: Sequence[NDArray[np.int32]]) -> NDArray[np.int64]:
    """Which list each entry of the flat form is of."""
    return np.repeat(np.arange(len(lists)), [len(one) for one in lists])


def _flat(lists: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
    """Lists end to end."""
    return np.concatenate(lists) if lists else np.zeros(0, dtype=np.int32)
