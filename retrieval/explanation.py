"""Reasons: what each part, and each past event inside it, adds to a score. The parts sum to the score exactly.

Nothing is estimated: the score is a weighted sum of parts, and taste, neighbours, transitions and repeats are
themselves sums over past events, so a reason is an addend. Wording is in `sentence`;
which items win is not decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..profiling.blocks import PART_BLOCK, BlockSpace
from ..profiling.interest import decay
from ..profiling.interest_batch import event_weights
from ..profiling.log import Requests
from .alike import AlikeModel
from .histories import steps_ago
from .neighbours import NeighboursModel
from .ranking import PastEvents, Reason
from .repeats import OwnMostBoughtModel, RepeatModel
from .scorer import Scorer

if TYPE_CHECKING:
    from .recommender import Recommender

Events = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Item row of each event (n_events,), and what it adds to each explained item (n_events, n_rows)."""


def taste_events(requests: Requests, space: BlockSpace, rows: NDArray[np.int64], *, half_life_s: float) -> Events:
    """What each past event of one request adds to the cosine with taste, before weights."""
    log, taste = requests.log, space.items["taste"]
    _, event = requests.events()
    age = decay(requests.now_s[0] - log.at_s[event], half_life_s)
    share = event_weights(log)[event] * age
    vectors = taste[log.item[event]].astype(np.float64)
    norm = float(np.linalg.norm(share @ vectors))
    if norm <= 1e-12:
        return log.item[event].astype(np.int64), np.zeros((len(event), len(rows)))
    return log.item[event].astype(np.int64), (share / norm)[:, None] * (vectors @ taste[rows].T.astype(np.float64))


def raw_part(
    model: Recommender, requests: Requests, name: str, held: NDArray[np.float32], rows: NDArray[np.int64]
) -> tuple[dict[str, NDArray[np.float64]], Events | None]:
    """A part's raw score of each row by what it is told as, (n_rows,) each, and its past events.

    Sources that break their ties by popularity would tell it as their own; here it is what it is, popularity. And
    popularity among shoppers alike is popularity, and what the likeness adds.

    Args:
        model: whose part it is
        requests: the one request
        name: of the part
        held: a block part's shopper side (d_b,), or any other part's raw scores (n_items,)
        rows: item rows, (n_rows,)
    """
    space = model.space
    if name in PART_BLOCK:
        raw = space.items[PART_BLOCK[name]][rows].astype(np.float64) @ held
        if name not in ("taste_long", "taste_short"):
            return {name: raw}, None
        half_life_s = space.long_half_life_s if name == "taste_long" else space.short_half_life_s
        return {name: raw}, taste_events(requests, space, rows, half_life_s=half_life_s)
    raw = held[rows].astype(np.float64)
    source = model.sources.get(name)  # what a query is understood as is no source
    if source is None:
        return {name: raw}, None
    if isinstance(source, AlikeModel):
        plain = source.popular.item_score[rows].astype(np.float64)
        return {name: plain, "alike": raw - plain}, None
    told = {name: raw}
    if isinstance(source, NeighboursModel | OwnMostBoughtModel):
        ties = source.tie_break[rows].astype(np.float64)
        told = {name: raw - ties, "popular": ties}
    return told, source_events(source, requests, rows)


def source_events(source: Scorer, requests: Requests, rows: NDArray[np.int64]) -> Events | None:
    """What each past event of one request adds to a source's score, None where the source has no events."""
    item = requests.log.item
    if isinstance(source, NeighboursModel):
        _, event, age = steps_ago(requests, source.ties, last=source.last)
        weight = source.event_weight(requests, event, age)
        return item[event].astype(np.int64), weight[:, None] * source.weights[item[event]][:, rows].toarray()
    _, event = requests.events()
    same = (item[event][:, None] == rows[None, :]).astype(np.float64)
    if isinstance(source, RepeatModel):
        return item[event].astype(np.int64), source.event_weight(requests)[:, None] * source.item_factor[rows] * same
    if isinstance(source, OwnMostBoughtModel):
        return item[event].astype(np.int64), (requests.log.weight[event] > 0)[:, None] * same
    return None


def by_item(items: NDArray[np.int64], amounts: NDArray[np.float64]) -> Events:
    """Events of one item added up: distinct item rows (n_distinct,), and their amounts (n_distinct, n_rows)."""
    order = np.argsort(items, kind="stable")
    distinct, first = np.unique(items[order], return_index=True)
    return distinct, (np.add.reduceat(amounts[order], first, axis=0) if len(distinct) else amounts)


def reason(
    part: str,
    amounts: NDArray[np.floating],
    events: Events | None,
    item_ids: NDArray[np.object_],
    column: int,
) -> Reason:
    """The addend of one part for the item at ``column`` of ``amounts`` (n_rows,) and of ``events``, each item once."""
    if events is None:
        return Reason(part, float(amounts[column]))
    return Reason(part, float(amounts[column]), PastEvents(item_ids, events[0], events[1][:, column]))


_WORDS: Mapping[str, str] = {
    "meaning": 'means what "{query}" asks for',
    "bm25": 'has the words of "{query}"',
    "intent": 'is of the brand, kind or price that "{query}" names',
    "taste_long": "is like {event} and other things you like",
    "taste_short": "is like {event} you chose lately",
    "taste_learned": "is what choices like yours lead to",
    "behaviour": "fits the categories, brands and prices you choose",
    "context": "is what sells at such times and places",
    "popular": "is popular here",
    "alike": "is popular with shoppers like you",
    "recent_popular": "is popular these weeks",
    "own": "is something you chose before",
    "repeat": "is something you may want again",
    "transitions": "often follows {event}",
    "text_neighbours": "resembles {event}",
    "together": "stands high when everything is added up",
    "pairs": "goes with {event}, your latest choice",
    "repeats": "fits how often you choose the same again",
    "affinity": "fits the categories, brands and prices you choose",
    "shopper": "fits shoppers who know the shop as you do",
    "popularity": "is as popular as what is chosen at such moments",
    "words": 'has the words of "{query}"',
    "read_together": 'answers "{query}" when both are read together',
}


def sentence(item_id: str, reasons: Sequence[Reason], title_of: Mapping[str, str], query: str) -> str:
    """The two or three strongest reasons in words, with their share of everything that speaks for the item."""
    positive = [r for r in reasons if r.amount > 0]
    total = sum(r.amount for r in positive)
    if not positive or total <= 0:
        return "Nothing known speaks for this item; it fills the list."
    share: dict[str, float] = {}
    alike = any(r.part == "alike" for r in positive)
    for r in positive:  # several parts may say the same: once is enough
        popular = alike and r.part in ("popular", "recent_popular")
        phrase = _WORDS["alike"] if popular else _phrase(item_id, r, title_of, query)
        share[phrase] = share.get(phrase, 0.0) + r.amount / total
    ordered = sorted(share.items(), key=lambda pair: -pair[1])
    text = "; ".join(f"{phrase} ({part:.0%})" for n, (phrase, part) in enumerate(ordered[:3]) if not n or part >= 0.1)
    return text[0].upper() + text[1:] + "."


def _phrase(item_id: str, r: Reason, title_of: Mapping[str, str], query: str) -> str:
    """One reason in words."""
    other = next((event for event, amount in r.events if event != item_id and amount > 0), None)
    if r.events and r.events[0][0] == item_id and r.part.startswith("taste"):
        return "is something you chose before"
    event = "what you chose" if other is None else title_of.get(other, other)
    return _WORDS.get(r.part, r.part).format(query=query, event=event)
