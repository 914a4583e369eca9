"""Reasons: what each part, and each past event inside it, adds to a score. The parts sum to the score exactly.

Nothing is estimated: the score is a weighted sum of parts, and taste, neighbours, transitions and repeats are
themselves sums over past events, so a reason is an addend. Wording is in `sentence`;
which items win is not decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..profiling.blocks import PART_BLOCK, BlockSpace
from ..profiling.interest import decay
from ..profiling.interest_batch import event_weights
from ..profiling.log import Requests
from .alike import AlikeModel
from .histories import steps_ago
from .largest import spans
from .neighbours import NeighboursModel
from .ranking import Reason, past_events
from .repeats import OwnMostBoughtModel, RepeatModel
from .scorer import Scorer

if TYPE_CHECKING:
    from .recommender import Recommender

Events = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Rows of past items, each once, (n_distinct,), and what each adds to each explained item (n_distinct, n_rows)."""


@dataclass(frozen=True, eq=False)
class Told:
    """The history of one request, and the items whose scores are to be told by it.

    Attributes:
        requests: the one request
        space: item blocks
        rows: the items, (n_rows,)
    """

    requests: Requests
    space: BlockSpace
    rows: NDArray[np.int64]

    @cached_property
    def event(self) -> NDArray[np.int64]:
        """Events of the history, oldest first, (n_events,)."""
        return self.requests.events()[1]

    @cached_property
    def _items(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        item, place = np.unique(self.requests.log.item[self.event], return_inverse=True)
        return item.astype(np.int64), place

    @property
    def item(self) -> NDArray[np.int64]:
        """Item rows of the history, each once, (n_distinct,)."""
        return self._items[0]

    def by_item(self, weight: NDArray[np.floating]) -> NDArray[np.float64]:
        """Sum of ``weight`` over the events of each item of the history; that of the newest events if it is shorter."""
        place = self._items[1][len(self.event) - len(weight) :]
        return np.bincount(place, weight, minlength=len(self.item)).astype(np.float64)

    @cached_property
    def likeness(self) -> NDArray[np.float64]:
        """Inner product of the taste rows of each history item and each told one, (n_distinct, n_rows)."""
        return self._taste @ self.space.items["taste"][self.rows].T.astype(np.float64)

    @cached_property
    def _taste(self) -> NDArray[np.float64]:
        return self.space.items["taste"][self.item].astype(np.float64)

    @cached_property
    def same(self) -> NDArray[np.float64]:
        """1 where a history item is the told one, else 0, (n_distinct, n_rows)."""
        return (self.item[:, None] == self.rows[None, :]).astype(np.float64)

    @cached_property
    def _signed(self) -> NDArray[np.float64]:
        return event_weights(self.requests.log)[self.event]

    def taste_events(self, half_life_s: float) -> Events:
        """What each item of the history adds to the cosine with taste, before weights."""
        age_s = self.requests.now_s[0] - self.requests.log.at_s[self.event]
        share = self.by_item(self._signed * decay(age_s, half_life_s))
        norm = float(np.linalg.norm(share @ self._taste))
        if norm <= 1e-12:
            return self.item, np.zeros((len(self.item), len(self.rows)))
        return self.item, (share / norm)[:, None] * self.likeness

    def source_events(self, source: Scorer) -> Events | None:
        """What each item of the history adds to a source's score, None where the source has no events."""
        if isinstance(source, NeighboursModel):
            _, event, age = steps_ago(self.requests, source.ties, last=source.last)
            weight = self.by_item(source.event_weight(self.requests, event, age))
            used = np.flatnonzero(weight)
            return self.item[used], weight[used, None] * entries(source.weights, self.item[used], self.rows)
        if isinstance(source, RepeatModel):
            weight = self.by_item(source.event_weight(self.requests))
            return self.item, weight[:, None] * source.item_factor[self.rows] * self.same
        if isinstance(source, OwnMostBoughtModel):
            return self.item, self.by_item(1.0 * (self.requests.log.weight[self.event] > 0))[:, None] * self.same
        return None


def entries(matrix: sp.csr_matrix, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float64]:
    """The entries of a sparse matrix where these rows and columns meet, (n_row, n_column)."""
    first, last = matrix.indptr[row], matrix.indptr[row + 1]
    place = spans(first, last)
    found = np.full(matrix.shape[1], -1, dtype=np.int64)
    found[column] = np.arange(len(column))
    at = found[matrix.indices[place]]
    kept = np.flatnonzero(at >= 0)
    out = np.zeros((len(row), len(column)))
    out[np.repeat(np.arange(len(row)), last - first)[kept], at[kept]] = matrix.data[place[kept]]
    return out


def raw_part(
    model: Recommender, told: Told, name: str, held: NDArray[np.float32]
) -> tuple[dict[str, NDArray[np.float64]], Events | None]:
    """A part's raw score of each told item by what it is told as, (n_rows,) each, and its past events.

    Sources that break their ties by popularity would tell it as their own; here it is what it is, popularity. And
    popularity among shoppers alike is popularity, and what the likeness adds.

    Args:
        model: whose part it is
        told: the request and the items
        name: of the part
        held: a block part's shopper side (d_b,), or any other part's raw scores (n_items,)
    """
    space, rows = model.space, told.rows
    if name in PART_BLOCK:
        raw = space.items[PART_BLOCK[name]][rows].astype(np.float64) @ held
        if name not in ("taste_long", "taste_short"):
            return {name: raw}, None
        half_life_s = space.long_half_life_s if name == "taste_long" else space.short_half_life_s
        return {name: raw}, told.taste_events(half_life_s)
    raw = held[rows].astype(np.float64)
    source = model.sources.get(name)  # what a query is understood as is no source
    if source is None:
        return {name: raw}, None
    if isinstance(source, AlikeModel):
        plain = source.popular.item_score[rows].astype(np.float64)
        return {name: plain, "alike": raw - plain}, None
    parts = {name: raw}
    if isinstance(source, NeighboursModel | OwnMostBoughtModel):
        ties = source.tie_break[rows].astype(np.float64)
        parts = {name: raw - ties, "popular": ties}
    return parts, told.source_events(source)


def reasons_of(
    amounts: Mapping[str, NDArray[np.floating]], events: Mapping[str, Events], item_ids: NDArray[np.object_]
) -> list[tuple[Reason, ...]]:
    """The reasons of each told item, largest first, those of 0 left out.

    Args:
        amounts: what each part adds to each item, (n_rows,) each
        events: what past items add inside a part
        item_ids: external ids of the catalogue, (n_items,)
    """
    told = {name: amount.tolist() for name, amount in amounts.items()}
    past = {name: past_events(item_ids, *found) for name, found in events.items()}
    nothing: tuple[tuple[str, float], ...] = ()
    columns = range(len(next(iter(told.values()), ())))
    return [
        tuple(
            Reason(name, amount[column], past[name][column] if name in past else nothing)
            for name, amount in sorted(told.items(), key=lambda part: (-part[1][column], part[0]))
            if amount[column]
        )
        for column in columns
    ]


_PHRASED = 4
"""Reasons that are put into words, of which three are told: two of them may turn out to say the same."""

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
    alike = any(r.part == "alike" for r in positive)
    same: dict[str, tuple[Reason, float]] = {}
    for r in positive:  # several parts may say the same: once is enough
        words = _WORDS["alike"] if alike and r.part in ("popular", "recent_popular") else _WORDS.get(r.part, r.part)
        first, amount = same.get(words, (r, 0.0))
        same[words] = (first, amount + r.amount)
    share: dict[str, float] = {}
    for words, (r, amount) in sorted(same.items(), key=lambda pair: -pair[1][1])[:_PHRASED]:
        phrase = _phrase(words, item_id, r, title_of, query)
        share[phrase] = share.get(phrase, 0.0) + amount / total
    ordered = sorted(share.items(), key=lambda pair: -pair[1])
    text = "; ".join(f"{phrase} ({part:.0%})" for n, (phrase, part) in enumerate(ordered[:3]) if not n or part >= 0.1)
    return text[0].upper() + text[1:] + "."


def _phrase(words: str, item_id: str, r: Reason, title_of: Mapping[str, str], query: str) -> str:
    """One reason in words."""
    if "{event}" not in words:
        return words.format(query=query)
    if r.events and r.events[0][0] == item_id and r.part.startswith("taste"):
        return _WORDS["own"]
    other = next((event for event, amount in r.events if event != item_id and amount > 0), None)
    return words.format(event="what you chose" if other is None else title_of.get(other, other))
