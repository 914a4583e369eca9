"""The shared profile store: Redis or Valkey by address, for many processes on many machines.

One hash of events a shopper, written by a script that runs whole. A server that does not sync every write is refused,
since an acknowledged event is durable; ``?durable=no`` in the address takes it nevertheless. Clusters and sentinels are
not covered.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from heapq import nsmallest
from itertools import groupby, islice
from operator import attrgetter, itemgetter
from typing import Any
from urllib.parse import urlsplit

import redis

from .store import (
    EVENT_FIELDS,
    PAST_FIELDS,
    Appended,
    Forgotten,
    Shown,
    StoreCount,
    StoredEvent,
    StoreError,
    UserState,
    event_row,
    forgotten_mark,
    queries_of,
)

_PREFIX = "tasteprint:"
_PAST = itemgetter(*(EVENT_FIELDS.index(name) for name in PAST_FIELDS))
_NOBODY = ""
_LOGGED = f"{_PREFIX}shown-at"
_FORGETTINGS = f"{_PREFIX}forgettings"
_APPEND = """
local added = 0
for n = 2, #ARGV, 2 do added = added + redis.call('HSETNX', KEYS[1], ARGV[n], ARGV[n + 1]) end
if added > 0 then
  redis.call('HSET', KEYS[2], 'version', redis.call('INCR', KEYS[3]))
  local newest = redis.call('HGET', KEYS[2], 'newest_us')
  if not newest or tonumber(newest) < tonumber(ARGV[1]) then redis.call('HSET', KEYS[2], 'newest_us', ARGV[1]) end
  redis.call('SADD', KEYS[4], KEYS[5])
end
return added
"""
_REMOVE = """
local removed = 0
for n = 1, #ARGV do
  local kept = redis.call('HGET', KEYS[1], ARGV[n])
  if kept and kept ~= '' then
    redis.call('HSET', KEYS[1], ARGV[n], '')
    removed = removed + 1
  end
