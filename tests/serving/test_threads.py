"""Threads behind the event loop: answers and errors come back, overdue work is not begun, what waits is bounded."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip("orjson")

from tasteprint.serving.threads import BusyError, Threads, json_bytes


def test_outcomes_come_back_as_json_or_as_errors() -> None:
    threads = Threads(2, 10, "test")

    def stop() -> dict[str, Any]:
        raise StopIteration

    async def ask() -> None:
        assert await threads.begin(lambda n: {"n": n}, 5, within_s=9) == b'{"n":5}'
        with pytest.raises(ZeroDivisionError):
            await threads.begin(lambda: {"n": 1 / 0}, within_s=9)
        with pytest.raises(RuntimeError):
            await threads.begin(stop, within_s=9)
        with pytest.raises(TypeError):
            await threads.begin(lambda: {"no JSON": object()}, within_s=9)

    asyncio.run(ask())
    threads.shutdown()


def test_overdue_work_is_given_up_and_what_had_not_begun_is_never_done() -> None:
    threads, go, done = Threads(1, 1, "test"), threading.Event(), []

    def slow(name: str) -> dict[str, Any]:
        go.wait(10)
        done.append(name)
        return {}

    async def ask() -> None:
        first, second = threads.begin(slow, "first", within_s=0.05), threads.begin(slow, "second", within_s=0.05)
        with pytest.raises(BusyError):
            threads.begin(slow, "third", within_s=9)
        for overdue in (first, second):
            with pytest.raises(TimeoutError):
                await overdue
        go.set()
        assert await _until_free(threads) == b"{}"

    asyncio.run(ask())
    threads.shutdown()
    assert done == ["first"]


async def _until_free(threads: Threads) -> bytes:
    until = time.monotonic() + 10
    while True:
        try:
            return await threads.begin(dict, within_s=9)
        except BusyError:
            assert time.monotonic() < until
            await asyncio.sleep(0.01)


def test_shutdown_lets_waiting_work_be_finished_and_a_closed_loop_is_no_failure() -> None:
    threads, done = Threads(1, 10, "test"), []

    def work(n: int) -> dict[str, Any]:
        time.sleep(0.01)
        done.append(n)
        return {}

    async def ask() -> None:
        for n in range(5):
            threads.begin(work, n, within_s=9)
        await asyncio.sleep(0)

    asyncio.run(ask())
    threads.shutdown()
    assert done == list(range(5))
    Threads(3, 1, "never begun").shutdown()


def test_json_of_numpy_and_of_what_is_no_number() -> None:
    assert json_bytes({"a": np.float32(0.5), "b": np.int64(3), "c": float("nan")}) == b'{"a":0.5,"b":3,"c":null}'
    assert json_bytes({"a": {1: 2, "b": True}}) == b'{"a":{"1":2,"b":true}}'
