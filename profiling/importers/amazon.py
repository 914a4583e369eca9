"""Amazon product reviews as collected by McAuley's group: JSON-lines reviews and metadata, 2014 (also 2018) and 2023.

Two passes over the reviews: the first keeps three numbers a review to find repeats, the k-core and each review's
place in its user's history; the second writes text in pieces, so memory does not grow with the texts. "Also bought"
lists, sales ranks and mean ratings are left out: they are made from events that a protocol hides. The field names of
each edition are in `amazon_fields`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import ShopError
from ..tables.shop import ShopWriter
from . import amazon_fields as fields
from .base import (
    Importer,
    ImportRequest,
    Progress,
    placeholder_title,
    pseudonyms,
    rank_in_user,
    shop_meta,
    time_split_at,
    to_timestamps,
)
from .json_lines import Record, read_records
from .k_core import k_core_mask
from .report import Ledger

_PIECE = 50_000


@dataclass(frozen=True)
class _Edition:
    """How one edition of the data writes a review and an item."""

    year: int
    review: Callable[[Record], fields.Review | None]
    item: Callable[[Record], Record | None]
    time_resolution: str


@dataclass(frozen=True)
class _Index:
    """What is kept of all reviews after the first pass; arrays are (n_lines_read,).

    ``user`` and ``item`` are rows of ``user_ids`` and ``item_ids``, -1 where the line is no review;
    ``seq`` is the place in the user's history among the kept ones.
    """

    user_ids: list[str]
    item_ids: list[str]
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    at_s: NDArray[np.float64]
    keep: NDArray[np.bool_]
    seq: NDArray[np.int64]


def _run(edition: _Edition, request: ImportRequest, writer: ShopWriter, ledger: Ledger) -> Mapping[str, Any]:
    reviews = request.need_source("the reviews, a .json(l) or .gz file")
    metadata = request.need_metadata("the items, a .json(l) or .gz file")
    index = _first_pass(edition, reviews, request, ledger)
    if not index.keep.any():
        raise ShopError(f"--from: no review of {reviews} is left to import; check the file, the edition and --k-core")
    known = _write_items(edition, metadata, index, request, writer, ledger)
    wanted = np.unique(index.item[index.keep])
    bare = [index.item_ids[i] for i in wanted if index.item_ids[i] not in known]
    if bare:
        writer.add("items", pd.DataFrame({"item_id": bare, "title": [placeholder_title(i) for i in bare]}))
        ledger.note(f"{len(bare)} reviewed items have no metadata row: their title is only 'Item ID'")
    _write_events(edition, reviews, index, request.progress, writer)
    return _meta(edition, index)


def _first_pass(edition: _Edition, file: Path, request: ImportRequest, ledger: Ledger) -> _Index:
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    columns: list[array[Any]] = [array("i"), array("i"), array("d")]
    stage = "reading reviews"
    for _, record in read_records(file, progress=request.progress, stage=stage, literals=True):
        review = edition.review(record) if record is not None else None
        if review is None:
            row: tuple[int, int, float] = (-1, -1, np.nan)
        else:
            user = users.setdefault(review.user_id, len(users))
            row = (user, items.setdefault(review.item_id, len(items)), review.at_s)
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    user_row, item_row = (np.asarray(c, dtype=np.int32) for c in columns[:2])
    at_s = np.asarray(columns[2], dtype=np.float64)
    return _chosen(list(users), list(items), user_row, item_row, at_s, request.k_core, file.name, ledger)


def _chosen(
    user_ids: list[str],
    item_ids: list[str],
    user: NDArray[np.int32],
    item: NDArray[np.int32],
    at_s: NDArray[np.float64],
    k: int,
    source: str,
    ledger: Ledger,
) -> _Index:
    """Which lines stay: reviews, each once, in the k-core; with their place in the user's history."""
    ledger.read(source, len(user))
    good = user >= 0
    ledger.drop(source, "not a review: no JSON, or no user, item, time or rating of 1 to 5", int((~good).sum()))
    rows = np.flatnonzero(good)
    repeated = pd.DataFrame({"u": user[rows], "i": item[rows], "t": at_s[rows]}).duplicated().to_numpy()
    ledger.drop(source, "same user, item and time again", int(repeated.sum()))
    rows = rows[~repeated]
    core = k_core_mask(user[rows], item[rows], k=k)
    ledger.drop(source, f"outside the {k}-core", int((~core).sum()))
    rows = rows[core]
    keep = np.zeros(len(user), dtype=bool)
    keep[rows] = True
    seq = np.zeros(len(user), dtype=np.int64)
    seq[rows] = rank_in_user(user[rows], np.lexsort((rows, at_s[rows], user[rows])))
    return _Index(user_ids, item_ids, user, item, at_s, keep, seq)


