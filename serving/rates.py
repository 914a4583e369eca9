"""How often each caller may call: token buckets, of one process or shared by the workers of a machine."""

from __future__ import annotations

import hashlib
import mmap
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

Clock = Callable[[], float]
"""Seconds, steady; for shared buckets the same in every process, as ``time.monotonic`` is on Linux."""

_BUCKET = struct.Struct("<dd")  # tokens left, and when
_MARK = 16  # bytes of the hash of a name before its bucket; zeros where the bucket is free


class Rates(Protocol):
    """A token bucket for each caller: some at once, a rate on average."""

    def wait_s(self, name: str) -> float:
        """Take a token; 0, or the seconds until there is one again."""
        ...


def take(left: float, then_s: float, now_s: float, *, rate: float, burst: float) -> tuple[float, float]:
    """Take a token from a bucket: what is left in it, and 0 or the seconds to wait where there was none.

    Args:
        left: tokens at ``then_s``
        then_s, now_s: seconds
        rate: tokens a second
        burst: most tokens

    >>> take(1.0, 0.0, 0.0, rate=2.0, burst=3)
    (0.0, 0.0)
    >>> take(0.0, 0.0, 0.25, rate=2.0, burst=3)
    (0.5, 0.25)
    """
    left = min(left + max(now_s - then_s, 0.0) * rate, float(burst))
    return (left - 1.0, 0.0) if left >= 1.0 else (left, (1.0 - left) / rate)


class OwnRates:
    """The buckets of one process.

    Args:
        rate: tokens a second
        burst: most tokens
        clock: seconds
    """

    def __init__(self, rate: float, burst: int, *, clock: Clock) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def wait_s(self, name: str) -> float:
        """Take a token; 0, or the seconds until there is one again."""
        with self._lock:
            now_s = self._clock()
            left, then_s = self._left.get(name, (float(self._burst), now_s))
            left, wait_s = take(left, then_s, now_s, rate=self._rate, burst=self._burst)
            self._left[name] = left, now_s
            return wait_s


class SharedRates:
    """The buckets of all workers of one machine, in a small file that they map; a caller's rate is one rate.

    A caller gets a bucket with the first request; once there are more callers than buckets, some share one.

    Args:
        path: the file, made by `make_buckets`
        rate: tokens a second
        burst: most tokens
        clock: seconds, the same for all workers
    """

    def __init__(self, path: Path, rate: float, burst: int, *, clock: Clock) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._at: dict[str, int] = {}
        self._file = path.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), 0)
        self._lock = threading.Lock()

    def wait_s(self, name: str) -> float:
        """Take a token; 0, or the seconds until there is one again."""
        with self._lock, _held(self._file.fileno()):
            now_s = self._clock()
            if name not in self._at:
                self._at[name] = self._place(name, now_s)
            at = self._at[name]
            left, then_s = _BUCKET.unpack_from(self._map, at)
            left, wait_s = take(left, then_s, now_s, rate=self._rate, burst=self._burst)
            _BUCKET.pack_into(self._map, at, left, now_s)
            return wait_s

    def close(self) -> None:
        """Let go of the file."""
        self._map.close()
        self._file.close()

    def _place(self, name: str, now_s: float) -> int:
        """Where a caller's bucket is; the first that is free where there is none yet."""
        mark = hashlib.blake2b(name.encode(), digest_size=_MARK).digest()
        size, slots = _MARK + _BUCKET.size, len(self._map) // (_MARK + _BUCKET.size)
        first = int.from_bytes(mark, "little") % slots
        for slot in (*range(first, slots), *range(first)):
            found = self._map[slot * size : slot * size + _MARK]
            if found == bytes(_MARK):
                self._map[slot * size : slot * size + _MARK] = mark
                _BUCKET.pack_into(self._map, slot * size + _MARK, float(self._burst), now_s)
                found = mark
            if found == mark:
                return slot * size + _MARK
        return first * size + _MARK


def make_buckets(path: Path, *, buckets: int = 4096) -> None:
    """The file of `SharedRates`, every bucket free."""
    path.write_bytes(bytes((_MARK + _BUCKET.size) * buckets))


@contextmanager
def _held(file: int) -> Iterator[None]:
    """Keep other processes out; the system lets go for one that dies."""
    import fcntl  # not on Windows, where there is one worker only

    fcntl.lockf(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.lockf(file, fcntl.LOCK_UN)
