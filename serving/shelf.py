"""One piece of memory that all workers of a service map: what one of them read, the others need not read again.

Slots of one size in memory without a name, which ends with the last process that has it: what shoppers typed is never
in a file. Nobody waits for anybody: what two wrote into one slot at the same moment fits no checksum, and is nothing.
Which place of four a thing gets is its key's to say, so new things push old ones out.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import pickle
import struct
import tempfile
from multiprocessing import reduction
from typing import Any

from ..profiling.intent.types import Intent

_SLOT = 4096
_HEAD = struct.Struct("<16s8sI")  # key, checksum, bytes that follow
_WAYS = 4


class Slots:
    """Bytes by key, for this process and those it starts, which get it as an argument.

    Args:
        n: slots, of 4 KB each, a multiple of 4; they take memory as they are filled
    """

    def __init__(self, n: int = 4096) -> None:
        self._of(_nameless(n * _SLOT))

    @classmethod
    def mapped(cls, file: Any) -> Slots:
        """The same memory in a process that was started with it."""
        made = cls.__new__(cls)
        made._of(file.detach())
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        """How it goes to a process that is being started."""
        return Slots.mapped, (reduction.DupFd(self._file),)

    def get(self, key: bytes) -> bytes | None:
        """What was put under a key of 16 bytes; None where it is not there, or no longer."""
        for at in self._places(key):
            found, check, size = _HEAD.unpack_from(self._map, at)
            if found == key:
                value = self._map[at + _HEAD.size : at + _HEAD.size + min(size, _SLOT - _HEAD.size)]
                return value if check == _check(key, value) else None
        return None

    def put(self, key: bytes, value: bytes) -> bool:
        """Have a value found under a key; False where it is longer than a slot."""
        if _HEAD.size + len(value) > _SLOT:
            return False
        places = self._places(key)
        held = [self._map[at : at + len(key)] for at in places]
        free = next((at for at, by in zip(places, held, strict=True) if by in (key, bytes(len(key)))), None)
        at = places[key[-1] % _WAYS] if free is None else free
        whole = _HEAD.pack(key, _check(key, value), len(value)) + value
        self._map[at : at + len(whole)] = whole
        return True

    def clear(self) -> None:
        """Overwrite everything."""
        for at in range(0, len(self._map), _SLOT):
            if self._map[at : at + _HEAD.size].strip(b"\0"):
                self._map[at : at + _SLOT] = bytes(_SLOT)

    def close(self) -> None:
        """Let go of it."""
        self._map.close()
        os.close(self._file)

    def _of(self, file: int) -> None:
        self._file, self._map = file, mmap.mmap(file, 0)

    def _places(self, key: bytes) -> list[int]:
        """Where a key may be."""
        sets = len(self._map) // _SLOT // _WAYS
        first = int.from_bytes(key[:8], "little") % sets * _WAYS
        return [(first + way) * _SLOT for way in range(_WAYS)]


class SharedReadings:
    """A `readings.Shelf` in slots, for one version of a workspace.

    Args:
        slots: shared with the other workers
        version: of whose model the readings are
    """

    def __init__(self, slots: Slots, version: str) -> None:
        self._slots, self._version = slots, hashlib.blake2b(version.encode()).digest()

    def get(self, query: str) -> Intent | None:
        """What a worker read a query as."""
        found = self._slots.get(self._key(query))
        if found is None:
            return None
        intent = pickle.loads(found)  # only this service's own processes have the memory
        return intent if isinstance(intent, Intent) and intent.text == query else None

    def put(self, query: str, intent: Intent) -> None:
        """Leave a reading for the others; one that is very long is not left."""
        self._slots.put(self._key(query), pickle.dumps(intent, pickle.HIGHEST_PROTOCOL))

    def clear(self) -> None:
        """Take everything away."""
        self._slots.clear()

    def _key(self, query: str) -> bytes:
        return hashlib.blake2b(query.encode("utf-8", "surrogatepass"), digest_size=16, key=self._version).digest()


def _nameless(size: int) -> int:
    """A file of this many zeros that no folder names."""
    try:
        file = os.memfd_create("tasteprint")
    except (AttributeError, OSError):  # another system than Linux, or one that forbids it
        with tempfile.TemporaryFile() as made:
            file = os.dup(made.fileno())
    os.ftruncate(file, size)
    return file


def _check(key: bytes, value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=8, key=key).digest()
