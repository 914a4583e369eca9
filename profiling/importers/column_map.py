"""The column map of the ``csv`` importer: which file and column of a shop's export is which column of the contract.

Written as TOML; ``configs/import/`` has a ready one. This module only describes and reads the map; `table_files`
uses it.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import ConfigError


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TimeMap(_Strict):
    """How a table writes its times."""

    format: str = Field(default="", description="strptime format such as '%d/%m/%Y %H:%M'; empty means ISO 8601")
    unit: Literal["", "s", "ms", "us", "ns"] = Field(default="", description="for numbers: units since 1970 UTC")
    zone: str = Field(default="UTC", description="zone of times that name none, such as 'Europe/Berlin'")


class TableMap(_Strict):
    """One file (or several of one form) that fills a table."""

    file: str = Field(description="name or pattern such as 'orders-*.csv' inside --from; .gz, .parquet and .jsonl too")
    columns: dict[str, str] = Field(description="contract column -> column of the file")
    constants: dict[str, str | int | float] = Field(default={}, description="contract column -> value of every row")
    words: dict[str, dict[str, str]] = Field(default={}, description="contract column -> {word of the file: our word}")
    separator: str = Field(default=",", min_length=1, description="between the fields of a csv file")
    encoding: str = Field(default="utf-8", description="of a csv file")
    decimal: str = Field(default=".", min_length=1, max_length=1, description="decimal mark of numbers")
    null: tuple[str, ...] = Field(default=("", "NULL", "null", "NaN", "nan", "N/A"), description="words for no value")
    time: TimeMap = Field(default=TimeMap(), description="how times are written")


class ItemsMap(TableMap):
    """The file of items."""

    attributes: dict[str, str] = Field(default={}, description="attribute name -> column of the file")
    list_separator: str = Field(default="", description="splits attribute texts into lists where given")
    category_separator: str = Field(default="", description="between the steps of the file's category paths")


class ShopKeys(_Strict):
    """What ``shop.json`` says that no table can tell."""

    name: str = Field(min_length=1, description="the shop's name")
    language: str | None = Field(default=None, description="language code of titles and texts")
    currency: str | None = Field(default=None, description="currency code of prices")
    rating_scale: Literal["1-5", "0/1"] | None = Field(default=None, description="scale of ratings")
    grade_scale: str | None = Field(default=None, description="scale of grades, such as '0-3'")
    grade_gain: str | None = Field(default=None, description="gain of a grade, such as '2^grade-1'")
    relevant_from: float | None = Field(default=None, description="least grade that counts as relevant")
    licence: str | None = Field(default=None, description="who may do what with the data")
    source: str | None = Field(default=None, description="where the data come from")
    time_resolution: str | None = Field(default=None, description="second, minute, day...")
    protocols: dict[str, dict[str, Any]] = Field(
        default={}, description="evaluation protocols; empty: chosen by the data"
    )
    pseudonyms: bool = Field(default=False, description="replace user ids by pseudonyms")
    unknown_items: Literal["drop", "add"] = Field(default="drop", description="events and grades of items not listed")


class ColumnMap(_Strict):
    """The whole map."""

    shop: ShopKeys = Field(description="contents of shop.json")
    items: ItemsMap | None = Field(default=None, description="the file of items")
    events: tuple[TableMap, ...] = Field(default=(), description="files of events, one entry a kind of file")
    users: TableMap | None = Field(default=None, description="the file of users; any columns")
    judgements: TableMap | None = Field(default=None, description="the file of graded query-item pairs")
    labels: TableMap | None = Field(default=None, description="the file of labelled sentences")


def read_column_map(file: Path) -> ColumnMap:
    """Read and check a column map.

    Raises:
        ConfigError: the file is absent, no TOML, or has an unknown key or a bad value; all are named.
    """
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--map: cannot read {file} ({error.strerror}); name a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--map: {file} is not TOML ({error})") from error
    try:
        return ColumnMap.model_validate(data)
    except ValidationError as error:
        wrong = [f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}, got {e['input']!r}" for e in error.errors()]
        raise ConfigError(f"--map: {file} has {len(wrong)} faults:\n  " + "\n  ".join(wrong)) from error
