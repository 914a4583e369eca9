"""The plan of an embedding run: every row's text and key, which texts must be encoded, and in which chunks.

Covers reading ``items.parquet`` piece by piece, so that memory does not grow with texts, and keeping the plan on disk,
so that a run that was killed goes on with the very same chunks: a vector depends, in its last bits, on the texts that
were encoded beside it. Encoding and publishing are `embedding.run`'s work.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..files import sha256_of, write_whole
from ..templates import TemplateConfig
from .cache import VectorCache, file_numbers
from .keys import DistinctKeys, distinct_keys
from .memo import NOTHING, RowMemo
from .rows import RowSpool, read_batches, read_texts, row_keys

_PLAN = "plan.json"
_MOST_CHUNK, _LEAST_CHUNK = 4096, 512
_STEPS = 32


class EmbedConfig(BaseModel):
    """Sizes of the pieces in which a catalogue is embedded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chunk_texts: int | None = Field(
        default=None,
        ge=1,
        le=1 << 14,
        description="texts encoded and kept together, what a crash can cost; null = 512 to 4,096, as there is work",
    )
    shard_items: int = Field(default=1 << 18, ge=1, le=1 << 24, description="items in one file of the result")
    batch_items: int = Field(default=1 << 14, ge=1, le=1 << 20, description="items read and written at a time")


class Tell(Protocol):
    """Called with what is being done, how much of how much (0 = unknown), and what else was counted so far."""

    def __call__(self, what: str, done: int, total: int, counts: Mapping[str, int] | None = None) -> None:
        """Take note."""
        ...


@dataclass(frozen=True)
class Chunk:
    """Texts to encode together.

    Attributes:
        number: which chunk of its plan
        texts: distinct texts
    """

    number: int
    texts: list[str]


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be embedded.

    Attributes:
        folder: where it is kept
        known: files of the cache that hold vectors of it
        rows: the distinct keys of the items' texts
        missing: rows whose texts must be encoded, ascending, (n_missing,)
        chunk_texts: texts in each chunk but the last
        ids: files of item ids, one a shard, and their sha256
    """

    folder: Path
    known: tuple[str, ...]
    rows: DistinctKeys
    missing: NDArray[np.int64]
    chunk_texts: int
    ids: Mapping[str, str]

    @property
    def n_items(self) -> int:
        """Items of the catalogue."""
        return len(self.rows.place)

    @property
    def n_chunks(self) -> int:
        """Chunks to encode."""
        return -(-len(self.missing) // self.chunk_texts)

    def chunk_rows(self, number: int) -> NDArray[np.int64]:
        """Rows of a chunk's texts."""
        return self.missing[number * self.chunk_texts : (number + 1) * self.chunk_texts]

    def chunks(self, numbers: list[int]) -> Iterator[Chunk]:
        """The chunks of these numbers, read when asked for."""
        for number in numbers:
            yield Chunk(number, read_texts(self.folder, self.chunk_rows(number).tolist()))


def chunk_size(n_missing: int, asked: int | None) -> int:
    """Texts in a chunk: what was asked, else a power of two that makes 32 steps or more of a large enough work.

    >>> [chunk_size(n, None) for n in (100, 40_000, 10_000_000)]
    [512, 1024, 4096]
    """
    if asked is not None:
        return asked
    size = _LEAST_CHUNK
    while size < _MOST_CHUNK and size * 2 * _STEPS <= n_missing:
        size *= 2
    return size


def make_plan(
    items: BinaryIO,
    folder: Path,
    settings: Mapping[str, Any],
    cache: VectorCache,
    template: TemplateConfig,
    config: EmbedConfig,
    memo: RowMemo,
    tell: Tell,
) -> Plan:
    """Read the catalogue, write the plan into ``folder`` in place of any other, and open it.

    Args:
        items: ``items.parquet``, opened
        folder: where the plan is kept
        settings: what decides the result; `open_plan` must be given the same
        cache: where known vectors are
        template: how an item becomes a text
        config: sizes
        memo: keys of rows whose text need not be written
        tell: called with the rows read so far

    Raises:
        ShopError: the file cannot be read or breaks the data contract.
        DamagedFileError: a file of the cache is damaged.
        OSError: the plan cannot be written.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    items.seek(0)
    with RowSpool(folder, template, memo, shard_items=config.shard_items) as spool:
        for piece, total in read_batches(items, config.batch_items):
            spool.add(piece)
            tell("Reading items", spool.n_items, total)
        files = spool.finish()
    there = cache.names()
    rows = _rows(folder)
    places = cache.locate(rows.keys, there)
    if spool.remembered()[rows.first[places < 0]].any():  # the cache lost what the memo counts on
        return make_plan(items, folder, settings, cache, template, config, NOTHING, tell)
    known = [there[number] for number in np.unique(file_numbers(places)).tolist()]
    said = {"settings": settings, "known": known, "files": files}
    write_whole(folder / _PLAN, json.dumps(said, indent=1, sort_keys=True).encode())
    return _plan(folder, known, rows, places, config.chunk_texts, files)


def open_plan(folder: Path, settings: Mapping[str, Any], cache: VectorCache, config: EmbedConfig) -> Plan | None:
    """The plan kept in ``folder``; None where there is none, it is damaged, or it was made for something else.

    Raises:
        DamagedFileError: a file of the cache is damaged.
    """
    try:
        said = json.loads((folder / _PLAN).read_bytes())
        whole = all(sha256_of(folder / name) == digest for name, digest in said["files"].items())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not whole or said["settings"] != settings or not set(said["known"]) <= set(cache.names()):
        return None
    rows = _rows(folder)
    places = cache.locate(rows.keys, said["known"])
    return _plan(folder, said["known"], rows, places, config.chunk_texts, said["files"])


def _plan(
    folder: Path,
    known: list[str],
    rows: DistinctKeys,
    places: NDArray[np.int64],
    asked: int | None,
    files: Mapping[str, str],
) -> Plan:
    """What follows from the keys of the rows and where the cache holds them."""
    missing = np.sort(rows.first[places < 0])
    ids = {name: digest for name, digest in files.items() if name.startswith("ids-")}
    return Plan(folder, tuple(known), rows, missing, chunk_size(len(missing), asked), ids)


def _rows(folder: Path) -> DistinctKeys:
    """The keys of the rows, sorted out."""
    return distinct_keys(row_keys(folder)[1])
