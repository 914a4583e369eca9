"""What a ranker reads of each candidate: named columns in groups, each group one function.

Everything is known before the event that is predicted: parts and facts come from training events, histories end where
the request begins. Unknown is NaN. Words of queries are matched in `text_features`, facts are learned in
`second_stage.facts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...profiling.log import Requests
from ...profiling.shopper.cycles import repeats
from ..histories import steps_ago
from ..sources.popularity import DAY_S
from .facts import RankFacts
from .pool import Pool, ranks
from .text_features import TEXT_FEATURES, read_query, text_values

Float = NDArray[np.float32]
Ints = NDArray[np.int64]
Columns = dict[str, NDArray[np.floating]]

NEWEST = 20
"""Newest history events that candidates are compared with one by one."""
LEADERS: tuple[int, ...] = (10, 30)
"""Best candidates of the first stage whose mean text the others are compared with."""
CLOSEST = 5
"""The most alike of the best that count one by one."""
POPULARITY_PARTS: tuple[str, ...] = ("popular", "recent_popular")


@dataclass(frozen=True, eq=False)
class Features:
    """A table of features.

    Attributes:
        names: column names
        groups: group of each column
        values: (n, n_features) float32, NaN where unknown
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    values: Float


@dataclass(frozen=True, eq=False)
class Asked:
    """Candidates, and the histories they are compared with.

    Attributes:
        pool: the candidates
        requests: who asks
        facts: facts of the catalogue
        vectors: rows whose inner products say how alike two texts are, (n_items, d)
    """

    pool: Pool
    requests: Requests
    facts: RankFacts
    vectors: Float

    @cached_property
    def newest(self) -> tuple[Ints, Ints]:
        """Item row and age in steps of the newest `NEWEST` events of each request, -1 for none, (n_requests, NEWEST).

        The last column is the newest event.
        """
        request, event, age = steps_ago(self.requests, self.facts.ties, last=NEWEST)
        place = NEWEST - (self.requests.stop[request] - event)
        items = np.full((len(self.requests), NEWEST), -1, dtype=np.int64)
        ages = items.copy()
        items[request, place], ages[request, place] = self.requests.log.item[event], age
        return items, ages

    @cached_property
    def liked(self) -> tuple[Ints, Ints]:
        """Request and event of every history event that speaks for its item, oldest first inside a request."""
        request, event = self.requests.events()
        kept = self.requests.log.weight[event] > 0
        return request[kept], event[kept]


def rank_features(asked: Asked, groups: Sequence[str]) -> Features:
    """The columns of the named groups of `GROUPS`, in that order."""
    told = {group: GROUPS[group](asked) for group in groups}
    names = tuple(name for columns in told.values() for name in columns)
    values = np.empty((len(asked.pool), len(names)), dtype=np.float32)
    for place, column in enumerate(column for columns in told.values() for column in columns.values()):
        values[:, place] = column
    return Features(names, tuple(group for group, columns in told.items() for _ in columns), values)


def part_columns(asked: Asked) -> Columns:
    """Scaled score of each part but popularity, and the logarithm of its rank among the candidates."""
    return _scored(asked.pool, [name for name in asked.pool.parts if name not in POPULARITY_PARTS])


def part_names(part: str) -> set[str]:
    """Names of a part's columns."""
    return {part, f"{part}_rank"}


def together_columns(asked: Asked) -> Columns:
    """The fused score against the best candidate's, and the logarithm of its rank."""
    pool = asked.pool
    best = np.full(len(pool.count), -np.inf, dtype=np.float32)
    np.maximum.at(best, pool.request, pool.fused)
    return {
        "fused": pool.fused,
        "fused_behind": best[pool.request] - pool.fused,
        "fused_rank": np.log(ranks(pool.fused, pool.request, pool.count)),
    }


def popularity_columns(asked: Asked) -> Columns:
    """How often an item was taken in training; can be switched off where rarity itself betrays the answer."""
    parts = [name for name in asked.pool.parts if name in POPULARITY_PARTS]
    return {"count": np.log1p(asked.facts.count[asked.pool.item])} | _scored(asked.pool, parts)


def pair_columns(asked: Asked) -> Columns:
    """The candidate against the items of the last step and of the one before: text, attributes, what follows what."""
    items, ages = asked.newest
    text, attributes = _likeness(asked)
    told: Columns = {}
    own = asked.pool.request
    for name, age in (("last", 0), ("before", 1)):
        there = (ages == age)[own]
        other = np.where(there, items[own], -1)
        used = np.flatnonzero(there.any(axis=0))
        told[f"{name}_text"] = _best(text, there)
        told[f"{name}_attributes"] = _best(attributes, there)
        told |= {f"{name}_{key}": value for key, value in _counted(asked, other[:, used]).items()}
    return told | {"newest_text": _best(text, ages[own] >= 0), "newest_attributes": _best(attributes, ages[own] >= 0)}


