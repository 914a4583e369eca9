"""Who the demo shows: two shoppers with long histories and far-apart tastes, a newcomer, and the words for them.

Chooses from an opened workspace; draws nothing at random. Fetching what they are shown is `demo.answers`' work, the
map of everybody `demo.map`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..profiling.errors import ShopError
from ..profiling.log import EventLog, Requests
from ..profiling.shopper.attributes import attributes_of
from ..profiling.shopper.describe import describe
from ..profiling.shopper.interest import decay
from ..profiling.shopper.interest_batch import event_weights, interests
from ..profiling.shopper.profile import Profile
from ..profiling.shopper.profile_build import build_profile
from ..profiling.shopper.yardsticks import Yardsticks
from ..profiling.tables.shop import Shop
from ..workspace import Workspace
from .story import Line, Timeline

DAY_S = 86_400.0
_MOMENTS = 40
_MOST_COMPARED = 1500


@dataclass(frozen=True, eq=False)
class Tastes:
    """What the shoppers of a log hold at one time, in the space of the encoder.

    Attributes:
        rows: their rows in the log, (n,)
        vectors: mean meaning of what they took, old events counting less, (n, d)
    """

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]


def tastes(opened: Workspace, *, most: int = 4000) -> Tastes:
    """Taste of every shopper with events, or of ``most`` evenly chosen ones."""
    log = opened.engine.log
    rows = np.flatnonzero(np.diff(log.user_start) > 0)
    rows = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64)] if len(rows) else rows
    requests = Requests(log, log.user_start[rows], log.user_start[rows + 1], np.full(len(rows), opened.last_s + 1.0))
    space = opened.engine.recommender.space
    totals, weights = interests(requests, space.items["meaning"], space.long_half_life_s)
    return Tastes(rows, (totals / np.maximum(weights, 1e-9)[:, None]).astype(np.float32))


def far_apart(log: EventLog, found: Tastes) -> tuple[int, int]:
    """Rows of two shoppers with long histories who are farthest apart on the map of tastes.

    Long is the upper third by number of events without its last twentieth, so that nobody is a wholesaler; of these the
    half that takes more different items, so that nobody is a habit. The map is the first two principal components.

    Raises:
        ShopError: fewer than two shoppers.
    """
    if len(found.rows) < 2:
        raise ShopError(
            f"the demo compares shoppers, but this shop has {len(found.rows)} with events; give another shop"
        )
    counts = np.diff(log.user_start)[found.rows]
    order = np.argsort(counts, kind="stable")
    first = min(len(order) * 2 // 3, len(order) - 2)
    long = order[first : max(len(order) - len(order) // 20, first + 2)]
    kinds = np.asarray([len(np.unique(log.item[log.user_start[r] : log.user_start[r + 1]])) for r in found.rows[long]])
    long = np.sort(long[np.argsort(-kinds, kind="stable")[: max(len(long) // 2, 2)]])
    long = long[np.linspace(0, len(long) - 1, min(_MOST_COMPARED, len(long))).astype(np.int64)]
    centred = found.vectors.astype(np.float64) - found.vectors.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    place = centred[long] @ axes.T  # (n_long, 2)
    squares = (place**2).sum(axis=1)
    distance = squares[:, None] + squares[None, :] - 2 * place @ place.T
    a, b = np.unravel_index(int(np.argmax(distance)), distance.shape)
    return int(found.rows[long[a]]), int(found.rows[long[b]])


def newcomer(log: EventLog, *, least: int = 11, besides: tuple[int, ...] = ()) -> int:
    """Row of an ordinary shopper to meet event by event: of those with ``least`` events, the one in the middle."""
    counts = np.diff(log.user_start)
    rows = np.setdiff1d(np.flatnonzero(counts >= least), besides)
    if not len(rows):
        rows = np.setdiff1d(np.flatnonzero(counts > 0), besides)[-1:]
    if not len(rows):
        rows = np.flatnonzero(counts > 0)[-1:]
    order = rows[np.argsort(counts[rows], kind="stable")]
    return int(order[len(order) // 2])


def portrait(shop: Shop, log: EventLog, yardsticks: Yardsticks, row: int, now_s: float) -> Profile:
    """Profile of one shopper, from their own rows of the shop's tables."""
    user, events = str(log.user_ids[row]), shop.table("events")
    mine = events[events["user_id"] == user]
    return build_profile(user, mine, yardsticks, at_s=now_s, attributes=attributes_of(shop.users).get(user))


def in_words(profile: Profile) -> tuple[str, ...]:
    """Who they are, in sentences."""
    return tuple(describe(profile))


def timeline(log: EventLog, yardsticks: Yardsticks, row: int, profile: Profile, *, top: int = 5) -> Timeline:
    """How much of a shopper's interest each of their first tags had, over the time of the log."""
    begin, end = float(log.at_s.min()), float(log.at_s.max())
    half_life_s = max(min(30 * DAY_S, (end - begin) / 6), DAY_S)
    moments = np.linspace(begin, end, _MOMENTS + 1)[1 + _MOMENTS // 12 :]  # a first basket alone would be all there is
    mine = slice(int(log.user_start[row]), int(log.user_start[row + 1]))
    weight = np.maximum(event_weights(log)[mine], 0.0)
    age = moments[:, None] - log.at_s[mine][None, :]
    left = np.where(age >= 0, weight * decay(np.maximum(age, 0.0), half_life_s), 0.0)  # (n_moments, n_events)
    whole = np.maximum(left.sum(axis=1), 1e-12)
    lines = []
    for name in [tag.name for tag in profile.tags[:top]]:
        column = yardsticks.tags.names.index(name)
        carried = yardsticks.tags.carries[log.item[mine]][:, [column]].toarray().ravel() > 0
        share = np.clip(left @ carried / whole, 0.0, 1.0)
        lines.append(Line(name=name, share=tuple(round(float(s), 4) for s in share)))
    days = moments.astype("datetime64[s]").astype("datetime64[D]").astype(str)
    return Timeline(days=tuple(days.tolist()), half_life_days=half_life_s / DAY_S, lines=tuple(lines))
