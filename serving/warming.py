"""What is read ahead after a start, so that first questions need not wait: latest shoppers, frequent queries.

One at a time on a thread of its own, which rests four times as long as it works. What is read ahead is `service`'s to
say; what is kept, and for how many, is `histories`' and `readings`'.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from ..profiling.errors import TasteprintError

_LOG = logging.getLogger("tasteprint.serving")
_REST = 4.0  # times what one took: questions come first


class Warming:
    """A thread that does one small piece of work after the other until it is through or closed."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, work: Iterable[Callable[[], None]]) -> None:
        """Begin with the first piece; which there are is asked for on the thread, one at a time. Once only."""
        self._thread = threading.Thread(target=self._run, args=(work,), name="warm", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the one at hand."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, work: Iterable[Callable[[], None]]) -> None:
        try:
            began = time.thread_time()
            for piece in work:
                piece()
                if self._stop.wait(_REST * (time.thread_time() - began)):
                    return
                began = time.thread_time()
        except TasteprintError as error:
            _LOG.error("nothing is read ahead any more: %s", error)
