"""What queries were read as, kept: shoppers ask the same few things again and again.

Covers one process, and a shelf that several may share; reading a query is the engine's. A reading goes with the model
and the encoder it came from, so an engine whose items change keeps it, and one with another model makes its own.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..profiling.encoders.encoder import Encoder
from ..profiling.intent.intent import IntentModel
from ..profiling.intent.types import Intent

Reader = tuple[IntentModel, Encoder]
"""Who read a query: the model that says what it means, and the encoder of its vector."""

KEPT = 4096
"""Queries whose reading is kept, some 6 KB each."""


class Shelf(Protocol):
    """A place beyond this process where readings of one version of a shop lie."""

    def get(self, query: str) -> Intent | None:
        """What a query was read as; None where nobody put it there, or no longer."""
        ...

    def put(self, query: str, intent: Intent) -> None:
        """Leave a reading for the others."""
        ...

    def clear(self) -> None:
        """Take everything away."""
        ...


@dataclass(frozen=True)
class ReadingCount:
    """How often a reading was known, found on the shelf, or made."""

    known: int
    found: int
    made: int


class Readings:
    """The readings of the queries asked last, least recently used first out, safe under threads.

    Args:
        size: how many, >= 1
        shelf: where others leave theirs; None = there are no others
    """

    def __init__(self, size: int = KEPT, *, shelf: Shelf | None = None) -> None:
        self._size, self._shelf = size, shelf
        self._kept: OrderedDict[str, tuple[Reader, Intent]] = OrderedDict()
        self._lock = threading.Lock()
        self._known = self._found = self._made = 0

    def of(self, query: str, reader: Reader, read: Callable[[], Intent]) -> Intent:
        """What a query is read as; its vector may not be changed.

        Args:
            query: as typed
            reader: who would read it
            read: does so, where nobody did
        """
        with self._lock:
            kept = self._kept.get(query)
            if kept is not None and kept[0][0] is reader[0] and kept[0][1] is reader[1]:
                self._kept.move_to_end(query)
                self._known += 1
                return kept[1]
        found = None if self._shelf is None else self._shelf.get(query)  # outside the lock: others go on
        intent = read() if found is None else found
        intent.vector.flags.writeable = False
        if found is None and self._shelf is not None:
            self._shelf.put(query, intent)
        with self._lock:
            self._found, self._made = self._found + (found is not None), self._made + (found is None)
            self._kept[query] = reader, intent
            self._kept.move_to_end(query)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return intent

    def count(self) -> ReadingCount:
        """How often a reading was known, found or made."""
        with self._lock:
            return ReadingCount(self._known, self._found, self._made)

    def clear(self) -> None:
        """Let go of all, on the shelf too: they are made of what shoppers typed."""
        with self._lock:
            self._kept.clear()
        if self._shelf is not None:
            self._shelf.clear()
