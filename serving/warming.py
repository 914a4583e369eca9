"""Histories read ahead: after a start, for the shoppers who did something last: their first question need not wait.

One at a time on a thread of its own, which rests four times as long as it works. Who is read ahead is `service`'s to
say; what is kept, and for how many, is `histories`'.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from ..profiling.errors import TasteprintError

_LOG = logging.getLogger("tasteprint.serving")
_REST = 4.0  # times what one took: questions come first


class Warming:
    """A thread that prepares for shoppers until it is through or closed.

    Args:
        prepare: does so for one
    """

    def __init__(self, prepare: Callable[[str], None]) -> None:
        self._prepare = prepare
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, users: Callable[[], Sequence[str]]) -> None:
        """Begin; ``users`` names for whom, first the most urgent, and is asked on the thread. Once only."""
        self._thread = threading.Thread(target=self._run, args=(users,), name="warm", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the one at hand."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, users: Callable[[], Sequence[str]]) -> None:
        try:
            for user in users():
                began = time.thread_time()
                self._prepare(user)
                if self._stop.wait(_REST * (time.thread_time() - began)):
                    return
        except TasteprintError as error:
            _LOG.error("histories are not read ahead any more: %s", error)
