"""What the demo's people get: the ambiguous query, both answers to it beside plain search, and the newcomer's steps.

Many catalogues hold the same name in many sizes and brands; a list shows the best item of each name, for plain and
personal search alike, and ranks count names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..profiling.blocks import PART_BLOCK
from ..profiling.errors import ShopError
from ..profiling.log import EventLog
from ..retrieval.engine import Engine, one_user
from ..retrieval.filters import Filters
from ..retrieval.ranking import Recommendation
from ..retrieval.recommender import SEARCH_PARTS
from .story import Question, Row, Suggestion, WarmStep

VAGUE: tuple[str, ...] = (
    "snack",
    "dinner",
    "something sweet",
    "drinks",
    "breakfast",
    "party",
    "gift",
    "for the weekend",
    "something for the home",
    "everyday favourites",
)
"""Queries that leave open what is wanted; which of them a catalogue can answer is read by its own intent model."""

DISCOVERY = {"taste_long": 0.5, "taste_short": 0.2, "behaviour": 0.5, "popular": 0.05, "recent_popular": 0.05}
"""Weights of the personal parts in the demo, where a shop has them.

A build learns weights by predicting the next basket, where buying the same again rules. What a shopper means by a vague
word, and what is new to them, no shop has judged; there the parts that carry over to other items must speak.
"""
PERSONALISATION = 1.5
"""How much they count together under a wholly vague query."""

_DEPTH = 400
_DEEP = 3000  # what somebody likes may be many sizes of few names
_SIZE = re.compile(r",\s*[\w\s./~*-]*\d[\w\s./~*-]*$")
_ASIDE = re.compile(r"\s*\([^()]*\)$")

Note = Callable[[str], str]
"""What tells an item from others of its name, by item id."""


def name_of(title: str) -> str:
    """A title without the package size and the words in brackets at its end.

    >>> name_of("Kids cereal (cold cereal), 14.5 oz"), name_of("Mug, blue")
    ('Kids cereal', 'Mug, blue')
    """
    return _ASIDE.sub("", _SIZE.sub("", title)) or title


def discovering(engine: Engine) -> Engine:
    """The same engine with the demo's weights of personal parts; the words of a query count as they did.

    The ranker of requests without words stays out: it learned to predict baskets from parts that have no weight here.
    """
    model = engine.recommender
    words = {name: weight for name, weight in model.weights.items() if name in SEARCH_PARTS}
    weights = words | {n: w for n, w in DISCOVERY.items() if n in PART_BLOCK or n in model.sources}
    return replace(engine, recommender=replace(model, weights=weights, personalisation=PERSONALISATION, second=None))


def choose_query(engine: Engine, users: tuple[str, str], now_s: float, words: Sequence[str] = VAGUE) -> str:
    """The vague query that two shoppers get the most different answers to.

    Only queries the intent model takes to be about this catalogue, if any is; of these the vaguer half.

    Raises:
        ShopError: no words to choose from.
    """
    if not words:
        raise ShopError("query: no candidates; give at least one")
    read = {text: engine.answer(query=text, now_s=now_s, k=1, explain=False).intent for text in words}
    known = [text for text in words if (found := read[text]) is not None and found.known] or list(words)
    specific = {text: found.specificity if (found := read[text]) is not None else 1.0 for text in known}
    vague = sorted(known, key=lambda text: specific[text])[: max(1, (len(known) + 1) // 2)]
    return min(vague, key=lambda text: _overlap(engine, users, text, now_s))


def question(engine: Engine, query: str, now_s: float, note: Note, *, k: int = 8) -> Question:
    """How a query is read, and what plain semantic search gives."""
    answer = engine.answer(query=query, now_s=now_s, k=_DEPTH, weights={"meaning": 1.0}, explain=False)
    read = answer.intent
    return Question(
        text=query,
        reading="" if read is None else read.explain(),
        specificity=1.0 if read is None else min(max(read.specificity, 0.0), 1.0),
        plain=tuple(_rows(answer.items, {}, note)[:k]),
    )


def personal(engine: Engine, user: str, query: str, now_s: float, note: Note, *, k: int = 8) -> tuple[Row, ...]:
    """What one shopper gets for a query, and where plain search has it."""
    plain = engine.answer(query=query, now_s=now_s, k=_DEPTH, weights={"meaning": 1.0}, explain=False).items
    place: dict[str, int] = {}
    for item in plain:
        place.setdefault(name_of(item.title), len(place) + 1)
    mine = engine.answer(user=user, query=query, now_s=now_s, k=_DEEP, explain=False).items
    shown = _distinct(mine)[:k]
    deep = max((item.rank for item in shown), default=1)  # explaining takes time: no more than needed
    return tuple(_rows(engine.answer(user=user, query=query, now_s=now_s, k=deep).items, place, note)[:k])


def warming(
    engine: Engine, row: int, note: Note, *, after: Sequence[int] = (0, 1, 3, 10), k: int = 5
) -> tuple[WarmStep, ...]:
    """What is new to a shopper and recommended after their first few events, and which of it they took later.

    New is what has another name than anything they took; taken is something of that name.
    """
    whole = one_user(engine.log, row)
    steps, before = [], 0
    for seen in sorted({min(n, len(whole)) for n in after}):
        history = first_events(whole, seen)
        now_s = float(whole.at_s[max(seen - 1, 0)]) + 1.0
        items = engine.answer(history=history, now_s=now_s, k=_DEEP, filters=Filters(exclude_bought=True)).items
        names = [name_of(engine.titles[str(i)]) for i in whole.item_ids[whole.item]]
        later, had = set(names[seen:]), set(names[:seen])
        latest = [engine.titles[str(i)] for i in whole.item_ids[whole.item[before:seen]]]
        shown = [item for item in _distinct(items) if name_of(item.title) not in had][:k]
        steps.append(
            WarmStep(
                seen=seen,
                latest=tuple(latest),
                items=tuple(
                    Suggestion(
                        title=i.title, note=note(i.item_id), reason=i.sentence, taken_later=name_of(i.title) in later
                    )
                    for i in shown
                ),
            )
        )
        before = seen
    return tuple(steps)


def first_events(log: EventLog, n: int) -> EventLog:
    """The oldest ``n`` events of a log of one user."""
    return log.select(np.arange(len(log)) < n)


def notes(items: pd.DataFrame, usual_price: NDArray[np.floating], currency: str | None) -> Note:
    """Brand and usual price of an item, where known."""
    row = {str(item_id): place for place, item_id in enumerate(items["item_id"])}
    brand = items["brand"].tolist()

    def note(item_id: str) -> str:
        place = row[item_id]
        parts = [brand[place]] if isinstance(brand[place], str) and brand[place] else []
        price = float(usual_price[place])
        if np.isfinite(price) and price > 0:
            parts.append(f"about {price:,.2f}" + (f" {currency}" if currency else ""))
        return ", ".join(parts)

    return note


def _rows(items: Sequence[Recommendation], place: dict[str, int], note: Note) -> list[Row]:
    return [
        Row(
            rank=rank,
            item_id=item.item_id,
            title=item.title,
            note=note(item.item_id),
            plain_rank=place.get(name_of(item.title)),
            reason=item.sentence,
        )
        for rank, item in enumerate(_distinct(items), start=1)
    ]


def _distinct(items: Sequence[Recommendation]) -> list[Recommendation]:
    """The first item of each name, in order."""
    first: dict[str, Recommendation] = {}
    for item in items:
        first.setdefault(name_of(item.title), item)
    return list(first.values())


def _overlap(engine: Engine, users: tuple[str, str], query: str, now_s: float) -> float:
    """Share of names in both shoppers' first ten, in [0, 1]."""
    names = []
    for user in users:
        found = engine.answer(user=user, query=query, now_s=now_s, k=_DEPTH, explain=False).items
        names.append({name_of(item.title) for item in _distinct(found)[:10]})
    return len(names[0] & names[1]) / max(len(names[0] | names[1]), 1)