def _write_items(
    edition: _Edition, file: Path, index: _Index, request: ImportRequest, writer: ShopWriter, ledger: Ledger
) -> set[str]:
    """Write the items of the metadata file; with a k-core only its items. Returns their ids."""
    rows = {item_id: row for row, item_id in enumerate(index.item_ids)}
    wanted = np.zeros(len(rows), dtype=bool)
    wanted[index.item[index.keep]] = True
    written: set[str] = set()

    def items() -> Iterator[Record]:
        for _, record in read_records(file, progress=request.progress, stage="reading items", literals=True):
            ledger.read(file.name, 1)
            item = edition.item(record) if record is not None else None
            if item is None:
                ledger.drop(file.name, "not an item: no JSON, or no id", 1)
            elif item["item_id"] in written:
                ledger.drop(file.name, "same id again", 1)
            elif request.k_core > 1 and not (item["item_id"] in rows and wanted[rows[item["item_id"]]]):
                ledger.drop(file.name, f"outside the {request.k_core}-core", 1)
            else:
                written.add(item["item_id"])
                yield item | {"title": item["title"] or placeholder_title(item["item_id"])}

    for piece in _pieces(items()):
        writer.add("items", pd.DataFrame(piece))
    return written


def _write_events(edition: _Edition, file: Path, index: _Index, progress: Progress, writer: ShopWriter) -> None:
    def events() -> Iterator[tuple[int, fields.Review]]:
        records = read_records(file, progress=progress, stage="writing reviews", literals=True)
        for n, (_, record) in enumerate(records):
            if index.keep[n] and record is not None and (review := edition.review(record)) is not None:
                yield n, review

    for piece in _pieces(events()):
        rows = np.fromiter((n for n, _ in piece), dtype=np.int64, count=len(piece))
        frame = pd.DataFrame(
            {
                "user_id": pseudonyms((r.user_id for _, r in piece), salt="amazon"),
                "kind": "review",
                "at": to_timestamps(index.at_s[rows]),
                "seq": index.seq[rows],
                "item_id": [r.item_id for _, r in piece],
                "text": [r.text for _, r in piece],
                "rating": [r.rating for _, r in piece],
            }
        )
        writer.add("events", frame)


def _pieces(rows: Iterable[Any]) -> Iterator[list[Any]]:
    piece: list[Any] = []
    for row in rows:
        piece.append(row)
        if len(piece) == _PIECE:
            yield piece
            piece = []
    if piece:
        yield piece


def _meta(edition: _Edition, index: _Index) -> dict[str, Any]:
    at_s = index.at_s[index.keep]
    protocols = {"leave_one_out": {"kinds": ["review"], "min_events": 3}, **time_split_at(at_s, ["review"])}
    return shop_meta(
        f"amazon_{edition.year}",
        language="en",
        currency="USD",
        rating_scale="1-5",
        time_resolution=edition.time_resolution,
        source=f"Amazon product reviews {edition.year}, collected by McAuley's group at UCSD",
        licence="none stated by the collectors: research use, cite their papers",
        protocols=protocols,
    )


_OPTIONS = frozenset({"metadata", "k_core"})
_FROM = "the reviews file of one category, plain or .gz; the items with --metadata"

IMPORTER_2014 = Importer(
    summary="Amazon reviews 2014 (and the 2018 edition), reviews and metadata as JSON lines or Python literals",
    source=_FROM,
    options=_OPTIONS,
    run=partial(_run, _Edition(2014, fields.review_2014, fields.item_2014, "day")),
)
IMPORTER_2023 = Importer(
    summary="Amazon Reviews 2023, reviews and metadata as JSON lines",
    source=_FROM,
    options=_OPTIONS,
    run=partial(_run, _Edition(2023, fields.review_2023, fields.item_2023, "millisecond")),
)
