"""Events from a stream of JSON lines into a store: in batches, durable, and again from any point without harm.

A line has the shape of an event of the API. Lines that break a rule are told by number and left out; the rest is
stored. Reading from a message broker is `kafka`'s.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from pydantic import ValidationError

from .shapes import EventShape
from .store import ProfileStore, StoredEvent, content_key

Refused = Callable[[int, str], None]
"""Called with a line's number, from 1, and what is wrong with it."""


@dataclass(frozen=True)
class Ingested:
    """What became of a stream, in lines."""

    read: int
    stored: int
    repeated: int
    refused: int


def ingest(
    lines: Iterable[str],
    store: ProfileStore,
    *,
    now_s: Callable[[], float],
    batch: int = 500,
    wait_s: float = 0.2,
    refused: Refused | None = None,
    progress: Callable[[Ingested], None] | None = None,
) -> Ingested:
    """Store the events of a stream as it comes.

    Args:
        lines: JSON objects, one a line; empty lines are passed over
        store: where to
        now_s: seconds since 1970 UTC, for events without a time
        batch: events stored together
        wait_s: seconds after which what has come is stored, though it be fewer
        refused: told of every line left out
        progress: told after every batch

    Raises:
        StoreError: the store cannot be written; what was told as stored is.
    """
    read = stored = repeated = wrong = 0
    done = Ingested(0, 0, 0, 0)
    for some in _batches(lines, batch, wait_s):
        events = []
        for line in some:
            read += 1
            if not line.strip():
                continue
            try:
                events.append(_timed(read_event(line), now_s()))
            except ValidationError as error:
                wrong += 1
                if refused is not None:
                    refused(read, told(error))
        appended = store.append(events)
        stored, repeated = stored + appended.stored, repeated + appended.repeated
        done = Ingested(read, stored, repeated, wrong)
        if progress is not None:
            progress(done)
    return done


def read_event(line: str | bytes) -> StoredEvent:
    """The event of one line, as it says: with a time below 0, or an empty key, where it says none.

    Raises:
        ValidationError: it breaks a rule.
    """
    return EventShape.model_validate_json(line).event()


def _timed(event: StoredEvent, now_s: float) -> StoredEvent:
    event = event if event.at_us >= 0 else replace(event, at_us=round(now_s * 1e6))
    return event if event.key else replace(event, key=content_key(event))


def told(error: ValidationError) -> str:
    """What is wrong with a line, without its content."""
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'line'}: {first['msg']}"


def _batches(lines: Iterable[str], size: int, wait_s: float) -> Iterator[list[str]]:
    """Lines in lists of at most ``size``, none held back longer than ``wait_s`` seconds."""
    waiting: queue.Queue[str | BaseException | None] = queue.Queue(4 * size)

    def read() -> None:
        try:
            for line in lines:
                waiting.put(line)
        except (OSError, ValueError) as error:  # raised again where the lines are used
            waiting.put(error)
        waiting.put(None)

    threading.Thread(target=read, name="lines", daemon=True).start()
    some: list[str] = []
    while True:
        try:
            line = waiting.get(timeout=wait_s if some else None)
        except queue.Empty:
            yield some
            some = []
            continue
        if isinstance(line, BaseException):
            raise line
        if line is None:
            break
        some.append(line)
        if len(some) >= size:
            yield some
            some = []
    if some:
        yield some
