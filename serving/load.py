"""A bounded load on a running service: requests at a steady rate over kept connections, and how long they took.

Times count from the moment a request was due, so a service that falls behind is not flattered (open loop). Covers
plain HTTP/1.1 to one address; where the load comes from is the caller's.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from ..profiling.errors import ConfigError, TasteprintError

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)


class LoadError(TasteprintError):
    """The service under load cannot be reached."""


@dataclass(frozen=True)
class Call:
    """One request to make: path and JSON body."""

    path: str
    body: dict[str, Any]


@dataclass(frozen=True)
class LoadReport:
    """What a load measured.

    Attributes:
        wanted_rate: requests a second that were due
        rate: requests a second that were answered
        statuses: answers by HTTP status; 0 = none, the connection broke
        p50_ms, p90_ms, p99_ms, max_ms: from due to answered, milliseconds; NaN without an answer
    """

    wanted_rate: float
    rate: float
    statuses: dict[int, int]
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float

    @property
    def failed(self) -> int:
        """Requests not answered with a status below 400."""
        return sum(n for status, n in self.statuses.items() if not 200 <= status < 400)


def drive(
    url: str, calls: Sequence[Call], *, rate: float, seconds: float, key: str | None = None, connections: int = 32
) -> LoadReport:
    """Make requests at a steady rate for a while.

    Args:
        url: such as ``http://127.0.0.1:8000``
        calls: made in turn, again and again
        rate: requests a second
        seconds: how long
        key: API key
        connections: requests under way at the same time, at most; the next wait, and their clock runs

    Raises:
        ConfigError: ``url`` is not plain HTTP, there are no calls, or a number is not positive.
        LoadError: nothing answers there.
    """
    where, head = address(url, key)
    if not calls:
        raise ConfigError("calls: there is nothing to ask; give at least one")
    for name, value in (("rate", rate), ("seconds", seconds), ("connections", connections)):
        if not value > 0:
            raise ConfigError(f"{name} must be above 0, got {value}")
    ready = [bytes_of(call, head) for call in calls]
    with asyncio.Runner(loop_factory=_loop) as runner:
        return runner.run(_drive(where, ready, rate, seconds, connections))


def address(url: str, key: str | None) -> tuple[tuple[str, int], str]:
    """Host and port of a service, and the header lines that every request to it has.

    Raises:
        ConfigError: ``url`` is not plain HTTP.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ConfigError(f"url must be http://HOST:PORT, got {url!r}")
    named = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    head = f"Host: {named}\r\nContent-Type: application/json\r\n"
    return (parts.hostname, parts.port or 80), head + (f"Authorization: Bearer {key}\r\n" if key else "")


def bytes_of(call: Call, head: str) -> bytes:
    """A request as it goes over the wire; one without a body gets what is there."""
    body = json.dumps(call.body).encode() if call.body else b""
    method = "POST" if call.body else "GET"
    return f"{method} {call.path} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def _drive(
    where: tuple[str, int], ready: list[bytes], rate: float, seconds: float, connections: int
) -> LoadReport:
    load = _Load(where, ready, rate, max(1, round(rate * seconds)))
    try:
        await asyncio.gather(*(load.open() for _ in range(connections)))
        seconds = await load.run()
    finally:
        load.close()
    return _report(load.statuses, load.took, rate, seconds)


