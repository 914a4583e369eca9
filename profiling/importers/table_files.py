"""The ``csv`` importer: any shop's own exports (csv, JSON lines or Parquet, plain or gzipped) by a column map in TOML.

Tables are read whole, so they must fit in memory. Rows the contract cannot hold are counted and left out; a value that
does not convert becomes null and is noted. The map is described in `column_map`, one file is read in `table_read`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import ConfigError, ShopError
from ..tables.schema import TABLES
from ..tables.shop import ShopWriter
from .base import Importer, ImportRequest, placeholder_title, pseudonyms, rank_in_user, shop_meta, time_split_at
from .column_map import ColumnMap, ShopKeys, TableMap, read_column_map
from .report import Ledger
from .table_read import read_table

_SOURCE = "_source"
"""While tables are joined, the name of the file each row is from."""

_STRONG_KINDS = ("purchase", "review", "own", "cart")
"""Kinds that say what a shopper wants; the first that occurs is what protocols predict."""


def _run(request: ImportRequest, writer: ShopWriter, ledger: Ledger) -> Mapping[str, Any]:
    folder = request.need_source("the folder with the files the map names")
    if request.column_map is None:
        raise ConfigError("--map: expected a TOML file that names the columns, got nothing; see configs/import")
    column_map = read_column_map(request.column_map)
    tables = _read_tables(column_map, folder, request, ledger)
    if not tables:
        raise ConfigError(f"--map: {request.column_map} names no table; give at least one of {', '.join(TABLES)}")
    tables = _joined(tables, column_map.shop, ledger)
    for name in TABLES:
        if name in tables:
            writer.add(name, tables[name].drop(columns=_SOURCE))
    return _meta(column_map.shop, tables)


def _read_tables(
    column_map: ColumnMap, folder: Path, request: ImportRequest, ledger: Ledger
) -> dict[str, pd.DataFrame]:
    """All tables the map names; rows remember their file."""
    entries: dict[str, tuple[TableMap, ...]] = {"events": column_map.events}
    entries |= {n: (e,) for n in TABLES if n != "events" and (e := getattr(column_map, n)) is not None}
    jobs = [(name, entry) for name in TABLES for entry in entries.get(name, ())]
    found: dict[str, list[pd.DataFrame]] = {}
    for done, (name, entry) in enumerate(jobs, start=1):
        files = [folder] if folder.is_file() else sorted(folder.glob(entry.file))
        if not files:
            raise ShopError(f"--from: no file {entry.file!r} in {folder}, which the map names for {name}")
        for file in files:
            frame = read_table(name, entry, file, ledger)
            found.setdefault(name, []).append(frame.assign(**{_SOURCE: file.name}))
        request.progress("reading", done / len(jobs))
    return {name: pd.concat(frames, ignore_index=True) for name, frames in found.items()}


def _joined(tables: dict[str, pd.DataFrame], shop: ShopKeys, ledger: Ledger) -> dict[str, pd.DataFrame]:
    """Tables that fit each other: known items only, events numbered, ids unique over all files."""
    tables = dict(tables)
    for name in ("items", "users"):
        if name in tables:
            repeated = tables[name].duplicated(TABLES[name][0].name)
            tables[name] = _drop(tables[name], repeated, "same id in an earlier file", ledger)
    if "events" in tables:
        tables["events"] = _rated(tables["events"], shop, ledger)
    tables = _with_known_items(tables, shop, ledger)
    if "events" in tables:
        tables["events"] = _numbered(tables["events"])
    for name in ("events", "users"):
        if shop.pseudonyms and name in tables:
            users = pseudonyms(tables[name]["user_id"].tolist(), salt=shop.name)
            tables[name] = tables[name].assign(user_id=users)
    return tables


def _drop(frame: pd.DataFrame, bad: pd.Series, reason: str, ledger: Ledger) -> pd.DataFrame:
    for source, rows in frame.loc[bad, _SOURCE].value_counts().items():
        ledger.drop(str(source), reason, int(rows))
    return frame[~bad].reset_index(drop=True)


def _rated(events: pd.DataFrame, shop: ShopKeys, ledger: Ledger) -> pd.DataFrame:
    if "rating" not in events or not events["rating"].notna().any():
        return events
    if shop.rating_scale is None:
        raise ConfigError("--map: events have ratings; set shop.rating_scale to '1-5' or '0/1'")
    rating = events["rating"]
    fits = rating.isin([0.0, 1.0]) if shop.rating_scale == "0/1" else rating.between(1, 5)
    outside = ~fits & rating.notna()
    if outside.any():
        ledger.note(f"events: {int(outside.sum())} ratings are outside {shop.rating_scale} and became null")
    return events.assign(rating=rating.mask(outside))


def _with_known_items(tables: dict[str, pd.DataFrame], shop: ShopKeys, ledger: Ledger) -> dict[str, pd.DataFrame]:
    """Rows of items that are not listed are dropped, or the items are added without a real title."""
    naming = [n for n in ("events", "judgements") if n in tables and "item_id" in tables[n]]
    known = tables["items"]["item_id"] if "items" in tables else pd.Series([], dtype="str")
    if shop.unknown_items == "drop":
        if naming and "items" not in tables:
            raise ConfigError("--map: no items; map them, or set shop.unknown_items = 'add' to make them from events")
        for name in naming:
            item = tables[name]["item_id"]
            tables[name] = _drop(tables[name], item.notna() & ~item.isin(known), "item is not listed", ledger)
        return tables
    named = pd.concat([known.iloc[:0], *(tables[n]["item_id"].dropna() for n in naming)])
    new = sorted(set(named.unique()) - set(known))
    if new:
        ledger.note(f"{len(new)} items are not listed and were added: their title is only 'Item ID'")
        bare = pd.DataFrame({"item_id": new, "title": [placeholder_title(i) for i in new], _SOURCE: ""})
        tables["items"] = pd.concat([tables["items"], bare], ignore_index=True) if "items" in tables else bare
    return tables


def _numbered(events: pd.DataFrame) -> pd.DataFrame:
    """Events sorted by user, time, the file's own sequence where it has one, and row; ``seq`` counts from 0."""
    user, _ = pd.factorize(events["user_id"], sort=True)
    at = events["at"].to_numpy("datetime64[us]").astype(np.int64)
    given = events["seq"].fillna(0).to_numpy(np.int64) if "seq" in events else np.zeros(len(events), np.int64)
    order = np.lexsort((np.arange(len(events)), given, at, user))
    seq = rank_in_user(user, order)
    return events.assign(seq=seq).iloc[order].reset_index(drop=True)


def _meta(shop: ShopKeys, tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    protocols = dict(shop.protocols) or _protocols(tables)
    known = shop.model_dump(exclude={"name", "source", "licence", "protocols", "pseudonyms", "unknown_items"})
    source, licence = shop.source or "the shop's own export", shop.licence or "the shop's own data"
    return shop_meta(shop.name, source=source, licence=licence, protocols=protocols, **known)


def _protocols(tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Protocols that the tables allow: what is predicted is the strongest kind of event there is."""
    protocols: dict[str, Any] = {}
    if "events" in tables:
        events = tables["events"]
        kinds = [k for k in _STRONG_KINDS if (events["kind"] == k).any()][:1] or ["click", "view"]
        at_s = events.loc[events["kind"].isin(kinds), "at"].to_numpy("datetime64[us]").astype(np.int64) / 1e6
        protocols = {"leave_one_out": {"kinds": kinds}, **time_split_at(at_s, kinds)}
    if "judgements" in tables:
        protocols["search"] = {"modes": ["rerank", "full"]}
    return protocols


IMPORTER = Importer(
    summary="a shop's own exports: csv, JSON lines or Parquet, with a column map in TOML",
    source="the folder with the files the map names",
    options=frozenset({"column_map"}),
    run=_run,
)
