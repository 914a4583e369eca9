"""Provenance: which events an interest is made of, exactly.

An interest is a sum, so its parts are its events: the share of event ``i`` is ``<w_i x_i, total> / <total, total>``,
and shares sum to 1. Events that pull the other way (dislikes, passing fancies) have negative shares. Events of one item
are told together, items that pull the other way not at all: people read shares as parts of a whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .interest import decay


@dataclass(frozen=True)
class ItemShare:
    """What the events with one item contribute to an interest.

    Attributes:
        item_id, title: the item
        share: part of what speaks for the interest, in (0, 1]; those of all its items sum to 1
        events: how many events it had
        last_s: when the last one was, seconds since 1970 UTC; NaN where events have no time
    """

    item_id: str
    title: str
    share: float
    events: int
    last_s: float


def event_shares(
    vectors: NDArray[np.floating],
    weights: NDArray[np.floating],
    at_s: NDArray[np.floating],
    half_life_s: float,
    *,
    now_s: float | None = None,
) -> NDArray[np.float64]:
    """Share of each event in the interest of these events, (n_events,); sums to 1, all 0 for no interest at all.

    Args:
        vectors: event vectors, (n_events, d)
        weights, at_s: signed weights and times, (n_events,)
        half_life_s: half-life of the interest
        now_s: any time after the events; shares do not depend on it

    >>> event_shares(np.eye(2), np.ones(2), np.zeros(2), 1.0).tolist()
    [0.5, 0.5]
    """
    if not len(weights):
        return np.zeros(0)
    newest = float(np.max(at_s)) if now_s is None else now_s
    left = np.asarray(weights, dtype=np.float64) * decay(newest - np.asarray(at_s), half_life_s)
    parts = left[:, None] * np.asarray(vectors, dtype=np.float64)  # (n_events, d)
    total = parts.sum(axis=0)
    size = float(total @ total)
    # A total that is nothing but rounding (likes and dislikes that cancel) has no parts worth naming.
    return parts @ total / size if size > 1e-18 * max(float((parts**2).sum()), 1e-300) else np.zeros(len(left))


def item_shares(
    shares: NDArray[np.float64],
    rows: NDArray[np.integer],
    at_s: NDArray[np.floating],
    item_ids: NDArray[np.object_],
    titles: NDArray[np.object_],
    *,
    top: int = 5,
) -> tuple[ItemShare, ...]:
    """The items whose events contribute most, largest share first, at most ``top``.

    Args:
        shares: `event_shares`, (n_events,)
        rows: item row of each event, (n_events,)
        at_s: time of each event, NaN where it has none, (n_events,)
        item_ids, titles: of every item row, (n_items,)
    """
    found, place = np.unique(rows, return_inverse=True)
    share = np.maximum(np.bincount(place, shares, minlength=len(found)), 0.0)
    share /= max(float(share.sum()), 1e-300)
    events = np.bincount(place, minlength=len(found))
    last = np.full(len(found), -np.inf)
    np.maximum.at(last, place, np.nan_to_num(at_s, nan=-np.inf))
    order = np.lexsort((found, -share))[:top]
    return tuple(
        ItemShare(
            item_id=str(item_ids[found[k]]),
            title=str(titles[found[k]]),
            share=float(share[k]),
            events=int(events[k]),
            last_s=float(last[k]) if np.isfinite(last[k]) else float("nan"),
        )
        for k in order
        if share[k] > 0
    )
