"""The `Shop` noun and its folder: read tables, write them whole or not at all.

Covers reading any subset of the tables, writing in one go (`write_shop`) and in pieces (`ShopWriter`, for
sources too large for memory). Telling *all* that is wrong with a folder is `validate`'s work, not this module's.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..errors import ShopError
from ..reviews.said import Said
from .schema import ARROW_TYPES, TABLES, Column, columns_of, conform

ROW_GROUP = 1 << 17


@dataclass(frozen=True, eq=False)
class Shop:
    """A shop's tables in memory, each with exactly the contract's columns; an absent table is None.

    Attributes:
        name: the shop's name, as in ``meta``
        items, events, users, judgements, labels: tables, see `schema.TABLES`; times are UTC without a zone
        meta: contents of ``shop.json``
        said: vectors of what was said in the rows of ``events``, where somebody has made them
    """

    name: str
    items: pd.DataFrame | None = None
    events: pd.DataFrame | None = None
    users: pd.DataFrame | None = None
    judgements: pd.DataFrame | None = None
    labels: pd.DataFrame | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    said: Said | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ShopError("name: expected a non-empty string; give the shop a name")
        for table, frame in self.tables().items():
            expected = [c.name for c in columns_of(table)]
            got = [str(c) for c in frame.columns]
            if got[: len(expected)] != expected or (table != "users" and len(got) > len(expected)):
                raise ShopError(
                    f"{table}: expected columns {expected}, got {got}; pass it through schema.conform first"
                )

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables that are there, by name."""
        return {name: frame for name in TABLES if (frame := getattr(self, name)) is not None}

    def table(self, name: str) -> pd.DataFrame:
        """One table, or an error that says what the shop has instead.

        Raises:
            ShopError: the shop has no such table.
        """
        columns_of(name)
        frame = getattr(self, name)
        if frame is None:
            raise ShopError(f"shop {self.name!r} has no {name} table; it has {', '.join(self.tables()) or 'none'}")
        return frame

    def item_rows(self, item_ids: pd.Series, where: str, *, remedy: str = "") -> NDArray[np.int64]:
        """Row in ``items`` of each item id, (n,).

        Args:
            item_ids: ids, none of them null
            where: the table they stand in, for the message
            remedy: what to do about an unknown one; empty = add it, or drop the rows that name it

        Raises:
            ShopError: an item is not in the catalogue.
        """
        rows = pd.Index(self.table("items")["item_id"]).get_indexer(item_ids).astype(np.int64)
        if (rows < 0).any():
            unknown = item_ids.to_numpy(object)[rows < 0][0]
            remedy = remedy or f"add the item or drop its {where}"
            raise ShopError(f"{where}: item_id {unknown!r} is not in items; {remedy}")
        return rows


def read_shop(path: str | Path, *, tables: Sequence[str] | None = None) -> Shop:
    """Read a shop folder; with ``tables`` only those (absent ones stay None).

    Absent columns that may be null are filled, types are brought to the contract's.

    Raises:
        ShopError: no ``shop.json``, an unreadable table, or a column that is absent or of another type.
    """
    folder = Path(path)
    meta = read_meta(folder)
    wanted = tuple(TABLES) if tables is None else tuple(tables)
    for table in wanted:
        columns_of(table)
    there = [t for t in wanted if (folder / f"{t}.parquet").is_file()]
    found: dict[str, Any] = {t: _read_table(folder / f"{t}.parquet", t) for t in there}
    return Shop(name=str(meta.get("name") or folder.resolve().name), meta=meta, **found)


def read_meta(path: str | Path) -> dict[str, Any]:
    """The contents of a shop folder's ``shop.json``.

    Raises:
        ShopError: the folder or the file is absent, or the file is not a JSON object.
    """
    file = Path(path) / "shop.json"
    if not file.is_file():
        raise ShopError(f"{path}: no shop.json here; expected a shop folder (make one with 'tasteprint import')")
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ShopError(f"{file}: not readable as JSON ({error}); write it anew") from error
    if not isinstance(meta, dict):
        raise ShopError(f"{file}: expected a JSON object, got {type(meta).__name__}")
    return meta


def read_extra(path: str | Path, name: str) -> pd.DataFrame:
    """One table under ``extra/``, outside the contract.

    Raises:
        ShopError: there is no such file.
    """
    file = Path(path) / "extra" / f"{name}.parquet"
    if not file.is_file():
        there = sorted(f.stem for f in file.parent.glob("*.parquet"))
        raise ShopError(f"{path}: no extra table {name!r}; there is {', '.join(there) or 'none'}")
    return pq.read_table(file).to_pandas()


def write_shop(
    shop: Shop, path: str | Path, *, extra: Mapping[str, pd.DataFrame] | None = None, overwrite: bool = False
) -> Path:
    """Write a shop folder whole or not at all: temporary folder, fsync, rename.

    Raises:
        ShopError: the folder exists and ``overwrite`` is false, or a table breaks the contract's types.
    """
    with ShopWriter(path, overwrite=overwrite) as writer:
        for name, frame in shop.tables().items():
            writer.add(name, frame)
        for name, frame in (extra or {}).items():
            writer.add_extra(name, frame)
        writer.finish({**shop.meta, "name": shop.name})
    return Path(path)


