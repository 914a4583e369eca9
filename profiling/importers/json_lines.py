"""Reading JSON-lines files of any size, plain or gzipped, one record at a time.

Old dumps hold Python literals (single quotes) instead of JSON; with ``literals`` those lines are read too, as data
only, never evaluated.
"""

from __future__ import annotations

import ast
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ShopError
from .base import Progress

Record = dict[str, Any]


def read_records(
    file: Path, *, progress: Progress, stage: str, literals: bool = False
) -> Iterator[tuple[int, Record | None]]:
    """Line numbers from 0 and the record of each line; None for a line that is no record. Blank lines are skipped.

    Args:
        file: a file of one record a line, gzipped if its first bytes say so
        progress: told the share of the file's bytes that has been read
        literals: also accept Python literals

    Raises:
        ShopError: ``file`` is a folder, or its gzip stream is broken.
    """
    if file.is_dir():
        raise ShopError(f"{file}: expected a file of JSON lines, got a folder; name the file")
    size = max(1, file.stat().st_size)
    with file.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream: Any = gzip.GzipFile(fileobj=raw) if zipped else raw
        try:
            with io.TextIOWrapper(stream, encoding="utf-8", errors="replace") as lines:
                for n, line in enumerate(lines):
                    if n % 10_000 == 0:
                        progress(stage, raw.tell() / size)
                    if line.strip():
                        yield n, _record(line, literals)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ShopError(f"{file}: the gzip stream is broken ({error}); fetch the file again") from error
    progress(stage, 1.0)


def _record(line: str, literals: bool) -> Record | None:
    try:
        value = json.loads(line)
    except ValueError:
        if not literals:
            return None
        try:
            value = ast.literal_eval(line.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    return value if isinstance(value, dict) else None
