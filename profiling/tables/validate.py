"""Everything a shop folder breaks in the data contract, as a list; never stops at the first.

Covers the tables: types, nulls, uniqueness, ranges, allowed words, JSON attributes and references between tables.
``shop.json`` is checked in `validate_meta`. Nothing is repaired here, and files under ``extra/`` are only counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..errors import ShopError
from .schema import ARROW_TYPES, CATEGORY_SEPARATOR, EVENT_KINDS, SPLITS, TABLES, TASKS, Column
from .validate_meta import meta_violations, read_meta_leniently
from .violation import Violation, attributes_problem, scale_limits

Mask = NDArray[np.bool_]


def validate_shop(path: str | Path) -> list[Violation]:
    """All violations of the data contract in a shop folder, file by file.

    Raises:
        ShopError: ``path`` is not a folder.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ShopError(f"{path}: not a folder; expected a shop folder with shop.json and Parquet tables")
    found: list[Violation] = []
    tables: dict[str, pa.Table] = {}
    for name in TABLES:
        if (folder / f"{name}.parquet").is_file():
            try:
                tables[name] = pq.read_table(folder / f"{name}.parquet", partitioning=None)
            except (OSError, pa.ArrowException) as error:
                found.append(Violation(f"{name}.parquet", None, None, "a readable Parquet file", str(error)[:200]))
    meta, problems = read_meta_leniently(folder)
    found += problems
    views = {name: _View(name, table) for name, table in tables.items()}
    for view in views.values():
        found += _column_violations(view)
    if meta is not None:
        found += meta_violations(folder, meta, {name: v.table for name, v in views.items()})
    rating_scale = (meta or {}).get("rating_scale")
    grade_scale = (meta or {}).get("grade_scale")
    checks = {
        "items": _items,
        "events": lambda v: _events(v, rating_scale),
        "users": lambda v: _unique(v, ("user_id",)),
        "judgements": lambda v: _judgements(v, grade_scale),
        "labels": _labels,
    }
    for name, view in views.items():
        found += checks[name](view)
    found += _references(views)
    return sorted(found, key=lambda v: (_FILE_ORDER.get(v.file, 9), v.row is not None, v.row or 0))


_FILE_ORDER = {"shop.json": 0, **{f"{name}.parquet": n for n, name in enumerate(TABLES, start=1)}}


class _View:
    """A table with typed access to its columns; a column of another type that does not convert reads as absent."""

    def __init__(self, name: str, table: pa.Table) -> None:
        self.name = name
        self.file = f"{name}.parquet"
        self.table = table
        self._cache: dict[str, pa.Array | None] = {}
        self.columns = {c.name: c for c in TABLES[name]}
        if name == "users":
            self.columns |= {n: Column(n, "string") for n in table.schema.names if n not in self.columns}

    def array(self, column: str) -> pa.Array | None:
        """The column in the contract's type, or None where it is absent or does not convert."""
        if column not in self._cache:
            self._cache[column] = self._convert(column)
        return self._cache[column]

    def _convert(self, column: str) -> pa.Array | None:
        if column not in self.table.schema.names:
            return None
        values = self.table.column(column).combine_chunks()
        wanted = ARROW_TYPES[self.columns[column].type]
        if wanted == pa.string():
            wanted = pa.large_string()
        try:
            return values if values.type == wanted else values.cast(wanted)
        except (pa.ArrowException, NotImplementedError):
            return None

    def numbers(self, column: str) -> NDArray[np.float64] | None:
        """A numeric column with NaN for null."""
        values = self.array(column)
        return None if values is None else np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False))

    def bad(self, column: str, mask: Mask, expected: str) -> Iterator[Violation]:
        """One violation for each row where ``mask`` (n_rows,) is true."""
        rows = np.flatnonzero(mask)
        if len(rows):
            got = self.table.column(column).combine_chunks().take(pa.array(rows)).to_pylist()
            for row, value in zip(rows.tolist(), got, strict=True):
                yield Violation(self.file, row, column, expected, _show(value))


