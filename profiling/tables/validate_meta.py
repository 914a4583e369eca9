"""Everything ``shop.json`` breaks in the data contract: keys, types, counts of rows and evaluation protocols.

Tables are checked in `validate`. Keys the contract does not name are allowed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .schema import EVENT_KINDS, META_REQUIRED, PROTOCOLS, SEARCH_MODES, TABLES
from .violation import Violation, scale_limits

_FILE = "shop.json"
Tables = Mapping[str, pa.Table]


def read_meta_leniently(folder: Path) -> tuple[dict[str, Any] | None, list[Violation]]:
    """Contents of ``shop.json``, or None and the violation that says why not."""
    file = folder / _FILE
    if not file.is_file():
        return None, [Violation(_FILE, None, None, "a JSON file", "no such file")]
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return None, [Violation(_FILE, None, None, "a JSON object", str(error))]
    if not isinstance(meta, dict):
        return None, [Violation(_FILE, None, None, "a JSON object", f"a JSON {type(meta).__name__}")]
    return meta, []


def meta_violations(folder: Path, meta: Mapping[str, Any], tables: Tables) -> list[Violation]:
    """Violations of ``meta``, given the tables that could be read."""
    found = [_bad(key, "a value for this key, or null", "no such key") for key in META_REQUIRED if key not in meta]
    found += _types(meta)
    found += _scales(meta, tables)
    found += _counts(folder, meta, tables)
    protocols = meta.get("protocols")
    if isinstance(protocols, dict):
        found += _protocols(meta, protocols, tables)
    return found


def _bad(key: str, expected: str, got: Any) -> Violation:
    return Violation(_FILE, None, key, expected, got if isinstance(got, str) else json.dumps(got, default=str))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_text_or_null(value: Any) -> bool:
    return value is None or _is_text(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_kinds(value: Any) -> bool:
    return isinstance(value, list) and all(k in EVENT_KINDS for k in value)


_KINDS = f"a list of kinds out of {', '.join(EVENT_KINDS)}"
META_RULES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_is_text, "a non-empty string"),
    "language": (_is_text_or_null, "a language code or null"),
    "currency": (_is_text_or_null, "a currency code or null"),
    "rating_scale": (lambda v: v is None or v in ("0/1", "1-5"), "'1-5', '0/1' or null"),
    "grade_scale": (lambda v: v is None or scale_limits(v) is not None, "a scale such as '1-3' or null"),
    "grade_gain": (_is_text_or_null, "a formula such as '2^grade-1' or null"),
    "relevant_from": (lambda v: v is None or _is_number(v), "a number"),
    "absolute_time": (lambda v: isinstance(v, bool), "true or false"),
    "licence": (_is_text_or_null, "a string"),
    "source": (_is_text_or_null, "a string"),
    "protocols": (lambda v: isinstance(v, dict), "an object"),
    "tables": (lambda v: isinstance(v, dict), "an object: table -> number of rows"),
    "extra": (lambda v: isinstance(v, dict), "an object: file under extra/ -> number of rows"),
    "untimed_kinds": (_is_kinds, _KINDS),
    "out_of_scope_label": (_is_text_or_null, "a label or null"),
}
"""Rule of each key: does a value fit, and what was expected."""


def _types(meta: Mapping[str, Any]) -> Iterator[Violation]:
    for key, (fits, expected) in META_RULES.items():
        if key in meta and not fits(meta[key]):
            yield _bad(key, expected, repr(meta[key]))


def _scales(meta: Mapping[str, Any], tables: Tables) -> Iterator[Violation]:
    events = tables.get("events")
    if meta.get("rating_scale") is None and events is not None and "rating" in events.schema.names:
        rated = len(events) - events.column("rating").null_count
        if rated:
            yield _bad("rating_scale", f"'1-5' or '0/1', as {rated} events have a rating", "null")
    if "judgements" in tables:
        for key in ("grade_scale", "grade_gain"):
            if key in meta and meta[key] is None:
                yield _bad(key, "a value, as the shop has judgements", "null")


def _counts(folder: Path, meta: Mapping[str, Any], tables: Tables) -> Iterator[Violation]:
    listed = meta.get("tables")
    if isinstance(listed, dict):
        for name in {**listed, **dict.fromkeys(tables)}:
            if name not in TABLES:
                yield _bad("tables", f"one of {', '.join(TABLES)}", str(name))
            elif name not in tables and not (folder / f"{name}.parquet").is_file():
                yield _bad("tables", f"the file {name}.parquet, which 'tables' names", "no such file")
            elif name not in listed:
                yield _bad("tables", f"{name!r}, as {name}.parquet is there", "no such key")
            elif name in tables and listed[name] != len(tables[name]):
                yield _bad("tables", f"{name}: {len(tables[name])} rows, as in the file", listed[name])
    extra = meta.get("extra", {})
    files = {f.stem: f for f in sorted((folder / "extra").glob("*.parquet"))}
    if isinstance(extra, dict):
        for name in {**extra, **files}:
            if name not in files:
                yield _bad("extra", f"the file extra/{name}.parquet, which 'extra' names", "no such file")
            elif name not in extra:
                yield _bad("extra", f"{name!r}, as extra/{name}.parquet is there", "no such key")
            elif (rows := _rows(files[name])) != extra[name]:
                yield _bad("extra", f"{name}: {rows} rows, as in the file", extra[name])


def _rows(file: Path) -> int | str:
    try:
        return int(pq.read_metadata(file).num_rows)
    except (OSError, pa.ArrowException):
        return "unreadable"


def _protocols(meta: Mapping[str, Any], protocols: Mapping[str, Any], tables: Tables) -> Iterator[Violation]:
    for name, settings in protocols.items():
        key = f"protocols.{name}"
        if name not in PROTOCOLS:
            yield _bad(key, f"one of {', '.join(PROTOCOLS)}", str(name))
        elif not isinstance(settings, dict):
            yield _bad(key, "an object", repr(settings))
        else:
            needs = "judgements" if name == "search" else "events"
            if needs not in tables:
                yield _bad(key, f"a shop with {needs}", f"no {needs}.parquet")
            yield from _kinds(key, settings)
            if name == "search":
                yield from _search(key, settings)
            if name == "time_split":
                yield from _time_split(key, settings, meta, tables.get("events"))
            least = settings.get("min_events", 1)
            if name == "leave_one_out" and not (isinstance(least, int) and least >= 1):
                yield _bad(f"{key}.min_events", "a whole number, 1 or more", repr(least))


def _kinds(key: str, settings: Mapping[str, Any]) -> Iterator[Violation]:
    if "kinds" in settings and not (_is_kinds(settings["kinds"]) and settings["kinds"]):
        yield _bad(f"{key}.kinds", _KINDS, repr(settings["kinds"]))


def _search(key: str, settings: Mapping[str, Any]) -> Iterator[Violation]:
    modes = settings.get("modes")
    if not isinstance(modes, list) or not modes or any(m not in SEARCH_MODES for m in modes):
        yield _bad(f"{key}.modes", f"a list out of {', '.join(SEARCH_MODES)}", repr(modes))
    if settings.get("relevant_from") is not None and not _is_number(settings["relevant_from"]):
        yield _bad(f"{key}.relevant_from", "a number", repr(settings["relevant_from"]))


def _time_split(
    key: str, settings: Mapping[str, Any], meta: Mapping[str, Any], events: pa.Table | None
) -> Iterator[Violation]:
    if meta.get("absolute_time") is False:
        yield _bad(key, "no time_split where absolute_time is false: times of users cannot be compared", "time_split")
    cuts: dict[str, datetime] = {}
    for name in ("valid_from", "test_from"):
        cut = _instant(settings.get(name))
        if cut is None:
            yield _bad(f"{key}.{name}", "an ISO 8601 time such as '2024-06-01T00:00:00Z'", repr(settings.get(name)))
        else:
            cuts[name] = cut
    if len(cuts) == 2 and cuts["valid_from"] >= cuts["test_from"]:
        yield _bad(f"{key}.test_from", f"a time after valid_from {settings['valid_from']}", str(settings["test_from"]))
    if events is None or "at" not in events.schema.names or not pa.types.is_timestamp(events.schema.field("at").type):
        return
    latest = pc.max(events.column("at").cast(pa.timestamp("us"), safe=False)).as_py()
    if "test_from" in cuts and latest is not None and cuts["test_from"] > latest.replace(tzinfo=UTC):
        yield _bad(f"{key}.test_from", f"a time up to the last event at {latest}", str(settings["test_from"]))


def _instant(text: Any) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
