"""How many bytes a piece of work really takes: what it leaves behind, and the most it held while it ran.

Reads what Linux says of this process, so nothing else may allocate meanwhile. Where it does not say, the figures are 0.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

_T = TypeVar("_T")
_STATM = Path("/proc/self/statm")
_EVERY_S = 0.01


@dataclass(frozen=True)
class Watched(Generic[_T]):
    """A result and its bytes.

    Attributes:
        result: what the work gave
        held: bytes resident afterwards, beyond those before
        peak: the most beyond those before
    """

    result: _T
    held: int
    peak: int


def resident_bytes() -> int:
    """Private memory of this process that is in RAM; pages mapped from files do not count."""
    try:
        _, resident, shared = (int(pages) for pages in _STATM.read_text().split()[:3])
    except (OSError, ValueError):
        return 0
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def watch(work: Callable[[], _T]) -> Watched[_T]:
    """Do ``work`` and see what memory it takes."""
    gc.collect()
    before = resident_bytes()
    most, done = [before], threading.Event()

    def look() -> None:
        while not done.wait(_EVERY_S):
            most.append(max(most.pop(), resident_bytes()))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        result = work()
    finally:
        done.set()
        watcher.join()
    gc.collect()
    after = resident_bytes()
    return Watched(result, max(0, after - before), max(0, max(most[0], after) - before))
