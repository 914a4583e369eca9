"""The event log as aligned columns, and requests: whose history, up to when, is asked about.

Every method that ranks items reads histories as slices of one sorted log, so the same code serves
one live shopper and a hundred thousand evaluation requests. Ids stay outside: rows here are positions in
``EventLog.user_ids`` and ``EventLog.item_ids``. Reading tables from disk is `shop`'s work, not this module's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .context import Contexts, contexts
from .errors import ShopError
from .reviews.said import Said

KIND_WEIGHTS: Mapping[str, float] = {
    "impression": 0.0,
    "click": 0.2,
    "view": 0.2,
    "cart": 0.5,
    "purchase": 1.0,
    "review": 1.0,
    "own": 0.5,
}
"""Preference weight of one event of each kind; a low rating turns a review's weight negative."""

KINDS: tuple[str, ...] = tuple(KIND_WEIGHTS)


@dataclass(frozen=True, eq=False)
class EventLog:
    """Item events of many users, sorted by user, then time, then sequence number.

    Attributes:
        user_ids: external id of each user row, (n_users,)
        item_ids: external id of each item row in catalogue order, (n_items,)
        user_start: events of user ``u`` are ``user_start[u]:user_start[u + 1]``, (n_users + 1,)
        item: item row of each event, (n_events,) int32
        at_s: time of each event in seconds since 1970 UTC, (n_events,) float64
        kind: position of each event's kind in `KINDS`, (n_events,) int8
        weight: signed preference weight of each event, (n_events,) float32
        quantity: units, NaN where unknown, (n_events,) float32
        price: paid for the line, NaN where unknown, (n_events,) float32
        where: scene, device and place of each event, as far as the shop tells
        said: vectors of what was said in events, where somebody reads it
    """

    user_ids: NDArray[np.object_]
    item_ids: NDArray[np.object_]
    user_start: NDArray[np.int64]
    item: NDArray[np.int32]
    at_s: NDArray[np.float64]
    kind: NDArray[np.int8]
    weight: NDArray[np.float32]
    quantity: NDArray[np.float32]
    price: NDArray[np.float32]
    where: Contexts = field(default_factory=Contexts)
    said: Said = field(default_factory=Said)

    @property
    def n_users(self) -> int:
        """Number of users with a row, with or without events."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Number of items in the catalogue."""
        return len(self.item_ids)

    def __len__(self) -> int:
        return len(self.item)

    def user(self) -> NDArray[np.int32]:
        """User row of each event, (n_events,)."""
        return np.repeat(np.arange(self.n_users, dtype=np.int32), np.diff(self.user_start))

    def select(self, keep: NDArray[np.bool_]) -> EventLog:
        """The log with only the events where ``keep`` (n_events,) is true; users and items keep their rows."""
        counts = np.bincount(self.user()[keep], minlength=self.n_users)
        return EventLog(
            user_ids=self.user_ids,
            item_ids=self.item_ids,
            user_start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            item=self.item[keep],
            at_s=self.at_s[keep],
            kind=self.kind[keep],
            weight=self.weight[keep],
            quantity=self.quantity[keep],
            price=self.price[keep],
            where=self.where.take(keep),
            said=self.said.take(keep),
        )


