"""Orders in histories: which events mean that a shopper took an item, on how many days, for how much, how new.

Counting only, for batches of requests; `behaviour` turns the counts into features. Returned lines and lines of no units
are no orders. A shop where nobody buys (reviews or clicks only) names its own order kinds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import sparse

from ..log import KINDS, Requests

DAY_S = 86_400.0


class BehaviourConfig(BaseModel):
    """What counts as an order and how finely categories are told apart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    order_kinds: tuple[str, ...] = Field(
        default=("purchase", "review"), description="kinds that mean the shopper took the item"
    )
    category_depth: int = Field(
        default=2, ge=1, le=10, description="steps of the category path that make a category here"
    )
    discount_least: float = Field(
        default=0.05, gt=0, lt=1, description="share under the usual price that makes a discount"
    )


def order_counts(requests: Requests, config: BehaviourConfig) -> sparse.csr_array:
    """How many order lines each history has of each item, sparse (n_requests, n_items)."""
    log = requests.log
    request, event = order_events(requests, config)
    shape = (len(requests), log.n_items)
    return sparse.csr_array(sparse.coo_array((np.ones(len(event)), (request, log.item[event])), shape=shape))


def order_events(requests: Requests, config: BehaviourConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The history events that are orders: right kind, not returned, not void; request and event, oldest first."""
    log = requests.log
    request, event = requests.events()
    kinds = [KINDS.index(kind) for kind in config.order_kinds]
    chosen = np.isin(log.kind[event], kinds) & ~(log.quantity[event] <= 0)
    return request[chosen], event[chosen]


def order_days(
    requests: Requests, config: BehaviourConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Number of order days, first and last order time of each history; NaN times where there is none."""
    request, event = order_events(requests, config)
    at_s = requests.log.at_s[event]
    day = np.floor(at_s / DAY_S)
    fresh = np.ones(len(event), dtype=bool)
    fresh[1:] = (request[1:] != request[:-1]) | (day[1:] != day[:-1])
    orders = np.bincount(request[fresh], minlength=len(requests)).astype(np.float64)
    first, last = np.full(len(requests), np.nan), np.full(len(requests), np.nan)
    last[request] = at_s
    first[request[::-1]] = at_s[::-1]
    return orders, first, last


def spend_of(requests: Requests, config: BehaviourConfig) -> NDArray[np.float64]:
    """Money paid in each history; NaN where no line has a price."""
    request, event = order_events(requests, config)
    price = requests.log.price[event].astype(np.float64)
    known = ~np.isnan(price)
    paid = np.bincount(request[known], price[known], minlength=len(requests))
    return np.where(np.bincount(request[known], minlength=len(requests)) > 0, paid, np.nan)


def novelty_counts(requests: Requests, config: BehaviourConfig) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Items new to the shopper, and all items, over the order days after the first; an item counts once a day."""
    log = requests.log
    request, event = order_events(requests, config)
    _, first_s, _ = order_days(requests, config)
    day = np.floor(log.at_s[event] / DAY_S)
    pair = request * log.n_items + log.item[event]
    _, first = np.unique(pair, return_index=True)
    new = np.zeros(len(event), dtype=bool)
    new[first] = True
    order = np.lexsort((day, pair))
    repeated = np.zeros(len(event), dtype=bool)
    repeated[order[1:]] = (pair[order[1:]] == pair[order[:-1]]) & (day[order[1:]] == day[order[:-1]])
    counted = (day > np.floor(first_s[request] / DAY_S)) & ~repeated
    n = len(requests)
    hits = np.bincount(request[counted & new], minlength=n)
    return hits.astype(np.float64), np.bincount(request[counted], minlength=n).astype(np.float64)
