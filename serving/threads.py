"""Threads that work for the event loop: one hop there and one back, a bound on what waits, and a deadline.

What is still waiting when its deadline passes is not begun any more; what runs is finished, and nobody hears of it.
What work returns is made JSON on the same thread, so that the loop has nothing to do but to send it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import orjson

Work = Callable[..., dict[str, Any]]


class BusyError(Exception):
    """More waits already than may wait."""


@dataclass(eq=False)
class _Task:
    """One piece of work and where its outcome goes."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[bytes]
    work: Work
    given: tuple[Any, ...]
    overdue: asyncio.TimerHandle


class Threads:
    """A few threads, begun with the first work.

    Args:
        threads: how many, >= 1
        waiting: pieces of work that may wait beside those that run
        name: of the threads
    """

    def __init__(self, threads: int, waiting: int, name: str) -> None:
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._most, self._taken = threads + waiting, 0
        self._threads = [threading.Thread(target=self._run, name=f"{name}-{n}", daemon=True) for n in range(threads)]

    def begin(self, work: Work, *given: Any, within_s: float) -> asyncio.Future[bytes]:
        """Have work done on a thread; called on an event loop.

        Args:
            work: what to call
            given: with what
            within_s: seconds from now after which nobody waits for it

        Returns:
            What it returns, as JSON. Raises what it raises, and TimeoutError once it is overdue.

        Raises:
            BusyError: too much waits already.
        """
        if self._taken >= self._most:
            raise BusyError("all threads are busy")
        if self._threads[0].ident is None:
            for thread in self._threads:
                thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        self._taken += 1
        self._tasks.put(_Task(loop, future, work, given, loop.call_later(within_s, _give_up, future)))
        return future

    def shutdown(self) -> None:
        """Let what runs and waits be finished."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            found: bytes | BaseException = b""
            if not task.future.done():
                try:
                    found = json_bytes(task.work(*task.given))
                except BaseException as error:  # noqa: BLE001  # told to whoever waits
                    found = error
            with suppress(RuntimeError):  # the loop was closed: nobody waits
                task.loop.call_soon_threadsafe(self._done, task, found)
            del task, found  # a waiting thread keeps no answer alive

    def _done(self, task: _Task, found: bytes | BaseException) -> None:
        self._taken -= 1
        task.overdue.cancel()
        if task.future.done():
            return
        if isinstance(found, bytes):
            task.future.set_result(found)
        elif isinstance(found, StopIteration):  # which a future does not take
            task.future.set_exception(RuntimeError("work raised StopIteration"))
        else:
            task.future.set_exception(found)


def json_bytes(value: Any) -> bytes:
    """JSON of plain values, in UTF-8; numbers of numpy are numbers, what is no number is null, and keys become text.

    >>> json_bytes({"a": [1, 0.5, None, "é"]}).decode()
    '{"a":[1,0.5,null,"é"]}'
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError:  # where all keys are text already it takes two thirds of the time
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)


def _give_up(future: asyncio.Future[bytes]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())
