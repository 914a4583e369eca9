"""MovieLens: film ratings in the three layouts they come in: csv (latest, 20m to 32m), .dat (1m, 10m), u.data (100k).

Ratings become ``review`` events; genres, tags and years become attributes, ages and occupations users. Postal codes
are left out. Tags are words that users gave at any time, so they may be younger than an event they help to predict.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import ShopError
from ..tables.shop import ShopWriter
from .base import (
    Importer,
    ImportRequest,
    placeholder_title,
    pseudonyms,
    rank_in_user,
    shop_meta,
    time_split_at,
    to_timestamps,
)
from .k_core import k_core_mask
from .report import Ledger

_PIECE = 500_000
_TAGS_KEPT = 10
_YEAR = re.compile(r"\((\d{4})\)\s*$")
_AGE_EDGES = (0, 18, 25, 35, 45, 50, 56, 200)
_AGE_BANDS = ("under 18", "18-24", "25-34", "35-44", "45-49", "50-55", "56 and over")
_OCCUPATIONS = (
    "other or not given",
    "academic or educator",
    "artist",
    "clerical or administrative",
    "college or graduate student",
    "customer service",
    "doctor or health care",
    "executive or managerial",
    "farmer",
    "homemaker",
    "pupil",
    "lawyer",
    "programmer",
    "retired",
    "sales or marketing",
    "scientist",
    "self-employed",
    "technician or engineer",
    "tradesman or craftsman",
    "unemployed",
    "writer",
)


@dataclass(frozen=True)
class _Raw:
    """One MovieLens folder read, whatever its layout.

    Attributes:
        name: of the ratings file
        ratings: user, item, rating, at_s
        films: item, title, genres (a list), created_at
        tags: item, tag; or None
        users: user, age, gender, occupation; or None
    """

    name: str
    ratings: pd.DataFrame
    films: pd.DataFrame
    tags: pd.DataFrame | None = None
    users: pd.DataFrame | None = None


def _run(request: ImportRequest, writer: ShopWriter, ledger: Ledger) -> Mapping[str, Any]:
    folder = request.need_source("a MovieLens folder")
    request.progress("reading", 0.0)
    raw = _read(folder)
    request.progress("reading", 1.0)
    ratings = _chosen(raw, request.k_core, ledger)
    if ratings.empty:
        raise ShopError(f"{folder}: no rating is left to import; check the folder and --k-core")
    writer.add("items", _items(raw, ratings, request.k_core, ledger))
    if raw.users is not None:
        ledger.read("users", len(raw.users))
        writer.add("users", _users(raw.users))
    for start in range(0, len(ratings), _PIECE):
        piece = ratings.iloc[start : start + _PIECE]
        writer.add("events", _events(piece))
        request.progress("writing ratings", (start + len(piece)) / len(ratings))
    return _meta(ratings)


def _read(folder: Path) -> _Raw:
    readers = {"ratings.csv": _read_csv, "ratings.dat": _read_dat, "u.data": _read_100k}
    for name, reader in readers.items():
        if (folder / name).is_file():
            try:
                return reader(folder)
            except FileNotFoundError as error:
                raise ShopError(f"--from: {folder} has {name} but not {Path(error.filename).name}") from error
            except (ValueError, KeyError) as error:
                raise ShopError(f"--from: {folder} is not readable as MovieLens ({error})") from error
    raise ShopError(f"--from: expected a folder with one of {', '.join(readers)}, got {folder}; unpack the archive")


def _read_csv(folder: Path) -> _Raw:
    types = {"userId": "int32", "movieId": "int32", "rating": "float32", "timestamp": "int64"}
    ratings = pd.read_csv(folder / "ratings.csv", dtype=types)[list(types)]
    films = pd.read_csv(folder / "movies.csv", dtype={"movieId": "int32"})
    tags = None
    if (folder / "tags.csv").is_file():
        tags = pd.read_csv(folder / "tags.csv", dtype={"movieId": "int32", "tag": "str"})
        tags = tags.rename(columns={"movieId": "item"})[["item", "tag"]]
    return _Raw("ratings.csv", _named(ratings), _films(films["movieId"], films["title"], films["genres"]), tags)


def _read_dat(folder: Path) -> _Raw:
    # Fields are split by "::": read as split by ":", every second one is empty; names hold ":" and need the slow way.
    ratings = pd.read_csv(folder / "ratings.dat", sep=":", header=None, usecols=[0, 2, 4, 6])
    ratings.columns = pd.Index(["user", "item", "rating", "at_s"])
    films = _double_colon(folder / "movies.dat", 3)
    users = tags = None
    if (folder / "users.dat").is_file():
        table = _double_colon(folder / "users.dat", 5)
        job = table[3].astype(int).map(dict(enumerate(_OCCUPATIONS)))
        users = pd.DataFrame({"user": table[0].astype(int), "age": table[2].astype(int), "gender": table[1]})
        users = users.assign(occupation=job)
    if (folder / "tags.dat").is_file():
        table = _double_colon(folder / "tags.dat", 4)
        tags = pd.DataFrame({"item": table[1].astype(int), "tag": table[2]})
    return _Raw("ratings.dat", ratings, _films(films[0].astype(int), films[1], films[2]), tags, users)


def _read_100k(folder: Path) -> _Raw:
    ratings = pd.read_csv(folder / "u.data", sep="\t", header=None, names=["user", "item", "rating", "at_s"])
    table = pd.read_csv(folder / "u.item", sep="|", header=None, encoding="latin-1", dtype="str")
    genres = pd.read_csv(folder / "u.genre", sep="|", header=None, dtype="str")[0].tolist()
    flags = (table.iloc[:, -len(genres) :] == "1").to_numpy()
    names = pd.Series(["|".join(np.asarray(genres, dtype=object)[row]) for row in flags])
    released = pd.to_datetime(table[2], format="%d-%b-%Y", errors="coerce")
    films = _films(table[0].astype(int), table[1], names).assign(created_at=released)
    users = None
    if (folder / "u.user").is_file():
        users = pd.read_csv(folder / "u.user", sep="|", header=None, dtype={3: "str", 4: "str"})
        users.columns = pd.Index(["user", "age", "gender", "occupation", "postcode"])
    return _Raw("u.data", ratings, films, None, users)


def _double_colon(file: Path, fields: int) -> pd.DataFrame:
    """A ``::`` separated file as text columns 0, 1, 2...; UTF-8, or Latin-1 where it is none."""
    data = file.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    rows = [line.split("::") for line in text.splitlines() if line.strip()]
    wrong = [row for row in rows if len(row) != fields]
    if wrong:
        raise ValueError(f"{file.name}: expected {fields} fields split by '::', got {'::'.join(wrong[0])!r}")
    return pd.DataFrame(rows)


def _named(ratings: pd.DataFrame) -> pd.DataFrame:
    return ratings.set_axis(["user", "item", "rating", "at_s"], axis=1)


def _films(item: pd.Series, title: pd.Series, genres: pd.Series) -> pd.DataFrame:
    split = [[g for g in str(text).split("|") if g and g not in ("(no genres listed)", "unknown")] for text in genres]
    return pd.DataFrame({"item": item, "title": title, "genres": split, "created_at": pd.NaT})


def _chosen(raw: _Raw, k: int, ledger: Ledger) -> pd.DataFrame:
    """Ratings that stay, sorted by user, time and place in the file, with pseudonyms and ``seq``."""
    ratings = raw.ratings
    ledger.read(raw.name, len(ratings))
    good = ratings["rating"].between(0.5, 5)
    ledger.drop(raw.name, "rating outside 0.5 to 5", int((~good).sum()))
    ratings = ratings[good]
    core = k_core_mask(ratings["user"].to_numpy(), ratings["item"].to_numpy(), k=k)
    ledger.drop(raw.name, f"outside the {k}-core", int((~core).sum()))
    ratings = ratings[core]
    halves = int((ratings["rating"] < 1).sum())
    if halves:
        ledger.note(f"{halves} ratings of half a star became 1: the contract's stars are 1 to 5")
    ratings = ratings.assign(rating=ratings["rating"].clip(lower=1))
    order = np.lexsort((np.arange(len(ratings)), ratings["at_s"], ratings["user"]))
    ratings = ratings.iloc[order].reset_index(drop=True)
    return ratings.assign(seq=rank_in_user(ratings["user"].to_numpy(), np.arange(len(ratings))))


def _events(ratings: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user_id": pseudonyms(ratings["user"].tolist(), salt="movielens"),
            "kind": "review",
            "at": to_timestamps(ratings["at_s"].to_numpy(float)),
            "seq": ratings["seq"].to_numpy(),
            "item_id": ratings["item"].to_numpy().astype(str),
            "rating": ratings["rating"].to_numpy(float),
        }
    )


def _items(raw: _Raw, ratings: pd.DataFrame, k: int, ledger: Ledger) -> pd.DataFrame:
    films = raw.films
    ledger.read("films", len(films))
    rated = ratings["item"].unique()
    if k > 1:
        inside = films["item"].isin(rated)
        ledger.drop("films", f"outside the {k}-core", int((~inside).sum()))
        films = films[inside]
    tags = _common_tags(raw.tags, ledger)
    attributes = []
    for item, title, genres in zip(films["item"], films["title"], films["genres"], strict=True):
        year = _YEAR.search(title)
        about = {"genres": genres, "tags": tags.get(item), "year": int(year.group(1)) if year else None}
        known = {name: value for name, value in about.items() if value}
        attributes.append(json.dumps(known, ensure_ascii=False) if known else None)
    items = pd.DataFrame(
        {
            "item_id": films["item"].astype(str),
            "title": films["title"],
            "category": [g[0] if g else None for g in films["genres"]],
            "created_at": films["created_at"],
            "attributes": attributes,
        }
    )
    unknown = np.setdiff1d(rated, films["item"]).astype(str)
    if len(unknown):
        ledger.note(f"{len(unknown)} rated films are not in the list of films: their title is only 'Item ID'")
    bare = pd.DataFrame({"item_id": unknown, "title": [placeholder_title(i) for i in unknown]})
    return pd.concat([items, bare], ignore_index=True)


def _common_tags(tags: pd.DataFrame | None, ledger: Ledger) -> dict[int, list[str]]:
    """The most frequent tags of each film, lower case."""
    if tags is None:
        return {}
    ledger.read("tags", len(tags))
    words = tags["tag"].str.strip().str.lower()
    some = words.notna() & (words != "")
    ledger.drop("tags", "no text", int((~some).sum()))
    counts = tags[some].assign(tag=words[some]).groupby(["item", "tag"]).size().rename("n").reset_index()
    best = counts.sort_values(["item", "n", "tag"], ascending=[True, False, True]).groupby("item").head(_TAGS_KEPT)
    found: dict[int, list[str]] = {}
    for item, tag in zip(best["item"].tolist(), best["tag"].tolist(), strict=True):
        found.setdefault(item, []).append(tag)
    return found


def _users(users: pd.DataFrame) -> pd.DataFrame:
    band = pd.cut(users["age"], list(_AGE_EDGES), right=False, labels=list(_AGE_BANDS))
    return pd.DataFrame(
        {
            "user_id": pseudonyms(users["user"].tolist(), salt="movielens"),
            "age_band": band.astype("str"),
            "gender": users["gender"],
            "occupation": users["occupation"],
        }
    )


def _meta(ratings: pd.DataFrame) -> dict[str, Any]:
    at_s = ratings["at_s"].to_numpy(float)
    protocols = {"leave_one_out": {"kinds": ["review"], "min_events": 3}, **time_split_at(at_s, ["review"])}
    return shop_meta(
        "movielens",
        language="en",
        rating_scale="1-5",
        time_resolution="second",
        source="MovieLens, GroupLens Research, University of Minnesota",
        licence="GroupLens terms: research use, no redistribution without permission",
        protocols=protocols,
    )


IMPORTER = Importer(
    summary="MovieLens latest, 100k, 1m, 10m, 20m, 25m and 32m",
    source="the unpacked folder",
    options=frozenset({"k_core"}),
    run=_run,
)
