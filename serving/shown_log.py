"""Writing down what was shown, behind the answers: in batches, from a thread of its own, never in a request's way.

An answer is first a line in a file, which a process that is killed leaves behind for the next one to store; only a
machine that loses power may lose what waited, ``every_s`` at most. What the store refuses waits on and is tried again;
an answer that finds too much waiting is not written, and counted. What is older than its time is removed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .spool import Spool, take_left
from .store import ProfileStore, Shown, StoreError

_LOG = logging.getLogger("tasteprint.serving")
_BATCH = 500
_CLEAN_S = 3600.0


class ShownLog:
    """A queue of answers on their way to the store.

    Args:
        store: where they go
        size: answers that may wait
        every_s: seconds after which they are written
        keep_s: seconds they are kept in the store
        clock: seconds since 1970 UTC
        folder: where they wait as lines; None = in memory only
    """

    def __init__(
        self,
        store: ProfileStore,
        *,
        size: int,
        every_s: float,
        keep_s: float,
        clock: Callable[[], float],
        folder: Path | None = None,
    ) -> None:
        self._store, self._size, self._every_s, self._keep_s, self._clock = store, size, every_s, keep_s, clock
        self._folder, self._spool = folder, Spool(folder)
        self._waiting: list[Shown] = []  # what the lines of the spool say
        self._refused: list[tuple[list[Shown], Spool]] = []  # what the store would not take
        self._adding, self._writing = threading.Lock(), threading.Lock()
        self._stop = threading.Event()
        self.lost = 0
        self._cleaned_s = float("-inf")
        self._thread = threading.Thread(target=self._run, name="shown", daemon=True)
        self._thread.start()

    def add(self, shown: Shown) -> None:
        """Have an answer written down soon."""
        with self._adding:
            if len(self._waiting) + sum(len(some) for some, _ in self._refused) >= self._size:
                self.lost += 1
                return
            self._spool.add(shown)
            self._waiting.append(shown)

    def flush(self) -> None:
        """Write everything that waits; returns when it is in the store, or was refused once more."""
        with self._writing:
            with self._adding:
                if self._waiting:
                    self._refused.append((self._waiting, self._spool))
                    self._waiting, self._spool = [], Spool(self._folder)
            while self._refused:
                some, spool = self._refused[0]
                if not self._write(some):
                    return
                spool.remove()
                with self._adding:
                    self._refused.pop(0)

    def clean(self) -> int:
        """Remove what is older than its time from the store; how many answers."""
        return self._store.drop_shown(round((self._clock() - self._keep_s) * 1e6))

    def close(self) -> None:
        """Write what waits and stop."""
        self._stop.set()
        self._thread.join()
        self.flush()
        self._spool.remove()

    def _run(self) -> None:
        self._recover()
        while not self._stop.wait(self._every_s):
            self.flush()
            if self._clock() - self._cleaned_s >= _CLEAN_S:
                self._cleaned_s = self._clock()
                try:
                    self.clean()
                except StoreError as error:
                    _LOG.error("old answers could not be removed: %s", error)

    def _recover(self) -> None:
        """Store what processes left that ended without closing."""
        for some, remove in take_left(self._folder):
            if self._write(some):
                remove()
                _LOG.info("%d answers of a process that was killed were written down", len(some))

    def _write(self, shown: list[Shown]) -> bool:
        """Whether the store took them."""
        for start in range(0, len(shown), _BATCH):
            try:
                batch = [self._of_somebody(one) for one in shown[start : start + _BATCH]]
                self._store.log_shown(batch, at_us=round(self._clock() * 1e6))
            except StoreError as error:
                _LOG.error("what was shown could not be written, it is tried again: %s", error)
                return False
        return True

    def _of_somebody(self, shown: Shown) -> Shown:
        """The answer, of nobody where its shopper was forgotten while it waited."""
        if shown.user_id is None:
            return shown
        state = self._store.state(shown.user_id)
        if state.forgotten and not state.version:
            return replace(shown, user_id=None, asked={})
        return shown
