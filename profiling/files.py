"""Files that are whole or not there: synced writes, renames, checksums, and arrays read in place.

Covers what `artefact`, the vector cache and the embedding run share. Layouts and their meaning are their owners'.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TEMPORARY = ".tmp-"

DTYPES: Mapping[str, str] = {
    "F64": "f8", "F32": "f4", "F16": "f2", "BOOL": "?", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1",
    "U64": "u8", "U32": "u4", "U16": "u2", "U8": "u1",
}  # fmt: skip
"""Types of a safetensors file as numpy says them."""


def sha256_of(file: Path) -> str:
    """sha256 of a file's content, 64 hex digits."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_synced(file: Path, content: bytes) -> None:
    """Write a file to the disk itself."""
    with file.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def write_whole(file: Path, content: bytes, *, tag: str | None = None) -> None:
    """Write a file so that a reader, and whoever comes after a crash, sees all of it or none.

    Args:
        file: where it goes; its folder must exist
        content: what it holds
        tag: names the temporary file, so that a writer that was killed leaves one at most; None = a new name
    """
    if tag is None:
        descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=TEMPORARY)
        os.close(descriptor)
    else:
        temporary = str(file.parent / f"{TEMPORARY}{tag}")
    try:
        write_synced(Path(temporary), content)
        os.replace(temporary, file)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Make a folder's entries lasting."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(file: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of ``file``, made if absent; gives False where another holds it and ``wait`` is false.

    The system frees the lock of a process that dies. Where there are no such locks it is always given.
    """
    with file.open("a") as handle:
        try:
            import fcntl
        except ImportError:
            yield True
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def write_tensor(file: Path, name: str, shape: Sequence[int], blocks: Iterable[NDArray[np.float32]]) -> str:
    """Write one float32 array to a safetensors file block by block, synced; returns the file's sha256.

    Args:
        file: where it goes
        name: the array's name
        shape: of the whole array
        blocks: pieces along the first axis; together they must have ``shape``

    Raises:
        ValueError: they have another size.
    """
    size = 4 * int(np.prod(shape, dtype=np.int64))
    header = json.dumps({name: {"dtype": "F32", "shape": list(shape), "data_offsets": [0, size]}}).encode()
    header += b" " * (-len(header) % 8)  # the format wants the data aligned
    digest = hashlib.sha256()
    with file.open("wb") as handle:
        for piece in (len(header).to_bytes(8, "little"), header):
            handle.write(piece)
            digest.update(piece)
        for block in blocks:
            raw = np.ascontiguousarray(block, dtype="<f4").view(np.uint8).data
            handle.write(raw)
            digest.update(raw)
        if handle.tell() != 8 + len(header) + size:
            raise ValueError(f"{file}: blocks must have {size} bytes together, got {handle.tell() - 8 - len(header)}")
        handle.flush()
        os.fsync(handle.fileno())
    return digest.hexdigest()


def map_tensors(file: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The arrays of a safetensors file, memory-mapped and read-only, and its metadata.

    Raises:
        OSError, ValueError, KeyError, TypeError: it is no such file, or is cut short.
    """
    raw = np.memmap(file, dtype=np.uint8, mode="r")
    start = 8 + int.from_bytes(raw[:8].tobytes(), "little")
    header = json.loads(raw[8:start].tobytes())
    metadata = header.pop("__metadata__", {})
    arrays = {}
    for name, says in header.items():
        first, stop = says["data_offsets"]
        values = raw[start + first : start + stop].view(np.dtype(DTYPES[says["dtype"]]).newbyteorder("<"))
        # made an array last, so that its base is as long as itself: of a view of something longer, SciPy copies the
        # data whenever it makes a matrix, and it makes one in every product
        arrays[name] = np.asarray(values.reshape(says["shape"]))
    return arrays, metadata
