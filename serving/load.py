"""A bounded load on a running service: requests at a steady rate over kept connections, and how long they took.

Times count from the moment a request was due, so a service that falls behind is not flattered (open loop). Covers
plain HTTP/1.1 to one address; where the load comes from is the caller's.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from ..profiling.errors import ConfigError, TasteprintError


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
    return asyncio.run(_drive(where, ready, rate, seconds, connections))


def address(url: str, key: str | None) -> tuple[tuple[str, int], str]:
    """Host and port of a service, and the header lines that every request to it has.

    Raises:
        ConfigError: ``url`` is not plain HTTP.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ConfigError(f"url must be http://HOST:PORT, got {url!r}")
    head = f"Host: {parts.hostname}\r\nContent-Type: application/json\r\n"
    return (parts.hostname, parts.port or 80), head + (f"Authorization: Bearer {key}\r\n" if key else "")


def bytes_of(call: Call, head: str) -> bytes:
    """A request as it goes over the wire; one without a body gets what is there."""
    body = json.dumps(call.body).encode() if call.body else b""
    method = "POST" if call.body else "GET"
    return f"{method} {call.path} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def _drive(
    where: tuple[str, int], ready: list[bytes], rate: float, seconds: float, connections: int
) -> LoadReport:
    statuses: Counter[int] = Counter()
    took: list[float] = []
    due: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()
    began = time.perf_counter()

    async def work() -> None:
        line = await connect(where)
        while (task := await due.get()) is not None:
            due_s, request = task
            try:
                statuses[(await exchange(line, request))[0]] += 1
                took.append(time.perf_counter() - due_s)
            except (OSError, asyncio.IncompleteReadError, ValueError):
                statuses[0] += 1
                line[1].close()
                line = await connect(where)
        line[1].close()

    workers = [asyncio.create_task(work()) for _ in range(connections)]
    await asyncio.sleep(0)
    for n in range(max(1, round(rate * seconds))):
        at_s = began + n / rate
        await asyncio.sleep(max(0.0, at_s - time.perf_counter()))
        due.put_nowait((at_s, ready[n % len(ready)]))
        failed = next((w for w in workers if w.done() and w.exception() is not None), None)
        if failed is not None:
            break
    for _ in workers:
        due.put_nowait(None)
    await asyncio.gather(*workers)
    return _report(statuses, took, rate, time.perf_counter() - began)


async def connect(where: tuple[str, int]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the service.

    Raises:
        LoadError: nothing answers there.
    """
    try:
        return await asyncio.open_connection(*where)
    except OSError as error:
        raise LoadError(f"nothing answers at {where[0]}:{where[1]} ({error}); start it: tasteprint serve") from error


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


def _report(statuses: Counter[int], took: list[float], rate: float, seconds: float) -> LoadReport:
    ms = np.asarray(took or [np.nan]) * 1000
    p50, p90, p99 = (float(q) for q in np.percentile(ms, [50, 90, 99]))
    answered = sum(n for status, n in statuses.items() if status)
    return LoadReport(rate, answered / seconds, dict(sorted(statuses.items())), p50, p90, p99, float(ms.max()))