end
if removed > 0 then redis.call('HSET', KEYS[2], 'version', redis.call('INCR', KEYS[3])) end
return removed
"""
_FORGET = """
local found = {redis.call('HLEN', KEYS[1]), redis.call('HLEN', KEYS[3])}
for _, request in ipairs(redis.call('HKEYS', KEYS[3])) do redis.call('ZREM', KEYS[6], request .. ' ' .. ARGV[1]) end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
redis.call('SREM', KEYS[4], ARGV[1])
redis.call('HSET', KEYS[5], ARGV[2], ARGV[3])
redis.call('INCR', KEYS[7])
return found
"""


class RedisStore:
    """A `store.ProfileStore` on a Redis server.

    Args:
        address: such as ``redis://127.0.0.1:6379/0``

    Raises:
        StoreError: there is no server, or it would not keep what it acknowledges.
    """

    def __init__(self, address: str) -> None:
        url, _, options = address.partition("?")
        parts = urlsplit(url)
        self._address = f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}{parts.path}"
        with _told(f"reach {self._address}"):
            client: Any = redis.Redis.from_url(url, decode_responses=False, socket_timeout=10, socket_connect_timeout=3)
            self._redis: Any = client
            self._redis.ping()
            if options != "durable=no":
                self._check_durable()
            self._redis.setnx(f"{_PREFIX}salt", os.urandom(16))
            self._salt = bytes(self._redis.get(f"{_PREFIX}salt"))
            self._append = self._redis.register_script(_APPEND)
            self._remove = self._redis.register_script(_REMOVE)
            self._forget = self._redis.register_script(_FORGET)

    @property
    def address(self) -> str:
        """Scheme, host, port and database."""
        return self._address

    def append(self, events: Sequence[StoredEvent], *, skip_forgotten: bool = False) -> Appended:
        """Store events; the server has synced them when this returns."""
        return self._append_to([events], skip_forgotten)[0]

    def append_all(self, batches: Sequence[Sequence[StoredEvent]]) -> list[Appended]:
        """Store several batches in one exchange with the server, which has synced them when this returns."""
        return self._append_to(batches, False)

    def state(self, user_id: str) -> UserState:
        """What tells whether anything changed."""
        with _told("read"), self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(_state(user_id), "version", "newest_us")
            pipe.hexists(f"{_PREFIX}forgotten", forgotten_mark(user_id, self._salt))
            (version, newest_us), forgotten = pipe.execute()
        return UserState(int(version or 0), int(newest_us or 0), bool(forgotten))

    def events(self, user_id: str) -> list[StoredEvent]:
        """All events of a shopper by `StoredEvent.order`."""
        with _told("read"):
            rows = self._redis.hvals(_events(user_id))
        return sorted((StoredEvent(*json.loads(row)) for row in rows if row), key=attrgetter("order"))

    def history(self, user_id: str) -> list[tuple[Any, ...]]:
        """What logs are made of, in the same order."""
        with _told("read"):
            rows = self._redis.hvals(_events(user_id))
        return sorted(_PAST(json.loads(row)) for row in rows if row)

    def remove(self, user_id: str, keys: Sequence[str]) -> int:
        """Take events out of a shopper's history; their keys stay taken."""
        with _told("write"):
            removed = int(self._remove(keys=[_events(user_id), _state(user_id), f"{_PREFIX}clock"], args=list(keys)))
        if removed:
            self._rewrite_log()
        return removed

    def users(self) -> Iterator[str]:
        """Ids of the shoppers with events, in any order."""
        with _told("read"):
            yield from {user.decode() for user in self._redis.sscan_iter(f"{_PREFIX}users", count=1000)}

    def latest(self, n: int) -> list[str]:
        """Ids of the shoppers with the newest events, newest first; asks for the newest event of everybody."""
        everyone = self.users()
        found: list[tuple[int, str]] = []
        while some := list(islice(everyone, 1000)):
            with _told("read"), self._redis.pipeline(transaction=False) as pipe:
                for user in some:
                    pipe.hget(_state(user), "newest_us")
                newest = [-int(at or 0) for at in pipe.execute()]
            found = nsmallest(n, [*found, *zip(newest, some, strict=True)])
        return [user for _, user in found]

    def asked(self, n: int) -> list[str]:
        """Queries of the answers written down last, newest first."""
        with _told("read"):
            newest = [member.decode().partition(" ") for member in self._redis.zrange(_LOGGED, 0, n - 1, desc=True)]
            with self._redis.pipeline(transaction=False) as pipe:
                for request, _, user in newest:
                    if user != _NOBODY:
                        pipe.hget(_shown(user), request)
                rows = pipe.execute()
        return queries_of(json.loads(row)[1] for row in rows if row is not None)

    def log_shown(self, shown: Sequence[Shown], *, at_us: int | None = None) -> None:
        """Keep what was shown."""
        with _told("write"), self._redis.pipeline(transaction=False) as pipe:
            for s in shown:
                row = json.dumps([s.at_us, dict(s.asked), s.items])
                pipe.zadd(
                    _LOGGED, {f"{s.request_id} {s.user_id or _NOBODY}": s.at_us if at_us is None else at_us}, nx=True
                )
                pipe.hsetnx(_shown(s.user_id or _NOBODY), s.request_id, row)
            added = sum(pipe.execute()[1::2])
            self._redis.incrby(f"{_PREFIX}shown-count", added)

    def drop_shown(self, before_us: int) -> int:
        """Remove what was written down before a time."""
        dropped = 0
        with _told("write"):
            while old := self._redis.zrange(_LOGGED, "-inf", f"({before_us}", byscore=True, offset=0, num=1000):
                with self._redis.pipeline(transaction=True) as pipe:
                    for member in old:
                        request, _, user = member.decode().partition(" ")
                        pipe.hdel(_shown(user), request)
                    pipe.zrem(_LOGGED, *old)
                    gone = sum(pipe.execute()[:-1])
                self._redis.decrby(f"{_PREFIX}shown-count", gone)
                dropped += gone
        return dropped

    def shown(self, user_id: str) -> list[Shown]:
        """What a shopper was shown, oldest first."""
        with _told("read"):
            rows = self._redis.hgetall(_shown(user_id))
        found = []
        for request, row in rows.items():
            at_us, asked, items = json.loads(row)
            found.append(Shown(request.decode(), user_id, at_us, asked, tuple((i, r, p) for i, r, p in items)))
        return sorted(found, key=lambda s: (s.at_us, s.request_id))

    def forget(self, user_id: str, *, at_us: int) -> Forgotten:
        """Remove everything of a shopper, and have the server rewrite its log without it."""
        mark = forgotten_mark(user_id, self._salt)
        keys = [
            _events(user_id),
            _state(user_id),
            _shown(user_id),
            f"{_PREFIX}users",
            f"{_PREFIX}forgotten",
            _LOGGED,
            _FORGETTINGS,
        ]
        with _told("write"):
            events, impressions = self._forget(keys=keys, args=[user_id, mark, at_us])
            self._redis.decrby(f"{_PREFIX}shown-count", impressions)
        return Forgotten(int(events), int(impressions), self._rewrite_log())

    def forgettings(self) -> int:
        """How often a shopper was forgotten here."""
        with _told("read"):
            return int(self._redis.get(_FORGETTINGS) or 0)

    def count(self) -> StoreCount:
        """How much is there; asks once a shopper."""
        with _told("read"):
            users = list(self.users())
            events = 0
            for start in range(0, len(users), 10_000):
                with self._redis.pipeline(transaction=False) as pipe:
                    for user in users[start : start + 10_000]:
                        pipe.hlen(_events(user))
                    events += sum(pipe.execute())
            return StoreCount(len(users), events, int(self._redis.get(f"{_PREFIX}shown-count") or 0))

    def ping(self) -> None:
        """Raise `StoreError` unless the server answers."""
        with _told(f"reach {self._address}"):
            self._redis.ping()

    def close(self) -> None:
        """Let go of the connections."""
        self._redis.close()

    def _append_to(self, batches: Sequence[Sequence[StoredEvent]], skip_forgotten: bool) -> list[Appended]:
        """Store batches; shopper by shopper, since a script may only touch one shopper's keys."""
        by_user = attrgetter("user_id")
        of: list[int] = []  # which batch each script belongs to
        skipped = [0] * len(batches)
        with _told("write"), self._redis.pipeline(transaction=False) as pipe:
            for n, events in enumerate(batches):
                for user, some in groupby(sorted(events, key=by_user), key=by_user):
                    batch = list(some)
                    if skip_forgotten and self.state(user).forgotten:
                        skipped[n] += len(batch)
                        continue
                    said: list[str | int] = [max(event.at_us for event in batch)]
                    for event in batch:
                        said += [event.key, json.dumps(event_row(event))]
                    keys = [_events(user), _state(user), f"{_PREFIX}clock", f"{_PREFIX}users", user]
                    self._append(keys=keys, args=said, client=pipe)
                    of.append(n)
            stored = [0] * len(batches)
            for n, added in zip(of, pipe.execute(), strict=True):
                stored[n] += int(added)
        return [
            Appended(done, len(events) - done - left, left)
            for events, done, left in zip(batches, stored, skipped, strict=True)
        ]

    def _check_durable(self) -> None:
        """Refuse a server that acknowledges before it has synced."""
        try:
            found = self._redis.config_get("append*")
        except redis.ResponseError as error:
            raise StoreError(
                f"store {self._address}: the server does not tell whether it syncs every write ({error}); "
                "if it does, add ?durable=no to the address to skip this check"
            ) from error
        said = {key.decode(): value.decode() for key, value in _bytes(found).items()}
        if said.get("appendonly") != "yes" or said.get("appendfsync") != "always":
            raise StoreError(
                f"store {self._address} must run with appendonly yes and appendfsync always, got appendonly "
                f"{said.get('appendonly')} and appendfsync {said.get('appendfsync')}; set both, or add ?durable=no to "
                "the address and lose acknowledged events in a crash"
            )

    def _rewrite_log(self) -> bool:
        """Ask for a log without what was removed; it is written in the background, so nothing is certain yet."""
        with suppress(redis.RedisError):  # one runs already, or the server forbids it
            self._redis.bgrewriteaof()
        return False


def _events(user_id: str) -> str:
    return f"{_PREFIX}e:{user_id}"


def _state(user_id: str) -> str:
    return f"{_PREFIX}u:{user_id}"


def _shown(user_id: str) -> str:
    return f"{_PREFIX}s:{user_id}"


def _bytes(found: dict[Any, Any]) -> dict[bytes, bytes]:
    """Names and values as bytes, whatever the client made of them."""
    return {
        k if isinstance(k, bytes) else str(k).encode(): v if isinstance(v, bytes) else str(v).encode()
        for k, v in found.items()
    }


@contextmanager
def _told(doing: str) -> Iterator[None]:
    """The client's errors in this project's words."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise StoreError(f"store: cannot {doing} ({error}); see that the Redis server runs and has room") from error