class ShopWriter:
    """Writes a shop in pieces into a temporary folder beside the target and swaps it in at the end.

    Use as a context manager; unless `finish` was called, leaving it removes everything written.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False) -> None:
        self.path = Path(path).absolute()
        self.overwrite = overwrite
        self._temp = self.path.parent / f".{self.path.name}.{os.getpid()}.tmp"
        self._files: dict[str, pq.ParquetWriter] = {}
        self._rows: dict[str, int] = {}
        self._extra: dict[str, int] = {}
        self._finished = False

    def __enter__(self) -> ShopWriter:
        if self.path.exists() and not self.overwrite:
            raise ShopError(f"{self.path}: exists already; choose another folder or overwrite it (--force)")
        if self.path.exists() and not self.path.is_dir():
            raise ShopError(f"{self.path}: is a file; choose the name of a folder")
        if self.path.exists() and any(self.path.iterdir()) and not (self.path / "shop.json").is_file():
            raise ShopError(f"{self.path}: holds files but no shop.json, so it is no shop; choose another folder")
        shutil.rmtree(self._temp, ignore_errors=True)
        self._temp.mkdir(parents=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for file in self._files.values():
            file.close()
        if not self._finished:
            shutil.rmtree(self._temp, ignore_errors=True)

    def add(self, table: str, frame: pd.DataFrame) -> None:
        """Append rows to a table; they are brought to the contract's columns and types.

        Raises:
            ShopError: a required column is absent or null, or a value cannot take its type.
        """
        frame = conform(table, frame)
        schema = arrow_schema(table, frame)
        if table not in self._files:
            self._files[table] = pq.ParquetWriter(self._temp / f"{table}.parquet", schema, compression="zstd")
            self._rows[table] = 0
        self._files[table].write_table(pa.Table.from_pandas(frame, schema, preserve_index=False), ROW_GROUP)
        self._rows[table] += len(frame)

    def add_extra(self, name: str, frame: pd.DataFrame | pa.Table) -> None:
        """Append rows to a table under ``extra/``, outside the contract; the first piece sets the types."""
        if isinstance(frame, pd.DataFrame):
            frame = pa.Table.from_pandas(frame, preserve_index=False)
        file = f"extra/{name}"
        if file not in self._files:
            (self._temp / "extra").mkdir(exist_ok=True)
            schema = pa.schema([f.with_type(_small(f.type)) for f in frame.schema])
            self._files[file] = pq.ParquetWriter(self._temp / f"{file}.parquet", schema, compression="zstd")
            self._extra[name] = 0
        self._files[file].write_table(frame.cast(self._files[file].schema), ROW_GROUP)
        self._extra[name] += len(frame)

    def rows(self) -> dict[str, int]:
        """Rows written so far, by table; files under ``extra/`` as ``extra/NAME``."""
        return {**self._rows, **{f"extra/{name}": rows for name, rows in self._extra.items()}}

    def finish(self, meta: Mapping[str, Any]) -> None:
        """Write ``shop.json`` (counts of tables are filled in) and publish the folder under its name."""
        for file in self._files.values():
            file.close()
        self._files.clear()
        full = {**meta, "tables": dict(self._rows)}
        if self._extra:
            full["extra"] = dict(self._extra)
        text = json.dumps(full, indent=1, ensure_ascii=False) + "\n"
        (self._temp / "shop.json").write_text(text, encoding="utf-8")
        for file in sorted(self._temp.rglob("*"), reverse=True):
            _fsync(file)
        _fsync(self._temp)
        self._swap()
        self._finished = True

    def _swap(self) -> None:
        old = self.path.parent / f".{self.path.name}.{os.getpid()}.old"
        if self.path.exists():
            os.rename(self.path, old)
        try:
            os.rename(self._temp, self.path)
        except OSError:
            if old.exists():
                os.rename(old, self.path)
            raise
        _fsync(self.path.parent)
        shutil.rmtree(old, ignore_errors=True)


def arrow_schema(table: str, frame: pd.DataFrame) -> pa.Schema:
    """The Parquet schema of a conformed frame: the contract's types; free columns of ``users`` are strings."""
    known = {c.name: c for c in columns_of(table)}
    columns = [known.get(str(name), Column(str(name), "string")) for name in frame.columns]
    return pa.schema([pa.field(c.name, ARROW_TYPES[c.type]) for c in columns])


def _read_table(file: Path, table: str) -> pd.DataFrame:
    try:
        parquet = pq.ParquetFile(file)
        names = parquet.schema_arrow.names
        columns = None if table == "users" else [c.name for c in columns_of(table) if c.name in names]
        frame = parquet.read(columns=columns).to_pandas(integer_object_nulls=True)
    except (OSError, pa.ArrowException) as error:
        raise ShopError(f"{file}: not readable as Parquet ({error}); write the shop anew") from error
    try:
        return conform(table, frame)
    except ShopError as error:
        raise ShopError(f"{file.name}: {error}; 'tasteprint validate' lists all that is wrong") from error


def _small(type_: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_large_string(type_) else type_


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
