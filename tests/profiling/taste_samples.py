"""Logs and requests that the tests of the taste model share."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tasteprint.profiling.log import EventLog, Requests, event_log
from tasteprint.profiling.tables.schema import conform

START = pd.Timestamp("2024-01-01")


def log_of(rows: list[tuple[str, int, float]], **columns: list) -> EventLog:
    """A log from (user, item row, minutes)."""
    table = pd.DataFrame(
        {
            "user_id": [user for user, _, _ in rows],
            "item_id": [f"i{item}" for _, item, _ in rows],
            "kind": "purchase",
            "at": [START + pd.Timedelta(minutes=minutes) for _, _, minutes in rows],
            "seq": range(len(rows)),
            **columns,
        }
    )
    return event_log(conform("events", table), [f"i{item}" for item in range(10)], rating_scale="1-5")


def asked(log: EventLog, minutes: float) -> Requests:
    """One request a user over the whole history."""
    now = np.full(log.n_users, START.timestamp() + 60 * minutes)
    return Requests(log, log.user_start[:-1], log.user_start[1:], now)
