"""Who a shopper is, drawn: the profile, its interests over time, what was done lately, and an interest taken out.

The profile itself is `profiling.profile_build`'s; here it gets a time axis and the events one may click.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ...profiling.errors import UnknownIdError
from ...profiling.log import KINDS, EventLog
from ...profiling.shopper.interest import decay
from ...profiling.shopper.interest_batch import event_weights
from ...profiling.shopper.profile_build import build_profile
from ...profiling.shopper.yardsticks import Yardsticks
from ..current import Served
from ..histories import events_table, user_log
from ..service import Service
from ..store import StoredEvent
from .asking import carried_by, facts_of
from .kept import Kept

MOMENTS = 36
"""Points of the time axis."""

_DAY_S = 86_400.0
_LATEST = 40


def portrait(service: Service, kept: Kept, user: str, mute: Sequence[str]) -> dict[str, Any]:
    """A shopper's profile without the muted interests, all interests over time, and the latest events.

    Raises:
        UnknownIdError: nothing is known of them.
        StoreError: the store cannot be read.
        StillLearning: the shop's yardsticks are being learned.
    """
    served = service.current.get()
    engine = served.engine
    state = service.store.state(user)
    attributes = {} if state.forgotten else dict(engine.attributes.get(user, {}))
    if not state.version and not attributes:
        raise UnknownIdError(f"user {user!r} has no events and no known attributes here; name another one")
    measured = kept.yardsticks(served)
    events = [e for e in service.store.events(user) if e.item_id is None or e.item_id in served.catalogue.row_of]
    at_s = service.now_s(served, state)

    def told(some: Sequence[StoredEvent]) -> dict[str, Any]:
        known = [e for e in some if e.item_id is None or e.item_id in measured.row_of]  # without items that came since
        return build_profile(user, events_table(known), measured, at_s=at_s, attributes=attributes).to_json()

    whole = told(events)
    heard = _unmuted(events, served, measured, mute) if mute else events
    profile = told(heard) if len(heard) < len(events) else whole
    log = user_log(user, events, served.catalogue)
    names = list(dict.fromkeys(tag["name"] for tag in (*whole["tags"], *whole["recent_tags"])))
    return {
        "version": served.version,
        "user": user,
        "at": whole["at"],
        "currency": measured.meta.get("currency"),
        "events": len(events),
        "muted_events": len(events) - len(heard),
        "profile": profile,
        "tags": whole["tags"],
        "recent_tags": whole["recent_tags"],
        "timeline": timeline(log, measured, names, at_s),
        "latest": [_event(served, event) for event in reversed(events[-_LATEST:])],
    }


def timeline(log: EventLog, measured: Yardsticks, names: Sequence[str], at_s: float) -> dict[str, Any]:
    """How much of a shopper's interest carried each tag over time, as the profile of that time would have said.

    Args:
        log: of one shopper
        measured: the shop's yardsticks
        names: tags
        at_s: end of the time axis, seconds since 1970 UTC

    Returns:
        ``days`` (n_moments,), ``half_life_days``, ``lines`` of name, share (n_moments,) in [0, 1] and share lately
        (None where nothing was done lately), ``did``: events of each kind since the moment before, (n_moments,) each
    """
    past = log.at_s < at_s
    done_s, code = log.at_s[past], log.kind[past]
    told = past & (log.item < len(measured.item_ids))  # items that came since have no names yet
    at, item, weight = log.at_s[told], log.item[told], event_weights(log)[told]
    config = measured.config
    half_life_s = config.interest.long_half_life_s
    if not len(done_s):
        return {"days": [], "half_life_days": round(half_life_s / _DAY_S, 2), "lines": [], "did": {}}
    moments = np.linspace(min(float(done_s.min()), at_s - _DAY_S), at_s, MOMENTS + 1)[1:]
    age = moments[:, None] - at[None, :]
    left = np.where(age > 0, weight * decay(np.maximum(age, 0.0), half_life_s), 0.0)  # (n_moments, n_events)
    recent = at_s - at <= config.recent_half_lives * config.interest.short_half_life_s
    left = np.vstack([left, np.where(recent, weight, 0.0)])  # the last row is lately
    rows, place = np.unique(item, return_inverse=True)
    belongs = sparse.csr_array((np.ones(len(at)), (np.arange(len(at)), place)), shape=(len(at), len(rows)))
    liked = np.log1p(np.maximum(left @ belongs, 0.0))  # as `profile_build` weighs tags; (n_moments + 1, n_rows)
    lines = []
    for name in names:
        share = _share(liked, carried_by(measured.tags, rows, [measured.tags.names.index(name)]))
        *course, lately = [round(float(s), 4) for s in share]
        lines.append({"name": name, "share": course, "lately": lately if liked[-1].any() else None})
    bin_of = np.minimum(np.searchsorted(moments, done_s, side="left"), MOMENTS - 1)
    did = {
        KINDS[kind]: np.bincount(bin_of[code == kind], minlength=MOMENTS).tolist() for kind in np.unique(code).tolist()
    }
    days = np.datetime_as_string(moments.astype("datetime64[s]"), unit="D").tolist()
    return {"days": days, "half_life_days": round(half_life_s / _DAY_S, 2), "lines": lines, "did": did}


def remove_interest(service: Service, kept: Kept, user: str, interest: str) -> dict[str, Any]:
    """Take the events that carry a tag out of a shopper's history, for good.

    Raises:
        UnknownIdError: no such tag.
        StoreError: the store cannot be written.
    """
    served = service.current.get()
    measured = kept.yardsticks(served)
    if interest not in measured.tags.names:
        raise UnknownIdError("interest: no interest has this name here; take one of the shopper's profile")
    events = service.store.events(user)
    stays = {e.key for e in _unmuted(events, served, measured, [interest])}
    gone = [event.key for event in events if event.key not in stays]
    removed = service.store.remove(user, gone)
    service.histories.drop(user)
    saw = user in served.engine.user_row
    remains = ["the served model was learned with these events: build again from a shop without them"] if saw else []
    return {"user": user, "interest": interest, "removed": removed, "remains": remains}


def _unmuted(
    events: Sequence[StoredEvent], served: Served, measured: Yardsticks, mute: Sequence[str]
) -> list[StoredEvent]:
    """Events whose item carries none of the muted tags."""
    columns = [column for column, name in enumerate(measured.tags.names) if name in set(mute)]
    rows = [measured.row_of.get(event.item_id or "", -1) for event in events]
    known = np.asarray(rows, dtype=np.int64)
    out = np.zeros(len(events), dtype=bool)
    if columns and (known >= 0).any():
        out[known >= 0] = carried_by(measured.tags, known[known >= 0], columns)
    return [event for event, gone in zip(events, out.tolist(), strict=True) if not gone]


def _share(left: NDArray[np.float64], carried: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of what is left at each moment that lies on the carried events, in [0, 1]."""
    whole = left.sum(axis=1)
    part = left @ carried
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 1e-12).clip(0.0, 1.0)


def _event(served: Served, event: StoredEvent) -> dict[str, Any]:
    """An event for people."""
    item = facts_of(served.engine, event.item_id) if event.item_id else None
    at_s = event.at_us / 1e6
    shown = None if not math.isfinite(at_s) else np.datetime_as_string(np.datetime64(event.at_us, "us"), unit="m") + "Z"
    return {"at": shown, "kind": event.kind, "query": event.query, "quantity": event.quantity, "item": item}
