"""What the page says about the service itself, and whom it offers to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np

from ...retrieval.engine import Engine
from ..items import n_sold
from ..service import Service
from .asking import facts_of
from .groups import usable_groups
from .kept import Kept

_OFFERED = 12
_MOST_OPTIONS = 12


def health(service: Service, kept: Kept) -> dict[str, Any]:
    """What is served, from what, how it is indexed and embedded, and how the store does.

    Raises:
        StoreError: the store cannot be read.
    """
    served = service.current.get()
    engine, about = served.engine, served.about
    stamp = served.encoder.stamp
    read = engine.readings.count()
    counted = kept.count(service.store)
    return {
        "version": served.version,
        "swaps": service.current.swaps,
        "failures": service.current.failures,
        "catalogue": {
            "shop": about.get("shop"),
            "items": n_sold(served),
            "changes": served.changes,
            "texts": len(engine.texts),
            "shoppers": engine.log.n_users,
            "events": len(engine.log),
        },
        "index": {
            "kind": getattr(engine.index, "kind", None),
            "dimensions": int(engine.texts.shape[1]),
            "bytes": getattr(engine.index, "resident_bytes", None),
            "exact": engine.index.slack(engine.texts[0]) is not None,
        },
        "encoder": {
            "name": stamp.name or stamp.weights[:12],
            "dimensions": served.encoder.dim,
            "precision": stamp.precision,
            "runtime": stamp.runtime or "torch",
            "adapter": stamp.adapter[:12] or None,
            "stamp": stamp.digest,
            "known_queries": {"hits": read.known + read.found, "misses": read.made},
        },
        "quality": {
            "validation": about.get("validation") or {},
            "rankers": about.get("rankers") or [],
        },
        "weights": dict(engine.recommender.weights),
        "store": {
            "address": service.store.address,
            "shoppers": counted.users,
            "events": counted.events,
            "answers": counted.impressions,
            "in_memory": len(service.histories),
            "lost": service.shown.lost,
        },
    }


def start(service: Service) -> dict[str, Any]:
    """What the page needs to begin: what is here, what can be weighed, and which attributes a newcomer may have."""
    served = service.current.get()
    engine = served.engine
    return {
        "version": served.version,
        "shop": served.about.get("shop"),
        "currency": served.about.get("currency"),
        "items": n_sold(served),
        "asks_words": engine.recommender.encoder is not None,
        "groups": list(usable_groups(engine, newcomer=False)),
        "attributes": attribute_options(engine.attributes),
        "shoppers": shoppers(service, ""),
    }


def shoppers(service: Service, beginning: str) -> list[dict[str, Any]]:
    """Some shoppers whose id begins so; without a beginning some with much, middling and little history.

    Shoppers who were forgotten are not offered.
    """
    engine = service.current.get().engine
    ids, counts = engine.log.user_ids, np.diff(engine.log.user_start)
    if beginning:
        found = list(islice((str(user) for user in ids if str(user).startswith(beginning)), _OFFERED))
        if beginning not in found and service.store.state(beginning).version:
            found.insert(0, beginning)
    else:
        found = [str(ids[row]) for row in _spread(counts)]
    return [said for user in found if (said := _offered(service, engine, user, counts)) is not None]


def attribute_options(attributes: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """Values of each known attribute, those with few different ones only.

    >>> attribute_options({"a": {"age": "19-24"}, "b": {"age": "25-34"}})
    {'age': ['19-24', '25-34']}
    """
    seen: dict[str, Counter[str]] = {}
    for known in attributes.values():
        for name, value in known.items():
            seen.setdefault(name, Counter())[value] += 1
    return {name: sorted(values) for name, values in seen.items() if len(values) <= _MOST_OPTIONS}


def _spread(counts: np.ndarray) -> list[int]:
    """Rows from long histories to short ones: quantiles of the number of events, each row once."""
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    if not len(order):
        return []
    places = np.unique(np.round(np.array([0.05, 0.12, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 0.95]) * (len(order) - 1)))
    return [int(order[int(place)]) for place in places]


def _offered(service: Service, engine: Engine, user: str, counts: np.ndarray) -> dict[str, Any] | None:
    """A shopper as offered; None for one who was forgotten or has nothing."""
    state = service.store.state(user)
    if state.forgotten and not state.version:
        return None
    row = engine.user_row.get(user)
    latest = None
    if row is not None and not state.forgotten and counts[row]:
        last = int(engine.log.user_start[row + 1]) - 1
        latest = facts_of(engine, str(engine.log.item_ids[engine.log.item[last]]))["title"]
    return {"user": user, "events": 0 if row is None else int(counts[row]), "latest": latest}
