"""The data contract as values: which tables, columns, types and words a shop may hold.

Covers names, types and allowed values only. Reading and writing is `shop`'s work, checking is `validate`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import pyarrow as pa

from ..errors import ShopError

ColumnType = Literal["string", "double", "int32", "int64", "timestamp"]
TableName = Literal["items", "events", "users", "judgements", "labels"]

ARROW_TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "double": pa.float64(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "timestamp": pa.timestamp("us"),
}
"""Type of each column on disk; times are UTC without a zone."""

PANDAS_TYPES: Mapping[tuple[str, bool], str] = {
    ("string", True): "str",
    ("string", False): "str",
    ("double", True): "float64",
    ("double", False): "float64",
    ("int32", True): "Int32",
    ("int32", False): "int32",
    ("int64", True): "Int64",
    ("int64", False): "int64",
    ("timestamp", True): "datetime64[us]",
    ("timestamp", False): "datetime64[us]",
}
"""Type in memory of (column type, may be null); null is NaN, NaT or NA."""


@dataclass(frozen=True)
class Column:
    """One column of a table: its type on disk and whether it may be null."""

    name: str
    type: ColumnType
    null: bool = True

    @property
    def dtype(self) -> Any:
        """The pandas dtype that holds this column."""
        return PANDAS_TYPES[self.type, self.null]


TABLES: Mapping[str, tuple[Column, ...]] = {
    "items": (
        Column("item_id", "string", False),
        Column("title", "string", False),
        Column("description", "string"),
        Column("brand", "string"),
        Column("category", "string"),
        Column("price", "double"),
        Column("created_at", "timestamp"),
        Column("image_url", "string"),
        Column("attributes", "string"),
    ),
    "events": (
        Column("user_id", "string", False),
        Column("kind", "string", False),
        Column("at", "timestamp", False),
        Column("seq", "int64", False),
        Column("item_id", "string"),
        Column("query", "string"),
        Column("text", "string"),
        Column("rating", "double"),
        Column("quantity", "double"),
        Column("price", "double"),
        Column("session_id", "string"),
        Column("position", "int32"),
        Column("scene", "string"),
        Column("device", "string"),
        Column("place", "string"),
        Column("dwell_s", "double"),
    ),
    "users": (Column("user_id", "string", False),),
    "judgements": (
        Column("query", "string", False),
        Column("item_id", "string", False),
        Column("grade", "double", False),
        Column("split", "string"),
    ),
    "labels": (
        Column("text", "string", False),
        Column("label", "string", False),
        Column("task", "string", False),
        Column("split", "string"),
    ),
}
"""Columns of each table in order. ``users`` may have any further columns, all strings."""

EVENT_KINDS: tuple[str, ...] = ("impression", "click", "view", "search", "cart", "purchase", "review", "own")
SPLITS: tuple[str, ...] = ("train", "valid", "test")
TASKS: tuple[str, ...] = ("intent", "sentiment", "category")
PROTOCOLS: tuple[str, ...] = ("leave_one_out", "time_split", "search")
SEARCH_MODES: tuple[str, ...] = ("rerank", "full")
CATEGORY_SEPARATOR = " > "

META_REQUIRED: tuple[str, ...] = (
    "name",
    "language",
    "currency",
    "rating_scale",
    "grade_scale",
    "grade_gain",
    "absolute_time",
    "licence",
    "source",
    "protocols",
    "tables",
)
"""Keys every ``shop.json`` has; some may be null."""

META_OPTIONAL: tuple[str, ...] = (
    "extra",
    "relevant_from",
    "untimed_kinds",
    "time_resolution",
    "users_with_absolute_time",
    "out_of_scope_label",
    "users",
)


def columns_of(table: str) -> tuple[Column, ...]:
    """The contract's columns of a table.

    Raises:
        ShopError: no such table in the contract.

    >>> [c.name for c in columns_of("judgements")]
    ['query', 'item_id', 'grade', 'split']
    """
    if table not in TABLES:
        raise ShopError(f"table: {table!r} is not one of {', '.join(TABLES)}")
    return TABLES[table]


def conform(table: str, frame: pd.DataFrame) -> pd.DataFrame:
    """A frame with exactly the contract's columns, in order and in the contract's dtypes.

    Absent columns that may be null are filled with nulls, and "" in such a column becomes null.
    Columns the contract does not know are left out, but for ``users``, where they are kept as strings.

    Raises:
        ShopError: a required column is absent or null, or a value cannot take the column's type.

    >>> bare = pd.DataFrame({"task": ["intent"], "text": ["hi"], "label": ["greet"], "note": ["x"]})
    >>> list(conform("labels", bare).columns)
    ['text', 'label', 'task', 'split']
    """
    wanted = columns_of(table)
    if table == "users":
        known = {c.name for c in wanted}
        wanted = (*wanted, *(Column(str(n), "string") for n in frame.columns if n not in known))
    return pd.DataFrame(
        {c.name: _conform_column(table, c, frame) for c in wanted},
        index=pd.RangeIndex(len(frame)),
    )


def _conform_column(table: str, column: Column, frame: pd.DataFrame) -> pd.Series:
    where = f"{table}.{column.name}"
    if column.name not in frame:
        if not column.null:
            raise ShopError(
                f"{where}: the column is absent but may not be null; got columns {', '.join(frame.columns)}"
            )
        return pd.Series([None] * len(frame), dtype="object").astype(column.dtype)
    values = frame[column.name].reset_index(drop=True)
    try:
        values = _cast(values, column)
    except (TypeError, ValueError, OverflowError) as error:
        raise ShopError(
            f"{where}: expected {column.type}, got {values.dtype} that does not convert ({error})"
        ) from error
    if not column.null and values.isna().any():
        row = int(values.isna().to_numpy().argmax())
        raise ShopError(f"{where}: row {row} is null but the column may not be; drop the row or give it a value")
    return values


def _cast(values: pd.Series, column: Column) -> pd.Series:
    if column.type == "timestamp":
        if values.isna().all():
            return pd.Series(pd.NaT, index=values.index, dtype=column.dtype)
        if pd.api.types.is_numeric_dtype(values.dtype):
            raise TypeError("a number has no unit of time")
        if isinstance(values.dtype, pd.DatetimeTZDtype):
            values = values.dt.tz_convert("UTC").dt.tz_localize(None)
        return pd.to_datetime(values).astype(column.dtype)
    if column.type == "string":
        if pd.api.types.is_float_dtype(values.dtype) and values.notna().any():
            raise TypeError("floating point numbers make bad strings: 12 would become '12.0'")
        values = values.astype("str")
        return values.mask(values == "") if column.null else values
    if column.type == "double":
        return pd.to_numeric(values).astype("float64")
    if not column.null and values.isna().any():
        return values
    return pd.to_numeric(values).astype(column.dtype)
