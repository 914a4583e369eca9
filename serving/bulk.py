"""Filling a store from a shop's events, and proving that what is kept live equals what a nightly job would build.

Loading again adds only what is new, and nothing of shoppers who were forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..profiling.log import EventLog, Requests, event_log
from ..profiling.shopper.interest_batch import interests
from .histories import Catalogue, events_table, user_log
from .store import EVENT_FIELDS, Appended, ProfileStore, StoredEvent

_BATCH = 20_000


def load_events(
    store: ProfileStore, events: pd.DataFrame, *, progress: Callable[[int, int], None] | None = None
) -> Appended:
    """Append a shop's events table; keys come from what each event says, so loading twice stores once.

    Args:
        store: where to
        events: in the contract's columns
        progress: told how many of how many are done

    Raises:
        StoreError: the store cannot be written.
    """
    stored = repeated = skipped = 0
    table = events.sort_values(["user_id", "at", "seq"], kind="stable")
    for start in range(0, len(table), _BATCH):
        done = store.append(list(stored_events(table.iloc[start : start + _BATCH])), skip_forgotten=True)
        stored, repeated, skipped = stored + done.stored, repeated + done.repeated, skipped + done.skipped
        if progress is not None:
            progress(min(start + _BATCH, len(table)), len(table))
    return Appended(stored, repeated, skipped)


def stored_events(events: pd.DataFrame) -> Iterator[StoredEvent]:
    """The rows of an events table as stored events.

    The key of a row is its kind, time and ``seq``, which the contract keeps apart within a shopper.
    """
    at_us = events["at"].to_numpy("datetime64[us]").astype(np.int64).tolist()
    names = [name for name in EVENT_FIELDS if name not in ("key", "at_us")]
    columns = {name: _plain(events[name]) for name in names if name in events}
    blank = [None] * len(events)
    ordered = [columns.get(name, blank) for name in names]
    for at, (user, seq, kind, *rest) in zip(at_us, zip(*ordered, strict=True), strict=True):
        yield StoredEvent(user, f"shop:{kind}:{at}:{seq}", at, seq, kind, *rest)


@dataclass(frozen=True)
class Verified:
    """Whether live state equals a rebuild.

    Attributes:
        users: shoppers compared
        events: events compared
        furthest: largest absolute difference of an interest, taste weights and vectors alike
        wrong: shoppers whose events differ, the first few
    """

    users: int
    events: int
    furthest: float
    wrong: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether no shopper's events differ and no interest by more than a millionth."""
        return not self.wrong and self.furthest <= 1e-6


def verify_store(
    store: ProfileStore,
    catalogue: Catalogue,
    vectors: np.ndarray,
    *,
    half_life_s: float,
    users: list[str] | None = None,
    batch: int = 500,
) -> Verified:
    """Compare live histories and interests with those that tables and the batch code give.

    Args:
        store: what is kept
        catalogue: what is sold
        vectors: item vectors that interests are made of, (n_items, d)
        half_life_s: of the interests compared
        users: shoppers to compare; None = all
        batch: shoppers worked out together
    """
    everyone = sorted(store.users()) if users is None else users
    n_events, furthest, wrong = 0, 0.0, []
    for start in range(0, len(everyone), batch):
        some = everyone[start : start + batch]
        kept = {user: store.events(user) for user in some}
        rebuilt = _rebuilt([event for user in some for event in kept[user]], catalogue)
        row_of = {str(user): row for row, user in enumerate(rebuilt.user_ids)}
        batched = _totals(rebuilt, vectors, half_life_s)
        for user in some:
            live = user_log(user, kept[user], catalogue)
            n_events += len(live)
            row = row_of.get(user)
            if row is None:
                wrong += [user] if len(live) else []
                continue
            part = slice(int(rebuilt.user_start[row]), int(rebuilt.user_start[row + 1]))
            if not _same(live, rebuilt, part):
                wrong.append(user)
            if len(live):
                furthest = max(furthest, float(np.abs(_totals(live, vectors, half_life_s)[0] - batched[row]).max()))
    return Verified(len(everyone), n_events, furthest, tuple(wrong[:10]))


def _rebuilt(events: list[StoredEvent], catalogue: Catalogue) -> EventLog:
    """What a nightly job makes of the events: a table, and a log from it."""
    known = [e for e in events if e.item_id in catalogue.row_of and e.kind not in catalogue.untimed_kinds]
    return event_log(events_table(known), catalogue.item_ids.tolist(), rating_scale=catalogue.rating_scale)


def _totals(log: EventLog, vectors: np.ndarray, half_life_s: float) -> np.ndarray:
    """Interest total and weight of every shopper in a log at their newest event, (n_users, d + 1)."""
    ends = log.user_start[1:]
    last = log.at_s[np.maximum(ends - 1, 0)] if len(log) else np.zeros(log.n_users)
    total, weight = interests(Requests(log, log.user_start[:-1], ends, last), vectors, half_life_s)
    return np.column_stack([total, weight])


def _same(live: EventLog, rebuilt: EventLog, part: slice) -> bool:
    """Whether one shopper's live log is that part of the rebuilt one."""
    names = ("item", "at_s", "kind", "weight", "quantity", "price")
    return all(np.array_equal(getattr(live, n), getattr(rebuilt, n)[part], equal_nan=True) for n in names)


def _plain(column: pd.Series) -> list[object]:
    """A column as Python values, None for null."""
    return column.astype(object).where(column.notna(), None).tolist()
