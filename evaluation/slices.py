"""Which requests and which right answers belong to a slice: cold, warm, tail, repeat, other day and so on.

A slice of *requests* (who asks) keeps every right answer of its requests. A slice of *targets* (what is right) counts
only the answers inside it; a request without any drops out. Rankings are the same in all slices: nothing is ranked
anew, so the ``new`` slice of a shop full of repeats is low for a method that rightly puts repeats first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..profiling.log import EventLog, Requests
from .metrics import Relevance

DAY_S = 86_400.0
COLD_UP_TO = 5
"""A shopper with 1 to this many history events is cold, with more warm."""
HEAD_SHARE = 0.2
"""The most sold fifth of the items with training events is the head, everything else the tail."""
RARE_BELOW = 5
"""An item with fewer training events is rare."""

SLICE_MEANINGS: dict[str, str] = {
    "no_history": "shoppers without an earlier event",
    "known": "shoppers with an earlier event",
    "cold": f"shoppers with 1 to {COLD_UP_TO} earlier events",
    "warm": f"shoppers with more than {COLD_UP_TO} earlier events",
    "same_day": "first right item on the UTC day of the last earlier event",
    "other_day": "first right item on a later UTC day than the last earlier event",
    "head": f"right items among the {HEAD_SHARE:.0%} most sold (of the items with training events)",
    "tail": "right items outside the head",
    "rare": f"right items with fewer than {RARE_BELOW} training events",
    "unseen": "right items without any training event",
    "repeat": "right items the shopper had before",
    "new": "right items the shopper did not have before",
    "one_word": "queries of one word",
    "more_words": "queries of two or more words",
    "judged_5": "queries with at least five judged items",
}
"""What each slice is, for tables and reports."""


@dataclass(frozen=True, eq=False)
class Contact:
    """First target event of every (user, item) pair.

    Attributes:
        n_items: size of the catalogue
        key: ``user row * n_items + item row``, ascending, (n_pairs,)
        first: position in the log of the pair's first target event, (n_pairs,)
        is_first: whether an event is the first of its pair, (n_events,)
    """

    n_items: int
    key: NDArray[np.int64]
    first: NDArray[np.int64]
    is_first: NDArray[np.bool_]

    def had(self, user: NDArray[np.integer], item: NDArray[np.integer], stop: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Whether the user met the item before log position ``stop``; all (n,)."""
        key = user.astype(np.int64) * self.n_items + item
        place = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        return (self.key[place] == key) & (self.first[place] < stop)

    def repeat_share(self, events: NDArray[np.bool_]) -> float:
        """Share of these log events (n_events,) that repeat an earlier target item of their user; 0 for none."""
        return float(1.0 - self.is_first[events].mean()) if events.any() else 0.0


def first_contact(log: EventLog, target: NDArray[np.bool_]) -> Contact:
    """Index the first event of each (user, item) among the events where ``target`` (n_events,) is true."""
    position = np.flatnonzero(target)
    key = log.user()[position].astype(np.int64) * log.n_items + log.item[position]
    unique, place = np.unique(key, return_index=True)  # the first place is the earliest: the log is in time order
    is_first = np.zeros(len(log), dtype=bool)
    is_first[position[place]] = True
    return Contact(log.n_items, unique, position[place], is_first)


def request_slices(requests: Requests, target_at_s: NDArray[np.float64]) -> dict[str, NDArray[np.bool_]]:
    """Slices by history length and by whether the first right item (at ``target_at_s``) falls on a later day."""
    length = requests.stop - requests.start
    known = length > 0
    newest = np.where(known, requests.stop - 1, 0)
    other = known & (target_at_s // DAY_S != requests.log.at_s[newest] // DAY_S)
    return {
        "no_history": ~known,
        "known": known,
        "cold": known & (length <= COLD_UP_TO),
        "warm": length > COLD_UP_TO,
        "same_day": known & ~other,
        "other_day": other,
    }


def target_slices(
    requests: Requests, truth: Relevance, contact: Contact, counts: NDArray[np.integer]
) -> dict[str, NDArray[np.bool_]]:
    """Slices by popularity (``counts`` (n_items,): training events) and by whether the shopper had the item before."""
    order = np.lexsort((np.arange(len(counts)), -counts))
    head = np.zeros(len(counts), dtype=bool)
    head[order[: int(np.ceil(HEAD_SHARE * np.count_nonzero(counts)))]] = True
    request = truth.request()
    user = requests.log.user()[requests.stop[request]]  # the stop is the asker's own event
    had = contact.had(user, truth.items, requests.stop[request])
    return {
        "head": head[truth.items],
        "tail": ~head[truth.items],
        "rare": counts[truth.items] < RARE_BELOW,
        "unseen": counts[truth.items] == 0,
        "repeat": had,
        "new": ~had,
    }


def query_slices(texts: tuple[str, ...], truth: Relevance) -> dict[str, NDArray[np.bool_]]:
    """Slices by number of words and of judged items, (n_queries,) each."""
    words = np.asarray([len(text.split()) for text in texts], dtype=np.int64)
    return {"one_word": words <= 1, "more_words": words > 1, "judged_5": np.diff(truth.indptr) >= RARE_BELOW}
