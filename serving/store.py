"""The profile store: what shoppers did and what they were shown, behind one interface, whatever keeps it.

Events are the truth; interests and profiles are worked out from them, so a late, repeated or disordered event leaves
the same state as one that came in time. Covers the nouns, the interface and opening one by address. What events mean
is `profiling`'s; how they are kept is `store_sqlite`'s and `store_redis`'s.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Protocol

from ..profiling.errors import ConfigError, ExtraMissingError, TasteprintError

__all__ = ["STORES", "ProfileStore", "Shown", "StoreError", "StoredEvent", "open_store"]


class StoreError(TasteprintError):
    """The profile store cannot be opened, read or written; what was acknowledged before stays."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event in the columns of the data contract, and the key that tells a repeated delivery.

    Attributes:
        user_id: whose
        key: idempotency key; an event of the same user and key is stored once, the first wins
        at_us: microseconds since 1970 UTC
        seq: order among events of one time
        kind: one of `profiling.schema.EVENT_KINDS`
        item_id, query, text, rating, quantity, price, session_id, position, scene, device, place, dwell_s: as in the
            contract; None is unknown
    """

    user_id: str
    key: str
    at_us: int
    seq: int
    kind: str
    item_id: str | None = None
    query: str | None = None
    text: str | None = None
    rating: float | None = None
    quantity: float | None = None
    price: float | None = None
    session_id: str | None = None
    position: int | None = None
    scene: str | None = None
    device: str | None = None
    place: str | None = None
    dwell_s: float | None = None

    @property
    def order(self) -> tuple[int, int, str]:
        """What events are sorted by, so that the order of arrival does not matter."""
        return self.at_us, self.seq, self.key

    def to_json(self) -> dict[str, Any]:
        """What is known of the event, by name."""
        pairs = zip(EVENT_FIELDS, event_row(self), strict=True)
        return {name: value for name, value in pairs if value is not None}


EVENT_FIELDS: tuple[str, ...] = tuple(field.name for field in fields(StoredEvent))
"""Names of the columns an event is stored in."""

event_row: Callable[[StoredEvent], tuple[Any, ...]] = attrgetter(*EVENT_FIELDS)
"""An event's values in their order; many times quicker than `dataclasses.astuple`, which copies deeply."""

PAST_FIELDS: tuple[str, ...] = ("at_us", "seq", "key", "item_id", "kind", "quantity", "rating", "price")
"""What a history is made of; begins with what events are ordered by, so rows of it sort as events do."""

past_row: Callable[[StoredEvent], tuple[Any, ...]] = attrgetter(*PAST_FIELDS)
"""An event's values of `PAST_FIELDS`."""


