"""The embedded profile store: one SQLite file in write-ahead mode, synced before anything is acknowledged.

Readers never wait for the writer; several processes may share the file on one machine, not over a network drive.
Freed space is overwritten, so what was forgotten is not left in the file.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

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

_FORMAT = 2
_AT_ONCE = 2000  # answers removed in one transaction, so that no event waits long
_BUSY_S = 10.0
_TYPES = {"at_us": "INTEGER", "seq": "INTEGER", "position": "INTEGER"} | dict.fromkeys(
    ("rating", "quantity", "price", "dwell_s"), "REAL"
)
_COLUMNS = ", ".join(f"{name} {_TYPES.get(name, 'TEXT')}" for name in EVENT_FIELDS)
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS events ({_COLUMNS}, PRIMARY KEY (user_id, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS users (user_id TEXT PRIMARY KEY, version INTEGER, newest_us INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shown (
    user_id TEXT, request_id TEXT, at_us INTEGER, asked TEXT, items TEXT, logged_us INTEGER,
    PRIMARY KEY (user_id, request_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS forgotten (mark TEXT PRIMARY KEY, at_us INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""
_INSERT = f"INSERT OR IGNORE INTO events VALUES ({', '.join('?' * len(EVENT_FIELDS))})"
_REMOVED = ""  # the kind of an event of which nothing but the key is left
_BLANK = ", ".join(
    f"{name} = {0 if name in ('at_us', 'seq') else f'{_REMOVED!r}' if name == 'kind' else 'NULL'}"
    for name in EVENT_FIELDS
    if name not in ("user_id", "key")
)
_EVENTS = "SELECT * FROM events WHERE user_id = ? AND kind <> ?"
_HISTORY = f"SELECT {', '.join(PAST_FIELDS)} FROM events WHERE user_id = ? AND kind <> ?"
_LATEST = "SELECT user_id FROM users ORDER BY newest_us DESC, user_id LIMIT ?"
_ASKED = "SELECT asked FROM shown WHERE user_id <> '' ORDER BY logged_us DESC LIMIT ?"
_REMOVE = f"UPDATE events SET {_BLANK} WHERE user_id = ? AND key = ? AND kind <> {_REMOVED!r}"
_SHOWN = """
SELECT user_id, request_id, at_us, asked, items FROM shown WHERE user_id = ? ORDER BY at_us, request_id
"""
_DROP = """
DELETE FROM shown WHERE (user_id, request_id) IN (SELECT user_id, request_id FROM shown WHERE logged_us < ? LIMIT ?)
"""
_TOUCH = """
INSERT INTO users VALUES (?1, ?2, ?3)
ON CONFLICT (user_id) DO UPDATE SET version = ?2, newest_us = max(newest_us, ?3)
"""


class SqliteStore:
    """A `store.ProfileStore` in one file.

    Args:
        path: the file, made if absent

    Raises:
        StoreError: it cannot be opened, is damaged, or was written by another format version.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._write_lock = threading.Lock()
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._closed = False
        self._readers, self._idle = 0, threading.Condition()
        with _told(f"open {self._path}"):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self._connect()
            with self._transaction() as writer:
                for statement in _SCHEMA.split(";"):
                    writer.execute(statement)
                for name, value in (("format", _FORMAT), ("clock", 0), ("forgettings", 0), ("salt", os.urandom(16))):
                    writer.execute("INSERT OR IGNORE INTO about VALUES (?, ?)", (name, value))
            with self._transaction() as writer:
                _upgrade(writer)
            about = dict(self._writer.execute("SELECT name, value FROM about"))
        if about["format"] != _FORMAT:
            raise StoreError(
                f"store {self._path} has format {about['format']}, but this program reads {_FORMAT}; "
                "load it anew into another file"
            )
        self._salt = bytes(about["salt"])

    @property
    def address(self) -> str:
        """The file."""
        return str(self._path)

    def append(self, events: Sequence[StoredEvent], *, skip_forgotten: bool = False) -> Appended:
        """Store events; they are on the disk when this returns."""
        with self._transaction() as writer:
            return self._append(writer, self._tick(writer), events, skip_forgotten)

    def append_all(self, batches: Sequence[Sequence[StoredEvent]]) -> list[Appended]:
        """Store several batches in one transaction: all of them are on the disk when this returns, or none."""
        with self._transaction() as writer:
            clock = self._tick(writer)
            return [self._append(writer, clock, events, False) for events in batches]

    def state(self, user_id: str) -> UserState:
        """What tells whether anything changed."""
        with self._reading() as reader:
            row = reader.execute("SELECT version, newest_us FROM users WHERE user_id = ?", (user_id,)).fetchone()
            version, newest_us = row or (0, 0)
            return UserState(version, newest_us, self._is_forgotten(reader, user_id))

    def events(self, user_id: str) -> list[StoredEvent]:
        """All events of a shopper by `StoredEvent.order`."""
        with self._reading() as reader:
            rows = reader.execute(_EVENTS, (user_id, _REMOVED)).fetchall()
        return sorted((StoredEvent(*row) for row in rows), key=attrgetter("order"))

    def history(self, user_id: str) -> list[tuple[Any, ...]]:
        """What logs are made of, in the same order: keys differ, so no row is compared beyond its key."""
        with self._reading() as reader:
            return sorted(reader.execute(_HISTORY, (user_id, _REMOVED)).fetchall())

    def remove(self, user_id: str, keys: Sequence[str]) -> int:
        """Take events out of a shopper's history and overwrite where they stood; their keys stay taken."""
        with self._transaction() as writer:
            removed = writer.executemany(_REMOVE, [(user_id, key) for key in keys]).rowcount
            if removed > 0:
                writer.execute(_TOUCH, (user_id, self._tick(writer), 0))
        self._purge()
        return max(removed, 0)

    def users(self) -> Iterator[str]:
        """Ids of the shoppers with events, sorted."""
        with self._reading() as reader:
            found = reader.execute("SELECT user_id FROM users ORDER BY user_id").fetchall()
        return (user for (user,) in found)

    def latest(self, n: int) -> list[str]:
        """Ids of the shoppers with the newest events, newest first."""
        with self._reading() as reader:
            return [user for (user,) in reader.execute(_LATEST, (n,)).fetchall()]

    def asked(self, n: int) -> list[str]:
        """Queries of the answers written down last, newest first."""
        with self._reading() as reader:
            return queries_of(json.loads(asked) for (asked,) in reader.execute(_ASKED, (n,)).fetchall())

    def log_shown(self, shown: Sequence[Shown], *, at_us: int | None = None) -> None:
        """Keep what was shown."""
        rows = [
            (
                s.user_id or "",
                s.request_id,
                s.at_us,
                json.dumps(s.asked),
                json.dumps(s.items),
                s.at_us if at_us is None else at_us,
            )
            for s in shown
        ]
        with self._transaction() as writer:
            writer.executemany("INSERT OR IGNORE INTO shown VALUES (?, ?, ?, ?, ?, ?)", rows)

    def drop_shown(self, before_us: int) -> int:
        """Remove what was written down before a time."""
        dropped = 0
        while True:
            with self._transaction() as writer:
                gone = writer.execute(_DROP, (before_us, _AT_ONCE)).rowcount
            dropped += gone
            if gone < _AT_ONCE:
                return dropped

    def shown(self, user_id: str) -> list[Shown]:
        """What a shopper was shown, oldest first."""
        with self._reading() as reader:
            rows = reader.execute(_SHOWN, (user_id,)).fetchall()
        return [
            Shown(request, user, at_us, json.loads(asked), tuple((i, r, p) for i, r, p in json.loads(items)))
            for user, request, at_us, asked, items in rows
        ]

    def forget(self, user_id: str, *, at_us: int) -> Forgotten:
        """Remove everything of a shopper and overwrite where it stood."""
        with self._transaction() as writer:
            events = writer.execute("DELETE FROM events WHERE user_id = ?", (user_id,)).rowcount
            impressions = writer.execute("DELETE FROM shown WHERE user_id = ?", (user_id,)).rowcount
            writer.execute("DELETE FROM users WHERE user_id = ?", (user_id,))
            mark = forgotten_mark(user_id, self._salt)
            writer.execute("INSERT OR REPLACE INTO forgotten VALUES (?, ?)", (mark, at_us))
            writer.execute("UPDATE about SET value = value + 1 WHERE name = 'forgettings'")
        return Forgotten(events, impressions, self._purge())

    def forgettings(self) -> int:
        """How often a shopper was forgotten here."""
        with self._reading() as reader:
            return int(reader.execute("SELECT value FROM about WHERE name = 'forgettings'").fetchone()[0])

    def count(self) -> StoreCount:
        """How much is there; reads every row."""
        with self._reading() as reader:
            tables = ("users", "events", "shown")
            found = [reader.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables]
        return StoreCount(*found)

    def ping(self) -> None:
        """Raise `StoreError` unless the file can be read."""
        with self._reading() as reader:
            reader.execute("SELECT value FROM about WHERE name = 'clock'").fetchone()

    def close(self) -> None:
        """Close every connection."""
        with self._write_lock:
            with self._idle:
                self._closed = True
                self._idle.wait_for(lambda: not self._readers)
            for connection in self._open:
                connection.close()
            self._open.clear()

    def _connect(self) -> sqlite3.Connection:
        """A connection that syncs every commit and overwrites what it frees."""
        connection = sqlite3.connect(self._path, timeout=_BUSY_S, check_same_thread=False, isolation_level=None)
        for setting in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
            connection.execute(f"PRAGMA {setting}").fetchall()
        self._open.append(connection)
        return connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """This thread's own connection; closing waits for it, as SQLite does not bear being closed under a reader."""
        with self._idle:
            if self._closed:
                raise StoreError(f"store {self._path} was closed; open it again")
            self._readers += 1
        try:
            with _told("read"):
                if not hasattr(self._local, "reader"):
                    self._local.reader = self._connect()
                yield self._local.reader
        finally:
            with self._idle:
                self._readers -= 1
                self._idle.notify_all()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """The one writing connection, inside a transaction that is whole or not at all."""
        with self._write_lock, _told("write"):
            if self._closed:
                raise StoreError(f"store {self._path} was closed; open it again")
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:  # a full disk may have ended it already
                    self._writer.execute("ROLLBACK")
                raise

    @staticmethod
    def _tick(writer: sqlite3.Connection) -> int:
        """The next version."""
        writer.execute("UPDATE about SET value = value + 1 WHERE name = 'clock'")
        (clock,) = writer.execute("SELECT value FROM about WHERE name = 'clock'").fetchone()
        return int(clock)

    def _append(
        self, writer: sqlite3.Connection, clock: int, events: Sequence[StoredEvent], skip_forgotten: bool
    ) -> Appended:
        """Store one batch inside a transaction whose number is ``clock``."""
        by_user = attrgetter("user_id")
        stored = skipped = 0
        for user, some in groupby(sorted(events, key=by_user), key=by_user):
            batch = list(some)
            if skip_forgotten and self._is_forgotten(writer, user):
                skipped += len(batch)
                continue
            before = writer.total_changes
            writer.executemany(_INSERT, [event_row(event) for event in batch])
            added = writer.total_changes - before
            if added:
                writer.execute(_TOUCH, (user, clock, max(event.at_us for event in batch)))
            stored += added
        return Appended(stored, len(events) - stored - skipped, skipped)

    def _is_forgotten(self, connection: sqlite3.Connection, user_id: str) -> bool:
        mark = forgotten_mark(user_id, self._salt)
        return connection.execute("SELECT 1 FROM forgotten WHERE mark = ?", (mark,)).fetchone() is not None

    def _purge(self, tries: int = 20) -> bool:
        """Empty the write-ahead log, which still holds old pages; False where readers kept it from that."""
        for _ in range(tries):
            with self._write_lock, _told("write"):
                (busy, *_rest) = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:
                return True
            time.sleep(0.01)
        return False


def _upgrade(writer: sqlite3.Connection) -> None:
    """Make a store of format 1 one of format 2, which knows when answers were written down."""
    (found,) = writer.execute("SELECT value FROM about WHERE name = 'format'").fetchone()
    if found == 1:
        writer.execute("ALTER TABLE shown ADD COLUMN logged_us INTEGER")
        writer.execute("UPDATE shown SET logged_us = at_us")
        writer.execute("UPDATE about SET value = 2 WHERE name = 'format'")
    if found <= _FORMAT:
        writer.execute("CREATE INDEX IF NOT EXISTS shown_logged ON shown (logged_us)")


@contextmanager
def _told(doing: str) -> Iterator[None]:
    """SQLite's and the disk's errors in this project's words."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"store: cannot {doing} ({error}); see that the disk has room and may be written") from error