@dataclass(frozen=True, eq=False)
class Requests:
    """A batch of questions "what does this shopper want now?", histories given as slices of a log.

    Attributes:
        log: where the histories lie
        start, stop: the history of request ``r`` is ``log.item[start[r]:stop[r]]``, oldest first, (n_requests,)
        now_s: time of each request in seconds since 1970 UTC, (n_requests,)
        texts: the query text of each request, or empty where nobody asks in words
        where: scene, device and place of each request, as far as known
        attributes: what is known of each shopper beside what they did, or empty
    """

    log: EventLog
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    now_s: NDArray[np.float64]
    texts: tuple[str, ...] = ()
    where: Contexts = field(default_factory=Contexts)
    attributes: tuple[Mapping[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.start)

    def take(self, rows: NDArray[np.int64] | slice) -> Requests:
        """The requests at these positions, in this order."""
        chosen = np.arange(len(self))[rows]
        texts = tuple(self.texts[r] for r in chosen) if self.texts else ()
        known = tuple(self.attributes[r] for r in chosen) if self.attributes else ()
        where = self.where.take(chosen)
        return Requests(self.log, self.start[chosen], self.stop[chosen], self.now_s[chosen], texts, where, known)

    def events(self, last: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All history events of the batch, flattened.

        Returns:
            request: position of the request each event belongs to, (n_history_events,)
            event: position of the event in the log, (n_history_events,), oldest first inside a request

        With ``last`` only the newest ``last`` events of each request are kept.
        """
        start = self.start if last is None else np.maximum(self.start, self.stop - last)
        lengths = self.stop - start
        request = np.repeat(np.arange(len(self), dtype=np.int64), lengths)
        first = np.cumsum(lengths) - lengths
        event = np.arange(lengths.sum(), dtype=np.int64) - first[request] + start[request]
        return request, event


def event_log(
    events: pd.DataFrame,
    item_ids: Sequence[str],
    *,
    kinds: Sequence[str] | None = None,
    rating_scale: str | None = None,
    kind_weights: Mapping[str, float] = KIND_WEIGHTS,
) -> EventLog:
    """Sort a shop's ``events`` table into an `EventLog` over the catalogue ``item_ids``.

    Events without an item (searches) are not part of it. ``rating_scale`` is ``"0/1"`` for thumbs,
    anything else means 1 to 5 stars; a rated event weighs its kind's weight times ``(rating - middle) / half range``,
    at least .1 in size for a positive one so that three stars still count as contact. A line with a negative quantity
    is a return and weighs against its item.

    Raises:
        ShopError: an event names an item that is not in ``item_ids``, or a kind that is not in `KINDS`; or an item id
            is there twice.
    """
    table = events[events["item_id"].notna()]
    if kinds is not None:
        table = table[table["kind"].isin(list(kinds))]
    catalogue = pd.Index(np.asarray(item_ids, dtype=object))
    if not catalogue.is_unique:
        raise ShopError(f"items: item_id {catalogue[catalogue.duplicated()][0]!r} twice; ids must be distinct")
    item = catalogue.get_indexer(pd.Index(table["item_id"].to_numpy(object))).astype(np.int32)
    if (item < 0).any():
        unknown = table["item_id"].to_numpy(object)[item < 0][0]
        raise ShopError(f"events: item_id {unknown!r} is not in items; add the item or drop its events")
    kind = pd.Index(KINDS).get_indexer(pd.Index(table["kind"].to_numpy(object))).astype(np.int8)
    if (kind < 0).any():
        raise ShopError(
            f"events: kind {table['kind'].to_numpy(object)[kind < 0][0]!r} is not one of {', '.join(KINDS)}"
        )
    user, user_ids = pd.factorize(table["user_id"].to_numpy(object), sort=True)
    at_s = table["at"].to_numpy("datetime64[us]").astype(np.int64) / 1e6
    order = np.lexsort((table["seq"].to_numpy(np.int64), at_s, user))
    weight = np.asarray([kind_weights[k] for k in KINDS], dtype=np.float32)[kind]
    weight = weight * rating_weight(_floats(table, "rating"), rating_scale)
    weight = np.where(_floats(table, "quantity") < 0, -np.abs(weight), weight)
    counts = np.bincount(user, minlength=len(user_ids))
    return EventLog(
        user_ids=np.asarray(user_ids, dtype=object),
        item_ids=catalogue.to_numpy(object),
        user_start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        item=item[order],
        at_s=at_s[order],
        kind=kind[order],
        weight=weight[order],
        quantity=_floats(table, "quantity")[order],
        price=_floats(table, "price")[order],
        where=contexts(
            scene=_objects(table, "scene"), device=_objects(table, "device"), place=_objects(table, "place")
        ).take(order),
    )


def rating_weight(rating: NDArray[np.float32], rating_scale: str | None) -> NDArray[np.float32]:
    """Signed factor in [-1, 1] of each rating; 1 where there is none.

    >>> rating_weight(np.array([5, 3, 1, np.nan], dtype=np.float32), "1-5").round(2).tolist()
    [1.0, 0.1, -1.0, 1.0]
    >>> rating_weight(np.array([1, 0], dtype=np.float32), "0/1").tolist()
    [1.0, -1.0]
    """
    middle, half = (0.5, 0.5) if rating_scale == "0/1" else (3.0, 2.0)
    signed = (rating - middle) / half
    signed = np.where((signed >= 0) & (signed < 0.1), 0.1, signed)
    return np.where(np.isnan(rating), 1.0, signed).astype(np.float32)


def _objects(table: pd.DataFrame, column: str) -> NDArray[np.object_] | None:
    """A text column, None where it is absent."""
    return table[column].to_numpy(object) if column in table else None


def _floats(table: pd.DataFrame, column: str) -> NDArray[np.float32]:
    """A nullable numeric column as float32 with NaN for null; all NaN where the column is absent."""
    if column not in table:
        return np.full(len(table), np.nan, dtype=np.float32)
    return pd.to_numeric(table[column]).to_numpy(np.float32, na_value=np.nan)