class _Load:
    """Requests that become due one after the other, over lines that are taken in turn.

    Nothing is made for a request but a note of when it was due: its bytes are ready, one timer tells when the next are
    due, and what comes back is only looked through for its status and its end.
    """

    def __init__(self, where: tuple[str, int], ready: list[bytes], rate: float, wanted: int) -> None:
        self._where, self._ready, self._rate, self._wanted = where, ready, rate, wanted
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._lines: set[_Line] = set()
        self._free: deque[_Line] = deque()
        self._late: deque[int] = deque()  # due, and no line is free
        self._next, self._done, self._began = 0, 0, 0.0
        self._opening: set[asyncio.Task[None]] = set()
        self.statuses: Counter[int] = Counter()
        self.took: list[float] = []

    async def open(self) -> None:
        """Open one more line.

        Raises:
            LoadError: nothing answers there.
        """
        try:
            _, line = await self._loop.create_connection(lambda: _Line(self), *self._where)
        except OSError as error:
            raise _nothing(self._where, error) from error
        self._lines.add(line)
        self._take(line)

    async def run(self) -> float:
        """Make every request; how many seconds it took until the last was answered."""
        self._began = time.perf_counter()  # a loop's own clock may tell no more than milliseconds
        self._due()
        await self._over
        return time.perf_counter() - self._began

    def close(self) -> None:
        """Close every line."""
        self._over.cancel()
        for task in self._opening:
            task.cancel()
        for line in self._lines:
            line.transport.close()

    def answered(self, line: _Line, row: int, status: int, again: bool) -> None:
        """A request was answered, or was not (status 0); ``again``: whether its line can be used again."""
        self.statuses[status] += 1
        self._done += 1
        if status:
            self.took.append(time.perf_counter() - self._began - row / self._rate)
        if again:
            self._take(line)
        elif not self._over.done():
            self._replace(line)
        if self._done == self._wanted and not self._over.done():
            self._over.set_result(None)

    def lost(self, line: _Line) -> None:
        """An idle line was closed by the service."""
        if line in self._free and not self._over.done():
            self._free.remove(line)
            self._replace(line)

    def _due(self) -> None:
        """Make the requests that are due, and come back for the next."""
        now = time.perf_counter() - self._began
        while self._next < self._wanted and self._next / self._rate <= now:
            if self._free:
                self._send(self._free.popleft(), self._next)
            else:
                self._late.append(self._next)
            self._next += 1
        if self._next < self._wanted and not self._over.done():
            self._loop.call_later(self._next / self._rate - now, self._due)

    def _take(self, line: _Line) -> None:
        if self._late:
            self._send(line, self._late.popleft())
        else:
            self._free.append(line)

    def _send(self, line: _Line, row: int) -> None:
        line.ask(row, self._ready[row % len(self._ready)])

    def _replace(self, line: _Line) -> None:
        """Open a line in the place of one that is gone; where nothing answers any more the load is over."""
        self._lines.discard(line)
        line.transport.close()
        task = self._loop.create_task(self.open())
        self._opening.add(task)
        task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self._over.done():
            self._over.set_exception(error)


class _Line(asyncio.Protocol):
    """One kept connection: at most one request under way."""

    transport: asyncio.Transport

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._head, self._left = b"", -1  # what of the head is there; bytes of the body to come, -1 = in the head
        self._status, self._last = 0, False
        self.row = -1

    def ask(self, row: int, request: bytes) -> None:
        """Send a request."""
        self.row = row
        self.transport.write(request)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called once."""
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Look for the status, and for the end."""
        if self._left < 0:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            found = _LENGTH.search(self._head, 0, end)
            self._status = int(self._head[9:12]) if self._head.startswith(b"HTTP/1.1 ") and found else 0
            self._last = _CLOSE.search(self._head, 0, end) is not None
            self._left = (int(found[1]) if found else 0) - (len(self._head) - end - 4)
            self._head = b""
        else:
            self._left -= len(data)
        if self._left <= 0:
            self._answered(self._status if self._left == 0 else 0, again=self._left == 0 and not self._last)

    def connection_lost(self, exc: Exception | None) -> None:
        """What was under way is not answered."""
        if self.row >= 0:
            self._answered(0, again=False)
        else:
            self._load.lost(self)

    def _answered(self, status: int, *, again: bool) -> None:
        row, self.row, self._left = self.row, -1, -1
        if row >= 0:
            self._load.answered(self, row, status, again)


async def connect(where: tuple[str, int]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the service.

    Raises:
        LoadError: nothing answers there.
    """
    try:
        return await asyncio.open_connection(*where)
    except OSError as error:
        raise _nothing(where, error) from error


async def exchange(line: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes) -> tuple[int, bytes]:
    """Send one request, read the whole answer; its status and body."""
    reader, writer = line
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status = int(head.split(" ", 2)[1])
    fields = dict(field.split(": ", 1) for field in head.lower().split("\r\n")[1:] if ": " in field)
    body = await reader.readexactly(int(fields.get("content-length", "0")))
    if fields.get("connection") == "close":
        raise ConnectionResetError("closed by the service")
    return status, body


def _nothing(where: tuple[str, int], error: OSError) -> LoadError:
    return LoadError(f"nothing answers at {where[0]}:{where[1]} ({error}); start it: tasteprint serve")


def _loop() -> asyncio.AbstractEventLoop:
    """The cheapest event loop there is: a load shares its cores with the service it measures."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.new_event_loop()
    return new_event_loop()


def _report(statuses: Counter[int], took: list[float], rate: float, seconds: float) -> LoadReport:
    ms = np.asarray(took or [np.nan]) * 1000
    p50, p90, p99 = (float(q) for q in np.percentile(ms, [50, 90, 99]))
    answered = sum(n for status, n in statuses.items() if status)
    return LoadReport(rate, answered / seconds, dict(sorted(statuses.items())), p50, p90, p99, float(ms.max()))
