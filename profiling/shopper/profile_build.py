"""Building a profile: one shopper's events measured with the shop's yardsticks, live or from the log.

Block vectors may be handed in; without them the profile has one, ``taste``, the long-term mean pulled to the prior.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..align import log_column, log_order
from ..errors import ShopError
from ..log import EventLog, Requests, event_log
from ..reviews.reviews import rate_by_words, summarise, understand_review
from .behaviour import BehaviourFeatures, behaviour, features
from .cycles import repeats
from .habits import Habits, habits
from .interest import decay, mean
from .interest_batch import event_weights
from .interest_set import UNTIMED, interest_set
from .profile import ItemCycle, Profile
from .provenance import ItemShare, event_shares, item_shares
from .tags import Tag, interest_tags
from .yardsticks import ProfileConfig, Yardsticks, fit_yardsticks, seconds

__all__ = ["ProfileConfig", "Yardsticks", "build_profile", "fit_yardsticks"]


def build_profile(
    user_id: str,
    events: pd.DataFrame,
    yardsticks: Yardsticks,
    *,
    at_s: float,
    blocks: Mapping[str, NDArray[np.floating]] | None = None,
    attributes: Mapping[str, str] | None = None,
) -> Profile:
    """Profile of one shopper at one time.

    Args:
        user_id: external id
        events: this shopper's events, in the contract's columns; those at or after ``at_s`` are not looked at
        yardsticks: the shop's
        at_s: time of the profile, seconds since 1970 UTC
        blocks: block vectors from outside; ``taste`` alone if None
        attributes: known attributes, for the prior
    """
    y, config = yardsticks, yardsticks.config
    scale = y.meta.get("rating_scale")
    seen = rate_by_words(events[seconds(events) < at_s], rating_scale=scale, model=y.opinions)
    log = _log_of(seen, y)
    ordered = seen.iloc[log_order(seen)]
    untimed = ordered["kind"].isin(y.untimed_kinds).to_numpy(bool)
    weights, x = event_weights(log), y.vectors[log.item]
    state = interest_set(
        x, weights, log.at_s, scenes=list(log_column(seen, "scene")), untimed=untimed, config=config.interest
    )
    attributes = dict(attributes or {})
    if blocks is None:
        prior, worth = y.prior.vector(attributes), config.interest.prior_weight or y.prior.weight
        blocks = {"taste": mean(state.whole("long"), prior=prior, prior_weight=worth, at_s=at_s)}
    request = Requests(log, np.zeros(1, dtype=np.int64), np.full(1, len(log), dtype=np.int64), np.full(1, at_s))
    told = [understand_review(text, model=y.opinions, aspects=y.aspects) for text in seen["text"].dropna()]
    praised, complained = summarise(told)
    return Profile(
        user_id=user_id,
        at_s=at_s,
        blocks=blocks,
        interests=state,
        made_of=_made_of(y, log, x, weights, untimed),
        seen=len(ordered),
        last_seen_s=float(seconds(ordered[~untimed]).max()) if not untimed.all() else math.nan,
        behaviour=_behaviour_of(request, y),
        tags=_tags(y, log, weights, untimed, at_s, lately=False),
        recent_tags=_tags(y, log, weights, untimed, at_s, lately=True),
        cycles=_cycles(request, y),
        habits=_habits_of(ordered[~untimed], y),
        praised=praised,
        complained=complained,
        attributes=attributes,
        currency=y.meta.get("currency"),
        norms=y.usual,
        verb=y.verb,
    )


def _log_of(events: pd.DataFrame, y: Yardsticks) -> EventLog:
    """Log of a few events over the whole catalogue, without indexing the catalogue again."""
    own = events["item_id"].dropna().unique().tolist()
    unknown = [item_id for item_id in own if item_id not in y.row_of]
    if unknown:
        raise ShopError(f"events: item_id {unknown[0]!r} is not in items; add the item or drop its events")
    scale = y.meta.get("rating_scale")
    log = event_log(events, own, rating_scale=scale, kind_weights=y.config.interest.kind_weights)
    rows = np.asarray([y.row_of[item_id] for item_id in own], dtype=np.int32)
    return replace(log, item_ids=y.item_ids, item=rows[log.item])


def _made_of(
    y: Yardsticks,
    log: EventLog,
    x: NDArray[np.floating],
    weights: NDArray[np.float64],
    untimed: NDArray[np.bool_],
) -> dict[str, tuple[ItemShare, ...]]:
    """The items behind the interest of each horizon."""
    out = {}
    for horizon, half_life_s in {**y.config.interest.horizons, UNTIMED: math.inf}.items():
        mine = untimed if horizon == UNTIMED else ~untimed
        if mine.any():
            at_s = np.where(untimed, 0.0, log.at_s)[mine]
            shares = event_shares(x[mine], weights[mine], at_s, half_life_s)
            last_s = np.where(untimed, np.nan, log.at_s)[mine]
            out[horizon] = item_shares(shares, log.item[mine], last_s, y.item_ids, y.titles, top=y.config.top_items)
    return out


def _behaviour_of(request: Requests, y: Yardsticks) -> BehaviourFeatures | None:
    """Behaviour features; None without any order."""
    found = behaviour(request, y.norms)
    return features(found, 0, y.norms) if found.orders[0] else None


def _tags(
    y: Yardsticks,
    log: EventLog,
    weights: NDArray[np.float64],
    untimed: NDArray[np.bool_],
    at_s: float,
    *,
    lately: bool,
) -> tuple[Tag, ...]:
    """Tags of long-term interest, or of what happened lately; repeated items count by the logarithm of their weight."""
    config = y.config
    age = np.where(untimed, np.inf if lately else 0.0, at_s - log.at_s)
    if lately:
        left = weights * (age <= config.recent_half_lives * config.interest.short_half_life_s)
    else:
        left = weights * decay(age, config.interest.long_half_life_s)
    rows, place = np.unique(log.item, return_inverse=True)
    summed = np.bincount(place, left, minlength=len(rows)).astype(np.float64)
    return interest_tags(y.tags, rows, np.log1p(np.maximum(summed, 0.0)), top=config.top_tags)


def _cycles(request: Requests, y: Yardsticks, *, least_times: int = 3, given_up: float = 3.0) -> tuple[ItemCycle, ...]:
    """What is bought again and again and not given up, most overdue first."""
    rows = repeats(request)
    cycle_s, due = y.cycles.cycle_s(rows), y.cycles.due(rows, request.now_s)
    steady = np.flatnonzero((rows.count >= least_times) & (due <= given_up))
    order = steady[np.lexsort((rows.item[steady], -due[steady]))][: y.config.top_items]
    return tuple(
        ItemCycle(
            item_id=str(y.item_ids[rows.item[k]]),
            title=str(y.titles[rows.item[k]]),
            times=int(rows.count[k]),
            every_days=float(cycle_s[k] / 86_400),
            due=float(due[k]),
        )
        for k in order
    )


def _habits_of(events: pd.DataFrame, y: Yardsticks) -> Habits:
    """Habits over the timed events, on the shop's clock."""
    return habits(
        seconds(events),
        scene=events["scene"].tolist(),
        device=events["device"].tolist(),
        place=events["place"].tolist(),
        utc_offset_s=y.config.utc_offset_s,
        hours=y.meta.get("time_resolution") != "day",
        calendar=bool(y.meta.get("absolute_time", True)),
    )
