"""Forgetting one shopper everywhere on this machine: the store, the workspace, the shop's files; and proving it.

Rows of theirs are removed, each file rewritten whole. What models learned from many shoppers at once stays until the
next build or training; the receipt lists those that saw this one. Backups, and copies elsewhere, are not reached.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .profiling.artefact import read_artefact, write_artefact
from .profiling.errors import ShopError
from .profiling.files import TEMPORARY, locked, write_whole
from .profiling.log import EventLog
from .profiling.shopper.profile import iso_time
from .retrieval.state import log_arrays, log_from_arrays
from .serving.store import ProfileStore
from .workspace import KIND

_LOG = "log__"
_LEAST_BYTES = 5  # shorter ids are found by chance in any binary file


@dataclass(frozen=True)
class Receipt:
    """What forgetting removed and what it leaves to do.

    Attributes:
        user_id: whom
        at: when, ISO 8601
        store_events, store_shown: rows removed from the store
        workspace_events: events removed from the workspace's log
        shop_rows: rows removed by file of the shop
        models: what learned from this shopper's events and has to be trained again to unlearn them
        found_in: files that still name the shopper; none is the proof
        remains: what is left to do, in words
    """

    user_id: str
    at: str | None
    store_events: int
    store_shown: int
    workspace_events: int
    shop_rows: dict[str, int]
    models: tuple[str, ...]
    found_in: tuple[str, ...]
    remains: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values by name."""
        return asdict(self)


def forget_user(user_id: str, workspace: Path, store: ProfileStore, shop: Path | None, *, now_s: float) -> Receipt:
    """Forget one shopper.

    Args:
        user_id: whom
        workspace: folder of the workspace
        store: what is kept live
        shop: the shop's folder, whose files are rewritten; None leaves them alone
        now_s: for the receipt, seconds since 1970 UTC

    Raises:
        ArtefactError: the workspace cannot be read or written.
        StoreError: the store cannot be written.
        ShopError: the shop cannot be rewritten.
    """
    removed = store.forget(user_id, at_us=round(now_s * 1e6))
    in_workspace = forget_in_workspace(workspace, user_id)
    rows = {} if shop is None else forget_in_shop(shop, user_id)
    models = _models(workspace) if in_workspace is not None else ()
    places = [workspace] if shop is None else [workspace, shop]
    found = tuple(str(file) for place in places for file in files_naming(place, user_id))
    remains = []
    if models:
        remains.append("build again, and train again what is named under models: they learned from this shopper")
    if shop is None and models:
        remains.append("the shop's own files were left alone: the next build reads them again")
    if not removed.purged:
        remains.append("the store's own log may hold old records until it is rewritten, which was asked for")
    return Receipt(
        user_id, iso_time(now_s), removed.events, removed.impressions, in_workspace or 0, rows, models, found,
        tuple(remains),
    )  # fmt: skip


def forget_in_workspace(workspace: Path, user_id: str) -> int | None:
    """Publish the workspace's model again without one shopper's row; events removed, None where there was no row.

    Raises:
        ArtefactError: it cannot be read or written.
    """
    held = read_artefact(workspace / "model", kind=KIND)
    shoppers = held.tables["shoppers"]
    gone = (shoppers["user_id"] == user_id).to_numpy(bool)
    tables = dict(held.tables)
    named = "users" in tables and bool((tables["users"]["user_id"] == user_id).any())
    if not gone.any() and not named:
        return None
    items = tables["items"]["item_id"].to_numpy(object)
    arrays = {name: array for name, array in held.arrays.items() if name.startswith(_LOG)}
    log = log_from_arrays(
        {n.removeprefix(_LOG): a for n, a in arrays.items()}, shoppers["user_id"].to_numpy(object), items
    )
    kept = _without(log, gone)
    tables["shoppers"] = shoppers[~gone].reset_index(drop=True)
    if "users" in tables:
        tables["users"] = tables["users"][tables["users"]["user_id"] != user_id].reset_index(drop=True)
    counts = {"events": len(kept), "shoppers": kept.n_users}
    meta = {**held.meta, "about": {**held.meta["about"], **counts}}
    write_artefact(
        workspace / "model",
        kind=KIND,
        stamp=held.stamp,
        inputs=held.inputs,
        arrays={**held.arrays, **{f"{_LOG}{name}": np.ascontiguousarray(a) for name, a in log_arrays(kept).items()}},
        tables=tables,
        meta=meta,
    )
    return len(log) - len(kept)


