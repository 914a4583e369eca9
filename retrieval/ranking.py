"""The nouns of an answer: `Ranking`, `Reason`, `Recommendation`, `Answer`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from ..profiling.intent.types import Intent


@dataclass(frozen=True, eq=False)
class Ranking:
    """Items by descending score, ties by id, without repeats.

    Attributes:
        ids: external item ids, (m,)
        scores: their scores, (m,) float32
    """

    ids: NDArray[np.object_]
    scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.ids.shape != self.scores.shape:
            raise ValueError(f"ids and scores must be aligned, got {self.ids.shape} and {self.scores.shape}")
        if len(set(self.ids.tolist())) != len(self.ids):
            raise ValueError("ids must not repeat in a ranking")
        if (np.diff(self.scores) > 0).any():
            raise ValueError("scores must not increase along a ranking")

    def __len__(self) -> int:
        return len(self.ids)


class Reason(NamedTuple):
    """One addend of a score.

    Attributes:
        part: name of the part, such as ``meaning``, ``taste_long``, ``repeat``
        amount: what it adds to the score
        events: past events behind it, most important first: (item id, what that event adds)
    """

    part: str
    amount: float
    events: Sequence[tuple[str, float]] = ()


_SHOWN = 8
_FEW = 64  # past items up to which all are put in order at once


@dataclass(frozen=True, eq=False)
class PastEvents(Sequence[tuple[str, float]]):
    """What each past item adds to one told item, largest amount first, ties by row; amounts of 0 are left out.

    A sequence of (item id, amount) of which the first few are in order at once, the others when somebody looks: answers
    tell the first few, and most shoppers have hundreds. Made by `past_events`.

    Attributes:
        item_ids: external ids of the catalogue, (n_items,)
        rows: item row of each past item, rising, (n_past,)
        amounts: what each adds, (n_past,)
        first: the `_SHOWN` largest, in order; fewer only where the others add nothing
    """

    item_ids: NDArray[np.object_]
    rows: NDArray[np.int64]
    amounts: NDArray[np.float64]
    first: tuple[tuple[str, float], ...]

    def __len__(self) -> int:
        return int(np.count_nonzero(self.amounts))

    def __bool__(self) -> bool:
        return bool(self.first)

    def __iter__(self) -> Iterator[tuple[str, float]]:
        yield from self.first
        if len(self) > len(self.first):
            yield from self._all[len(self.first) :]

    @overload
    def __getitem__(self, index: int) -> tuple[str, float]: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[tuple[str, float], ...]: ...
    def __getitem__(self, index: int | slice) -> Any:
        last = index if isinstance(index, int) else index.stop
        near = last is not None and 0 <= last < len(self.first) and (isinstance(index, int) or index.step is None)
        return (self.first if near else self._all)[index]

    def strongest(self, but: str) -> str | None:
        """The item that adds the most, other than one, the first of equals; None where no other adds anything."""
        for item_id, amount in self.first:
            if amount > 0 and item_id != but:
                return item_id
        adds = np.where(self.item_ids[self.rows] == but, 0.0, self.amounts)
        place = int(np.argmax(adds)) if len(adds) else 0
        return str(self.item_ids[self.rows[place]]) if len(adds) and adds[place] > 0 else None

    @cached_property
    def _all(self) -> tuple[tuple[str, float], ...]:
        order = np.argsort(-np.abs(self.amounts), kind="stable")
        ids, amounts = self.item_ids[self.rows[order]].tolist(), self.amounts[order].tolist()
        return tuple((item_id, amount) for item_id, amount in zip(ids, amounts, strict=True) if amount)


def past_events(
    item_ids: NDArray[np.object_], rows: NDArray[np.int64], amounts: NDArray[np.float64]
) -> list[Sequence[tuple[str, float]]]:
    """The past items behind each of some told items: (item id, amount), largest amount first, ties by row, without 0.

    Args:
        item_ids: external ids of the catalogue, (n_items,)
        rows: item row of each past item, rising, each once, (n_past,)
        amounts: what each adds to each told item, (n_past, n_told)
    """
    return events_told(item_ids, [(rows, amounts)])[0]


def events_told(
    item_ids: NDArray[np.object_], parts: Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]]
) -> list[list[Sequence[tuple[str, float]]]]:
    """`past_events` of several parts over the same told items, put in order together."""
    found, tables = [], [np.ascontiguousarray(amounts.T) for _, amounts in parts]  # (n_told, n_past) each
    for part, ((rows, _), table) in enumerate(zip(parts, tables, strict=True)):
        size = np.abs(table)
        some = size > 0
        if len(rows) > _FEW:
            some &= size >= np.partition(size, -_SHOWN, axis=1)[:, -_SHOWN, None]
        told, place = np.nonzero(some)
        found.append((part * len(table) + told, rows[place], table[told, place]))
    group, row, amount = (np.concatenate(each) for each in zip(*found, strict=True))
    order = np.lexsort((row, -np.abs(amount), group))
    ends = np.searchsorted(group[order], np.arange(1 + sum(map(len, tables)))).tolist()
    pairs = list(zip(item_ids[row[order]].tolist(), amount[order].tolist(), strict=True))
    out: list[list[Sequence[tuple[str, float]]]] = []
    for (rows, _), table in zip(parts, tables, strict=True):
        spans, ends = pairwise(ends[: len(table) + 1]), ends[len(table) :]
        if len(rows) <= _FEW:
            out.append([tuple(pairs[begin:end]) for begin, end in spans])
            continue
        firsts = [tuple(pairs[begin : min(end, begin + _SHOWN)]) for begin, end in spans]
        out.append([PastEvents(item_ids, rows, *one) for one in zip(table, firsts, strict=True)])
    return out


@dataclass(frozen=True)
class Recommendation:
    """One item of an answer.

    Attributes:
        item_id: external id
        title: for people
        score: sum of the amounts of its reasons
        rank: 1 first
        reasons: every part that adds to the score, largest first; the amounts sum to the score
        sentence: the reasons in words
        propensity: probability that this item was shown at this rank; 1 where nothing is drawn at random
        rules: what the shop's rules did to it, in words
    """

    item_id: str
    title: str
    score: float
    rank: int
    reasons: tuple[Reason, ...]
    sentence: str
    propensity: float = 1.0
    rules: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A readable object of plain values."""
        return {
            "rank": self.rank,
            "item_id": self.item_id,
            "title": self.title,
            "score": round(self.score, 4),
            "sentence": self.sentence,
            "reasons": [
                {
                    "part": reason.part,
                    "amount": round(reason.amount, 4),
                    "events": [{"item_id": i, "amount": round(a, 4)} for i, a in reason.events[:5]],
                }
                for reason in self.reasons
            ],
            "propensity": self.propensity,
            "rules": list(self.rules),
        }


@dataclass(frozen=True)
class Answer:
    """What a request got.

    Attributes:
        items: recommendations, best first, at most as many as were asked for
        intent: what the query was read as, None without a query or an intent model
        shortage: why there are fewer items than asked for, empty where there are not
        exact: whether the order is proven equal to scoring the whole catalogue
        said: what was made of the query's words and of the shop's rules, in words
    """

    items: tuple[Recommendation, ...]
    intent: Intent | None
    shortage: str
    exact: bool
    said: tuple[str, ...] = ()

    def ranking(self) -> Ranking:
        """The items as aligned ids and scores; only for answers that were not diversified."""
        ids = np.array([item.item_id for item in self.items], dtype=object)
        scores = np.array([item.score for item in self.items], dtype=np.float32)
        return Ranking(ids, np.minimum.accumulate(scores))  # sums of reasons may swap near ties by a rounding

    def to_json(self) -> dict[str, Any]:
        """A readable object of plain values."""
        return {
            "items": [item.to_json() for item in self.items],
            "intent": None if self.intent is None else self.intent.to_json(),
            "shortage": self.shortage,
            "exact": self.exact,
            "said": list(self.said),
        }
