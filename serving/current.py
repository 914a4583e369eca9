"""What is being served: one opened version of a workspace, exchanged whole while requests run.

A request holds the version it began with to its end, so no answer mixes two. How a workspace is opened is the front
door's to say; this module asks for it again when the published version changes.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..profiling.encoders.encoder import Encoder
from ..profiling.errors import TasteprintError
from ..profiling.intent.intent import IntentModel
from ..profiling.shopper.yardsticks import Yardsticks
from ..retrieval.catalogue.journal import Speaker
from ..retrieval.engine import Engine
from .gather import GatherCount
from .histories import Catalogue
from .memory import give_back

_LOG = logging.getLogger("tasteprint.serving")


@dataclass(frozen=True, eq=False)
class Served:
    """One opened version of a workspace.

    Attributes:
        version: names it
        engine: answers requests
        encoder: embeds queries
        intent_model: reads queries
        catalogue: what is sold
        last_s: time of the newest event it was built from, seconds since 1970 UTC
        wall_clock: whether the shop's times are calendar times
        about: what was built and learned
        yardsticks: learns on the first call what profiles are measured with
        gathered: how often queries were embedded, and for how many requests
        speaker: makes vectors of items that come; None = the catalogue stays as it is
        changes: number of the last change of items that is in it
        items: the catalogue, row for row with the engine, in the data contract; None where ``speaker`` is
    """

    version: str
    engine: Engine
    encoder: Encoder
    intent_model: IntentModel
    catalogue: Catalogue
    last_s: float
    wall_clock: bool
    about: Mapping[str, Any]
    yardsticks: Callable[[], Yardsticks]
    gathered: Callable[[], GatherCount] = lambda: GatherCount(0, 0)
    speaker: Speaker | None = None
    changes: int = 0
    items: pd.DataFrame | None = None


class SupersededError(TasteprintError):
    """While a version was being opened the next one was published: open that one instead."""


@contextmanager
def often_yielding(seconds: float = 0.0005) -> Iterator[None]:
    """Have threads of this process take turns more often: one that works long keeps others from short work no longer.

    For the time that a long piece of work takes; a hand-over costs some microseconds.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, seconds))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Current:
    """The version being served, and a watch for the next.

    Args:
        opener: opens what is published now, beside what is served
        published: names what is published now; cheap
        follow: gives a version with what changed in it since; the same one where nothing did, which must be cheap
        turn: held while a new version is opened, where several processes should not do so at the same time
        interrupt: called by `close`, so that nobody waits for a version that is being opened
    """

    def __init__(
        self,
        opener: Callable[[Served | None], Served],
        published: Callable[[], str],
        *,
        follow: Callable[[Served], Served] = lambda served: served,
        turn: Callable[[], AbstractContextManager[object]] = nullcontext,
        interrupt: Callable[[], None] = lambda: None,
    ) -> None:
        self._opener, self._published, self._follow = opener, published, follow
        self._turn, self._interrupt = turn, interrupt
        self._served = self._warm(follow(opener(None)))
        self._refreshing = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._exchanged = False
        self.swaps = self.failures = 0

    def get(self) -> Served:
        """The version to answer a request with, from its beginning to its end."""
        return self._served

    def refresh(self) -> bool:
        """Serve what is published, with the changes since; whether that is another version.

        A version that cannot be opened is told in the log, and the old one goes on being served.
        """
        with self._refreshing:
            if self._exchanged:  # a moment ago: no request uses the old one any more
                self._exchanged = False
                give_back()
            try:
                swapped = self._published() != self._served.version
                with self._turn() if swapped else nullcontext(), often_yielding():
                    followed = self._follow(self._opener(self._served) if swapped else self._served)
                    if followed is not self._served:
                        self._served = self._warm(followed)
                        self._exchanged = True
            except SupersededError as news:
                _LOG.info("the next look opens another version: %s", news)
                return False
            except (TasteprintError, OSError, KeyError, TypeError, ValueError) as error:  # whatever was published there
                self.failures += 1
                _LOG.error("the published version or its changes cannot be opened, the old one stays: %s", error)
                return False
            if swapped:
                self.swaps += 1
                _LOG.info("now serving version %s", self._served.version)
            return swapped

    def watch(self, every_s: float) -> None:
        """Look for a new version every so many seconds, on a thread of its own, until `close`."""
        self._thread = threading.Thread(target=self._run, args=(every_s,), name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._interrupt()
        if self._thread is not None:
            self._thread.join()

    def _run(self, every_s: float) -> None:
        while not self._stop.wait(every_s):
            self.refresh()

    @staticmethod
    def _warm(served: Served) -> Served:
        """Have everything loaded that loads on first use, so that no shopper waits for it."""
        engine = served.engine
        for user in (None, next(iter(engine.user_row), None)):  # those with a history are ranked in other ways
            for query in (None, "warm up" if engine.recommender.encoder is not None else None):
                engine.answer(user=user, query=query, now_s=served.last_s + 1.0, k=1)
        return served
