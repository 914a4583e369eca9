"""The csv importer: the ready map on its sample, and maps, files and values that are wrong in every way."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasteprint.profiling.errors import ConfigError, ShopError
from tasteprint.profiling.importers import import_shop
from tasteprint.profiling.importers.column_map import TimeMap, read_column_map
from tasteprint.profiling.importers.table_read import parse_times
from tasteprint.profiling.tables.shop import Shop, read_shop
from tasteprint.profiling.tables.validate import validate_shop

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "tests" / "samples" / "corner_shop"
READY_MAP = ROOT / "configs" / "import" / "corner-shop.toml"


def load(tmp_path: Path, toml: str, **files: str) -> Shop:
    """Import files written from text with a map written from text."""
    folder = tmp_path / "export"
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_csv", ".csv").replace("_jsonl", ".jsonl")).write_text(text)
    (tmp_path / "map.toml").write_text(toml)
    import_shop("csv", tmp_path / "shop", source=folder, column_map=tmp_path / "map.toml", overwrite=True)
    assert validate_shop(tmp_path / "shop") == []
    return read_shop(tmp_path / "shop")


def test_ready_map_on_its_sample(tmp_path: Path) -> None:
    report = import_shop("csv", tmp_path / "s", source=SAMPLE, column_map=READY_MAP)
    assert {name: dict(c.dropped) for name, c in report.sources.items() if c.dropped} == {
        "products.csv": {"same item_id again": 1},
        "orders-2024-07.csv": {"no readable user_id": 1, "no readable at": 1, "item is not listed": 1},
        "visits.jsonl": {
            "kind is not one of impression, click, view, search, cart, purchase, review, own": 1,
            "a search without query": 1,
        },
    }
    shop = read_shop(tmp_path / "s")
    events = shop.table("events")
    assert events["kind"].value_counts().to_dict() == {
        "purchase": 5,
        "review": 2,
        "search": 1,
        "impression": 1,
        "view": 1,
    }
    orders = events[events["session_id"] == "o1"]
    assert orders["at"].iloc[0] == pd.Timestamp("2024-01-05 09:15")  # winter in Berlin: one hour ahead of UTC
    assert events[events["session_id"] == "o3"]["at"].iloc[0] == pd.Timestamp("2024-07-01 10:00")  # summer: two
    returned = events[events["quantity"] < 0]
    assert returned["price"].tolist() == [-80.0]
    assert set(events["user_id"]) == set(shop.table("users")["user_id"])
    assert not events["user_id"].isin(["c1", "c2"]).any()
    items = shop.table("items").set_index("item_id")
    assert items.loc["A1", "category"] == "Clothing > Winter"
    assert json.loads(items.loc["A1", "attributes"]) == {"colour": "red", "sizes": ["S", "M", "L"]}
    assert json.loads(items.loc["A3", "attributes"]) == {"colour": "007"}
    assert shop.meta["protocols"]["search"] == {"modes": ["rerank", "full"]}


PLAIN = """
[shop]
name = "plain"
[items]
file = "items.csv"
columns = { item_id = "id", title = "name" }
[[events]]
file = "events.csv"
columns = { user_id = "u", item_id = "i", at = "t", seq = "n" }
constants = { kind = "view" }
"""
ITEMS = "id,name\n1,One\n2,Two\n"


def test_own_sequence_breaks_ties_then_the_row(tmp_path: Path) -> None:
    shop = load(
        tmp_path,
        PLAIN,
        items_csv=ITEMS,
        events_csv="u,i,t,n\na,1,2024-01-02,7\na,2,2024-01-02,3\na,1,2024-01-01,9\nb,2,2024-01-01,\n",
    )
    events = shop.table("events")
    assert events["item_id"].tolist() == ["1", "2", "1", "2"]
    assert events["seq"].tolist() == [0, 1, 2, 0]
    assert events["user_id"].tolist() == ["a", "a", "a", "b"]


def test_unknown_items_can_be_added(tmp_path: Path) -> None:
    toml = '[shop]\nname = "x"\nunknown_items = "add"\n' + PLAIN[PLAIN.index("[[events]]") :]
    shop = load(tmp_path, toml, events_csv="u,i,t,n\na,9,2024-01-02,1\na,8,2024-01-02T03:04:05Z,1\n")
    assert shop.table("items")["title"].tolist() == ["Item 8", "Item 9"]


def test_ids_keep_their_digits_in_every_format(tmp_path: Path) -> None:
    """Leading zeros, more digits than a float holds, and numbers beside nulls survive csv, JSON lines and Parquet."""
    toml = '[shop]\nname = "x"\nunknown_items = "add"\n'
    for ending in ("csv", "jsonl", "parquet"):
        toml += f'[[events]]\nfile = "e.{ending}"\nconstants = {{ kind = "view", at = "2024-01-01" }}\n'
        toml += 'columns = { user_id = "u", item_id = "i", session_id = "s" }\n'
    (tmp_path / "export").mkdir()
    table = pa.table({"u": ["p", "p"], "i": ["007", "7"], "s": pa.array([12345678901234567, None], pa.int64())})
    pq.write_table(table, tmp_path / "export" / "e.parquet")
    shop = load(
        tmp_path,
        toml,
        e_csv="u,i,s\nc,007,12345678901234567\nc,7,\n",
        e_jsonl='{"u": "j", "i": "007", "s": 12345678901234567}\n{"u": "j", "i": 7, "s": null}\n',
    )
    for _, events in shop.table("events").groupby("user_id"):
        assert events["item_id"].tolist() == ["007", "7"]
        assert events["session_id"].tolist()[0] == "12345678901234567"
        assert events["session_id"].isna().tolist() == [False, True]


def test_json_numbers_keep_the_digits_they_are_written_with(tmp_path: Path) -> None:
    toml = '[shop]\nname = "x"\nunknown_items = "add"\n[[events]]\nfile = "e.jsonl"\n'
    toml += 'constants = { kind = "view", at = "2024-01-01" }\ncolumns = { user_id = "u", item_id = "i" }\n'
    shop = load(tmp_path, toml, e_jsonl='{"u": 1.50, "i": 2.0}\n')
    assert shop.table("events")[["user_id", "item_id"]].to_numpy().tolist() == [["1.50", "2.0"]]


def test_gzipped_files(tmp_path: Path) -> None:
    folder = shutil.copytree(SAMPLE, tmp_path / "export")
    for name in ("products.csv", "visits.jsonl"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    toml = READY_MAP.read_text().replace("products.csv", "products.csv.gz").replace("visits.jsonl", "visits.jsonl.gz")
    (tmp_path / "map.toml").write_text(toml)
    import_shop("csv", tmp_path / "a", source=folder, column_map=tmp_path / "map.toml")
    import_shop("csv", tmp_path / "b", source=SAMPLE, column_map=READY_MAP)
    for table in ("items", "events"):
        pd.testing.assert_frame_equal(read_shop(tmp_path / "a").table(table), read_shop(tmp_path / "b").table(table))


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[shop", "is not TOML"),
        ("", "shop: Field required"),
        ('[shop]\nname = "x"\ncolour = "red"', "shop.colour: Extra inputs"),
        ('[shop]\nname = "x"', "names no table"),
        ('[shop]\nname = "x"\n[items]\nfile = "items.csv"\ncolumns = { item_id = "id", sku = "id" }', "no column sku"),
        ('[shop]\nname = "x"\n[items]\nfile = "items.csv"\ncolumns = { title = "name" }', "items needs item_id"),
        (PLAIN.replace('"view"', '"view", rating = 4'), "set shop.rating_scale"),
        (PLAIN[: PLAIN.index("[items]")] + PLAIN[PLAIN.index("[[events]]") :], "unknown_items = 'add'"),
        (PLAIN + '[events.time]\nzone = "Mars/Base"', "time.zone 'Mars/Base' is unknown"),
    ],
)
def test_wrong_maps(tmp_path: Path, toml: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, toml, items_csv=ITEMS, events_csv="u,i,t,n\na,1,2024-01-02,7\n")
    assert not (tmp_path / "shop").exists()


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(ShopError, match=r"no file 'items\.csv'"):
        load(tmp_path, PLAIN)
    with pytest.raises(ShopError, match=r"items\.csv: no column name, which the map names; it has id, title"):
        load(tmp_path, PLAIN, items_csv="id,title\n1,a\n", events_csv="")
    with pytest.raises(ShopError, match="not readable"):
        load(tmp_path, PLAIN, items_csv="", events_csv="")
    with pytest.raises(ConfigError, match="cannot read"):
        import_shop("csv", tmp_path / "s", source=tmp_path, column_map=tmp_path / "none.toml")


def test_all_faults_of_a_map_are_named(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text('[shop]\nname = ""\nrating_scale = "1-7"\n[items]\ncolumns = 3')
    with pytest.raises(ConfigError, match=r"has 4 faults") as error:
        read_column_map(tmp_path / "m.toml")
    assert all(k in str(error.value) for k in ("shop.name", "shop.rating_scale", "items.file", "items.columns"))


@pytest.mark.parametrize(
    ("text", "time", "expected"),
    [
        ("2024-03-05", TimeMap(), "2024-03-05 00:00:00"),
        ("2024-03-05T01:02:03.5+01:00", TimeMap(zone="Asia/Tokyo"), "2024-03-05 00:02:03.500"),
        ("2024-03-05 09:00", TimeMap(zone="Asia/Tokyo"), "2024-03-05 00:00:00"),
        ("5.3.2024 7 Uhr", TimeMap(format="%d.%m.%Y %H Uhr"), "2024-03-05 07:00:00"),
        ("1709596800", TimeMap(unit="s"), "2024-03-05 00:00:00"),
        ("1709596800123456", TimeMap(unit="us"), "2024-03-05 00:00:00.123456"),
        ("2024-10-27 02:30", TimeMap(zone="Europe/Berlin"), None),  # happened twice that night
        ("2024-03-31 02:30", TimeMap(zone="Europe/Berlin"), "2024-03-31 01:00:00"),  # never happened: moved forward
        ("yesterday", TimeMap(), None),
        ("1e99", TimeMap(unit="s"), None),
    ],
)
def test_times(text: str, time: TimeMap, expected: str | None) -> None:
    at = parse_times(pd.Series([text, None], dtype="str"), time)
    assert at.dtype == "datetime64[us]"
    assert at.isna().tolist() == [expected is None, True]
    if expected is not None:
        assert at.iloc[0] == pd.Timestamp(expected)
