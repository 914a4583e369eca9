"""Each rule of the contract broken once by hand; the validator must name exactly that file, row and column."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasteprint.profiling.errors import ShopError
from tasteprint.profiling.tables.schema import META_REQUIRED
from tasteprint.profiling.tables.shop import write_shop
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.profiling.tables.validate import validate_shop
from tasteprint.profiling.tables.validate_meta import META_RULES

Shops = Callable[[str], Path]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tiny_shop(), tmp_path_factory.mktemp("clean") / "shop")


@pytest.fixture
def folder(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "shop"))


def put(folder: Path, table: str, changes: dict[tuple[int, str], Any]) -> None:
    """Set single cells of a table, keeping the column types."""
    file = folder / f"{table}.parquet"
    whole = pq.read_table(file)
    columns = {name: whole.column(name).to_pylist() for name in whole.schema.names}
    for (row, column), value in changes.items():
        columns[column][row] = value
    pq.write_table(pa.table(columns, schema=whole.schema), file)


def retype(folder: Path, table: str, column: str, type_: pa.DataType) -> None:
    file = folder / f"{table}.parquet"
    whole = pq.read_table(file)
    at = whole.schema.get_field_index(column)
    pq.write_table(whole.set_column(at, column, whole.column(column).cast(type_)), file)


def edit_meta(folder: Path, **changes: Any) -> None:
    meta = json.loads((folder / "shop.json").read_text())
    (folder / "shop.json").write_text(json.dumps({**meta, **changes}))


def found(folder: Path) -> list[tuple[str, int | None, str | None]]:
    return [(v.file, v.row, v.column) for v in validate_shop(folder)]


KIND = tiny_shop().table("events")["kind"].tolist()


ITEM_EVENT = KIND.index("view")
SEARCH = KIND.index("search")
REVIEW = KIND.index("review")
SAME_QUERY = 1  # rows 0 and 1 of judgements share a query


def test_a_clean_shop_has_no_violations(folder: Path) -> None:
    assert validate_shop(folder) == []


@pytest.mark.parametrize(
    ("table", "row", "column", "value"),
    [
        ("items", 3, "item_id", "i000"),
        ("items", 3, "title", ""),
        ("items", 3, "title", None),
        ("items", 3, "brand", ""),
        ("items", 3, "price", -0.01),
        ("items", 3, "price", float("nan")),
        ("items", 3, "price", float("inf")),
        ("items", 3, "category", "Food >  > Tea"),
        ("items", 3, "category", "Food > "),
        ("items", 3, "attributes", "{colour: red}"),
        ("items", 3, "attributes", "[1]"),
        ("items", 3, "attributes", '{"a": null}'),
        ("items", 3, "attributes", '{"a": true}'),
        ("items", 3, "attributes", '{"a": {"b": 1}}'),
        ("items", 3, "attributes", '{"a": [1]}'),
        ("items", 3, "attributes", '{"a": NaN}'),
        ("items", 3, "attributes", '{"": 1}'),
        ("events", ITEM_EVENT, "user_id", ""),
        ("events", ITEM_EVENT, "user_id", None),
        ("events", ITEM_EVENT, "kind", "viewed"),
        ("events", ITEM_EVENT, "kind", None),
        ("events", ITEM_EVENT, "at", None),
        ("events", ITEM_EVENT, "seq", None),
        ("events", ITEM_EVENT, "seq", 0),
        ("events", ITEM_EVENT, "item_id", None),
        ("events", ITEM_EVENT, "item_id", "stranger"),
        ("events", ITEM_EVENT, "session_id", ""),
        ("events", SEARCH, "query", None),
        ("events", SEARCH, "query", ""),
        ("events", REVIEW, "rating", 0.5),
        ("events", REVIEW, "rating", 5.5),
        ("events", REVIEW, "rating", float("nan")),
        ("events", REVIEW, "quantity", float("-inf")),
        ("events", REVIEW, "price", -1.0),
        ("events", REVIEW, "position", 0),
        ("events", REVIEW, "dwell_s", -1.0),
        ("users", 2, "user_id", "u000"),
        ("users", 2, "user_id", None),
        ("users", 2, "income_band", ""),
        ("judgements", 5, "query", ""),
        ("judgements", 5, "item_id", "stranger"),
        ("judgements", 5, "grade", None),
        ("judgements", 5, "grade", 3.5),
        ("judgements", SAME_QUERY, "split", "test"),
        ("judgements", 5, "split", "dev"),
        ("labels", 5, "text", ""),
        ("labels", 5, "label", None),
        ("labels", 5, "task", "mood"),
        ("labels", 5, "split", "dev"),
    ],
)
def test_one_bad_cell_is_one_violation(folder: Path, table: str, row: int, column: str, value: object) -> None:
    put(folder, table, {(row, column): value})
    expected = (f"{table}.parquet", row, column)
    got = found(folder)
    assert expected in got
    # A changed id or split word may break further rules; nothing outside this table's columns may be blamed.
    assert len(got) <= 2 or column in {"item_id", "split"}


def test_all_are_listed_not_the_first(folder: Path) -> None:
    put(folder, "items", {(0, "price"): -1.0, (1, "price"): -2.0, (2, "title"): ""})
    put(folder, "labels", {(0, "task"): "mood"})
    assert found(folder) == [
        ("items.parquet", 0, "price"),
        ("items.parquet", 1, "price"),
        ("items.parquet", 2, "title"),
        ("labels.parquet", 0, "task"),
    ]


def test_a_return_may_have_a_negative_price(folder: Path) -> None:
    put(folder, "events", {(REVIEW, "quantity"): -1.0, (REVIEW, "price"): -4.0})
    assert found(folder) == []


def test_thumbs(folder: Path) -> None:
    edit_meta(folder, rating_scale="0/1")
    ratings = pq.read_table(folder / "events.parquet").column("rating").to_pylist()
    expected = [n for n, r in enumerate(ratings) if r is not None and r != 1]
    assert found(folder) == [("events.parquet", n, "rating") for n in expected]


@pytest.mark.parametrize(
    ("table", "column", "type_"),
    [
        ("items", "price", pa.float32()),
        ("events", "at", pa.timestamp("ms")),
        ("events", "at", pa.timestamp("us", "Europe/Paris")),
        ("events", "seq", pa.int32()),
        ("events", "position", pa.int64()),
        ("judgements", "grade", pa.int64()),
    ],
)
def test_wrong_types(folder: Path, table: str, column: str, type_: pa.DataType) -> None:
    retype(folder, table, column, type_)
    assert found(folder) == [(f"{table}.parquet", None, column)]


@pytest.mark.parametrize(
    ("table", "column", "type_"),
    [
        ("items", "title", pa.large_string()),
        ("items", "brand", pa.dictionary(pa.int32(), pa.string())),
        ("events", "at", pa.timestamp("us", "UTC")),
    ],
)
def test_types_that_say_the_same(folder: Path, table: str, column: str, type_: pa.DataType) -> None:
    retype(folder, table, column, type_)
    assert found(folder) == []


def test_a_wrong_type_does_not_hide_other_faults(folder: Path) -> None:
    put(folder, "items", {(4, "price"): -3.0})
    retype(folder, "items", "price", pa.string())
    assert found(folder) == [("items.parquet", None, "price"), ("items.parquet", 4, "price")]


def test_columns(folder: Path) -> None:
    file = folder / "items.parquet"
    table = pq.read_table(file)
    pq.write_table(table.drop_columns(["title", "image_url"]).append_column("colour", table.column("brand")), file)
    assert found(folder) == [("items.parquet", None, "colour"), ("items.parquet", None, "title")]


def test_users_may_have_free_columns_of_text_only(folder: Path) -> None:
    users = pq.read_table(folder / "users.parquet")
    pq.write_table(users.append_column("kids", pa.array([1] * len(users))), folder / "users.parquet")
    assert found(folder) == [("users.parquet", None, "kids")]


def test_unreadable_and_absent_files(folder: Path) -> None:
    (folder / "labels.parquet").write_bytes(b"PAR1 not")
    (folder / "shop.json").unlink()
    assert found(folder) == [("shop.json", None, None), ("labels.parquet", None, None)]
    with pytest.raises(ShopError, match="not a folder"):
        validate_shop(folder / "nowhere")


def test_events_need_items(folder: Path) -> None:
    (folder / "items.parquet").unlink()
    assert ("items.parquet", None, None) in found(folder)
    assert ("shop.json", None, "tables") in found(folder)


@pytest.mark.parametrize("key", META_REQUIRED)
def test_required_keys(folder: Path, key: str) -> None:
    meta = json.loads((folder / "shop.json").read_text())
    del meta[key]
    (folder / "shop.json").write_text(json.dumps(meta))
    assert ("shop.json", None, key) in found(folder)


@pytest.mark.parametrize("key", META_RULES)
def test_keys_of_another_type(folder: Path, key: str) -> None:
    edit_meta(folder, **{key: 3.5 if key != "relevant_from" else "three"})
    assert ("shop.json", None, key) in found(folder)


TIMES = {"valid_from": "2024-05-01T00:00:00Z", "test_from": "2024-06-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("protocols", "key"),
    [
        ({"hold_out": {}}, "protocols.hold_out"),
        ({"leave_one_out": []}, "protocols.leave_one_out"),
        ({"leave_one_out": {"kinds": ["bought"]}}, "protocols.leave_one_out.kinds"),
        ({"leave_one_out": {"kinds": []}}, "protocols.leave_one_out.kinds"),
        ({"leave_one_out": {"min_events": 0}}, "protocols.leave_one_out.min_events"),
        ({"time_split": {**TIMES, "test_from": "2024-04-01"}}, "protocols.time_split.test_from"),
        ({"time_split": {**TIMES, "test_from": "2034-04-01"}}, "protocols.time_split.test_from"),
        ({"time_split": {**TIMES, "valid_from": "May"}}, "protocols.time_split.valid_from"),
        ({"time_split": {"test_from": TIMES["test_from"]}}, "protocols.time_split.valid_from"),
        ({"search": {}}, "protocols.search.modes"),
        ({"search": {"modes": ["quick"]}}, "protocols.search.modes"),
        ({"search": {"modes": ["full"], "relevant_from": "good"}}, "protocols.search.relevant_from"),
    ],
)
def test_protocols(folder: Path, protocols: dict[str, Any], key: str) -> None:
    edit_meta(folder, protocols=protocols)
    assert found(folder) == [("shop.json", None, key)]


def test_relative_clocks_forbid_a_time_split(folder: Path) -> None:
    edit_meta(folder, absolute_time=False)
    assert found(folder) == [("shop.json", None, "protocols.time_split")]


def test_counts_in_shop_json(folder: Path) -> None:
    edit_meta(folder, tables={"items": 41, "events": 1, "users": 29, "judgements": 312, "label": 3}, extra={"x": 1})
    columns = [(v.column, v.expected.split(":")[0].split(",")[0]) for v in validate_shop(folder)]
    assert columns == [
        ("tables", "items"),
        ("tables", "events"),
        ("tables", "one of items"),
        ("tables", "'labels'"),
        ("extra", "the file extra/x.parquet"),
    ]


def test_ratings_need_a_scale(folder: Path) -> None:
    edit_meta(folder, rating_scale=None, grade_gain=None)
    assert found(folder) == [("shop.json", None, "rating_scale"), ("shop.json", None, "grade_gain")]


def test_message_has_all_parts(folder: Path) -> None:
    put(folder, "items", {(7, "price"): -3.0})
    assert str(validate_shop(folder)[0]) == "items.parquet, row 7, column price: expected 0 or more, got -3.0"


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    [
        "amazon_beauty",
        "chorus_icecat",
        "clothing_reviews",
        "complete_journey",
        "home_depot",
        "intents",
        "online_retail",
        "shopping_reviews_zh",
        "steam",
    ],
)
def test_real_shops_are_clean(shop_path: Shops, name: str) -> None:
    assert validate_shop(shop_path(name)) == []
