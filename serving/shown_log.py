"""Writing down what was shown, behind the answers: in batches, from a thread of its own, never in a request's way.

An answer that finds the queue full is not written, and counted. Acknowledged durability is for events; what waits here
is lost if the process is killed.
"""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import replace

from .store import ProfileStore, Shown, StoreError

_LOG = logging.getLogger("tasteprint.serving")
_BATCH = 500


class ShownLog:
    """A queue of answers on their way to the store.

    Args:
        store: where they go
        size: answers that may wait
        every_s: seconds after which they are written
    """

    def __init__(self, store: ProfileStore, *, size: int, every_s: float) -> None:
        self._store, self._every_s = store, every_s
        self._queue: queue.Queue[Shown] = queue.Queue(size)
        self._writing = threading.Lock()
        self._stop = threading.Event()
        self.lost = 0
        self._thread = threading.Thread(target=self._run, name="shown", daemon=True)
        self._thread.start()

    def add(self, shown: Shown) -> None:
        """Have an answer written down soon."""
        try:
            self._queue.put_nowait(shown)
        except queue.Full:
            self.lost += 1

    def flush(self) -> None:
        """Write everything that waits; returns when it is in the store."""
        with self._writing:
            while batch := self._take():
                try:
                    self._store.log_shown([self._of_somebody(shown) for shown in batch])
                except StoreError as error:
                    self.lost += len(batch)
                    _LOG.error("what was shown could not be written: %s", error)

    def close(self) -> None:
        """Write what waits and stop."""
        self._stop.set()
        self._thread.join()
        self.flush()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self.flush()

    def _take(self) -> list[Shown]:
        batch: list[Shown] = []
        while len(batch) < _BATCH and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        return batch

    def _of_somebody(self, shown: Shown) -> Shown:
        """The answer, of nobody where its shopper was forgotten while it waited."""
        if shown.user_id is None:
            return shown
        state = self._store.state(shown.user_id)
        if state.forgotten and not state.version:
            return replace(shown, user_id=None, asked={})
        return shown
