"""Reading, writing and conforming shop tables: round trips, refusals, and nothing half-written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasteprint.profiling.errors import ShopError
from tasteprint.profiling.tables import shop as shop_module
from tasteprint.profiling.tables.schema import TABLES, conform
from tasteprint.profiling.tables.shop import Shop, ShopWriter, read_extra, read_shop, write_shop
from tasteprint.profiling.tables.tiny import tiny_shop


def test_round_trip_is_exact(tmp_path: Path) -> None:
    shop = tiny_shop()
    again = read_shop(write_shop(shop, tmp_path / "a"))
    assert list(again.tables()) == list(TABLES)
    assert again.meta == shop.meta
    for name, frame in shop.tables().items():
        pd.testing.assert_frame_equal(again.table(name), frame)


def test_types_on_disk_are_the_contract(tmp_path: Path) -> None:
    write_shop(tiny_shop(), tmp_path / "a")
    schema = pq.read_schema(tmp_path / "a" / "events.parquet")
    assert [str(t) for t in schema.types] == [
        *["string", "string", "timestamp[us]", "int64", "string", "string", "string", "double", "double", "double"],
        *["string", "int32", "string", "string", "string", "double"],
    ]


def test_some_tables_only(tmp_path: Path) -> None:
    write_shop(tiny_shop(), tmp_path / "a")
    shop = read_shop(tmp_path / "a", tables=["items", "labels"])
    assert list(shop.tables()) == ["items", "labels"]
    with pytest.raises(ShopError, match="no events table; it has items, labels"):
        shop.table("events")
    with pytest.raises(ShopError, match="'orders' is not one of items"):
        read_shop(tmp_path / "a", tables=["orders"])


def test_absent_columns_are_filled_and_nulls_normalised(tmp_path: Path) -> None:
    (tmp_path / "shop.json").write_text('{"name": "bare"}')
    at = pa.array([0, 1], pa.timestamp("ms", "UTC"))
    events = pa.table({"user_id": ["u", "u"], "kind": ["view", "view"], "at": at, "seq": [0, 1], "item_id": ["a", ""]})
    pq.write_table(events, tmp_path / "events.parquet")
    frame = read_shop(tmp_path).table("events")
    assert list(frame.columns) == [c.name for c in TABLES["events"]]
    assert frame["item_id"].isna().tolist() == [False, True]
    assert frame["position"].dtype == "Int32"
    assert frame["at"].dtype == "datetime64[us]"
    assert frame["at"].iloc[1] == pd.Timestamp("1970-01-01 00:00:00.001")
    assert frame["rating"].isna().all()
    assert frame["query"].isna().all()


def test_conform_never_changes_its_input() -> None:
    frame = pd.DataFrame({"item_id": [1, 2], "title": ["a", "b"], "brand": ["", "x"], "price": [1, 2]})
    before = frame.copy(deep=True)
    out = conform("items", frame)
    pd.testing.assert_frame_equal(frame, before)
    assert out["item_id"].tolist() == ["1", "2"]
    assert out["price"].dtype == np.float64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"item_id": None}, r"items\.item_id: the column is absent"),
        ({"item_id": ["a", None]}, r"items\.item_id: row 1 is null"),
        ({"item_id": [1.0, 2.0]}, r"items\.item_id: expected string, got float64"),
        ({"price": ["1", "cheap"]}, r"items\.price: expected double"),
        ({"created_at": [1, 2]}, r"items\.created_at: expected timestamp, got int64"),
    ],
)
def test_conform_says_which_column(change: dict[str, object], message: str) -> None:
    columns = {"item_id": ["a", "b"], "title": ["A", "B"], **change}
    frame = pd.DataFrame({k: v for k, v in columns.items() if v is not None})
    with pytest.raises(ShopError, match=message):
        conform("items", frame)


def test_large_integers_survive() -> None:
    """A sequence number beyond 2**53 would lose its last digits as a float."""
    big = 2**62 + 1
    frame = pd.DataFrame({"user_id": ["u"], "kind": ["view"], "at": [pd.Timestamp(0)], "seq": [big], "item_id": ["a"]})
    assert conform("events", frame)["seq"].iloc[0] == big


def test_users_keep_free_columns_as_text() -> None:
    users = conform("users", pd.DataFrame({"kids": [1, 2], "user_id": ["a", "b"]}))
    assert users.to_dict("list") == {"user_id": ["a", "b"], "kids": ["1", "2"]}


def test_shop_refuses_other_columns() -> None:
    with pytest.raises(ShopError, match="expected columns"):
        Shop(name="x", items=pd.DataFrame({"item_id": ["a"]}))
    with pytest.raises(ShopError, match="non-empty"):
        Shop(name="")


def test_existing_folders_are_kept_unless_told(tmp_path: Path) -> None:
    path = write_shop(tiny_shop(), tmp_path / "a")
    with pytest.raises(ShopError, match="exists already"):
        write_shop(tiny_shop(1), path)
    write_shop(tiny_shop(1), path, overwrite=True)
    pd.testing.assert_frame_equal(read_shop(path).table("events"), tiny_shop(1).table("events"))
    assert os.listdir(tmp_path) == ["a"]


def test_overwrite_never_removes_a_folder_that_is_no_shop(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "draft.txt").write_text("years of work")
    with pytest.raises(ShopError, match="no shop"):
        write_shop(tiny_shop(), tmp_path / "thesis", overwrite=True)
    assert (tmp_path / "thesis" / "draft.txt").read_text() == "years of work"


def test_a_failure_leaves_the_old_shop_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_shop(tiny_shop(), tmp_path / "a")

    def broken(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(shop_module, "_fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        write_shop(tiny_shop(1), path, overwrite=True)
    assert os.listdir(tmp_path) == ["a"]
    pd.testing.assert_frame_equal(read_shop(path).table("events"), tiny_shop(0).table("events"))


def test_writing_in_pieces_equals_writing_at_once(tmp_path: Path) -> None:
    shop = tiny_shop()
    events = shop.table("events")
    with ShopWriter(tmp_path / "b") as writer:
        writer.add("items", shop.table("items"))
        for start in range(0, len(events), 1000):
            writer.add("events", events[start : start + 1000])
        writer.add_extra("notes", pd.DataFrame({"n": [1, 2]}))
        writer.finish(shop.meta)
    again = read_shop(tmp_path / "b")
    pd.testing.assert_frame_equal(again.table("events"), events)
    assert again.meta["tables"] == {"items": len(shop.table("items")), "events": len(events)}
    assert again.meta["extra"] == {"notes": 2}
    assert read_extra(tmp_path / "b", "notes")["n"].tolist() == [1, 2]
    with pytest.raises(ShopError, match="there is notes"):
        read_extra(tmp_path / "b", "note")


def test_leaving_without_finish_writes_nothing(tmp_path: Path) -> None:
    with ShopWriter(tmp_path / "b") as writer:
        writer.add("items", tiny_shop().table("items"))
    assert os.listdir(tmp_path) == []


def test_unreadable_folders(tmp_path: Path) -> None:
    with pytest.raises(ShopError, match=r"no shop\.json"):
        read_shop(tmp_path)
    (tmp_path / "shop.json").write_text("{")
    with pytest.raises(ShopError, match="not readable as JSON"):
        read_shop(tmp_path)
    (tmp_path / "shop.json").write_text("[]")
    with pytest.raises(ShopError, match="got list"):
        read_shop(tmp_path)
    (tmp_path / "shop.json").write_text(json.dumps({"name": "x"}))
    (tmp_path / "items.parquet").write_bytes(b"nonsense")
    with pytest.raises(ShopError, match="not readable as Parquet"):
        read_shop(tmp_path)
