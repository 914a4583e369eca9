"""What is asked, what is right, and what may be learned from: the protocols that cut a shop's events.

`leave_one_out` hides each user's last event, `time_split` everything after a date; `search_split` has the protocols
over judged queries, `labels` those over labelled sentences. Both here read the shop's own settings in ``shop.json``
and rank the whole catalogue: there are no sampled negatives. Untimed kinds take part in nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..profiling.align import with_said
from ..profiling.errors import ConfigError, ShopError
from ..profiling.log import KINDS, EventLog, Requests, event_log
from ..profiling.shopper.attributes import attributes_of
from ..profiling.tables.shop import Shop
from .metrics import Relevance, relevance
from .slices import first_contact, request_slices, target_slices

Stage = Literal["valid", "test"]
AnyStage = Literal["train", "valid", "test"]
FitOn = Literal["train", "train+valid"]
Window = Literal["rolling", "period"]

DAY_S = 86_400.0
REPEATS_FROM = 0.01
"""A shop where fewer training events than this share repeat an earlier item of their user ranks unseen items only."""


@dataclass(frozen=True, eq=False)
class Split:
    """One protocol at one stage: training events, requests and the right answers.

    Attributes:
        protocol: its fixed name, such as ``time_split``
        stage: ``train`` (judged queries to learn from), ``valid`` (to choose settings) or ``test`` (to report)
        fit_on: which events were left in ``train``
        train: the events a method may learn from
        until_s: end of the training time, seconds since 1970 UTC
        requests: who asks when, with which history or query
        truth: the right items of each request
        cluster: requests with one number are not independent (one user, one query), (n_requests,)
        slices: names to which requests belong to a slice, (n_requests,) bool
        target_slices: names to which entries of ``truth`` count in a slice, (n_entries,) bool
        exclude_seen: whether items of the history (of ``seen_kinds``) are left out of rankings
        seen_kinds: positions in `KINDS` of the kinds that are predicted
        judged_only: whether only the entries of ``truth`` are ranked
        settings: what the protocol was run with, for the results file
        notes: sentences a reader of the numbers must know
    """

    protocol: str
    stage: AnyStage
    fit_on: FitOn
    train: EventLog
    until_s: float
    requests: Requests
    truth: Relevance
    cluster: NDArray[np.int64]
    slices: Mapping[str, NDArray[np.bool_]]
    target_slices: Mapping[str, NDArray[np.bool_]]
    exclude_seen: bool = False
    seen_kinds: frozenset[int] = frozenset()
    judged_only: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def take(self, rows: NDArray[np.int64]) -> Split:
        """The same split with only the requests at ``rows``; slices are dropped."""
        changed = {
            "requests": self.requests.take(rows), "truth": self.truth.take(rows), "cluster": self.cluster[rows],
            "slices": {}, "target_slices": {},
        }  # fmt: skip
        return Split(**{**vars(self), **changed})

    def sample(self, n: int, rng: np.random.Generator) -> Split:
        """The same split with at most ``n`` of its requests, drawn without replacement; slices are dropped."""
        if len(self.requests) <= n:
            return self
        return self.take(np.sort(rng.choice(len(self.requests), size=n, replace=False)))


def leave_one_out(
    shop: Shop, *, stage: Stage = "test", fit_on: FitOn = "train", exclude_seen: bool | None = None
) -> Split:
    """The last event of each user is ``test``, the one before ``valid``, everything earlier ``train``.

    Ordered by (``at``, ``seq``). ``shop.json`` may name the ``kinds`` that count and ``min_events`` (default 3): users
    with fewer are training only. The history at test always holds the valid event; ``fit_on="train+valid"`` lets
    methods learn from it too. ``exclude_seen=None`` decides from the share of repeats in the training events.

    Raises:
        ShopError: no events, or no user with enough of them.
        ConfigError: ``fit_on="train+valid"`` at the valid stage.
    """
    _refuse_leak(stage, fit_on)
    options = options_of(shop, "leave_one_out")
    log, target = timed_log(shop, options)
    least = max(int(options.get("min_events", 3)), 3)
    last, before = _last_two(log, target, least)
    if not len(last):
        raise ShopError(f"leave_one_out: no user of shop {shop.name!r} has {least} events of the kinds that count")
    user = log.user()
    limit = log.user_start[1:].copy()  # training events of a user end here
    limit[user[last]] = before if fit_on == "train" else last
    asked = last if stage == "test" else before
    learned = np.arange(len(log)) < limit[user]
    return _event_split(
        "leave_one_out",
        log,
        target,
        learned=learned,
        stops=asked,
        now_s=log.at_s[asked],
        truth=relevance(np.arange(len(asked)), log.item[asked], len(asked)),
        target_at_s=log.at_s[asked],
        until_s=float(log.at_s[learned].max()) + 1.0,
        stage=stage,
        fit_on=fit_on,
        exclude_seen=exclude_seen,
        settings={"min_events": least},
        users=shop.users,
    )


def time_split(
    shop: Shop,
    *,
    stage: Stage = "test",
    fit_on: FitOn | None = None,
    window: Window = "rolling",
    exclude_seen: bool | None = None,
) -> Split:
    """Everything after a date is predicted: the primary protocol.

    ``rolling``: the events a user has at one time are one basket, without order inside, predicted together from
    all strictly earlier events of that user, those of the test period included; models learn only before the date.
    ``period``: one request a user at the date; all distinct items of the whole period are right.

    Dates come from ``shop.json`` (``valid_from``, ``test_from``), else from quantiles (`cut_dates`). ``fit_on`` is
    ``train+valid`` at test (everything before ``test_from``) unless given. Users without history take part
    (slice ``no_history``).

    Raises:
        ShopError: times are not comparable between users (``absolute_time`` false), or a period has no events.
        ConfigError: ``fit_on="train+valid"`` at the valid stage, or an unknown ``window``.
    """
    if not shop.meta.get("absolute_time", True):
        raise ShopError(
            f"time_split: shop {shop.name!r} has absolute_time false, its users' clocks cannot be compared; "
            "use leave_one_out"
        )
    if window not in ("rolling", "period"):
        raise ConfigError(f"window: must be 'rolling' or 'period', got {window!r}")
    fit_on = fit_on or ("train+valid" if stage == "test" else "train")
    _refuse_leak(stage, fit_on)
    options = options_of(shop, "time_split")
    log, target = timed_log(shop, options)
    valid_s, test_s = cut_dates(log.at_s[target], options)
    from_s, to_s = (test_s, np.inf) if stage == "test" else (valid_s, test_s)
    inside = np.flatnonzero(target & (log.at_s >= from_s) & (log.at_s < to_s))
    if not len(inside):
        raise ShopError(f"time_split: shop {shop.name!r} has no events to predict from {_date(from_s)} on")
    # The event at which a history stops is the asking user's own: the first of the basket, or of the period.
    stop_of = _basket_start(log) if window == "rolling" else _first_after(log, from_s)
    stops, request = np.unique(stop_of[inside], return_inverse=True)
    first_target_s = np.full(len(stops), np.inf)
    np.minimum.at(first_target_s, request, log.at_s[inside])
    until_s = test_s if fit_on == "train+valid" else valid_s
    return _event_split(
        "time_split",
        log,
        target,
        learned=log.at_s < until_s,
        stops=stops,
        now_s=log.at_s[stops] if window == "rolling" else np.full(len(stops), from_s),
        truth=relevance(request, log.item[inside], len(stops)),
        target_at_s=first_target_s,
        until_s=until_s,
        stage=stage,
        fit_on=fit_on,
        exclude_seen=exclude_seen,
        settings={"valid_from": _date(valid_s), "test_from": _date(test_s), "window": window},
        users=shop.users,
    )


def timed_log(shop: Shop, options: Mapping[str, Any]) -> tuple[EventLog, NDArray[np.bool_]]:
    """The log of a protocol and which of its events are targets, (n_events,).

    Targets are the ``kinds`` of ``options``; without them purchases where there are any, else every timed kind but
    impressions. Histories and training events are of the same kinds and of those that ``history_kinds`` adds: a view or
    a cart seconds before a purchase gives the answer away, so they take part only where the shop says so.
    A return (negative quantity) is history but no target.

    Raises:
        ShopError: no such events, or kinds that have no time.
    """
    events, items = shop.table("events"), shop.table("items")
    untimed = shop.meta.get("untimed_kinds") or []
    timed = [k for k in KINDS if k not in untimed]
    wanted = options.get("kinds")
    if not wanted:
        bought = "purchase" in timed and (events["kind"] == "purchase").any()
        wanted = ["purchase"] if bought else [k for k in timed if k != "impression"]
    kinds = list(dict.fromkeys([*wanted, *(options.get("history_kinds") or [])]))
    unknown = [k for k in kinds if k not in timed]
    if unknown:
        raise ShopError(f"shop.json: protocols name the kinds {unknown}; allowed are timed kinds: {', '.join(timed)}")
    log = event_log(events, items["item_id"].tolist(), kinds=kinds, rating_scale=shop.meta.get("rating_scale"))
    log = with_said(log, shop.said, events, kinds=kinds)
    target = np.isin(log.kind, [KINDS.index(k) for k in wanted]) & ~(log.quantity < 0)
    if not target.any():
        raise ShopError(f"shop {shop.name!r} has no timed events of the kinds {', '.join(wanted)}")
    return log, target


def cut_dates(at_s: NDArray[np.float64], options: Mapping[str, Any]) -> tuple[float, float]:
    """Start of the valid and of the test period in seconds since 1970 UTC.

    From ``valid_from`` and ``test_from`` of ``options``; absent ones are the midnights (UTC) before the times that
    80 % and 90 % of the target events ``at_s`` precede.

    Raises:
        ShopError: a date cannot be read, or they do not leave all three periods some time.
    """
    cuts = []
    for name, share in (("valid_from", 0.8), ("test_from", 0.9)):
        given = options.get(name)
        if given is None:
            cuts.append(float(np.floor(np.quantile(at_s, share) / DAY_S) * DAY_S))
            continue
        try:
            cuts.append(pd.Timestamp(given).timestamp())
        except ValueError as error:
            raise ShopError(
                f"shop.json: {name} must be a date and time such as 2017-12-04T05:00:00Z, got {given!r}"
            ) from error
    valid_s, test_s = cuts
    if not at_s.min() < valid_s < test_s <= at_s.max():
        raise ShopError(
            f"time_split: events from {_date(at_s.min())} to {_date(at_s.max())} must hold valid_from {_date(valid_s)} "
            f"< test_from {_date(test_s)}; set both in shop.json"
        )
    return valid_s, test_s


def _event_split(
    protocol: str,
    log: EventLog,
    target: NDArray[np.bool_],
    *,
    learned: NDArray[np.bool_],
    stops: NDArray[np.int64],
    now_s: NDArray[np.float64],
    truth: Relevance,
    target_at_s: NDArray[np.float64],
    until_s: float,
    stage: Stage,
    fit_on: FitOn,
    exclude_seen: bool | None,
    settings: Mapping[str, Any],
    users: pd.DataFrame | None,
) -> Split:
    """Put a split over events together: histories end before ``stops``, events where ``learned`` is true train."""
    user = log.user()[stops]
    # Where and on what somebody shops is known before they choose. The scene is not asked for: some shops note it by
    # item ("was on display"), which would tell the answer.
    where = replace(log.where.take(stops), scene=None)
    known = attributes_of(users)
    attributes = tuple(known.get(str(u), {}) for u in log.user_ids[user]) if known else ()
    requests = Requests(log, log.user_start[user], stops, now_s, where=where, attributes=attributes)
    train = log.select(learned)
    contact = first_contact(log, target)
    repeats = contact.repeat_share(learned & target)
    hide = repeats < REPEATS_FROM if exclude_seen is None else exclude_seen
    counts = np.bincount(log.item[learned & target], minlength=log.n_items)
    kinds = frozenset(int(k) for k in np.unique(log.kind[target]))
    return Split(
        protocol=protocol,
        stage=stage,
        fit_on=fit_on,
        train=train,
        until_s=until_s,
        requests=requests,
        truth=truth,
        cluster=user.astype(np.int64),
        slices=request_slices(requests, target_at_s),
        target_slices=target_slices(requests, truth, contact, counts),
        exclude_seen=hide,
        seen_kinds=kinds,
        settings={"kinds": [KINDS[k] for k in sorted(kinds)], "repeat_share": round(repeats, 4), **settings},
        notes=_notes(stage, fit_on, hide, repeats),
    )


def _notes(stage: Stage, fit_on: FitOn, hide: bool, repeats: float) -> tuple[str, ...]:
    learned = "were part of" if fit_on == "train+valid" else "were not in"
    first = f"Validation events {learned} the training events." if stage == "test" else "These are validation numbers."
    seen = "left out of" if hide else "kept in"
    share = f"{100 * repeats:.1f} % of training events repeat an item"
    return (first, f"Items a shopper already has are {seen} the rankings ({share}).")


def _refuse_leak(stage: Stage, fit_on: FitOn) -> None:
    if fit_on not in ("train", "train+valid"):
        raise ConfigError(f"fit_on: must be 'train' or 'train+valid', got {fit_on!r}")
    if stage == "valid" and fit_on != "train":
        raise ConfigError("fit_on: must be 'train' at the valid stage, or the answers would be in the training events")


def options_of(shop: Shop, protocol: str) -> Mapping[str, Any]:
    """What ``shop.json`` says about a protocol; empty where it says nothing."""
    return (shop.meta.get("protocols") or {}).get(protocol) or {}


def _last_two(log: EventLog, target: NDArray[np.bool_], least: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the last target and of the one before, for each user with at least ``least`` targets."""
    position = np.flatnonzero(target)
    counts = np.bincount(log.user()[position], minlength=log.n_users)
    ends = np.cumsum(counts)[counts >= least]
    return position[ends - 1], position[ends - 2]


def _basket_start(log: EventLog) -> NDArray[np.int64]:
    """For each event the first event of the same user at the same time, (n_events,)."""
    user = log.user()
    new = np.ones(len(log), dtype=bool)
    new[1:] = (np.diff(user) != 0) | (np.diff(log.at_s) != 0)
    return np.flatnonzero(new)[np.cumsum(new) - 1]


def _first_after(log: EventLog, from_s: float) -> NDArray[np.int64]:
    """For each event the first position of its user at or after ``from_s`` (the user's end where there is none)."""
    user = log.user()
    earlier = np.bincount(user[log.at_s < from_s], minlength=log.n_users)
    return (log.user_start[:-1] + earlier)[user]


def _date(at_s: float) -> str:
    """A time as text, such as 2017-12-04T05:00:00Z."""
    return pd.Timestamp(at_s, unit="s").strftime("%Y-%m-%dT%H:%M:%SZ")
