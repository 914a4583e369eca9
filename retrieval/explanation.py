"""Reasons: what each part, and each past event inside it, adds to a score. The parts sum to the score exactly.

Nothing is estimated: the score is a weighted sum of parts, and taste, neighbours, transitions and repeats are
themselves sums over past events, so a reason is an addend. Wording is in `sentence`;
which items win is not decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..profiling.blocks import PART_BLOCK, BlockSpace
from .past import Past
from .ranking import PastEvents, Reason, events_told
from .scores import Events, Scores, Summed
from .sources.alike import AlikeModel
from .sources.repeats import OwnMostBoughtModel

if TYPE_CHECKING:
    from .recommender import Recommender


@dataclass(frozen=True, eq=False)
class Told:
    """The history of one request, and the items whose scores are to be told by it.

    Attributes:
        past: the history
        now_s: time of the request, seconds since 1970 UTC
        space: item blocks
        rows: the items, each once, (n_rows,)
    """

    past: Past
    now_s: float
    space: BlockSpace
    rows: NDArray[np.int64]

    @cached_property
    def likeness(self) -> NDArray[np.float32]:
        """Inner product of the taste rows of each history item and each told one, (n_distinct, n_rows)."""
        taste = self.space.items["taste"]
        return taste[self.past.item] @ taste[self.rows].T

    def taste_events(self, part: str) -> Events:
        """What each item of the history adds to the cosine with a part of taste, before weights."""
        return self.past.item, self.past.shares(part, self.space, self.now_s)[:, None] * self.likeness


def raw_part(
    model: Recommender, told: Told, name: str, held: NDArray[np.float32] | Scores
) -> tuple[dict[str, NDArray[np.float64]], Events | None]:
    """A part's raw score of each told item by what it is told as, (n_rows,) each, and its past events.

    Sources that break their ties by popularity would tell it as their own; here it is what it is, popularity. And
    popularity among shoppers alike is popularity, and what the likeness adds.

    Args:
        model: whose part it is
        told: the request and the items
        name: of the part
        held: a block part's shopper side (d_b,), or any other part's raw scores
    """
    space, rows = model.space, told.rows
    if isinstance(held, np.ndarray):
        raw = space.items[PART_BLOCK[name]][rows].astype(np.float64) @ held
        if name not in ("taste_long", "taste_short"):
            return {name: raw}, None
        return {name: raw}, told.taste_events(name)
    source = model.sources.get(name)  # what a query is understood as is no source
    events = held.events(rows)
    if isinstance(held, Summed) and events is not None:
        return {name: events[1].sum(axis=0), "popular": held.shared[rows].astype(np.float64)}, events
    raw = held[rows].astype(np.float64)
    if isinstance(source, AlikeModel):
        plain = source.popular.item_score[rows].astype(np.float64)
        return {name: plain, "alike": raw - plain}, None
    if isinstance(source, OwnMostBoughtModel):
        ties = source.tie_break[rows].astype(np.float64)
        return {name: raw - ties, "popular": ties}, events
    return {name: raw}, events


def reasons_of(
    amounts: Mapping[str, NDArray[np.floating]], events: Mapping[str, Events], item_ids: NDArray[np.object_]
) -> list[tuple[Reason, ...]]:
    """The reasons of each told item, largest first, those of 0 left out.

    Args:
        amounts: what each part adds to each item, (n_rows,) each
        events: what past items add inside a part
        item_ids: external ids of the catalogue, (n_items,)
    """
    names = sorted(amounts)  # equal amounts are told in this order
    table = np.stack([np.asarray(amounts[name], dtype=np.float64) for name in names])  # (n_parts, n_rows)
    order, column = np.argsort(-table, axis=0, kind="stable").T.tolist(), table.T.tolist()
    past = dict(zip(events, events_told(item_ids, list(events.values())), strict=True)) if events else {}
    none: list[Sequence[tuple[str, float]]] = [()] * table.shape[1]
    behind = [past.get(name, none) for name in names]
    return [
        tuple(Reason(names[part], amount[part], behind[part][told]) for part in parts if amount[part])
        for told, (parts, amount) in enumerate(zip(order, column, strict=True))
    ]


_PHRASED = 4
"""Reasons that are put into words, of which three are told: two of them may turn out to say the same."""

_WORDS: dict[str, str] = {
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
    "directions": "goes with {event} and other things you chose",
    "together": "stands high when everything is added up",
    "pairs": "goes with {event}, your latest choice",
    "repeats": "fits how often you choose the same again",
    "affinity": "fits the categories, brands and prices you choose",
    "shopper": "fits shoppers who know the shop as you do",
    "popularity": "is as popular as what is chosen at such moments",
    "words": 'has the words of "{query}"',
    "company": 'is like the best answers to "{query}"',
    "read_together": 'answers "{query}" when both are read together',
}


_ALIKE: dict[str, str] = dict.fromkeys(("popular", "recent_popular"), _WORDS["alike"])


_second = itemgetter(1)


def sentence(item_id: str, reasons: Sequence[Reason], title_of: Mapping[str, str], query: str) -> str:
    """The two or three strongest reasons in words, with their share of everything that speaks for the item."""
    total, adds, first = 0.0, dict[str, float](), dict[str, Reason]()
    words_of = _WORDS | _ALIKE if any(r.part == "alike" and r.amount > 0 for r in reasons) else _WORDS
    for r in reasons:  # several parts may say the same: once is enough
        part, amount, _ = r
        if amount > 0:
            total += amount
            words = words_of.get(part, part)
            if words in adds:
                adds[words] += amount
            else:
                adds[words], first[words] = amount, r
    if total <= 0:
        return "Nothing known speaks for this item; it fills the list."
    share: dict[str, float] = {}
    for words, amount in sorted(adds.items(), key=_second, reverse=True)[:_PHRASED]:
        phrase = _phrase(words, item_id, first[words], title_of, query)
        share[phrase] = share.get(phrase, 0.0) + amount / total
    ordered = sorted(share.items(), key=_second, reverse=True)
    text = "; ".join([f"{phrase} ({part:.0%})" for n, (phrase, part) in enumerate(ordered[:3]) if not n or part >= 0.1])
    return text[0].upper() + text[1:] + "."


def _phrase(words: str, item_id: str, r: Reason, title_of: Mapping[str, str], query: str) -> str:
    """One reason in words."""
    if "{event}" not in words:
        return words.format(query=query)
    if r.events and r.events[0][0] == item_id and r.part.startswith("taste"):
        return _WORDS["own"]
    if isinstance(r.events, PastEvents):  # most of them are not in order yet
        other = r.events.strongest(item_id)
    else:
        other = next((event for event, amount in r.events if event != item_id and amount > 0), None)
    return words.format(event="what you chose" if other is None else title_of.get(other, other))