def _show(value: Any) -> str:
    text = "null" if value is None else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _mask(values: pa.Array | pa.ChunkedArray) -> Mask:
    """A boolean Arrow array as numpy, null as False."""
    return np.asarray(pc.fill_null(values, False).to_numpy(zero_copy_only=False), dtype=bool)


def _column_violations(view: _View) -> Iterator[Violation]:
    """Absent and unknown columns, types, nulls, empty strings, NaN and infinity."""
    names = view.table.schema.names
    for name in names:
        if name not in view.columns:
            yield Violation(view.file, None, name, f"one of {', '.join(view.columns)}", "a column outside the contract")
        if names.count(name) > 1:
            yield Violation(view.file, None, name, "each column once", f"{names.count(name)} columns of that name")
            return
    for column in view.columns.values():
        if column.name not in names:
            if not column.null:
                yield Violation(view.file, None, column.name, f"a column of type {column.type}", "no such column")
            continue
        type_ = view.table.schema.field(column.name).type
        if not _type_fits(type_, column):
            expected = "timestamp[us] in UTC" if column.type == "timestamp" else column.type
            yield Violation(view.file, None, column.name, f"type {expected}", str(type_))
        yield from _value_violations(view, column)


def _type_fits(type_: pa.DataType, column: Column) -> bool:
    if column.type == "string":
        text = type_.value_type if pa.types.is_dictionary(type_) else type_
        return pa.types.is_string(text) or pa.types.is_large_string(text) or pa.types.is_string_view(text)
    if column.type == "timestamp":
        return pa.types.is_timestamp(type_) and type_.unit == "us" and type_.tz in (None, "UTC", "+00:00")
    return type_ == ARROW_TYPES[column.type] or (pa.types.is_null(type_) and column.null)


def _value_violations(view: _View, column: Column) -> Iterator[Violation]:
    raw = view.table.column(column.name)
    if not column.null and raw.null_count:
        yield from view.bad(column.name, _mask(raw.is_null()), "a value, not null")
    values = view.array(column.name)
    if values is None:
        return
    if column.type == "string":
        expected = "null or a non-empty string" if column.null else "a non-empty string"
        yield from view.bad(column.name, _mask(pc.equal(values, "")), expected)
    if column.type == "double":
        nan, inf = _mask(pc.is_nan(values)), _mask(pc.is_inf(values))
        yield from view.bad(column.name, nan | inf, "null or a finite number" if column.null else "a finite number")


def _unique(view: _View, columns: Sequence[str]) -> Iterator[Violation]:
    arrays = [a for c in columns if (a := view.array(c)) is not None]
    if len(arrays) < len(columns):
        return
    present = np.ones(len(view.table), dtype=bool)
    codes: dict[str, NDArray[np.int64]] = {}
    for name, array in zip(columns, arrays, strict=True):
        present &= ~_mask(array.is_null())
        ints = array.dictionary_encode().indices if pa.types.is_large_string(array.type) else array
        codes[name] = np.asarray(pc.fill_null(ints, 0).to_numpy(zero_copy_only=False), dtype=np.int64)
    repeated = pd.DataFrame(codes).duplicated(keep="first").to_numpy() & present
    scope = f" within one {columns[0]}" if len(columns) > 1 else ""
    yield from view.bad(columns[-1], repeated, f"a value that occurs once{scope}")


def _one_of(view: _View, column: str, allowed: Sequence[str]) -> Iterator[Violation]:
    values = view.array(column)
    if values is not None:
        known = _mask(pc.is_in(values, value_set=pa.array(list(allowed), type=values.type)))
        empty = _mask(values.is_null()) | _mask(pc.equal(values, ""))
        yield from view.bad(column, ~known & ~empty, f"one of {', '.join(allowed)}")


def _at_least(view: _View, column: str, least: float, but: Mask | None = None) -> Iterator[Violation]:
    numbers = view.numbers(column)
    if numbers is not None:
        low = numbers < least
        yield from view.bad(column, low if but is None else low & ~but, f"{least:g} or more")


