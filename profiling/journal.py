"""A journal on disk: records that are there for good once `append` returns, whatever is killed afterwards.

Numbered, checksummed records in append-only segment files. A record whose writing was cut short is dropped, for nobody
was told that it is there; one that was changed later is an error. Processes may append in turn and read at any time.
What records mean is their owner's; old segments are dropped when their owner holds what they say elsewhere.
"""

from __future__ import annotations

import itertools
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .errors import ArtefactError
from .files import locked, sync_folder, write_whole

_HEAD = struct.Struct("<4sIQI")  # magic, bytes of the body, number, checksum of the body
_SUM = struct.Struct("<I")  # checksum of the head
_MAGIC = b"tpj1"
_WHOLE_HEAD = _HEAD.size + _SUM.size
_SUFFIX = ".journal"
_LOCK = ".lock"
_LARGEST = 1 << 31


@dataclass(frozen=True)
class Record:
    """One record.

    Attributes:
        number: 1 for the first ever written, then one more each
        body: what its owner wrote
    """

    number: int
    body: bytes


@dataclass(frozen=True)
class _Place:
    """Where the next record begins: the number of the first record of its segment, bytes into it, its own number."""

    segment: int
    offset: int
    number: int


class Journal:
    """The journal in a folder, made if absent.

    Args:
        folder: holds its segments and nothing else
        segment_bytes: a segment that has grown to this size is followed by another, > 0

    Raises:
        ArtefactError: the folder cannot be made or written.
    """

    def __init__(self, folder: str | Path, *, segment_bytes: int = 1 << 28) -> None:
        self._folder, self._most = Path(folder), segment_bytes
        self._mutex = threading.Lock()
        try:
            if not (self._folder.is_dir() and self._segments()):  # reading alone must not need leave to write
                self._folder.mkdir(parents=True, exist_ok=True)
                sync_folder(self._folder.parent)
                with locked(self._folder / _LOCK):
                    if not self._segments():
                        self._begin(1)
        except OSError as error:
            raise ArtefactError(f"journal {self._folder} cannot be made ({error}); name another folder") from error
        self._read = self._end = _Place(first := self._segments()[0], 0, first)

    def append(self, bodies: Sequence[bytes]) -> int:
        """Write records, all of them or none; returns the number of the last record there is, durable by then.

        Raises:
            ArtefactError: the journal cannot be written (nothing of this call is there then), or is damaged.
        """
        for body in bodies:
            if not 0 < len(body) < _LARGEST:
                raise ArtefactError(f"journal: a record must have 1 to {_LARGEST - 1} bytes, got {len(body)}")
        with self._mutex, self._writing():
            place = self._last()
            if not bodies:
                return place.number - 1
            if place.offset >= self._most:
                place = self._begin(place.number)
            written = b"".join(_encoded(place.number + step, body) for step, body in enumerate(bodies))
            self._write(place, written)
            self._end = _Place(place.segment, place.offset + len(written), place.number + len(bodies))
            return self._end.number - 1

    def poll(self) -> list[Record]:
        """Records that were not yet given by this object, in order: all of them at first, new ones later.

        Raises:
            ArtefactError: the journal is damaged, or records were dropped before this object saw them.
        """
        with self._mutex:
            found, self._read = self._after(self._read)
            return found

    def rotate(self) -> int:
        """Let later records go to a new segment; returns the number of the last record before it."""
        with self._mutex, self._writing():
            place = self._last()
            if place.offset:
                self._end = self._begin(place.number)
            return place.number - 1

    def rewrite(self, make: Callable[[list[Record]], Sequence[bytes]]) -> int:
        """Put the records that ``make`` makes of all that are there in their place; returns the last one's number.

        Nobody writes meanwhile. A crash in between leaves the old records, or the old ones before the new ones.

        Raises:
            ArtefactError: the journal is damaged or cannot be written; the old records are there then.
        """
        with self._mutex, self._writing():
            place = self._last()
            first = self._segments()[0]
            bodies = make(self._after(_Place(first, 0, first))[0])
            place = self._begin(place.number) if place.offset else place
            written = b"".join(_encoded(place.number + step, body) for step, body in enumerate(bodies))
            self._write(place, written)
            for segment in self._segments():
                if segment < place.segment:
                    self._path(segment).unlink()
            sync_folder(self._folder)
            self._read = self._end = _Place(place.segment, len(written), place.number + len(bodies))
            return self._end.number - 1

    def drop(self, through: int) -> None:
        """Remove segments all of whose records have numbers up to ``through``; the last segment always stays."""
        with self._mutex, self._writing():
            segments = self._segments()
            for first, following in itertools.pairwise(segments):
                if following - 1 <= through:
                    self._path(first).unlink()
            sync_folder(self._folder)

    @property
    def first(self) -> int:
        """Number of the oldest record that is kept, or of the next one where none is."""
        return self._segments()[0]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """The folder's lock; what the system refuses meanwhile is told as an error of the journal."""
        try:
            with locked(self._folder / _LOCK):
                yield
        except OSError as error:
            raise ArtefactError(
                f"journal {self._folder} cannot be written ({error}); free space or make it writable, then try again"
            ) from error

    def _last(self) -> _Place:
        """The end of the journal, whoever wrote it; the rest of a record that was cut short is removed."""
        segments = self._segments()
        if self._end.segment not in segments:  # somebody rewrote or dropped what was there
            self._end = _Place(segments[0], 0, segments[0])
        _, place = self._after(self._end, bodies=False)
        path = self._path(place.segment)
        if path.stat().st_size > place.offset:
            os.truncate(path, place.offset)
        self._end = place
        return place

    def _after(self, place: _Place, *, bodies: bool = True) -> tuple[list[Record], _Place]:
        """Whole records from a place on, and where they end."""
        segments = self._segments()
        if place.segment not in segments:
            if segments[0] != place.number:
                raise ArtefactError(
                    f"journal {self._folder}: records {place.number} to {segments[0] - 1} were dropped; open it again"
                )
            place = _Place(segments[0], 0, segments[0])
        found: list[Record] = []
        for position in range(segments.index(place.segment), len(segments)):
            if segments[position] > place.segment:
                if segments[position] != place.number:
                    raise self._damaged(f"record {place.number} is missing")
                place = _Place(segments[position], 0, segments[position])
            for record in self._records(place, last=position == len(segments) - 1):
                place = _Place(place.segment, place.offset + _WHOLE_HEAD + len(record.body), record.number + 1)
                if bodies:
                    found.append(record)
        return found, place

    def _records(self, place: _Place, *, last: bool) -> Iterator[Record]:
        """Whole records of a segment from a place on; what is cut short may only be the end of the last segment."""
        try:
            with self._path(place.segment).open("rb") as handle:
                handle.seek(place.offset)
                data = handle.read()
        except OSError as error:
            raise ArtefactError(f"journal {self._folder} cannot be read ({error}); restore it") from error
        at, number = 0, place.number
        while at < len(data):
            head = data[at : at + _WHOLE_HEAD]
            if len(head) < _WHOLE_HEAD:
                break
            magic, size, told, body_sum = _HEAD.unpack_from(head)
            (head_sum,) = _SUM.unpack_from(head, _HEAD.size)
            if magic != _MAGIC and not data[at:].strip(b"\0"):
                break  # room that the system made for a record and never filled
            if magic != _MAGIC or head_sum != zlib.crc32(head[: _HEAD.size]) or told != number:
                raise self._damaged(f"the head of record {number} was changed")
            body = data[at + _WHOLE_HEAD : at + _WHOLE_HEAD + size]
            if len(body) < size:
                break
            if zlib.crc32(body) != body_sum:
                raise self._damaged(f"record {number} was changed")
            yield Record(number, body)
            at, number = at + _WHOLE_HEAD + size, number + 1
        if at < len(data) and not last:
            raise self._damaged(f"record {number} is cut short, and others follow it")

    def _write(self, place: _Place, written: bytes) -> None:
        path = self._path(place.segment)
        with path.open("r+b", buffering=0) as handle:
            try:
                handle.seek(place.offset)
                left = memoryview(written)
                while left:
                    left = left[handle.write(left) :]
                os.fsync(handle.fileno())
            except OSError:
                with suppress(OSError):
                    handle.truncate(place.offset)
                raise

    def _begin(self, number: int) -> _Place:
        """A new segment whose first record will have this number."""
        write_whole(self._path(number), b"", tag="segment")
        return _Place(number, 0, number)

    def _segments(self) -> list[int]:
        """Number of the first record of each segment, ascending."""
        return sorted(int(entry.stem) for entry in self._folder.glob(f"*{_SUFFIX}") if entry.stem.isdigit())

    def _path(self, first: int) -> Path:
        return self._folder / f"{first:016d}{_SUFFIX}"

    def _damaged(self, what: str) -> ArtefactError:
        return ArtefactError(f"journal {self._folder}: {what}; restore it from a backup, or remove it and its changes")


def _encoded(number: int, body: bytes) -> bytes:
    head = _HEAD.pack(_MAGIC, len(body), number, zlib.crc32(body))
    return head + _SUM.pack(zlib.crc32(head)) + body
