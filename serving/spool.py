"""Lines that outlive their process: what was shown, on its way to the store.

One file for each lot, held by a lock for as long as its process lives, so that what nobody holds was left behind. A
line that was cut short is dropped. Not synced: what must survive a power cut belongs into the store.
"""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import fields
from operator import attrgetter
from pathlib import Path

from .store import Shown

try:
    import fcntl
except ImportError:  # Windows: nothing outlives its process there
    fcntl = None  # type: ignore[assignment]

_LOG = logging.getLogger("tasteprint.serving")
_SUFFIX = ".shown"
_fields = attrgetter(*(field.name for field in fields(Shown)))  # `dataclasses.astuple` copies deeply


class Spool:
    """One lot of lines; without a folder, or where it cannot be written, there are none.

    Args:
        folder: where its file is made with the first line
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if fcntl is None else folder
        self._path: Path | None = None
        self._file: int | None = None

    def add(self, shown: Shown) -> None:
        """Write one line."""
        if self._folder is None:
            return
        try:
            if self._file is None:
                self._begin(self._folder)
            os.write(self._file or 0, json.dumps(_fields(shown)).encode() + b"\n")
        except OSError as error:
            self.remove()
            self._folder = None
            _LOG.error("what is shown waits in memory only, until the next lot: %s", error)

    def remove(self) -> None:
        """Take the file away: its lines are elsewhere."""
        if self._path is not None and self._file is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = self._path = None

    def _begin(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{uuid.uuid4().hex}{_SUFFIX}"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        self._path, self._file = path, file


def take_left(folder: Path | None) -> Iterator[tuple[list[Shown], Callable[[], None]]]:
    """What processes left in a folder that live no more, and how to remove each; held by this one meanwhile."""
    if folder is None or fcntl is None or not folder.is_dir():
        return
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        try:
            with path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                if path.exists():  # else its owner has just removed it
                    yield _lines(file.read()), lambda path=path: path.unlink(missing_ok=True)  # type: ignore[misc]
        except OSError as error:
            _LOG.error("what was left in %s cannot be read: %s", path.name, error)


def _lines(said: bytes) -> list[Shown]:
    """The answers of whole lines."""
    found = []
    for line in said.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            continue
        try:
            request_id, user_id, at_us, asked, items = json.loads(line)
            found.append(Shown(request_id, user_id, at_us, asked, tuple((i, r, p) for i, r, p in items)))
        except (TypeError, ValueError):
            continue
    return found