def _without(log: EventLog, gone: np.ndarray) -> EventLog:
    """A log without some users, (n_users,) bool: neither events nor rows."""
    kept = log.select(~gone[log.user()])
    counts = np.diff(kept.user_start)[~gone]
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return replace(kept, user_ids=log.user_ids[~gone], user_start=start)


def forget_in_shop(shop: Path, user_id: str) -> dict[str, int]:
    """Rewrite the files of a shop that have a ``user_id`` column, without one shopper; rows removed by file.

    Raises:
        ShopError: a file cannot be read or written.
    """
    removed: dict[str, int] = {}
    with locked(shop / f"{TEMPORARY}forget.lock"):
        for file in sorted(shop.rglob("*.parquet")):
            try:
                if n := _rewrite(file, user_id):
                    removed[file.relative_to(shop).as_posix()] = n
            except (OSError, pa.ArrowException) as error:
                raise ShopError(f"{file}: cannot be rewritten ({error}); free space and forget again") from error
        meta = shop / "shop.json"
        if removed and meta.is_file():
            said = json.loads(meta.read_text(encoding="utf-8"))
            for file_name, n in removed.items():
                name = file_name.removesuffix(".parquet")
                if isinstance(said.get("tables", {}).get(name), int):
                    said["tables"][name] -= n
            write_whole(meta, json.dumps(said, ensure_ascii=False, indent=1).encode())
    (shop / f"{TEMPORARY}forget.lock").unlink(missing_ok=True)
    return removed


def _rewrite(file: Path, user_id: str) -> int:
    """One Parquet file without a shopper's rows, read and written a row group at a time; rows removed."""
    with pq.ParquetFile(file) as source:
        if "user_id" not in source.schema_arrow.names:
            return 0
        column = pq.read_table(file, columns=["user_id"])["user_id"]
        n = int(pc.sum(pc.equal(column.cast(pa.string()), user_id)).as_py() or 0)
        if not n:
            return 0
        temporary = file.with_name(f"{TEMPORARY}{file.name}")
        with pq.ParquetWriter(temporary, source.schema_arrow, compression="zstd") as target:
            for group in range(source.num_row_groups):
                table = source.read_row_group(group)
                target.write_table(table.filter(pc.not_equal(table["user_id"].cast(pa.string()), user_id)))
    temporary.replace(file)
    return n


def _models(workspace: Path) -> tuple[str, ...]:
    """What of a workspace was learned from events: the published model, and what was trained."""
    trained = workspace / "trained"
    return ("model", *(sorted(f"trained/{entry.name}" for entry in trained.iterdir()) if trained.is_dir() else ()))


def files_naming(folder: Path, user_id: str) -> Iterator[Path]:
    """Files below a folder that name a shopper.

    Parquet files are searched by their ``user_id`` column, stores by key, and all but Parquet for the bytes of the id;
    bytes only where the id has five or more, since shorter ones stand in any binary file by chance.
    """
    wanted = user_id.encode()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if file.suffix == ".parquet":
            found = _in_parquet(file, user_id)
        else:
            found = file.suffix == ".sqlite" and _in_sqlite(file, user_id)
            found = found or (len(wanted) >= _LEAST_BYTES and _in_bytes(file, wanted))
        if found:
            yield file


def _in_parquet(file: Path, user_id: str) -> bool:
    with pq.ParquetFile(file) as source:
        text = [f.name for f in source.schema_arrow if f.name == "user_id" and not pa.types.is_nested(f.type)]
        if not text:
            return False
        found = source.read(columns=text)["user_id"].cast(pa.string())
        return bool(pc.any(pc.equal(found, user_id)).as_py())


def _in_sqlite(file: Path, user_id: str) -> bool:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        tables = ("events", "users", "shown")
        rows = (connection.execute(f"SELECT 1 FROM {t} WHERE user_id = ? LIMIT 1", (user_id,)) for t in tables)
        return any(row.fetchone() is not None for row in rows)


def _in_bytes(file: Path, wanted: bytes, *, chunk: int = 1 << 24) -> bool:
    """Whether a file has these bytes anywhere, read in pieces that overlap."""
    tail = b""
    with file.open("rb") as handle:
        while piece := handle.read(chunk):
            if wanted in tail + piece:
                return True
            tail = piece[-len(wanted) + 1 :]
    return False
