"""One file of a shop's own export as a table of the contract, by one entry of the column map.

Reads csv, JSON lines and Parquet as text, then gives every column the contract's type. Joining tables, order of
events and ``shop.json`` are `table_files`' work.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd

from ..errors import ConfigError, ShopError
from ..tables.schema import CATEGORY_SEPARATOR, EVENT_KINDS, SPLITS, TABLES, TASKS, Column
from .base import placeholder_title
from .column_map import ItemsMap, TableMap, TimeMap
from .report import Ledger

_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
_ZONED = r"(?:Z|[+-]\d\d:?\d\d)$"
_WORDS = {"kind": EVENT_KINDS, "split": SPLITS, "task": TASKS}
_LEAST = {"position": 1, "dwell_s": 0}


def read_table(name: str, entry: TableMap, file: Path, ledger: Ledger) -> pd.DataFrame:
    """The rows of one file that the contract can hold; the others are counted.

    Raises:
        ShopError: the file is unreadable or lacks a column the map names.
        ConfigError: the map names a column the contract does not have, or leaves out a required one.
    """
    raw = _read_file(file, entry)
    ledger.read(file.name, len(raw))
    _check_names(name, entry, file, raw)
    columns = {c.name: c for c in TABLES[name]}
    out: dict[str, pd.Series] = {}
    for target, source in entry.columns.items():
        values = raw[source].replace(entry.words[target]) if target in entry.words else raw[source]
        column = columns.get(target, Column(target, "string"))
        out[target] = _typed(values, column, entry, f"{file.name}, {source}", ledger)
    for target, value in entry.constants.items():
        constant = pd.Series(str(value), index=raw.index, dtype="str")
        column = columns.get(target, Column(target, "string"))
        out[target] = _typed(constant, column, entry, f"map, {target}", ledger)
    if isinstance(entry, ItemsMap):
        if "category" in out and entry.category_separator:
            out["category"] = _paths(out["category"], entry.category_separator)
        if entry.attributes:
            out["attributes"] = _attributes(raw, entry)
    frame = _in_range(name, pd.DataFrame(out, index=raw.index), file.name, ledger)
    return _without_broken(name, frame, file.name, ledger)


def _read_file(file: Path, entry: TableMap) -> pd.DataFrame:
    """Every column as text without blanks around it, the map's null words as null."""
    kind = file.name.lower().removesuffix(".gz")
    try:
        if kind.endswith(".parquet"):
            frame = pd.read_parquet(file, dtype_backend="numpy_nullable")
        elif kind.endswith((".jsonl", ".ndjson")):
            frame = _read_json_lines(file)
        else:
            frame = pd.read_csv(
                file, sep=entry.separator, encoding=entry.encoding, dtype="str", na_values=[], keep_default_na=False
            )
    except (OSError, ValueError, LookupError) as error:
        raise ShopError(f"{file}: not readable ({error}); check the map's separator and encoding") from error
    columns = {str(name).strip(): frame[name].astype("str").str.strip() for name in frame.columns}
    return pd.DataFrame({name: text.mask(text.isin(list(entry.null))) for name, text in columns.items()})


def _read_json_lines(file: Path) -> pd.DataFrame:
    """Records as text, numbers in the very digits they are written with."""

    def text(value: object) -> str | None:
        return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    with (gzip.open if file.suffix.lower() == ".gz" else open)(file, "rt", encoding="utf-8") as lines:
        records = [json.loads(line, parse_int=str, parse_float=str) for line in lines if line.strip()]
    if not all(isinstance(r, dict) for r in records):
        raise ValueError("every line must be a JSON object")
    return pd.DataFrame([{name: text(value) for name, value in record.items()} for record in records])


def _check_names(name: str, entry: TableMap, file: Path, raw: pd.DataFrame) -> None:
    allowed = [c.name for c in TABLES[name]]
    strange = [c for c in (*entry.columns, *entry.constants) if c not in allowed and name != "users"]
    if strange:
        raise ConfigError(f"--map: {name} has no column {', '.join(strange)}; it may have {', '.join(allowed)}")
    given = {*entry.columns, *entry.constants}
    made = {"seq", "title"} if name in ("items", "events") else set()
    lacking = [c.name for c in TABLES[name] if not c.null and c.name not in given | made]
    if lacking:
        raise ConfigError(f"--map: {name} needs {', '.join(lacking)}; map it to a column or give it a constant")
    named = {*entry.columns.values(), *(entry.attributes.values() if isinstance(entry, ItemsMap) else ())}
    absent = sorted(named - set(raw.columns))
    if absent:
        raise ShopError(
            f"{file.name}: no column {', '.join(absent)}, which the map names; it has {', '.join(raw.columns)}"
        )


def _typed(values: pd.Series, column: Column, entry: TableMap, where: str, ledger: Ledger) -> pd.Series:
    """A text column in the contract's type; what does not convert is null and noted."""
    if column.type == "string":
        return values
    if column.type == "timestamp":
        out = parse_times(values, entry.time)
    else:
        numbers = values.str.replace(entry.decimal, ".", regex=False) if entry.decimal != "." else values
        out = pd.to_numeric(numbers, errors="coerce").astype("float64")
        out = out.mask(~np.isfinite(out))
        if column.type in ("int32", "int64"):
            out = out.mask((out != out.round()) | (out.abs() >= 2**31)).astype("Int64")
    lost = int((out.isna() & values.notna()).sum())
    if lost and column.null:
        ledger.note(f"{where}: {lost} values are no {column.type} and became null")
    return out


