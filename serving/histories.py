"""Histories of live shoppers: a stored shopper's events as the log that the engine reads, kept until they change.

The same columns and weights as `profiling.log.event_log` gives, made for one shopper in well under a millisecond
instead of through tables. Events of items the catalogue does not hold (any more) wait in the store.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..profiling.log import KIND_WEIGHTS, KINDS, EventLog, rating_weight
from ..profiling.tables.schema import conform
from .store import EVENT_FIELDS, PAST_FIELDS, ProfileStore, StoredEvent, UserState, past_row

_CODES: Mapping[str, int] = {kind: code for code, kind in enumerate(KINDS)}
_WEIGHTS = np.asarray([KIND_WEIGHTS[kind] for kind in KINDS], dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What turns stored events into a log.

    Attributes:
        item_ids: external id of each item row, (n_items,)
        row_of: item id -> row
        rating_scale: the shop's, as in ``shop.json``
        untimed_kinds: kinds whose time means nothing; they are no part of a log
    """

    item_ids: NDArray[np.object_]
    row_of: Mapping[str, int]
    rating_scale: str | None = None
    untimed_kinds: tuple[str, ...] = ()

    def same(self, other: Catalogue) -> bool:
        """Whether events become the same logs over either."""
        mine, theirs = ((c.rating_scale, c.untimed_kinds, len(c.item_ids)) for c in (self, other))
        return mine == theirs and bool(np.array_equal(self.item_ids, other.item_ids))


def user_log(user_id: str, events: Sequence[StoredEvent], catalogue: Catalogue) -> EventLog:
    """One shopper's stored events as a log of that shopper alone.

    Args:
        user_id: whose
        events: sorted by `StoredEvent.order`
        catalogue: what is sold now
    """
    return history_log(user_id, [past_row(event) for event in events], catalogue)


def history_log(user_id: str, history: Sequence[tuple[Any, ...]], catalogue: Catalogue) -> EventLog:
    """The same from rows of `store.PAST_FIELDS`, as `store.ProfileStore.history` gives them."""
    at_us, _, _, items, kinds, *numbers = zip(*history, strict=True) if history else ((),) * len(PAST_FIELDS)
    codes = {kind: code for kind, code in _CODES.items() if kind not in catalogue.untimed_kinds}
    row = np.asarray([catalogue.row_of.get(item, -1) for item in items], dtype=np.int32)
    kind = np.asarray([codes.get(kind, -1) for kind in kinds], dtype=np.int8)
    kept = (row >= 0) & (kind >= 0)
    quantity, rating, price = (np.asarray(column, dtype=np.float32)[kept] for column in numbers)  # None becomes NaN
    weight = _WEIGHTS[kind[kept]] * rating_weight(rating, catalogue.rating_scale)
    return EventLog(
        user_ids=np.array([user_id], dtype=object),
        item_ids=catalogue.item_ids,
        user_start=np.array([0, np.count_nonzero(kept)], dtype=np.int64),
        item=row[kept],
        at_s=np.asarray(at_us, dtype=np.int64)[kept] / 1e6,
        kind=kind[kept],
        weight=np.where(quantity < 0, -np.abs(weight), weight),
        quantity=quantity,
        price=price,
    )


def events_table(events: Sequence[StoredEvent]) -> pd.DataFrame:
    """Stored events as an events table of the data contract."""
    columns = {
        name: [getattr(event, name) for event in events] for name in EVENT_FIELDS if name not in ("key", "at_us")
    }
    at = pd.to_datetime(pd.Series([event.at_us for event in events], dtype="int64"), unit="us").astype("datetime64[us]")
    return conform("events", pd.DataFrame({**columns, "at": at}))


class LiveHistories:
    """Histories by shopper, each kept until the store says that it changed; least recently used first out.

    Args:
        store: the events
        size: shoppers kept, >= 1
    """

    def __init__(self, store: ProfileStore, *, size: int = 10_000) -> None:
        self._store, self._size = store, size
        self._kept: OrderedDict[str, tuple[int, Catalogue, EventLog]] = OrderedDict()
        self._lock = threading.Lock()
        self._forgettings = -1

    def of(self, user_id: str, catalogue: Catalogue) -> tuple[UserState, EventLog]:
        """A shopper's state and history, with everything acknowledged before the call.

        Raises:
            StoreError: the store cannot be read.
        """
        state = self._store.state(user_id)  # before the events: what comes between is newer than its version says
        with self._lock:
            kept = self._kept.get(user_id)
            if kept is not None and kept[0] == state.version and kept[1] is catalogue:
                self._kept.move_to_end(user_id)
                return state, kept[2]
        log = history_log(user_id, self._store.history(user_id) if state.version else (), catalogue)
        with self._lock:
            self._kept[user_id] = state.version, catalogue, log
            self._kept.move_to_end(user_id)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return state, log

    def drop(self, user_id: str) -> None:
        """Let go of one shopper's history."""
        with self._lock:
            self._kept.pop(user_id, None)

    def follow(self) -> bool:
        """Let go of everything where a shopper was forgotten, by whichever process; whether since an earlier look.

        Raises:
            StoreError: the store cannot be read.
        """
        forgettings = self._store.forgettings()
        with self._lock:
            before, self._forgettings = self._forgettings, forgettings
            if before != forgettings:
                self._kept.clear()
        return before not in (-1, forgettings)

    def __len__(self) -> int:
        return len(self._kept)
