"""Vectors of one encoder on disk by text hash: files that are only ever added, each named by its own checksum.

Covers looking keys up without reading vectors, reading a few rows of a large file, damage, and the older layout
(records of key and vector). Memory is a few bytes a wanted key, whatever the cache holds. Which texts are looked up is
the callers' to choose (`embeddings`, `embedding.run`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ArtefactError, EncoderError
from ..files import map_tensors, write_whole
from .keys import KEY_BYTES, Keys, SortedKeys

_FILE, _OLD_FILE = ".safetensors", ".vectors"
_NAME_DIGITS = 32
_ROW_BITS = 32


class DamagedFileError(ArtefactError):
    """A file of the cache is cut short or changed; its texts have to be encoded again."""

    def __init__(self, file: Path) -> None:
        super().__init__(f"cache file {file} is cut short or changed; encode its texts again")
        self.name = file.name


class VectorCache:
    """The vectors that one encoder made of texts.

    Args:
        folder: where its files are; made with the first `add`
        dim: length of the vectors
    """

    def __init__(self, folder: Path, dim: int) -> None:
        self.folder, self.dim = folder, dim
        self._record = np.dtype([("key", f"V{KEY_BYTES}"), ("vector", "<f4", (dim,))])
        self._sound: set[str] = set()
        self._dropped: set[str] = set()

    def names(self) -> list[str]:
        """Its files, in order."""
        if not self.folder.is_dir():
            return []
        there = {file.name for file in self.folder.iterdir() if file.suffix in (_FILE, _OLD_FILE)}
        return sorted(there - self._dropped)

    def locate(self, keys: Keys, names: Sequence[str]) -> NDArray[np.int64]:
        """Where each of the ascending distinct ``keys`` (n, 2) is in the files ``names``, (n,); -1 = nowhere.

        Of a key that is in two files the first counts.

        Raises:
            DamagedFileError: a file is not what was written.
        """
        found = np.full(len(keys), -1, dtype=np.int64)  # (n,): file number, then row
        table = SortedKeys(keys)
        for number, name in enumerate(names):
            at = table.find(self._keys(name))  # (n_records,)
            rows = np.flatnonzero(at >= 0)
            rows = rows[found[at[rows]] < 0]
            found[at[rows]] = (number << _ROW_BITS) + rows
        return found

    def gather(self, places: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.float32]:
        """The vectors at places that `locate` found in the same ``names``, (n, dim) float32.

        Raises:
            DamagedFileError: a file is not what was written; every file is compared with its checksum once.
        """
        vectors = np.empty((len(places), self.dim), dtype=np.float32)
        files = places >> _ROW_BITS
        order = np.argsort(files, kind="stable")
        bounds = np.flatnonzero(np.diff(files[order], prepend=-1))
        for group in np.split(order, bounds[1:]) if len(order) else []:
            self.check(name := names[files[group[0]]])
            rows = places[group] & ((1 << _ROW_BITS) - 1)
            vectors[group] = self._vectors(name)[rows]
        return vectors

    def add(self, keys: Keys, vectors: NDArray[np.float32], *, tag: str | None = None) -> str:
        """Keep vectors (n, dim) under their keys (n, 2); returns the file's name, which its content decides.

        Args:
            keys: distinct
            vectors: one a key
            tag: names the temporary file, see `files.write_whole`

        Raises:
            EncoderError: the cache cannot be written.
        """
        from safetensors.numpy import save

        raw = np.ascontiguousarray(keys).view(np.uint8)
        content = save(
            {"keys": raw, "vectors": np.ascontiguousarray(vectors, dtype=np.float32)},
            metadata={"keys_sha256": hashlib.sha256(raw.tobytes()).hexdigest()},
        )
        name = _digest(content) + _FILE
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / name, content, tag=tag)
        except OSError as error:
            raise EncoderError(
                f"cache {self.folder} cannot be written ({error}); make room or name another folder"
            ) from error
        self._sound.add(name)
        self._dropped.discard(name)
        return name

    def check(self, name: str) -> None:
        """Compare a file with the checksum in its name, once.

        Raises:
            DamagedFileError: they differ, or it cannot be read.
        """
        if name in self._sound:
            return
        try:
            with (self.folder / name).open("rb") as handle:
                digest = hashlib.file_digest(handle, "sha256").hexdigest()
        except OSError as error:
            raise DamagedFileError(self.folder / name) from error
        if digest[:_NAME_DIGITS] != Path(name).stem:
            raise DamagedFileError(self.folder / name)
        self._sound.add(name)

    def drop_damaged(self, name: str) -> None:
        """Forget a file that was found damaged, and every other that is: one is seldom alone."""
        self._drop(name)
        for other in self.names():
            try:
                self.check(other)
            except DamagedFileError:
                self._drop(other)

    def _drop(self, name: str) -> None:
        """Forget a file, and remove it where that is allowed."""
        self._dropped.add(name)
        self._sound.discard(name)
        try:
            (self.folder / name).unlink(missing_ok=True)
        except OSError:  # a cache that may only be read: it is ignored from here on
            return

    def _keys(self, name: str) -> Keys:
        """Keys of one file, (n, 2); only they are read, but for the older layout."""
        if name.endswith(_OLD_FILE):
            self.check(name)
            return np.ascontiguousarray(self._records(name)["key"]).view(np.uint64).reshape(-1, 2)
        try:
            arrays, metadata = map_tensors(self.folder / name)
            raw = np.array(arrays["keys"])  # (n, 16)
            sound = hashlib.sha256(raw.tobytes()).hexdigest() == metadata["keys_sha256"]
            if not sound or arrays["vectors"].shape != (len(raw), self.dim):
                raise DamagedFileError(self.folder / name)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedFileError(self.folder / name) from error
        return raw.view(np.uint64)

    def _vectors(self, name: str) -> NDArray[np.float32]:
        """Vectors of one file, memory-mapped, (n, dim)."""
        if name.endswith(_OLD_FILE):
            return self._records(name)["vector"]
        return map_tensors(self.folder / name)[0]["vectors"]

    def _records(self, name: str) -> NDArray[np.void]:
        """A file of the older layout, memory-mapped."""
        file = self.folder / name
        if file.stat().st_size % self._record.itemsize:
            raise DamagedFileError(file)
        return np.memmap(file, dtype=self._record, mode="r")


def file_numbers(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which of its files each place found by `VectorCache.locate` is in; nowhere is left out."""
    return places[places >= 0] >> _ROW_BITS


def _digest(content: bytes) -> str:
    """Name of a file with this content, without its ending."""
    return hashlib.sha256(content).hexdigest()[:_NAME_DIGITS]
