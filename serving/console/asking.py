"""One question answered twice, for anybody and for a shopper, and what moved between the two and why.

The page's questions are asked to the engine itself and are not written down as shown: nobody shopped. The mutes and
weights of the page act on one answer only; nothing that is stored changes here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...profiling.context import Context
from ...profiling.log import EventLog
from ...profiling.shopper.profile import iso_time, tidy_number
from ...profiling.shopper.tags import TagModel
from ...retrieval.engine import Engine
from ...retrieval.ranking import Answer, Recommendation
from ..current import Served
from ..service import Service
from ..store import UserState
from .groups import group_of, learned_weights, reweighed
from .kept import Kept

DEPTH = 100
"""How far down either list is looked to tell where an item came from."""


@dataclass(frozen=True)
class Comparing:
    """What is to be compared.

    Attributes:
        user: shopper's id; None = nobody, and both lists are the same but for the weights
        query: words; None = what to show without any
        k: items of either list
        weights: weight of a group of parts instead of the learned one
        specificity, diversity, attributes: see the engine
        mute: interests to answer without
    """

    user: str | None
    query: str | None
    k: int
    weights: Mapping[str, float]
    specificity: float | None
    diversity: float
    attributes: Mapping[str, str] | None
    mute: Sequence[str]


def compare(service: Service, kept: Kept, asked: Comparing) -> dict[str, Any]:
    """Both answers, item by item with the place in the other one.

    Raises:
        ConfigError: an unknown group, or an option out of range.
        StoreError: the store cannot be read.
    """
    served = service.current.get()
    state, history = UserState(0, 0, False), None
    if asked.user is not None:
        state, history = service.histories.of(asked.user, served.catalogue)
        if asked.mute:
            history = without_interests(history, kept.yardsticks(served).tags, asked.mute)
    at_s = service.now_s(served, state)
    newcomer = history is None or len(history) == 0
    engine = reweighed(served.engine, asked.weights, newcomer=newcomer)
    context = Context(at_s)
    attributes = {} if state.forgotten and asked.attributes is None else asked.attributes
    depth = max(DEPTH, asked.k)
    plain = served.engine.answer(query=asked.query, context=context, attributes={}, k=depth, explain=False)

    def mine(k: int, *, explain: bool) -> Answer:
        return engine.answer(
            user=asked.user,
            query=asked.query,
            context=context,
            history=history,
            attributes=attributes,
            k=k,
            diversity=asked.diversity,
            specificity=asked.specificity,
            explain=explain,
        )

    deep, told = mine(depth, explain=False), mine(asked.k, explain=True)
    rank_of = {item.item_id: item.rank for item in plain.items}
    mine_of = {item.item_id: item.rank for item in deep.items}
    weighed = served.engine.recommender.stage_for(asked=bool(asked.query)) is not None
    return {
        "version": served.version,
        "at": iso_time(at_s),
        "user": asked.user,
        "query": asked.query,
        "events": 0 if history is None else len(history),
        "newcomer": newcomer,
        "depth": depth,
        "intent": None if told.intent is None else told.intent.to_json(),
        "specificity": _specificity(asked, told.intent),
        "learned": {n: tidy_number(w) for n, w in learned_weights(served.engine, newcomer=newcomer).items()},
        "ranker": weighed and not asked.weights and not newcomer,
        "shortage": told.shortage,
        "said": list(told.said),
        "plain": [_row(served, item, mine_of.get(item.item_id)) for item in plain.items[: asked.k]],
        "personal": [_told_row(served, item, rank_of.get(item.item_id)) for item in told.items],
    }


def without_interests(log: EventLog, tags: TagModel, names: Sequence[str]) -> EventLog:
    """A log without the events of items that carry any of these tags: as if they had never happened."""
    columns = [column for column, name in enumerate(tags.names) if name in set(names)]
    if not columns or not len(log):
        return log
    return log.select(~carried_by(tags, log.item, columns))


def carried_by(tags: TagModel, rows: Any, columns: Sequence[int]) -> np.ndarray:
    """Which of these item rows carry any of the tags at ``columns``, (n_rows,) bool; items new since carry none."""
    known = np.asarray(rows) < tags.carries.shape[0]
    out = np.zeros(len(known), dtype=bool)
    out[known] = np.asarray(tags.carries[np.asarray(rows)[known]][:, columns].sum(axis=1)).ravel() > 0
    return out


def facts_of(engine: Engine, item_id: str) -> dict[str, Any]:
    """What is known of an item, for people: title, category, brand, price; null is unknown."""
    row = engine.facts.row_of.get(item_id)
    if row is None:
        return {"item_id": item_id, "title": item_id, "category": None, "brand": None, "price": None}
    return {
        "item_id": item_id,
        "title": engine.titles[item_id],
        "category": engine.facts.category[row] or None,
        "brand": engine.facts.brand[row] or None,
        "price": tidy_number(float(engine.facts.price[row])),
    }


def _specificity(asked: Comparing, intent: Any) -> float | None:
    """What decides how personal the answer is: what was set, or what was read; None without a query."""
    if not asked.query:
        return None
    return asked.specificity if asked.specificity is not None else (1.0 if intent is None else intent.specificity)


def _row(served: Served, item: Recommendation, other_rank: int | None) -> dict[str, Any]:
    """An item of a list, and its place in the other one; null where it is below the depth looked at."""
    known = facts_of(served.engine, item.item_id)
    return {"rank": item.rank, "score": round(item.score, 4), "other_rank": other_rank, **known}


def _told_row(served: Served, item: Recommendation, other_rank: int | None) -> dict[str, Any]:
    """The same with the reasons, their groups and the titles of the past events behind them."""
    titles = served.engine.titles
    reasons = [
        {
            "part": reason.part,
            "group": group_of(reason.part),
            "amount": round(reason.amount, 4),
            "events": [
                {"item_id": i, "title": titles.get(i, i), "amount": round(amount, 4)} for i, amount in reason.events[:3]
            ],
        }
        for reason in item.reasons
    ]
    return {**_row(served, item, other_rank), "sentence": item.sentence, "rules": list(item.rules), "reasons": reasons}
