"""One piece of work for all who ask for it at the same moment: queries embedded together, batches stored together.

Whoever comes while nothing runs begins at once, alone, so a quiet service waits for nothing. Whoever comes meanwhile
waits for what runs, and then all of them are done together by one of them. No thread of its own, no clock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Given = TypeVar("Given")


@dataclass(frozen=True)
class GatherCount:
    """What was gathered so far: pieces of work done, and how many they were asked for."""

    runs: int
    asked: int


@dataclass(eq=False)
class _Turn(Generic[Asked, Given]):
    """One caller: what it asks for, whether to go on, and with what."""

    asked: Asked
    go: threading.Event = field(default_factory=threading.Event)
    answers: list[Given] = field(default_factory=list)
    failed: bool = False


class Gather(Generic[Asked, Given]):
    """A function of many, called by one.

    Args:
        work: what is asked for by each -> what each is given, in their order
        most: callers done together at most, >= 1
        size: what one caller adds to ``most``; each counts 1 if None
    """

    def __init__(
        self,
        work: Callable[[list[Asked]], Sequence[Given]],
        *,
        most: int,
        size: Callable[[Asked], int] | None = None,
    ) -> None:
        self._work, self._most, self._size = work, most, size
        self._lock = threading.Lock()
        self._waiting: deque[_Turn[Asked, Given]] = deque()
        self._busy = False
        self._runs = self._asked = 0

    def __call__(self, asked: Asked) -> Given:
        """What is given for ``asked``, worked out together with what others asked for meanwhile.

        Where the work fails for several, each has it tried alone, so nobody fails for another's sake.

        Raises:
            Exception: whatever the work raises for this one alone.
        """
        mine: _Turn[Asked, Given] = _Turn(asked)
        with self._lock:
            leads = not self._busy
            self._busy = True
            if not leads:
                self._waiting.append(mine)
        if leads:
            self._lead([mine])
        else:
            mine.go.wait()
            if not (mine.answers or mine.failed):  # woken to work for those who wait, itself the first of them
                self._lead(self._next())
        return mine.answers[0] if mine.answers else self._alone(mine)

    def count(self) -> GatherCount:
        """How much was gathered."""
        with self._lock:
            return GatherCount(self._runs, self._asked)

    def _lead(self, turns: list[_Turn[Asked, Given]]) -> None:
        """Do one piece of work, and wake whoever leads the next."""
        try:
            self._do(turns)
        finally:
            with self._lock:
                self._runs += 1
                self._asked += len(turns)
                following = self._waiting[0] if self._waiting else None
                self._busy = following is not None
            if following is not None:
                following.go.set()
            for turn in turns:
                turn.failed = not turn.answers
                turn.go.set()

    def _do(self, turns: list[_Turn[Asked, Given]]) -> None:
        try:
            given = self._work([turn.asked for turn in turns])
        except Exception:
            if len(turns) == 1:
                raise
            return  # each tries alone
        for turn, answer in zip(turns, given, strict=True):
            turn.answers.append(answer)

    def _next(self) -> list[_Turn[Asked, Given]]:
        """Those who wait, the first always, as many as may be done together."""
        with self._lock:
            taken = [self._waiting.popleft()]
            room = self._most - self._weight(taken[0])
            while self._waiting and self._weight(self._waiting[0]) <= room:
                taken.append(self._waiting.popleft())
                room -= self._weight(taken[-1])
            return taken

    def _alone(self, turn: _Turn[Asked, Given]) -> Given:
        return self._work([turn.asked])[0]

    def _weight(self, turn: _Turn[Asked, Given]) -> int:
        return 1 if self._size is None else self._size(turn.asked)
