"""A split inside the training events: the same question, asked earlier.

For what must learn from answers and may not touch those of validation: parts are fitted before the cut, answers lie
after it, both are training events.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..profiling.log import Requests
from ..profiling.shopper.attributes import attributes_of
from ..retrieval.histories import step_of_event
from ..retrieval.scorer import TrainingSet
from .metrics import Relevance, relevance
from .splits import Split


def earlier_split(train: TrainingSet, like: Split) -> tuple[TrainingSet, Split]:
    """A split inside the training events that asks what ``like`` asks, only earlier, and what lies before it.

    For ``leave_one_out`` the last event of each user with two or more is asked for; for ``time_split`` the baskets of a
    last stretch of time as long as the one ``like`` covers. Events of the kinds ``like`` predicts are the answers.
    """
    log = train.log
    target = np.isin(log.kind, list(like.seen_kinds)) & ~(log.quantity < 0)
    user = log.user()
    if like.protocol == "time_split":
        span = float(like.requests.now_s.max() - like.until_s)
        until_s = max(like.until_s - max(span, 1.0), float(log.at_s.min(initial=0.0)) + 1.0)
        learned = log.at_s < until_s
        inside = np.flatnonzero(target & ~learned)
        step = step_of_event(log, "together")
        start = np.flatnonzero(np.r_[True, np.diff(step) > 0])[step] if len(step) else step
        stops, request = np.unique(start[inside], return_inverse=True)
        truth = relevance(request, log.item[inside], len(stops))
    else:
        position = np.flatnonzero(target)
        count = np.bincount(user[position], minlength=log.n_users)
        stops = position[(np.cumsum(count) - 1)[count >= 2]]
        limit = log.user_start[1:].copy()
        limit[user[stops]] = stops
        learned = np.arange(len(log)) < limit[user]
        truth = relevance(np.arange(len(stops)), log.item[stops], len(stops))
        until_s = float(log.at_s[learned].max(initial=0.0)) + 1.0
    return _cut(train, like, learned=learned, stops=stops, truth=truth, until_s=until_s)


def _cut(
    train: TrainingSet,
    like: Split,
    *,
    learned: NDArray[np.bool_],
    stops: NDArray[np.int64],
    truth: Relevance,
    until_s: float,
) -> tuple[TrainingSet, Split]:
    """Training set and split of a cut inside a log."""
    log = train.log
    user = log.user()[stops]
    known = attributes_of(train.users)
    attributes = tuple(known.get(str(u), {}) for u in log.user_ids[user]) if known else ()
    where = replace(log.where.take(stops), scene=None)
    requests = Requests(log, log.user_start[user], stops, log.at_s[stops], where=where, attributes=attributes)
    earlier = log.select(learned)
    changed = {
        "train": earlier, "until_s": until_s, "requests": requests, "truth": truth, "cluster": user.astype(np.int64),
        "slices": {}, "target_slices": {},
    }  # fmt: skip
    return replace(train, log=earlier, until_s=until_s), Split(**{**vars(like), **changed})
