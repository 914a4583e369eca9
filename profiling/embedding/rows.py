"""The rows of a catalogue, from ``items.parquet`` onto the disk as keys, texts and ids, a batch at a time.

Covers reading within bounded memory, and not writing the texts of rows that `embedding.memo` remembers. What is made of
the rows is `embedding.plan`'s work.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..errors import ShopError
from ..files import sha256_of, sync_folder
from ..tables.schema import columns_of, conform
from ..templates import TemplateConfig, item_texts
from ..texts import clean_texts
from .keys import Keys, text_keys
from .memo import RowMemo, row_hashes

KEYS, HASHES, ENDS, TEXTS = "rows.keys", "rows.hashes", "rows.ends", "texts.utf8"


def read_batches(items: BinaryIO, batch: int = 1 << 14) -> Iterator[tuple[pa.RecordBatch, int]]:
    """The contract's columns of an ``items.parquet``, a batch at a time, and how many rows there are in all.

    Raises:
        ShopError: the file cannot be read.
    """
    try:
        parquet = pq.ParquetFile(items, pre_buffer=False, buffer_size=1 << 20)
        names = parquet.schema_arrow.names
        columns = [column.name for column in columns_of("items") if column.name in names]
        for piece in parquet.iter_batches(batch, columns=columns):
            yield piece, parquet.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        raise ShopError(f"items.parquet: not readable as Parquet ({error}); write the shop anew") from error


def as_items(piece: pa.RecordBatch) -> pd.DataFrame:
    """Rows in exactly the contract's columns and types.

    Raises:
        ShopError: they break the data contract.
    """
    try:
        return conform("items", piece.to_pandas(integer_object_nulls=True))
    except ShopError as error:
        raise ShopError(f"items.parquet: {error}; 'tasteprint validate' lists all that is wrong") from error


def write_ids(file: Path, ids: list[str]) -> str:
    """Write item ids as the one column of a Parquet file, synced; returns its sha256, which the ids decide."""
    pq.write_table(pa.table({"item_id": pa.array(ids, pa.string())}), file, compression="zstd")
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
    return sha256_of(file)


def read_texts(folder: Path, rows: Sequence[int]) -> list[str]:
    """Texts of some rows, as a `RowSpool` wrote them."""
    ends = np.memmap(folder / ENDS, dtype=np.int64, mode="r")
    texts = []
    with (folder / TEXTS).open("rb") as file:
        for row in rows:
            start = int(ends[row - 1]) if row else 0
            file.seek(start)
            texts.append(file.read(int(ends[row]) - start).decode())
    return texts


def row_keys(folder: Path) -> tuple[Keys, Keys]:
    """Hashes of the rows and keys of their texts, (n_items, 2) both, as a `RowSpool` wrote them."""
    hashes, keys = (np.fromfile(folder / name, dtype=np.uint64).reshape(-1, 2) for name in (HASHES, KEYS))
    return hashes, keys


class RowSpool:
    """Writes keys, texts and ids of rows one after another into a folder.

    Args:
        folder: exists, and is empty
        template: how an item becomes a text
        memo: keys that are known already; the texts of these rows are left empty
        shard_items: ids in a file
    """

    def __init__(self, folder: Path, template: TemplateConfig, memo: RowMemo, *, shard_items: int) -> None:
        self.n_items = 0
        self._folder, self._template, self._memo, self._shard_items = folder, template, memo, shard_items
        self._files = {name: (folder / name).open("wb") for name in (KEYS, HASHES, ENDS, TEXTS)}
        self._sums = {name: hashlib.sha256() for name in self._files}
        self._end = 0
        self._ids: list[str] = []
        self._shards: dict[str, str] = {}
        self._remembered: list[NDArray[np.bool_]] = []

    def __enter__(self) -> RowSpool:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()  # a no-op after `finish`

    def add(self, piece: pa.RecordBatch) -> None:
        """Append rows.

        Raises:
            ShopError: they break the data contract.
        """
        hashes = row_hashes(piece, self._template)
        known, known_keys = self._memo.find(hashes)
        fresh = np.flatnonzero(~known)
        texts = clean_texts(item_texts(as_items(piece.take(pa.array(fresh))), self._template))
        raw = [text.encode() for text in texts]
        keys: Keys = np.empty_like(hashes)
        keys[known], keys[fresh] = known_keys, text_keys(texts, "item")
        lengths = np.zeros(len(piece), dtype=np.int64)
        lengths[fresh] = [len(text) for text in raw]
        ends = self._end + np.cumsum(lengths)
        self._end = int(ends[-1]) if len(ends) else self._end
        written = {KEYS: keys.tobytes(), HASHES: hashes.tobytes(), ENDS: ends.tobytes(), TEXTS: b"".join(raw)}
        for name, content in written.items():
            self._files[name].write(content)
            self._sums[name].update(content)
        self._remembered.append(known)
        self._add_ids(piece)

    def remembered(self) -> NDArray[np.bool_]:
        """Which rows have no text here, because the memo knew their key, (n_items,)."""
        return np.concatenate([np.zeros(0, dtype=bool), *self._remembered])

    def finish(self) -> dict[str, str]:
        """Write what is left to the disk itself; sha256 of every file."""
        if self._ids:
            self._write_ids(len(self._ids))
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
            file.close()
        sync_folder(self._folder)
        return {name: digest.hexdigest() for name, digest in self._sums.items()} | self._shards

    def _add_ids(self, piece: pa.RecordBatch) -> None:
        """Take the ids of rows; of a remembered row they alone are checked."""
        required = [column.name for column in columns_of("items") if not column.null]
        self._ids += as_items(piece.select([name for name in required if name in piece.schema.names]))[
            "item_id"
        ].tolist()
        self.n_items += len(piece)
        while len(self._ids) >= self._shard_items:
            self._write_ids(self._shard_items)

    def _write_ids(self, n: int) -> None:
        file = self._folder / f"ids-{len(self._shards):05d}.parquet"
        self._shards[file.name] = write_ids(file, self._ids[:n])
        del self._ids[:n]