def _items(view: _View) -> Iterator[Violation]:
    yield from _unique(view, ("item_id",))
    yield from _at_least(view, "price", 0)
    category = view.array("category")
    if category is not None:
        broken = pc.match_substring_regex(category, r"^\s*>|>\s*$|>\s*>|^\s+$")
        expected = f"a path without empty steps, joined by {CATEGORY_SEPARATOR!r}"
        yield from view.bad("category", _mask(broken), expected)
    attributes = view.array("attributes")
    if attributes is not None:
        for row, text in enumerate(attributes.to_pylist()):
            if text and (problem := attributes_problem(text)):
                expected = "a JSON object: name -> string, number or list of strings"
                yield Violation(view.file, row, "attributes", expected, problem)


def _events(view: _View, rating_scale: Any) -> Iterator[Violation]:
    yield from _one_of(view, "kind", EVENT_KINDS)
    yield from _unique(view, ("user_id", "seq"))
    kind = view.array("kind")
    if kind is not None:
        search = _mask(pc.equal(kind, "search"))
        yield from _required(
            view, "item_id", ~search & ~_mask(kind.is_null()), "an item_id: every kind but search has one"
        )
        yield from _required(view, "query", search, "a query: the kind is search")
    rating = view.numbers("rating")
    if rating is not None:
        thumbs = rating_scale == "0/1"
        outside = ~np.isin(rating, (0.0, 1.0)) if thumbs else (rating < 1) | (rating > 5)
        yield from view.bad("rating", outside & np.isfinite(rating), "0 or 1 (rating_scale)" if thumbs else "1 to 5")
    quantity = view.numbers("quantity")
    returned = None if quantity is None else quantity < 0
    yield from _at_least(view, "price", 0, but=returned)
    yield from _at_least(view, "position", 1)
    yield from _at_least(view, "dwell_s", 0)


def _required(view: _View, column: str, where: Mask, expected: str) -> Iterator[Violation]:
    values = view.array(column)
    if values is not None:
        yield from view.bad(column, _mask(values.is_null()) & where, expected)
    elif column not in view.table.schema.names and where.any():
        yield Violation(view.file, int(where.argmax()), column, expected, "no such column")


def _judgements(view: _View, grade_scale: Any) -> Iterator[Violation]:
    yield from _one_of(view, "split", SPLITS)
    grade, limits = view.numbers("grade"), scale_limits(grade_scale)
    if grade is not None and limits is not None:
        outside = (grade < limits[0]) | (grade > limits[1])
        yield from view.bad("grade", outside & np.isfinite(grade), f"{limits[0]:g} to {limits[1]:g} (grade_scale)")
    query, split = view.array("query"), view.array("split")
    if query is not None and split is not None:
        frame = pd.DataFrame({"query": query.to_pandas(), "split": split.to_pandas()})
        first = frame.groupby("query")["split"].transform("first")
        mixed = frame["split"].notna() & (frame["split"] != first)
        yield from view.bad(
            "split", mixed.to_numpy(bool), "the split of the query's first row: splits are disjoint by query"
        )


def _labels(view: _View) -> Iterator[Violation]:
    yield from _one_of(view, "task", TASKS)
    yield from _one_of(view, "split", SPLITS)


def _references(views: dict[str, _View]) -> Iterator[Violation]:
    items = views["items"].array("item_id") if "items" in views else None
    for name in ("events", "judgements"):
        if name not in views or (ids := views[name].array("item_id")) is None:
            continue
        if items is None:
            if len(ids) > ids.null_count:
                yield Violation("items.parquet", None, None, f"a table with the items {name} name", "none readable")
            continue
        dangling = ~_mask(pc.is_in(ids, value_set=items)) & ~_mask(ids.is_null()) & ~_mask(pc.equal(ids, ""))
        yield from views[name].bad("item_id", dangling, "an item_id of items.parquet")
