"""What all importers share: the request, the importer noun, and small pure helpers on ids, order and time.

No importer lives here, and nothing here reads a file but through the paths of a request.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import ShopError
from ..tables.shop import ShopWriter
from .report import Ledger

Progress = Callable[[str, float], None]
"""Called with the name of the stage and the share of it that is done, 0 to 1."""


def no_progress(stage: str, share: float) -> None:
    """Ignore progress."""


@dataclass(frozen=True)
class ImportRequest:
    """What one import is asked to do.

    Attributes:
        source: ``--from``, a file or folder; None where the importer brings its own data
        metadata: ``--metadata``, the item file of sources that keep items apart
        k_core: keep users and items with at least this many events, iterated; 0 and 1 keep all
        column_map: ``--map``, a TOML file that names the columns
        progress: told how far the import is
    """

    source: Path | None = None
    metadata: Path | None = None
    k_core: int = 0
    column_map: Path | None = None
    progress: Progress = no_progress

    def need_source(self, what: str) -> Path:
        """The source path, or an error that says what to give.

        Raises:
            ShopError: no path was given, or nothing is there.
        """
        return _existing(self.source, "--from", what)

    def need_metadata(self, what: str) -> Path:
        """The metadata path, or an error that says what to give.

        Raises:
            ShopError: no path was given, or nothing is there.
        """
        return _existing(self.metadata, "--metadata", what)


def _existing(path: Path | None, option: str, what: str) -> Path:
    if path is None:
        raise ShopError(f"{option}: expected {what}, got nothing; give {option} PATH")
    if not path.exists():
        raise ShopError(f"{option}: expected {what}, but {path} does not exist")
    return path


@dataclass(frozen=True)
class Importer:
    """One source format.

    Attributes:
        summary: the source, in a line
        source: what ``--from`` is
        options: further options the importer understands, out of ``metadata``, ``k_core``, ``column_map``
        run: writes tables, counts rows, returns the contents of ``shop.json``
    """

    summary: str
    source: str
    options: frozenset[str]
    run: Callable[[ImportRequest, ShopWriter, Ledger], Mapping[str, Any]]


def pseudonyms(ids: Iterable[Any], *, salt: str) -> list[str]:
    """A pseudonym for each id: ``u`` and 16 hexadecimal digits of SHA-256 of the salt and the id.

    The same id and salt always give the same pseudonym, so imports repeat and tables of one source join. Who knows the
    source's ids can compute them: this keeps names out of tables, it is not anonymisation.

    >>> pseudonyms(["A1"], salt="x") == pseudonyms(["A1"], salt="x") != pseudonyms(["A1"], salt="y")
    True
    """
    memory: dict[Any, str] = {}
    out = []
    for id_ in ids:
        if id_ not in memory:
            memory[id_] = "u" + hashlib.sha256(f"{salt}\0{id_}".encode()).hexdigest()[:16]
        out.append(memory[id_])
    return out


def rank_in_user(user: NDArray[np.integer[Any]], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place of each event in its user's history, counted from 0.

    Args:
        user: user code of each event, (n_events,)
        order: positions of all events, users together and oldest first inside a user, (n_events,)

    >>> user = np.array([7, 5, 7, 7])
    >>> rank_in_user(user, np.array([1, 2, 0, 3])).tolist()
    [1, 0, 0, 2]
    """
    sorted_user = user[order]
    starts = np.flatnonzero(np.r_[True, sorted_user[1:] != sorted_user[:-1]]) if len(order) else np.zeros(0, np.int64)
    lengths = np.diff(np.r_[starts, len(order)])
    seq = np.empty(len(order), dtype=np.int64)
    seq[order] = np.arange(len(order)) - np.repeat(starts, lengths)
    return seq


def time_split_at(at_s: NDArray[np.float64], kinds: list[str]) -> dict[str, Any]:
    """Cut dates for ``time_split``: midnights such that about 80 / 10 / 10 % of the events fall before, between, after.

    Returns an empty object where the events span too few days for two cuts.

    >>> time_split_at(np.arange(100) * 86400.0, ["view"])["time_split"]["test_from"]
    '1970-03-31T00:00:00Z'
    """
    if not len(at_s):
        return {}
    days = np.floor(np.quantile(at_s, [0.8, 0.9]) / 86400).astype("int64")
    if days[0] >= days[1] or days[0] * 86400 <= at_s.min():
        return {}
    valid, test = (str(np.datetime64(int(d), "D")) + "T00:00:00Z" for d in days)
    return {"time_split": {"kinds": kinds, "valid_from": valid, "test_from": test}}


def shop_meta(name: str, *, source: str, licence: str, protocols: Mapping[str, Any], **known: Any) -> dict[str, Any]:
    """Contents of ``shop.json`` with every required key; what is not given is null.

    Keyword arguments beyond the named ones are keys of the contract; None leaves an optional key out.
    """
    required = dict.fromkeys(("language", "currency", "rating_scale", "grade_scale", "grade_gain"))
    meta = {"name": name, **required, "absolute_time": True, "licence": licence, "source": source}
    meta |= {key: value for key, value in known.items() if value is not None}
    return {**meta, "protocols": dict(protocols)}


_TAG = re.compile(r"</?[a-zA-Z!][^<>]{0,200}>")
_INLINE_TAG = re.compile(r"</?(?:a|b|i|u|em|strong|span|font|sub|sup)\b[^<>]{0,200}>", re.IGNORECASE)
_BLANKS = re.compile(r"\s+")


def plain_text(text: Any) -> str | None:
    """Text without tags, entities and repeated blanks; None where nothing is left.

    >>> plain_text("Salt &amp; <b>vinegar</b><br />crisps, 2 < 3"), plain_text("  ")
    ('Salt & vinegar crisps, 2 < 3', None)
    """
    if not isinstance(text, str):
        return None
    return _BLANKS.sub(" ", html.unescape(_TAG.sub(" ", _INLINE_TAG.sub("", text)))).strip() or None


def placeholder_title(item_id: Any) -> str:
    """Title of an item whose name nobody knows."""
    return f"Item {item_id}"


def to_timestamps(at_s: NDArray[np.float64]) -> pd.Series:
    """Seconds since 1970 UTC as the contract's timestamps, (n,)."""
    return pd.Series((np.asarray(at_s) * 1e6).round().astype("int64").astype("datetime64[us]"))
