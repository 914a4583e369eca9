"""Training pairs from a catalogue alone: pseudo-queries and every item that answers them, no behaviour needed.

A pseudo-query comes from one item, but many items answer "usb cable". All items that hold its words are found: those
that *are* it become positives, those that mention it get a little gain, the rest of them are spared as negatives. Items
that lack just one of its words ("usb adapter") are linked without gain: hard negatives that need no encoder. Long
anchors, a title against the rest of its item's text, are made here too.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..profiling.intent.units import stems
from ..profiling.tables.shop import Shop
from ..profiling.templates import TemplateConfig, item_texts
from .examples import Examples, link
from .pairs_config import CatalogueConfig, PairsConfig
from .pseudo_queries import Catalogue, Query, draw_query, read_catalogue, slipped

Postings = Mapping[str, NDArray[np.int32]]
"""Word -> rows of the items that hold it, ascending."""

_REST = TemplateConfig(fields=("category", "description", "attributes"))
_LEAST_REST = 5  # words an item needs beside its title for a title to be an anchor
_MOST_LOOKED_AT = 256  # items from which near misses are drawn


@dataclass(frozen=True, eq=False)
class _Answers:
    """Items that are a query, that mention it, and all that have its words anywhere; ascending rows."""

    named: NDArray[np.int32]
    mentions: NDArray[np.int32]
    holding: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class _Links:
    """Anchors, and for each the rows, gains and spared rows of documents."""

    anchors: list[str]
    rows: list[NDArray[np.integer]]
    gains: list[NDArray[np.float64]]
    spared: list[NDArray[np.integer]]


def catalogue_pairs(shop: Shop, config: PairsConfig, texts: Sequence[str], rng: np.random.Generator) -> Examples:
    """Pseudo-queries of a shop's items, and titles, linked to the items that answer them.

    A query drawn for many items becomes several anchors, each with other positives, so that broad queries are trained
    more often, but by less than their share of the catalogue.
    """
    items = shop.table("items")
    options = config.catalogue
    catalogue = read_catalogue(items, options)
    draws = max(1, min(options.per_item * len(items), options.most))
    queries: dict[str, Query] = {}
    origin: dict[str, list[int]] = {}
    for item in _evenly(len(items), draws, rng):
        query = draw_query(catalogue, item, options, rng)
        if query is not None:
            if query.text not in queries or queries[query.text].phrase < 0:
                queries[query.text] = query
            origin.setdefault(query.text, []).append(item)
    near, anywhere = postings(catalogue.near), postings(catalogue.anywhere)
    rest, rest_of = _rests([origin[q.text] for q in queries.values() if q.kind == "title"], items)
    links = _Links([], [], [], [])
    for text, query in queries.items():
        mine = np.unique(np.asarray(origin[text], dtype=np.int32))
        if query.kind == "title":
            _add_title(links, text, mine, rest_of)
        else:
            found = _answers(query, catalogue, near, anywhere, mine)
            for _ in range(ceil(len(origin[text]) ** options.temper)):
                misses = _near_misses(text, near, found.holding, options.misses, rng)
                _add_query(links, text, found, misses, rest_of, options, rng)
    return link(
        links.anchors,
        [*texts, *rest],
        (_of(links.rows), _flat(links.rows)),
        gain=np.concatenate([np.zeros(0), *links.gains]),
        source="catalogue",
        spared=(_of(links.spared), _flat(links.spared)),
    )


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


def _answers(
    query: Query, catalogue: Catalogue, near: Postings, anywhere: Postings, mine: NDArray[np.int32]
) -> _Answers:
    """Who answers a query; the items it was drawn from always do."""
    asked = list(dict.fromkeys(stems(query.text)))
    close, wide = _holding(near, asked), _holding(anywhere, asked)
    named = close
    if query.phrase >= 0:
        heads = catalogue.phrases.holding(query.phrase)
        named = heads if query.kind == "type" else np.intersect1d(heads, wide)
    named = np.union1d(named, mine).astype(np.int32)
    mentions = np.setdiff1d(close, named, assume_unique=True)
    return _Answers(named, mentions, np.union1d(named, wide).astype(np.int32))


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


def _near_misses(
    text: str, near: Postings, holding: NDArray[np.int32], most: int, rng: np.random.Generator
) -> NDArray[np.int32]:
    """Items whose title, brand and category lack just one of a query's words, chosen at random, and have it nowhere."""
    asked = list(dict.fromkeys(stems(text)))
    if len(asked) < 2 or not most:
        return np.zeros(0, dtype=np.int32)
    del asked[int(rng.integers(len(asked)))]
    found = _holding(near, asked)
    if len(found) > _MOST_LOOKED_AT:
        found = np.sort(rng.choice(found, _MOST_LOOKED_AT, replace=False))
    return _sample(np.setdiff1d(found, holding, assume_unique=True), most, rng)


def _rests(drawn: Sequence[Sequence[int]], items: pd.DataFrame) -> tuple[list[str], NDArray[np.int64]]:
    """What else is said of the items whose titles were drawn, and where that stands behind the items, -1 = nowhere."""
    rows = np.unique(np.asarray([row for mine in drawn for row in mine], dtype=np.int64))
    told = item_texts(items.iloc[rows], _REST)
    long = [i for i, text in enumerate(told) if len(text.split()) >= _LEAST_REST]
    place = np.full(len(items), -1, dtype=np.int64)
    place[rows[long]] = len(items) + np.arange(len(long))
    return [told[i] for i in long], place


def _add_title(links: _Links, text: str, mine: NDArray[np.int32], rest_of: NDArray[np.int64]) -> None:
    """A title as an anchor of what else is said of its items; the items themselves are spared."""
    rest = rest_of[mine]
    links.anchors.append(text)
    links.rows.append(rest[rest >= 0])
    links.gains.append(np.ones((rest >= 0).sum()))
    links.spared.append(mine)


def _add_query(
    links: _Links,
    text: str,
    found: _Answers,
    misses: NDArray[np.int32],
    rest_of: NDArray[np.int64],
    config: CatalogueConfig,
    rng: np.random.Generator,
) -> None:
    """A short query with sampled positives; all that has its words is spared, without a title too."""
    good = _sample(found.named, config.positives, rng)
    some = _sample(found.mentions, config.mentions if config.mention_gain else 0, rng)
    rest = rest_of[found.holding]
    links.anchors.append(slipped(text, rng) if rng.random() < config.slips else text)
    links.rows.append(np.concatenate([good, some, misses]))
    links.gains.append(np.repeat([1.0, config.mention_gain, 0.0], [len(good), len(some), len(misses)]))
    links.spared.append(np.concatenate([found.holding, rest[rest >= 0]]))


def _sample(rows: NDArray[np.int32], most: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """At most so many of these rows, drawn evenly."""
    return rows if len(rows) <= most else rng.choice(rows, most, replace=False)


def _of(lists: Sequence[NDArray[np.integer]]) -> NDArray[np.int64]:
    """Which list each entry of the flat form is of."""
    return np.repeat(np.arange(len(lists)), [len(one) for one in lists])


def _flat(lists: Sequence[NDArray[np.integer]]) -> NDArray[np.int64]:
    """Lists end to end."""
    return np.concatenate([np.zeros(0, dtype=np.int64), *lists])
