"""What the console works out once and keeps: a version's yardsticks, and how much a store holds.

Learning yardsticks takes seconds, longer than a request may; it is done behind the answers, once a version.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ...profiling.shopper.yardsticks import Yardsticks
from ..current import Served
from ..store import ProfileStore, StoreCount

_COUNT_S = 60.0
_WAIT_S = 2.0


class StillLearning(Exception):
    """What is usual in the shop is being learned; asking again is right."""


class Kept:
    """Worked out once, for every request of the console.

    Args:
        clock: seconds, steady
        wait_s: how long a request waits for yardsticks that are being learned
    """

    def __init__(self, *, clock: Callable[[], float], wait_s: float = _WAIT_S) -> None:
        self._clock, self._wait_s = clock, wait_s
        self._lock = threading.Lock()
        self._learning: tuple[Callable[[], Yardsticks], threading.Thread, list[Yardsticks], list[Exception]] | None = (
            None
        )
        self._counted: tuple[float, StoreCount] | None = None

    def yardsticks(self, served: Served) -> Yardsticks:
        """A version's yardsticks.

        Raises:
            StillLearning: they are being learned.
            ShopError: the shop it was built from is not there any more.
        """
        with self._lock:
            if self._learning is None or self._learning[0] is not served.yardsticks:  # not: changes of items keep it
                found: list[Yardsticks] = []
                wrong: list[Exception] = []
                thread = threading.Thread(target=_learn, args=(served, found, wrong), name="yardsticks", daemon=True)
                self._learning = served.yardsticks, thread, found, wrong
                thread.start()
            _, thread, found, wrong = self._learning
        thread.join(self._wait_s)
        if wrong:
            with self._lock:
                self._learning = None  # the shop may be back at the next request
            raise wrong[0]
        if not found:
            raise StillLearning
        return found[0]

    def count(self, store: ProfileStore) -> StoreCount:
        """How much a store holds, at most a minute ago: counting reads all of it.

        Raises:
            StoreError: it cannot be read.
        """
        counted, now_s = self._counted, self._clock()
        if counted is None or now_s - counted[0] > _COUNT_S:
            counted = self._counted = now_s, store.count()
        return counted[1]


def _learn(served: Served, found: list[Yardsticks], wrong: list[Exception]) -> None:
    try:
        found.append(served.yardsticks())
    except Exception as error:  # noqa: BLE001  # told to whoever asked
        wrong.append(error)
