"""Several worker processes under one port: started, watched, started again when one dies, stopped together.

Each worker listens for itself at the same address and the kernel deals connections out among them; what they share lies
in files: the store, the workspace, and a folder for one run (the board) with counters and buckets. What a worker does
is the caller's to say. Needs an operating system with SO_REUSEPORT, such as Linux.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

from ..profiling.errors import ConfigError, TasteprintError

_LOG = logging.getLogger("tasteprint.serving")
_SPAWN = multiprocessing.get_context("spawn")  # a forked worker would inherit locks that nobody lets go of
_LOOK_S = 0.1
_AGAIN_S = 1.0

Work = Callable[[Any, Any], None]
"""What a worker does: takes what it was given and an event to set when it is ready; returns at SIGTERM."""


class WorkerError(TasteprintError):
    """A worker could not start."""


@dataclass
class _Worker:
    process: BaseProcess
    ready: Any
    began_s: float


def run_workers(
    work: Work,
    given: Any,
    *,
    workers: int,
    stop_s: float,
    started: Callable[[], None],
    gone: Callable[[int], None],
) -> None:
    """Run workers until SIGTERM or SIGINT; returns when all have stopped.

    Args:
        work: a function that can be imported
        given: handed to it; can be pickled
        workers: how many, >= 1
        stop_s: seconds they get to stop
        started: called when all are ready for the first time
        gone: called with the process id of each that ended while it should not

    Raises:
        WorkerError: one ended before it was ready the first time; the others are stopped.
    """
    with _told_to_stop() as stop:
        running = [_begin(work, given) for _ in range(workers)]
        try:
            _until_ready(running, stop)
            if not stop.is_set():
                started()
            while not stop.is_set():
                for place in _ended(running):
                    _again(running, place, work, given, gone, stop)
        finally:
            _stop(running, stop_s)


def listen(host: str, port: int, *, shared: bool) -> socket.socket:
    """A socket bound to an address, not yet listening; with ``shared`` others may bind the same one.

    Raises:
        ConfigError: the address cannot be had, or this system cannot share one.
    """
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if shared:
            if not hasattr(socket, "SO_REUSEPORT"):
                raise ConfigError("workers must be 1 on this system, which cannot share a port; leave it out")
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise ConfigError(f"cannot listen at {host}:{port} ({error}); name another --port or --host") from error
    return bound


def stop_with_parent() -> None:
    """Have this worker told to stop when the process that started it is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), name="parent", daemon=True).start()


def _follow(sentinel: Any) -> None:
    wait([sentinel])
    signal.raise_signal(signal.SIGTERM)


def _begin(work: Work, given: Any) -> _Worker:
    ready = _SPAWN.Event()
    process = _SPAWN.Process(target=work, args=(given, ready), daemon=True)
    process.start()
    return _Worker(process, ready, time.monotonic())


def _until_ready(running: list[_Worker], stop: threading.Event) -> None:
    while not stop.is_set() and not all(worker.ready.is_set() for worker in running):
        if ended := _ended(running):
            code = running[ended[0]].process.exitcode
            raise WorkerError(f"a worker ended with exit code {code} before it could serve; its own message is above")


def _ended(running: list[_Worker]) -> list[int]:
    """Places of the workers that have ended; waits a moment for one to."""
    ended = wait([worker.process.sentinel for worker in running], timeout=_LOOK_S)
    return [place for place, worker in enumerate(running) if worker.process.sentinel in ended]


def _again(
    running: list[_Worker],
    place: int,
    work: Work,
    given: Any,
    gone: Callable[[int], None],
    stop: threading.Event,
) -> None:
    """Start another worker in the place of one that ended; not at once where that one did not live either."""
    worker = running[place]
    worker.process.join()
    _LOG.error("worker %s ended with exit code %s; another one is started", worker.process.pid, worker.process.exitcode)
    gone(int(worker.process.pid or 0))
    if time.monotonic() - worker.began_s < 10 * _AGAIN_S:
        stop.wait(_AGAIN_S)
    if not stop.is_set():
        running[place] = _begin(work, given)


def _stop(running: list[_Worker], stop_s: float) -> None:
    """Tell all to stop, wait, and end by force what has not."""
    for worker in running:
        if worker.process.is_alive():
            worker.process.terminate()
    until = time.monotonic() + stop_s
    for worker in running:
        worker.process.join(max(0.0, until - time.monotonic()))
        if worker.process.is_alive():
            _LOG.error("worker %s did not stop within %g seconds and was killed", worker.process.pid, stop_s)
            worker.process.kill()
            worker.process.join()


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