def content_key(event: StoredEvent) -> str:
    """A key made of what the event says: the same event sent twice has the same one.

    >>> one = StoredEvent("ann", "", 5, 0, "view", "lamp")
    >>> content_key(one) == content_key(StoredEvent("ann", "sent again", 5, 0, "view", "lamp"))
    True
    """
    said = json.dumps([value for name, value in zip(EVENT_FIELDS, event_row(event), strict=True) if name != "key"])
    return hashlib.blake2b(said.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Shown:
    """One answer as it was shown: what later experiments learn from.

    Attributes:
        request_id: names the answer
        user_id: to whom; None for nobody
        at_us: when, microseconds since 1970 UTC
        asked: what was asked, as JSON values
        items: item id, rank and propensity of each item shown
    """

    request_id: str
    user_id: str | None
    at_us: int
    asked: Mapping[str, Any]
    items: tuple[tuple[str, int, float], ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values by name."""
        names = ("item_id", "rank", "propensity")
        return {
            "request_id": self.request_id,
            "user_id": self.user_id,
            "at_us": self.at_us,
            "asked": dict(self.asked),
            "items": [dict(zip(names, item, strict=True)) for item in self.items],
        }


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of a batch: events stored, events that were there already, events of forgotten shoppers left out."""

    stored: int
    repeated: int
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class UserState:
    """What tells whether anything changed.

    Attributes:
        version: rises with every change of this shopper's events, also across forgetting; 0 = no events
        newest_us: time of the newest event, microseconds since 1970 UTC; 0 without events
        forgotten: whether this shopper was ever forgotten: what other places still say of them must not be used
    """

    version: int
    newest_us: int
    forgotten: bool


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What forgetting removed, and whether the files that held it are clean already."""

    events: int
    impressions: int
    purged: bool


@dataclass(frozen=True, slots=True)
class StoreCount:
    """How much a store holds; of removed events the keys count until their shopper is forgotten."""

    users: int
    events: int
    impressions: int


class ProfileStore(Protocol):
    """What every store does; safe under threads and processes. Every method may raise `StoreError`."""

    @property
    def address(self) -> str:
        """Where it is, without a password."""
        ...

    def append(self, events: Sequence[StoredEvent], *, skip_forgotten: bool = False) -> Appended:
        """Store events; they are durable when this returns. With ``skip_forgotten`` not those of forgotten shoppers."""
        ...

    def append_all(self, batches: Sequence[Sequence[StoredEvent]]) -> list[Appended]:
        """Store the batches of several callers at once; they are durable when this returns."""
        ...

    def state(self, user_id: str) -> UserState:
        """What tells whether anything changed; cheap."""
        ...

    def events(self, user_id: str) -> list[StoredEvent]:
        """All events of a shopper by `StoredEvent.order`; none for an unknown one."""
        ...

    def history(self, user_id: str) -> list[tuple[Any, ...]]:
        """`PAST_FIELDS` of the same events in the same order: many times quicker, for what every answer needs."""
        ...

    def remove(self, user_id: str, keys: Sequence[str]) -> int:
        """Take events of these keys out of a shopper's history; how many there were.

        Their keys stay taken, so that an event which is delivered again does not come back.
        """
        ...

    def users(self) -> Iterator[str]:
        """Ids of the shoppers with events, in any order."""
        ...

    def latest(self, n: int) -> list[str]:
        """Ids of the ``n`` shoppers with the newest events, newest first."""
        ...

    def asked(self, n: int) -> list[str]:
        """Queries of the ``n`` answers to shoppers written down last, newest first, each as often as it was asked."""
        ...

    def log_shown(self, shown: Sequence[Shown], *, at_us: int | None = None) -> None:
        """Keep what was shown, once by request id, with when it was written down; None = when it was shown."""
        ...

    def drop_shown(self, before_us: int) -> int:
        """Remove what was written down before a time; how many answers."""
        ...

    def shown(self, user_id: str) -> list[Shown]:
        """What a shopper was shown, oldest first."""
        ...

    def forget(self, user_id: str, *, at_us: int) -> Forgotten:
        """Remove everything of a shopper, and remember (as a keyed hash) only that they were forgotten."""
        ...

    def forgettings(self) -> int:
        """How often a shopper was forgotten here; cheap, so that every process can see that it must let go of one."""
        ...

    def count(self) -> StoreCount:
        """How much is there."""
        ...

    def ping(self) -> None:
        """Raise `StoreError` unless the store can be read."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


def _sqlite(address: str) -> ProfileStore:
    from .store_sqlite import SqliteStore

    return SqliteStore(address.removeprefix("sqlite://"))


def _redis(address: str) -> ProfileStore:
    try:
        from .store_redis import RedisStore
    except ImportError as error:
        raise ExtraMissingError("the Redis client is not installed; run: pip install 'tasteprint[serve]'") from error
    return RedisStore(address)


STORES: Mapping[str, Callable[[str], ProfileStore]] = {"sqlite": _sqlite, "redis": _redis, "rediss": _redis}
"""Scheme of an address -> what opens it; a plain path is SQLite."""


def open_store(address: str) -> ProfileStore:
    """Open the store at an address, such as ``work/store.sqlite`` or ``redis://127.0.0.1:6379/0``.

    Raises:
        ConfigError: the address names no kind of store there is.
        StoreError: it cannot be opened.
        ExtraMissingError: its client is not installed.
    """
    scheme, found, _ = address.partition("://")
    if not found:
        scheme = "sqlite"
    if scheme not in STORES or not address:
        raise ConfigError(
            f"store must be a path or an address that begins with one of {', '.join(f'{s}://' for s in STORES)}, "
            f"got {address!r}"
        )
    return STORES[scheme](address)


def queries_of(asked: Iterable[Mapping[str, Any]]) -> list[str]:
    """The queries in what was asked, each as in `Shown.asked`; what had none is left out.

    >>> queries_of([{"query": "red wine", "k": 5}, {"query": None}, {}])
    ['red wine']
    """
    return [query for said in asked if isinstance(query := said.get("query"), str) and query.strip()]


def forgotten_mark(user_id: str, salt: bytes) -> str:
    """Keyed hash by which a store recognises a shopper it has forgotten, without holding the id."""
    return hashlib.blake2b(user_id.encode(), digest_size=16, key=salt).hexdigest()
