"""One shopper's events cut out of a log, and the circumstances of one request."""

from __future__ import annotations

import numpy as np

from ..profiling.context import Context
from ..profiling.errors import ConfigError
from ..profiling.log import EventLog


def one_user(log: EventLog, row: int) -> EventLog:
    """The events of one user, as a log of that user alone."""
    part = slice(int(log.user_start[row]), int(log.user_start[row + 1]))
    return EventLog(
        user_ids=log.user_ids[row : row + 1],
        item_ids=log.item_ids,
        user_start=np.array([0, part.stop - part.start], dtype=np.int64),
        item=log.item[part],
        at_s=log.at_s[part],
        kind=log.kind[part],
        weight=log.weight[part],
        quantity=log.quantity[part],
        price=log.price[part],
    )


def no_history(log: EventLog) -> EventLog:
    """A log of nobody over the same catalogue."""
    empty = log.select(np.zeros(len(log), dtype=bool))
    return EventLog(**{**vars(empty), "user_ids": np.array(["nobody"], dtype=object), "user_start": np.array([0, 0])})


def request_context(context: Context | None, now_s: float | None) -> Context:
    """Circumstances of a request, of which at least the time must be known.

    Raises:
        ConfigError: neither or both are given, or the time is none.
    """
    if (context is None) == (now_s is None):
        both = "neither" if context is None else "both"
        raise ConfigError(f"now_s or context must say when the request is made, got {both}")
    at_s = context.at_s if context is not None else now_s
    if at_s is None or not np.isfinite(at_s):
        raise ConfigError(f"now_s must be a time in seconds since 1970 UTC, got {at_s}")
    return context or Context(at_s)
