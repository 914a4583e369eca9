"""Histories as padded arrays for the taste model: which events, how far apart in steps and in time, who sees whom.

Training and inference read events through this one module, so they cannot disagree. Only events are here; which items
they stand for and what is made of them is `taste_model`'s work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .log import KINDS, EventLog

N_KINDS = 2 * len(KINDS)
"""Kinds of events, each with a positive and a negative side."""
N_AGES = 28
"""Bands of a duration: none, then doubling from a minute to longer than a century."""


@dataclass(frozen=True, eq=False)
class Events:
    """Histories side by side, oldest event first, padded at the end; all arrays are (n_rows, longest).

    Attributes:
        item: item rows, 0 where padded
        kind: kind and sign, see `signed_kind`
        at_s: time of each event
        asked_s: time at which the event after it happened, or the request came: when its step is looked back from
        step: place in the order; events of one step have none among them
        valid: where there is an event
        said: row in ``texts`` of what was said in it, -1 where nothing was
        texts: vectors of what was said, (n_texts, d)
    """

    item: NDArray[np.int32]
    kind: NDArray[np.int8]
    at_s: NDArray[np.float64]
    asked_s: NDArray[np.float64]
    step: NDArray[np.int64]
    valid: NDArray[np.bool_]
    said: NDArray[np.int32]
    texts: NDArray[np.float32]

    def spoken(self) -> NDArray[np.bool_]:
        """Where something was said, (n_rows, longest)."""
        return self.valid & (self.said >= 0)

    def allowed(self) -> NDArray[np.bool_]:
        """Whether an event (axis 1) sees an event (axis 2), (n_rows, longest, longest): of its own or earlier steps.

        A padded place sees itself alone, so that every row of weights adds up to 1.
        """
        sees = (self.step[:, None, :] <= self.step[:, :, None]) & self.valid[:, None, :]
        itself = np.arange(sees.shape[1])
        sees[:, itself, itself] = True
        return sees

    def distance(self, most: int) -> NDArray[np.int64]:
        """Steps from an event (axis 1) back to an event (axis 2), at most ``most``, (n_rows, longest, longest)."""
        return np.clip(self.step[:, :, None] - self.step[:, None, :], 0, most)

    def age(self) -> NDArray[np.int64]:
        """Band of the time from an event (axis 2) to when one (axis 1) is looked back from, as `distance`."""
        return age_band(self.asked_s[:, :, None] - self.at_s[:, None, :])

    def gap(self) -> NDArray[np.int64]:
        """Band of the time from each event until its step is looked back from, (n_rows, longest)."""
        return age_band(self.asked_s - self.at_s)


def age_band(seconds: NDArray[np.floating]) -> NDArray[np.int64]:
    """Band of each duration: 0 for none, 1 up to two minutes, then one more each time it doubles, below `N_AGES`.

    >>> age_band(np.array([-5.0, 0.0, 30.0, 119.0, 121.0, 86400.0])).tolist()
    [0, 0, 1, 1, 2, 11]
    """
    minutes = np.maximum(seconds, 60.0) / 60.0
    return np.where(seconds <= 0, 0, 1 + np.clip(np.frexp(minutes)[1] - 1, 0, N_AGES - 2)).astype(np.int64)


def signed_kind(log: EventLog, event: NDArray[np.integer]) -> NDArray[np.int8]:
    """Twice the kind of each event, one more where it speaks against its item, (n,) below `N_KINDS`."""
    against = (log.weight[event] < 0) | (log.quantity[event] < 0)
    return (2 * log.kind[event] + against).astype(np.int8)


def padded_events(
    log: EventLog,
    event: NDArray[np.int64],
    lengths: NDArray[np.int64],
    *,
    asked_s: NDArray[np.float64],
    step: NDArray[np.int64],
) -> Events:
    """Put events side by side.

    Args:
        log: where they lie
        event: positions in the log, row after row, oldest first, (lengths.sum(),)
        lengths: events of each row, (n_rows,)
        asked_s: when each event's step is looked back from, (lengths.sum(),)
        step: place of each event in the order, (lengths.sum(),)
    """
    shape = (len(lengths), int(lengths.max(initial=0)))
    valid = np.arange(shape[1]) < lengths[:, None]

    def spread(values: NDArray[Any], dtype: type) -> NDArray[Any]:
        out: NDArray[Any] = np.zeros(shape, dtype=dtype)
        out[valid] = values
        return out

    return Events(
        item=spread(log.item[event], np.int32),
        kind=spread(signed_kind(log, event), np.int8),
        at_s=spread(log.at_s[event], np.float64),
        asked_s=spread(asked_s, np.float64),
        step=spread(step, np.int64),
        valid=valid,
        said=spread(log.said.of(event), np.int32),
        texts=log.said.vectors,
    )


def next_times(
    at_s: NDArray[np.float64], row: NDArray[np.int64], step: NDArray[np.int64], end_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Time of the step after each event's own, ``end_s`` of its row after the newest, (n_events,).

    Args:
        at_s, row, step: time, row and step of each event; rows and steps ascending, (n_events,)
        end_s: what comes after the newest step of each row, (n_rows,)
    """
    first = np.ones(len(at_s), dtype=bool)
    first[1:] = (row[1:] != row[:-1]) | (step[1:] != step[:-1])
    head = np.flatnonzero(first)
    group = np.cumsum(first) - 1
    after = np.append(head[1:], len(at_s))[group]
    inside = np.minimum(after, len(at_s) - 1)
    same = (after < len(at_s)) & (row[inside] == row)
    return np.where(same, at_s[inside], end_s[row])