def parse_times(values: pd.Series, time: TimeMap) -> pd.Series:
    """Texts as UTC times without a zone, (n,); NaT where a text does not fit.

    Raises:
        ConfigError: no such time zone.

    >>> parse_times(pd.Series(["2024-07-01 12:00"]), TimeMap(zone="Europe/Berlin")).astype(str).tolist()
    ['2024-07-01 10:00:00']
    """
    if time.unit:
        numbers = pd.to_numeric(values, errors="coerce").astype("float64")
        seconds = numbers / {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[time.unit]
        seconds = seconds.mask(seconds.abs() > 3e10)
        return pd.to_datetime((seconds * 1e6).round(), unit="us").astype("datetime64[us]")
    try:
        zone = ZoneInfo(time.zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigError(f"--map: time.zone {time.zone!r} is unknown; use a name such as 'Europe/Berlin'") from error
    text = values.astype("str")
    zoned = text.str.contains(_ZONED, na=False) if not time.format else pd.Series("%z" in time.format, text.index)
    parts = []
    for has_zone in (True, False):
        part = text[zoned == has_zone]
        at = pd.to_datetime(part, format=time.format or "ISO8601", errors="coerce", utc=has_zone)
        if not has_zone:
            at = at.astype("datetime64[us]").dt.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward")
        parts.append(at.dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[us]"))
    return pd.concat(parts).reindex(values.index)


def _paths(category: pd.Series, separator: str) -> pd.Series:
    paths = [
        CATEGORY_SEPARATOR.join(s.strip() for s in text.split(separator) if s.strip())
        if isinstance(text, str)
        else None
        for text in category.tolist()
    ]
    return pd.Series(paths, index=category.index, dtype="str").replace("", None)


def _attributes(raw: pd.DataFrame, entry: ItemsMap) -> pd.Series:
    columns = {name: raw[source].tolist() for name, source in entry.attributes.items()}
    rows = []
    for row in range(len(raw)):
        texts = {name: values[row] for name, values in columns.items() if isinstance(values[row], str)}
        rows.append(attributes_json(texts, entry.list_separator) if texts else None)
    return pd.Series(rows, index=raw.index, dtype="str")


def attributes_json(texts: Mapping[str, str], list_separator: str = "") -> str:
    """Attribute texts as the contract's JSON: plain numbers become numbers, split texts lists.

    >>> attributes_json({"kg": "1.5", "code": "007", "sizes": "S|M"}, "|")
    '{"kg": 1.5, "code": "007", "sizes": ["S", "M"]}'
    """

    def value(text: str) -> str | float | list[str]:
        if list_separator and list_separator in text:
            return [part.strip() for part in text.split(list_separator) if part.strip()]
        return float(text) if _NUMBER.fullmatch(text) and len(text) < 16 else text

    return json.dumps({name: value(text) for name, text in texts.items()}, ensure_ascii=False)


def _in_range(name: str, frame: pd.DataFrame, source: str, ledger: Ledger) -> pd.DataFrame:
    """Numbers the contract forbids become null and are noted; a return may have a negative price."""
    frame = frame.copy()
    for column, least in {**_LEAST, "price": 0}.items():
        if column in frame and name in ("items", "events"):
            low = (frame[column] < least).fillna(False)
            if column == "price" and "quantity" in frame:
                low &= ~(frame["quantity"] < 0)
            if low.any():
                ledger.note(f"{source}: {int(low.sum())} of {column} are below {least} and became null")
                frame[column] = frame[column].mask(low)
    return frame


def _without_broken(name: str, frame: pd.DataFrame, source: str, ledger: Ledger) -> pd.DataFrame:
    """Rows the contract can hold; the others are counted by the first reason that fits."""
    absent = pd.Series(True, index=frame.index)
    reasons: list[tuple[str, pd.Series]] = [
        (f"no readable {c.name}", frame[c.name].isna())
        for c in TABLES[name]
        if not c.null and c.name in frame and (name, c.name) not in (("items", "title"), ("events", "seq"))
    ]
    for column, words in _WORDS.items():
        if column in frame:
            bad = ~frame[column].isin(list(words)) & frame[column].notna()
            reasons.append((f"{column} is not one of {', '.join(words)}", bad))
    if name == "events":
        search = frame["kind"] == "search"
        reasons.append(("no item_id", ~search & (frame["item_id"].isna() if "item_id" in frame else absent)))
        reasons.append(("a search without query", search & (frame["query"].isna() if "query" in frame else absent)))
    if name in ("items", "users"):
        key = TABLES[name][0].name
        reasons.append((f"same {key} again", frame.duplicated(key)))
    good = absent.copy()
    for reason, bad in reasons:
        ledger.drop(source, reason, int((bad & good).sum()))
        good &= ~bad
    frame = frame[good].reset_index(drop=True)
    return _titled(frame, source, ledger) if name == "items" else frame


def _titled(frame: pd.DataFrame, source: str, ledger: Ledger) -> pd.DataFrame:
    title = frame["title"] if "title" in frame else pd.Series(None, index=frame.index, dtype="str")
    if title.isna().any():
        ledger.note(f"{source}: {int(title.isna().sum())} items have no title; it is only 'Item ID'")
    bare = pd.Series([placeholder_title(i) for i in frame["item_id"]], index=frame.index, dtype="str")
    return frame.assign(title=title.fillna(bare))
