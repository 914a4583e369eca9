"""What one shopper's history comes to, gone through once: which items, how much each counts, and what they add up to.

It depends on the history alone, not on what is asked nor when: everything is as of the newest event, and what fades
fades from there by one factor. An engine keeps it for as long as somebody holds the history, so a shopper who asks
again without having done anything is not read again. Nothing here is personal beyond the history itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..profiling.blocks import PART_BLOCK, BlockSpace
from ..profiling.log import EventLog, Requests
from ..profiling.shopper.interest import decay
from ..profiling.shopper.interest_batch import event_weights
from .histories import steps_ago
from .sources.neighbours import NeighboursModel
from .sources.repeats import OwnMostBoughtModel, RepeatModel

if TYPE_CHECKING:
    from .recommender import Recommender

Double = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Past:
    """One history, as of its newest event.

    Attributes:
        newest_s: when that was, seconds since 1970 UTC; of an empty history, any time
        item: item rows, each once, rising, (n_distinct,)
        share: half-life in seconds -> what each of ``item`` weighs in an interest, signed, (n_distinct,)
        total: part of a profile -> sum of the item vectors by ``share``, (d_b,)
        counted: source -> what each of ``item`` counts there, (n_distinct,)
        half_life_s: source -> how fast its counts fade; absent where they do not
        ranges: source -> least and most of its scores over the catalogue; filled by who works it out
        spreads: source -> one over their standard deviation, likewise
    """

    newest_s: float
    item: NDArray[np.int64]
    share: Mapping[float, Double]
    total: Mapping[str, Double]
    counted: Mapping[str, Double]
    half_life_s: Mapping[str, float]
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    spreads: dict[str, float] = field(default_factory=dict)

    @staticmethod
    def of(model: Recommender, requests: Requests) -> Past:
        """The history of the one request."""
        log, events = requests.log, slice(int(requests.start[0]), int(requests.stop[0]))
        newest_s = float(log.at_s[events.stop - 1]) if events.stop > events.start else 0.0
        then = Requests(log, requests.start, requests.stop, np.array([newest_s]))
        item, place = np.unique(log.item[events].astype(np.int64), return_inverse=True)

        def by_item(weight: NDArray[np.floating]) -> Double:  # of the newest events, where there are fewer
            return np.bincount(place[len(place) - len(weight) :], weight, minlength=len(item)).astype(np.float64)

        signed, age_s = event_weights(log)[events], newest_s - log.at_s[events]
        memories = model.space.memories
        share = {half_life_s: by_item(signed * decay(age_s, half_life_s)) for half_life_s in set(memories.values())}
        rows = {name: model.space.items[name][item].astype(np.float64) for name in {PART_BLOCK[p] for p in memories}}
        total = {part: share[half_life_s] @ rows[PART_BLOCK[part]] for part, half_life_s in memories.items()}
        counted, fades = {}, {}
        for name, source in model.sources.items():
            if isinstance(source, NeighboursModel):
                request, event, age = steps_ago(then, source.ties, last=source.last)
                counted[name] = by_item(source.event_weight(then, request, event, age))
            elif isinstance(source, RepeatModel):
                counted[name], fades[name] = by_item(source.event_weight(then)), source.half_life_s
            elif isinstance(source, OwnMostBoughtModel):
                counted[name] = by_item(1.0 * (log.weight[events] > 0))
        return Past(newest_s, item, share, total, counted, fades)

    def interests(self, space: BlockSpace, now_s: float) -> dict[str, tuple[Double, Double]]:
        """Each interest as seen at a time: its total (1, d_b) and its weight (1,), as `interest_batch` has them."""
        found = {}
        for part, half_life_s in space.memories.items():
            left = self._left(now_s, half_life_s)
            weight = np.array([self.share[half_life_s].sum() * left])
            found[part] = (self.total[part][None, :] * left, weight)
        return found

    def counts(self, source: str, now_s: float) -> Double:
        """What each of ``item`` counts in a source at a time, (n_distinct,)."""
        fades = self.half_life_s.get(source)
        return self.counted[source] if fades is None else self.counted[source] * self._left(now_s, fades)

    def shares(self, part: str, space: BlockSpace, now_s: float) -> Double:
        """What each of ``item`` weighs in the unit vector of an interest, (n_distinct,); zeros where it has none."""
        half_life_s = space.memories[part]
        left = self._left(now_s, half_life_s)
        norm = float(np.linalg.norm(self.total[part])) * left
        return self.share[half_life_s] * (left / norm if norm > 1e-12 else 0.0)

    def _left(self, now_s: float, half_life_s: float) -> float:
        return float(decay(now_s - self.newest_s, half_life_s)) if len(self.item) else 0.0


class Pasts:
    """Histories that were gone through, each kept as long as somebody else holds it."""

    def __init__(self) -> None:
        self._kept: WeakKeyDictionary[EventLog, tuple[tuple[int, int], Past]] = WeakKeyDictionary()

    def of(self, requests: Requests, make: Callable[[], Past]) -> Past:
        """The past of the one request; ``make`` works it out where it is not known yet."""
        span = int(requests.start[0]), int(requests.stop[0])
        kept = self._kept.get(requests.log)
        if kept is not None and kept[0] == span:
            return kept[1]
        past = make()
        self._kept[requests.log] = span, past
        return past

    def __len__(self) -> int:
        return len(self._kept)
