"""What shoppers were shown and what they chose of it, read from a profile store, for a ranker to learn from.

An answer counts where something on it was chosen and something was passed by. A choice is an event that speaks for an
item, inside a time after an answer that showed it; of several such answers the newest has it. Only answers to shoppers
with an id are kept, so only those are learned from. Events that arrived late belong to the history of their own time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .evaluation.rank_tables import Impressions
from .profiling.context import contexts
from .profiling.log import EventLog, Requests
from .serving.histories import Catalogue, user_log
from .serving.store import ProfileStore, Shown

DAY_S = 86_400.0


def read_impressions(
    store: ProfileStore,
    catalogue: Catalogue,
    *,
    asked: bool,
    window_s: float = DAY_S,
    attributes: Mapping[str, Mapping[str, str]] | None = None,
) -> Impressions | None:
    """The pages of a store that teach something; None where there are none.

    Args:
        store: what was shown, and events
        catalogue: turns events into logs; items that are not in it any more are left out
        asked: whether pages in answer to words are read, or those without
        window_s: seconds after a page in which an event chooses from it
        attributes: known attributes by shopper

    Raises:
        StoreError: the store cannot be read.
    """
    logs: list[EventLog] = []
    pages: list[_Page] = []
    users: list[int] = []
    for user in sorted(store.users()):
        shown = [page for page in store.shown(user) if bool(page.asked.get("query")) == asked]
        if not shown:
            continue
        log = user_log(user, store.events(user), catalogue)
        teaching = list(_teaching(shown, log, catalogue, window_s))
        if teaching:
            users += [len(logs)] * len(teaching)
            pages += teaching
            logs.append(log)
    if not pages:
        return None
    log = _together(logs, catalogue)
    cluster = np.asarray(users, dtype=np.int64)
    start = log.user_start[cluster]
    requests = Requests(
        log,
        start,
        start + np.array([page.before for page in pages]),
        np.array([page.shown.at_us / 1e6 for page in pages]),
        tuple(str(page.shown.asked["query"]) for page in pages) if asked else (),
        contexts(
            scene=np.array([page.shown.asked.get("scene") for page in pages], dtype=object),
            device=np.array([page.shown.asked.get("device") for page in pages], dtype=object),
            place=None,
        ),
        tuple(dict((attributes or {}).get(str(page.shown.user_id), {})) for page in pages),
    )
    return Impressions(
        requests=requests,
        request=np.repeat(np.arange(len(pages)), [len(page.gain) for page in pages]),
        item=np.concatenate([np.array(sorted(page.gain), dtype=np.int64) for page in pages]),
        chosen=np.array([page.gain[row] for page in pages for row in sorted(page.gain)], dtype=np.float32),
        cluster=cluster,
    )


class _Page:
    """One answer on its way into a table: the gain of each item row it showed, and how many events came before it."""

    def __init__(self, shown: Shown, before: int, rows: Sequence[int]) -> None:
        self.shown, self.before = shown, before
        self.gain = dict.fromkeys(rows, 0.0)


def _teaching(shown: Sequence[Shown], log: EventLog, catalogue: Catalogue, window_s: float) -> Iterator[_Page]:
    """One shopper's pages with a choice and something passed by; ``shown`` is oldest first."""
    pages = []
    for page in shown:
        rows = [catalogue.row_of[item] for item, *_ in page.items if item in catalogue.row_of]
        pages.append(_Page(page, int(np.searchsorted(log.at_s, page.at_us / 1e6, side="left")), rows))
    for item, at_s, weight in zip(log.item.tolist(), log.at_s.tolist(), log.weight.tolist(), strict=True):
        if weight <= 0:
            continue
        by = [p for p in pages if item in p.gain and 0 <= at_s - p.shown.at_us / 1e6 <= window_s]
        if by:
            by[-1].gain[item] = max(by[-1].gain[item], weight)
    return (page for page in pages if any(page.gain.values()) and not all(page.gain.values()))


def _together(logs: Sequence[EventLog], catalogue: Catalogue) -> EventLog:
    """The logs of several shoppers as one."""
    lengths = [len(log) for log in logs]
    names = ("item", "at_s", "kind", "weight", "quantity", "price")
    columns: dict[str, Any] = {name: np.concatenate([getattr(log, name) for log in logs]) for name in names}
    return EventLog(
        user_ids=np.concatenate([log.user_ids for log in logs]),
        item_ids=catalogue.item_ids,
        user_start=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        **columns,
    )
