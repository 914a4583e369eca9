"""Raw scores of a catalogue for one request, worked out only as far as somebody looks.

Most of what a source says it says to everybody, and the rest is about few items: those a shopper took, or those beside
them. `Plain` and `Summed` hold the two apart, so that a request makes few passes over the catalogue; ``whole`` is there
for who needs every score. Scaling and weights are `view`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..profiling.log import Requests
from .fusion import inverse_scale
from .largest import entries, row_columns, rows_summed
from .past import Past
from .sources.neighbours import NeighboursModel
from .sources.repeats import OwnMostBoughtModel, RepeatModel

if TYPE_CHECKING:
    from ..profiling.log import EventLog
    from .engine import Engine
    from .scorer import Scorer

Float = NDArray[np.float32]
Events = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Rows of past items, each once, (n_distinct,), and what each adds to each told item (n_distinct, n_rows)."""


@dataclass(frozen=True, eq=False)
class Plain:
    """What everybody is told, and more about a few items.

    Attributes:
        shared: scores of every item, (n_items,); not to be written to
        own: items of which more is said, each once, rising, (n,); None = there can be none
        more: what, >= 0, (n,)
        bare: whether ``shared`` is nothing but zeros, which need not be added
    """

    shared: Float
    own: NDArray[np.int64] | None = None
    more: Float | None = None
    bare: bool = False

    def __getitem__(self, rows: NDArray[np.int64]) -> Float:
        """The scores of the items at ``rows``, (n_rows,)."""
        told = self.shared[rows]
        if self.own is not None and self.more is not None and len(self.own):
            place = np.minimum(np.searchsorted(self.own, rows), len(self.own) - 1)
            told += np.where(self.own[place] == rows, self.more[place], np.float32(0))
        return told

    @cached_property
    def whole(self) -> Float:
        """All of them, (n_items,)."""
        if self.own is None or self.more is None:
            return self.shared
        told = self.shared.copy()
        told[self.own] += self.more
        return told

    def scale(self, part: str, *, asked: bool) -> float:
        """`fusion.inverse_scale` of a part with these scores."""
        if asked and (self.own is None or self.more is None):
            return best_scale(self.shared.max(initial=np.float32(0)))
        if not asked or self.own is None or self.more is None:
            return float(inverse_scale(part, self.whole[None], asked=asked)[0])
        best = (self.shared[self.own] + self.more).max(initial=np.float32(0))
        return best_scale(best if self.bare else max(best, self.shared.max(initial=np.float32(0))))

    def add_to(self, total: Float, factor: float, room: Float) -> None:
        """Add them times a factor to a sum over the catalogue; ``room`` (n_items,) is written to."""
        if not self.bare:
            total += np.multiply(self.shared, np.float32(factor), out=room)
        if self.own is not None and self.more is not None:
            total[self.own] += self.more * np.float32(factor)

    def events(self, rows: NDArray[np.int64]) -> Events | None:
        """What past items add to the scores of these: each to its own. None where scores are no sum over events."""
        if self.own is None or self.more is None:
            return None
        hit = np.flatnonzero(np.isin(self.own, rows))
        own = self.own[hit]
        return own, (own[:, None] == rows) * self.more[hit, None].astype(np.float64)


@dataclass(frozen=True, eq=False)
class Summed:
    """A weighted sum of rows of a sparse matrix, and what everybody is told.

    Attributes:
        source: whose rows
        name: of the source
        past: the history that says which; remembers what needs every score
    """

    source: NeighboursModel
    name: str
    past: Past

    def __getitem__(self, rows: NDArray[np.int64]) -> Float:
        """The scores of the items at ``rows``, (n_rows,)."""
        _, adds = self.events(rows)
        return (adds.sum(axis=0) + self.source.tie_break[rows]).astype(np.float32)

    @property
    def shared(self) -> Float:
        """What everybody is told, (n_items,)."""
        return self.source.tie_break

    @cached_property
    def whole(self) -> Float:
        """All of them, (n_items,)."""
        item, count = self._used
        return rows_summed(self.source.weights, item, count) + self.shared

    def range(self) -> tuple[float, float]:
        """Least and most of them."""
        if self.name not in self.past.ranges:
            self.past.ranges[self.name] = float(self.whole.min(initial=0.0)), float(self.whole.max(initial=0.0))
        return self.past.ranges[self.name]

    def scale(self, part: str, *, asked: bool) -> float:
        """`fusion.inverse_scale` of a part with these scores."""
        if asked:
            return best_scale(np.float32(self.range()[1]))
        if self.name not in self.past.spreads:
            self.past.spreads[self.name] = float(inverse_scale(part, self.whole[None])[0])
        return self.past.spreads[self.name]

    def add_to(self, total: Float, factor: float, room: Float) -> None:
        """Add them times a factor to a sum over the catalogue; ``room`` (n_items,) is written to."""
        total += np.multiply(self.whole, np.float32(factor), out=room)

    def events(self, rows: NDArray[np.int64]) -> Events:
        """What past items add to the scores of these."""
        item, count = self._used
        weight = entries(self.source.weights, item, rows, columns=self._columns)
        some = weight.any(axis=1)
        return item[some], count[some, None] * weight[some]

    @cached_property
    def _used(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        count = self.past.counted[self.name]
        used = np.flatnonzero(count)
        return self.past.item[used], count[used]

    @cached_property
    def _columns(self) -> NDArray[np.integer]:
        return row_columns(self.source.weights, self._used[0])


Scores = Plain | Summed


def scores_of(source: Scorer, name: str, past: Past, requests: Requests) -> Scores:
    """What a source says to the one request: as its own ``scores``, from a history that was gone through."""
    if isinstance(source, NeighboursModel):
        return Summed(source, name, past)
    if isinstance(source, RepeatModel | OwnMostBoughtModel):
        count = past.counts(name, float(requests.now_s[0]))
        some = np.flatnonzero(count)
        own, more = past.item[some], count[some].astype(np.float32)
        if isinstance(source, OwnMostBoughtModel):
            return Plain(source.tie_break, own, more)
        return Plain(source.nothing, own, source.item_factor[own] * more, bare=True)
    return Plain(source.scores(requests)[0])


def go_through(engine: Engine, log: EventLog) -> None:
    """Work out what questions about a history need of it, whatever they ask: the engine keeps it with the history."""
    ends = np.array([0]), np.array([len(log)]), log.at_s[-1:] if len(log) else np.zeros(1)
    past = engine.past_of(Requests(log, *ends))
    model = engine.recommender
    for name, source in model.sources.items():
        if isinstance(source, NeighboursModel) and model.weights.get(name):
            Summed(source, name, past).range()


def best_scale(best: np.floating) -> float:
    """`fusion.inverse_scale` of a source's scores for a request in words, of which this is the best one, >= 0."""
    return float(np.float32(1) / max(np.float32(best), np.float32(1e-12))) if best > 0 else 0.0


def weighted_sum(parts: Iterable[tuple[Scores, float]], n_items: int) -> Float:
    """Scores times a factor each, added up over the catalogue, (n_items,)."""
    total, room = np.zeros(n_items, dtype=np.float32), np.empty(n_items, dtype=np.float32)
    for scores, factor in parts:
        scores.add_to(total, factor, room)
    return total
