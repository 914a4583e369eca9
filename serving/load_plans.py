"""What to find out with a load: the highest rate within a latency, memory over time, and events in the next answer.

Built on `load`, against a running service over HTTP. Memory is what the service's own ``/metrics`` tells.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .load import Call, LoadError, LoadReport, address, bytes_of, connect, drive, exchange

_MEMORY = "tasteprint_memory_bytes"
_REACHED = 0.98  # of the rate that was due, to count as answered at it


@dataclass(frozen=True)
class HighestRate:
    """The highest rate at which a service kept a latency.

    Attributes:
        rate: requests a second; 0 where even the lowest tried was too much
        p99_ms: the latency to keep
        tries: every load, in the order it was made
    """

    rate: float
    p99_ms: float
    tries: tuple[LoadReport, ...]


def highest_rate(probe: Callable[[float], LoadReport], *, start: float, p99_ms: float, within: float) -> HighestRate:
    """Find the highest rate without a failure whose 99th percentile stays within a bound.

    Doubles while it is kept, then halves the gap. Assumes that what is too much at one rate is too much above it.

    Args:
        probe: makes a load at a rate
        start: first rate tried, requests a second
        p99_ms: the bound, milliseconds
        within: when to stop: the gap as a share of the rate, in (0, 1)
    """
    tries: list[LoadReport] = []

    def kept(rate: float) -> bool:
        tries.append(probe(rate))
        found = tries[-1]
        return not found.failed and found.p99_ms <= p99_ms and found.rate >= _REACHED * rate

    good, bad = 0.0, start
    while kept(bad):
        good, bad = bad, 2 * bad
    lowest = start * within
    while bad - good > max(within * bad, lowest):
        middle = (good + bad) / 2
        good, bad = (middle, bad) if kept(middle) else (good, middle)
    return HighestRate(good, p99_ms, tuple(tries))


@dataclass(frozen=True)
class Soak:
    """Memory of a service under a long load.

    Attributes:
        load: how it answered
        seconds: when memory was read, since the beginning
        memory_bytes: what its workers had of their own
        warm_bytes: after warm-up, the least of a tenth of the time
        end_bytes: at the end, the least of a tenth of the time
    """

    load: LoadReport
    seconds: tuple[float, ...]
    memory_bytes: tuple[float, ...]
    warm_bytes: float
    end_bytes: float

    @property
    def growth(self) -> float:
        """Memory at the end over that after warm-up, less one."""
        return self.end_bytes / self.warm_bytes - 1.0


def soak(
    url: str,
    calls: Sequence[Call],
    *,
    rate: float,
    seconds: float,
    warm_s: float,
    every_s: float,
    key: str | None = None,
    told: Callable[[float, float], None] | None = None,
) -> Soak:
    """Make requests for a long time and read the service's memory meanwhile.

    Args:
        url, calls, rate, seconds, key: as in `load.drive`
        warm_s: seconds after which memory should stay
        every_s: seconds between readings
        told: called with the time and the bytes of each reading

    Raises:
        LoadError: nothing answers there, or it does not tell its memory.
    """
    found: list[LoadReport] = []
    failed: list[Exception] = []

    def load() -> None:
        try:
            found.append(drive(url, calls, rate=rate, seconds=seconds, key=key))
        except LoadError as error:
            failed.append(error)

    began, at, memory = time.perf_counter(), [], []
    loading = threading.Thread(target=load, name="load")
    loading.start()
    try:
        while loading.is_alive():
            at.append(time.perf_counter() - began)
            memory.append(memory_of(url, key))
            if told is not None:
                told(at[-1], memory[-1])
            loading.join(every_s)
    finally:
        loading.join()
    if failed:
        raise failed[0]
    return Soak(found[0], tuple(at), tuple(memory), *settled(at, memory, warm_s=warm_s))


def settled(at_s: Sequence[float], memory: Sequence[float], *, warm_s: float) -> tuple[float, float]:
    """Least memory in the tenth of the time after warm-up, and in the last tenth: what stays when requests are done.

    >>> settled([0, 1, 2, 3, 4], [10.0, 20.0, 22.0, 30.0, 33.0], warm_s=1)
    (20.0, 33.0)
    """
    times, values = np.asarray(at_s, dtype=np.float64), np.asarray(memory, dtype=np.float64)
    tenth = times[-1] / 10
    after = np.flatnonzero(times >= min(warm_s, times[-1]))[0]
    warm = (times >= times[after]) & (times <= times[after] + tenth)
    return float(values[warm].min()), float(values[times >= times[-1] - tenth].min())


def memory_of(url: str, key: str | None) -> float:
    """Bytes that a service's workers have of their own.

    Raises:
        LoadError: it does not answer, or does not tell.
    """
    where, head = address(url, key)
    status, body = asyncio.run(_once(where, bytes_of(Call("/metrics", {}), head)))
    told = [line for line in body.decode().splitlines() if line.startswith(_MEMORY)]
    if status != 200 or not told:
        raise LoadError(f"{url}/metrics does not tell its memory (status {status}); use a key that may read")
    return sum(float(line.rsplit(" ", 1)[1]) for line in told)


@dataclass(frozen=True)
class Followed:
    """Whether what happened is in the next answer: how often it was looked at, and how often it was not."""

    looked: int
    missed: int
    failed: int


def follow(url: str, users: Sequence[str], *, seconds: float, key: str | None = None, k: int = 10) -> Followed:
    """Have shoppers buy the first item they are shown, and see that the next page without bought items lacks it.

    Every request has a connection of its own, so with several workers any of them may answer.

    Args:
        url: such as ``http://127.0.0.1:8000``
        users: shoppers, taken in turn
        seconds: how long
        key: API key that may write
        k: items of a page

    Raises:
        LoadError: nothing answers there.
    """
    where, head = address(url, key)
    end, looked, missed, failed, turn = time.perf_counter() + seconds, 0, 0, 0, 0
    mark = time.time_ns()

    def ask(path: str, body: dict[str, object]) -> dict[str, object]:
        try:
            status, said = asyncio.run(_once(where, bytes_of(Call(path, body), head)))
        except (OSError, asyncio.IncompleteReadError):
            return {}
        return dict(json.loads(said)) if status == 200 else {}

    while time.perf_counter() < end:
        user, turn = users[turn % len(users)], turn + 1
        page = {"user": user, "k": k, "explain": False, "filters": {"exclude_bought": True}}
        first = _items(ask("/v1/recommend", page))
        bought = {"user_id": user, "kind": "purchase", "quantity": 1, "key": f"follow-{mark}-{turn}"}
        stored = bool(first) and ask("/v1/events", {"events": [{**bought, "item_id": first[0]}]}).get("stored") == 1
        after = _items(ask("/v1/recommend", page)) if stored else []
        if not after:
            failed += 1
            continue
        looked += 1
        missed += first[0] in after
    return Followed(looked, missed, failed)


def _items(page: dict[str, object]) -> list[str]:
    items = page.get("items")
    return [item["item_id"] for item in items] if isinstance(items, list) else []


async def _once(where: tuple[str, int], request: bytes) -> tuple[int, bytes]:
    """One request over a connection of its own."""
    line = await connect(where)
    try:
        return await exchange(line, request)
    finally:
        line[1].close()
