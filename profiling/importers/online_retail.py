"""UCI Online Retail (and Online Retail II): purchases of a British web shop for gifts, from the xlsx or a csv of it.

Keeps sales of products to known customers. Cancellations, postage and other charges, stock corrections and lines
without a customer are counted and left out; times are taken as they stand (London, minutes).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import ExtraMissingError, ShopError
from ..tables.shop import ShopWriter
from .base import Importer, ImportRequest, placeholder_title, pseudonyms, rank_in_user, shop_meta, time_split_at
from .report import Ledger

_COLUMNS = {
    "Invoice": "InvoiceNo",
    "Price": "UnitPrice",
    "Customer ID": "CustomerID",
}
"""Names of Online Retail II, and what the first edition calls the same."""

_WANTED = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
_PRODUCT = re.compile(r"^\d{4,6}[A-Z]{0,3}$|^DCGS[0-9A-Z]+$|^SP1002$")
"""A stock code is a number with up to three letters, or one of the shop's own gift codes; the rest are charges."""

_FOUR_WEEKS_S = 28 * 86400.0
_UCI_CUTS = ("2011-10-15", "2011-11-12")


def _run(request: ImportRequest, writer: ShopWriter, ledger: Ledger) -> Mapping[str, Any]:
    file = request.need_source("the UCI file, .xlsx or .csv")
    request.progress("reading", 0.0)
    rows = _read(file)
    source = file.name
    ledger.read(source, len(rows))
    request.progress("reading", 1.0)
    lines = _sales(rows, source, ledger)
    known = lines["CustomerID"].notna()
    ledger.drop(source, "no customer", int((~known).sum()))
    items = _items(lines)
    lines = lines[known].reset_index(drop=True)
    if lines.empty:
        raise ShopError(f"{file}: no line is left to import; is this the Online Retail file?")
    writer.add("items", items)
    writer.add("events", _events(lines))
    ledger.note("cancelled purchases are still there: only the cancellation rows are left out")
    ledger.note("times are local (London) and taken as UTC")
    request.progress("writing", 1.0)
    return _meta(lines)


def _read(file: Path) -> pd.DataFrame:
    """All sheets or the whole csv, columns named as in the first edition, all but numbers as text."""
    types: dict[str, Any] = dict.fromkeys((*_WANTED, *_COLUMNS), "str")
    for name in ("Quantity", "UnitPrice", "Price"):
        types[name] = "float64"
    if file.suffix.lower() in (".xlsx", ".xls"):
        rows = _read_excel(file, {**types, "InvoiceDate": "object"})
    else:
        rows = pd.read_csv(file, dtype=types, encoding_errors="replace")
    rows = rows.rename(columns=_COLUMNS)
    absent = [c for c in _WANTED if c not in rows]
    if absent:
        raise ShopError(f"{file}: expected columns {', '.join(_WANTED)}, but {', '.join(absent)} is not there")
    return rows


def _read_excel(file: Path, types: dict[str, Any]) -> pd.DataFrame:
    try:
        import openpyxl  # noqa: F401
    except ImportError as error:
        raise ExtraMissingError(
            "online-retail: reading .xlsx needs openpyxl, which is not installed; "
            "run: pip install 'tasteprint[excel]', or save the sheet as csv"
        ) from error
    return pd.concat(pd.read_excel(file, sheet_name=None, dtype=types).values(), ignore_index=True)


def _sales(rows: pd.DataFrame, source: str, ledger: Ledger) -> pd.DataFrame:
    """Lines that sold a product, whoever bought it; everything else is counted by reason, in this order."""
    lines = rows.assign(
        item_id=rows["StockCode"].str.strip().str.upper(),
        at=_times(rows["InvoiceDate"]),
        CustomerID=rows["CustomerID"].str.strip().str.removesuffix(".0"),
    )
    reasons = {
        "cancellation (invoice C...)": lambda t: t["InvoiceNo"].str.upper().str.startswith("C", na=False),
        "stock code is not a product": lambda t: ~t["item_id"].str.match(_PRODUCT, na=False),
        "stock correction (quantity <= 0)": lambda t: ~(t["Quantity"] > 0),
        "negative price": lambda t: t["UnitPrice"] < 0,
        "no readable date": lambda t: t["at"].isna(),
    }
    for reason, test in reasons.items():
        out = test(lines)
        ledger.drop(source, reason, int(out.sum()))
        lines = lines[~out]
    return lines.reset_index(drop=True)


