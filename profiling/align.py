"""Columns of an events table in the order of its `EventLog`, for what the log does not hold (scene, place, text...)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .log import EventLog
from .reviews.said import Said


def log_order(events: pd.DataFrame, *, kinds: Sequence[str] | None = None) -> NDArray[np.int64]:
    """Position in ``events`` of each event of ``event_log(events, ..., kinds=kinds)``, (n_events,).

    >>> days = pd.to_datetime(["2024-01-02", "2024-01-01", "2024-01-03"])
    >>> table = pd.DataFrame({"user_id": ["b", "a", "a"], "item_id": ["x", None, "y"], "at": days, "seq": [0, 0, 1]})
    >>> log_order(table).tolist()
    [2, 0]
    """
    keep = events["item_id"].notna().to_numpy()
    if kinds is not None:
        keep = keep & events["kind"].isin(list(kinds)).to_numpy()
    rows = np.flatnonzero(keep)
    table = events.iloc[rows]
    user, _ = pd.factorize(table["user_id"].to_numpy(object), sort=True)
    at = table["at"].to_numpy("datetime64[us]").astype(np.int64)
    return rows[np.lexsort((table["seq"].to_numpy(np.int64), at, user))]


def with_said(
    log: EventLog, said: Said | None, events: pd.DataFrame, *, kinds: Sequence[str] | None = None
) -> EventLog:
    """The log of ``events`` with what ``said`` tells of the table's rows; as it is for None."""
    return log if said is None else replace(log, said=said.take(log_order(events, kinds=kinds)))


def log_column(events: pd.DataFrame, column: str, *, kinds: Sequence[str] | None = None) -> NDArray[np.object_]:
    """One column of the table aligned with its log, None for null or an absent column, (n_events,) object."""
    order = log_order(events, kinds=kinds)
    if column not in events:
        return np.full(len(order), None, dtype=object)
    values = events[column].iloc[order]
    return np.asarray([None if pd.isna(value) else value for value in values], dtype=object)