def repeat_columns(asked: Asked) -> Columns:
    """What the shopper did with this very item: how often, when, whether it is due; how often others repeat it."""
    log, facts, pool = asked.requests.log, asked.facts, asked.pool
    request, event = asked.liked
    key, first, count = np.unique(
        (request * log.n_items + log.item[event])[::-1], return_index=True, return_counts=True
    )
    last_s = log.at_s[event][::-1][first]
    wanted = pool.request * log.n_items + pool.item
    days = (asked.requests.now_s[pool.request] - _look_up(key, last_s, wanted, np.nan)) / DAY_S
    bought = repeats(asked.requests)
    due = facts.cycles.due(bought, asked.requests.now_s)
    due = np.log(np.maximum(due, 1e-3))
    return {
        "own_count": np.log1p(_look_up(key, count.astype(np.float64), wanted, 0.0)),
        "own_days": np.log1p(np.maximum(days, 0.0)),
        "own_due": _look_up(bought.request * log.n_items + bought.item, due, wanted, np.nan),
        "item_repeats": facts.cycles.repeat_share[pool.item],
    }


def affinity_columns(asked: Asked) -> Columns:
    """Share of the history that has the candidate's category and brand; its price against the usual one."""
    log, facts, pool = asked.requests.log, asked.facts, asked.pool
    request, event = asked.liked
    total = np.bincount(request, minlength=len(asked.requests)).astype(np.float64)
    told: Columns = {}
    for name, code in (("category", facts.category), ("brand", facts.brand)):
        n = int(code.max(initial=-1)) + 1
        if n > 1:
            of_event = code[log.item[event]]
            key, count = np.unique(request[of_event >= 0] * n + of_event[of_event >= 0], return_counts=True)
            wanted = np.where(code[pool.item] >= 0, pool.request * n + code[pool.item], -1)
            share = _look_up(key, count.astype(np.float64), wanted, 0.0) / np.maximum(total[pool.request], 1.0)
            told[f"{name}_share"] = np.where((code[pool.item] >= 0) & (total[pool.request] > 0), share, np.nan)
    price = facts.log_price[log.item[event]].astype(np.float64)
    priced = np.isfinite(price)
    if priced.any():
        n_priced = np.bincount(request[priced], minlength=len(total))
        usual = np.bincount(request[priced], price[priced], minlength=len(total)) / np.maximum(n_priced, 1)
        told["price_above"] = facts.log_price[pool.item] - np.where(n_priced > 0, usual, np.nan)[pool.request]
    return told