def _times(text: pd.Series) -> pd.Series:
    """Times written as ISO or month first, or Excel dates; NaT where neither fits."""
    if not pd.api.types.is_string_dtype(text.dtype):
        return pd.to_datetime(text, errors="coerce").astype("datetime64[us]")
    best = pd.to_datetime(text, format="ISO8601", errors="coerce")
    for form in ("%m/%d/%Y %H:%M", "%m/%d/%y %H:%M"):
        best = best.fillna(pd.to_datetime(text.where(best.isna()), format=form, errors="coerce"))
    return best.astype("datetime64[us]")


def _items(lines: pd.DataFrame) -> pd.DataFrame:
    """One row a stock code: most common description, median unit price; also from lines without a customer."""
    words = lines["Description"].str.split().str.join(" ")
    named = lines.assign(title=words.where(words != ""))
    counts = named.groupby(["item_id", "title"]).size().rename("n").reset_index()
    best = counts.sort_values(["item_id", "n", "title"], ascending=[True, False, True]).drop_duplicates("item_id")
    price = lines.groupby("item_id")["UnitPrice"].median().rename("price").reset_index()
    items = price.merge(best[["item_id", "title"]], on="item_id", how="left")
    bare = pd.Series([placeholder_title(i) for i in items["item_id"]], dtype="str")
    return items.assign(title=items["title"].fillna(bare))


def _events(lines: pd.DataFrame) -> pd.DataFrame:
    codes, customers = pd.factorize(lines["CustomerID"])
    names = np.asarray(pseudonyms(customers.tolist(), salt="online-retail"), dtype=object)
    rank = np.argsort(np.argsort(names))[codes]
    at = lines["at"].to_numpy("datetime64[us]").astype(np.int64)
    order = np.lexsort((np.arange(len(lines)), lines["InvoiceNo"].to_numpy(str), at, rank))
    events = pd.DataFrame(
        {
            "user_id": names[codes],
            "kind": "purchase",
            "at": lines["at"],
            "seq": rank_in_user(rank, order),
            "item_id": lines["item_id"],
            "quantity": lines["Quantity"],
            "price": (lines["Quantity"] * lines["UnitPrice"]).round(2),
            "session_id": lines["InvoiceNo"],
            "place": lines["Country"],
        }
    )
    return events.iloc[order].reset_index(drop=True)


def _meta(lines: pd.DataFrame) -> dict[str, Any]:
    at_s = lines["at"].to_numpy("datetime64[us]").astype(np.int64) / 1e6
    return shop_meta(
        "online_retail",
        language="en",
        currency="GBP",
        time_resolution="minute",
        source="UCI Online Retail",
        licence="CC BY 4.0 (UCI, to our knowledge)",
        protocols=_protocols(at_s),
    )


def _protocols(at_s: NDArray[np.float64]) -> dict[str, Any]:
    """Two spans of four weeks at the end of the UCI file; shares of the events for any other span of time."""
    valid, test = (np.datetime64(c, "s").astype(np.int64).item() for c in _UCI_CUTS)
    if at_s.min() < valid and test < at_s.max() <= test + _FOUR_WEEKS_S:
        cuts = {f"{name}_from": f"{c}T00:00:00Z" for name, c in zip(("valid", "test"), _UCI_CUTS, strict=True)}
        return {"time_split": {"kinds": ["purchase"], **cuts}}
    return time_split_at(at_s, ["purchase"])


IMPORTER = Importer(
    summary="UCI Online Retail I and II: purchases of a British web shop for gifts",
    source="the .xlsx, or a .csv with the same columns",
    options=frozenset(),
    run=_run,
)