def shopper_columns(asked: Asked) -> Columns:
    """How much is known of the shopper, how long ago it was, and how often they come back to the same things."""
    requests, log = asked.requests, asked.requests.log
    request, event = asked.liked
    n = np.bincount(request, minlength=len(requests)).astype(np.float64)
    distinct = np.bincount(np.unique(request * log.n_items + log.item[event]) // log.n_items, minlength=len(requests))
    last_s = np.full(len(requests), np.nan)
    last_s[request] = log.at_s[event]
    day = np.floor(log.at_s[event] / DAY_S)
    on_last_day = np.bincount(request, day == np.floor(last_s / DAY_S)[request], minlength=len(requests))
    told = {
        "history": np.log1p(n),
        "last_days": np.log1p(np.maximum(requests.now_s - last_s, 0.0) / DAY_S),
        "last_day_events": np.log1p(on_last_day),
        "own_repeats": np.where(n > 0, 1.0 - distinct / np.maximum(n, 1.0), np.nan),
    }
    return {name: values[asked.pool.request] for name, values in told.items()}


def word_columns(asked: Asked) -> Columns:
    """How the words of the query and of the item match: `text_features.TEXT_FEATURES`."""
    pool, facts = asked.pool, asked.facts
    values = np.full((len(pool), len(TEXT_FEATURES)), np.nan, dtype=np.float32)
    first = np.cumsum(pool.count) - pool.count
    words = facts.words
    for place, text in enumerate(asked.requests.texts if words is not None else ()):
        part = slice(int(first[place]), int(first[place] + pool.count[place]))
        if words is not None:
            values[part] = text_values(read_query(text, words), words, pool.item[part])
    return {name: values[:, place] for place, name in enumerate(TEXT_FEATURES)}


def company_columns(asked: Asked) -> Columns:
    """How alike each candidate's text is to the request's best candidates: to their mean, and to the most alike.

    Feedback without a second search. A right item whose own words miss the query often resembles those that lead.
    Source: Rocchio, "Relevance feedback in information retrieval", 1971, with the first stage's best taken as relevant.
    """
    pool = asked.pool
    told = {name: np.full(len(pool), np.nan) for name in (*(f"company_{n}" for n in LEADERS), "company_near")}
    first = np.cumsum(pool.count) - pool.count
    for place in np.flatnonzero(pool.count > 1):
        part = slice(int(first[place]), int(first[place] + pool.count[place]))
        rows = asked.vectors[pool.item[part]]
        best = np.argsort(-pool.fused[part], kind="stable")[: LEADERS[-1]]
        for n in LEADERS:
            mean = rows[best[:n]].mean(axis=0)
            told[f"company_{n}"][part] = rows @ mean / max(float(np.linalg.norm(mean)), 1e-9)
        likeness = rows @ rows[best].T
        likeness[best, np.arange(len(best))] = -np.inf  # nobody keeps company with itself
        width = min(CLOSEST, likeness.shape[1] - 1)
        told["company_near"][part] = np.partition(likeness, -width, axis=1)[:, -width:].mean(axis=1)
    return told


GROUPS: Mapping[str, Callable[[Asked], Columns]] = {
    "parts": part_columns,
    "together": together_columns,
    "pairs": pair_columns,
    "repeats": repeat_columns,
    "affinity": affinity_columns,
    "shopper": shopper_columns,
    "popularity": popularity_columns,
    "words": word_columns,
    "company": company_columns,
}
"""Groups of features: name -> what makes its columns."""

PERSONAL_GROUPS: tuple[str, ...] = ("parts", "together", "pairs", "repeats", "affinity", "shopper", "popularity")
SEARCH_GROUPS: tuple[str, ...] = ("parts", "together", "words", "company")


def _scored(pool: Pool, parts: Sequence[str]) -> Columns:
    told: Columns = {}
    for name in parts:
        told[name] = pool.parts[name]
        told[f"{name}_rank"] = np.log(ranks(pool.parts[name], pool.request, pool.count))
    return told


def _likeness(asked: Asked) -> tuple[Float, Float]:
    """Cosine of text and of attributes of each candidate with each of its request's newest items, (n, NEWEST) each."""
    items, pool = asked.newest[0], asked.pool
    text = np.zeros((len(pool), NEWEST), dtype=np.float32)
    attributes = np.zeros((len(pool), NEWEST), dtype=np.float32)
    rows = asked.facts.attributes
    first = np.cumsum(pool.count) - pool.count
    for place, other in enumerate(items):
        there = np.flatnonzero(other >= 0)
        part = slice(int(first[place]), int(first[place] + pool.count[place]))
        if not len(there) or part.start == part.stop:
            continue
        mine = pool.item[part]
        text[part, there[0] :] = asked.vectors[mine] @ asked.vectors[other[there]].T
        if rows.nnz:
            attributes[part, there[0] :] = (rows[mine] @ rows[other[there]].T).toarray()
    return text, attributes


def _best(likeness: Float, there: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Largest likeness where there is an item to be like; NaN where there is none."""
    return np.where(there.any(axis=1), np.where(there, likeness, -np.inf).max(axis=1), np.nan)


def _counted(asked: Asked, other: Ints) -> Columns:
    """Largest count over the ``other`` items (n, m): the candidate after them, before them, taken at once with them.

    Counts are held against the popularity of the other item: a share of what follows it, damped for rare ones.
    """
    mine = np.broadcast_to(asked.pool.item[:, None], other.shape)
    facts = asked.facts
    base = np.where(other >= 0, facts.count[other] + 5.0, 1.0)
    told: Columns = {}
    for name, pairs, way in (
        ("next", facts.follows, 1),
        ("earlier", facts.follows, -1),
        ("at_once", facts.together, 1),
    ):
        count = pairs.of(other, mine) if way > 0 else pairs.of(mine, other)
        told[f"{name}"] = np.log1p(count.max(axis=1, initial=0.0))
        told[f"{name}_share"] = (count / base).sum(axis=1)
    return told


def _look_up(key: Ints, value: NDArray[np.floating], wanted: Ints, missing: float) -> NDArray[np.float64]:
    """The value beside each wanted key, ``missing`` where there is none; ``key`` ascends."""
    if not len(key):
        return np.full(len(wanted), missing)
    place = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
    return np.where(key[place] == wanted, value[place], missing)
