"""Behaviour features: how a shopper buys, whatever they buy.

Recency, frequency and spend (RFM: Hughes 1994; frequency as in Fader, Hardie & Lee 2005, repeat orders over age),
price level, novelty appetite, taste for the mainstream, discount sensitivity, category and brand affinity. All are
computed for batches of histories; unknown is NaN. Repeat cycles are `cycles`' work, what a shopper likes `interest`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from ..log import EventLog, Requests
from .affinity import AffinityModel, fit_affinity, group_by, group_by_category
from .orders import DAY_S, BehaviourConfig, novelty_counts, order_counts, order_days, spend_of
from .prices import discounted, price_levels, usual_prices
from .shrinkage import mean_strength, ratio_strength, share_prior, shrunk_mean, shrunk_ratio, shrunk_share


@dataclass(frozen=True, eq=False)
class ShopNorms:
    """What is normal in a shop: the yardsticks behaviour is measured with.

    Attributes:
        usual_price: usual unit price of each item, (n_items,); NaN unknown
        price_level: place of that price in its category, -1 to 1, (n_items,); NaN unknown
        popularity: percentile of each item by orders, 0 to 1, (n_items,)
        discount_rate: share of each item's lines that are discounted, shrunk to the shop's, (n_items,); NaN unknown
        category, brand: affinity models
        price_prior, novelty_prior, mainstream_prior: shop mean and strength in events; discount_strength: gamma shape
    """

    usual_price: NDArray[np.float64]
    price_level: NDArray[np.float64]
    popularity: NDArray[np.float64]
    discount_rate: NDArray[np.float64]
    category: AffinityModel
    brand: AffinityModel
    price_prior: tuple[float, float]
    mainstream_prior: tuple[float, float]
    novelty_prior: tuple[float, float]
    discount_strength: float
    config: BehaviourConfig


@dataclass(frozen=True, eq=False)
class Behaviour:
    """Behaviour features of a batch of histories; every array is (n_requests,) unless said otherwise, NaN = unknown.

    Attributes:
        orders: days with an order; lines: order events; spend: money paid; spend_per_order: per such day
        recency_s: seconds since the last order
        orders_per_month: repeat order days over the months since the first order
        price_level: mean price level of what they take, -1 to 1
        novelty: share of lines after the first order day that are items never taken before, 0 to 1
        mainstream: mean popularity percentile of what they take, 0 to 1
        discount_sensitivity: discounted lines over those expected from the items alone; 1 = like everybody
        category_affinity, brand_affinity: log ratios, 0 = like everybody; sparse (n_requests, n_categories or n_brands)
    """

    orders: NDArray[np.float64]
    lines: NDArray[np.float64]
    spend: NDArray[np.float64]
    spend_per_order: NDArray[np.float64]
    recency_s: NDArray[np.float64]
    orders_per_month: NDArray[np.float64]
    price_level: NDArray[np.float64]
    novelty: NDArray[np.float64]
    mainstream: NDArray[np.float64]
    discount_sensitivity: NDArray[np.float64]
    category_affinity: sparse.csr_array
    brand_affinity: sparse.csr_array

    def __len__(self) -> int:
        return len(self.orders)


@dataclass(frozen=True)
class BehaviourFeatures:
    """Behaviour of one shopper with names instead of rows; units as in `Behaviour`, affinities strongest first."""

    orders: float
    lines: float
    spend: float
    spend_per_order: float
    recency_days: float
    orders_per_month: float
    price_level: float
    novelty: float
    mainstream: float
    discount_sensitivity: float
    categories: tuple[tuple[str, float], ...]
    brands: tuple[tuple[str, float], ...]


def fit_shop_norms(
    log: EventLog,
    items: pd.DataFrame,
    *,
    discount: NDArray[np.floating] | None = None,
    config: BehaviourConfig | None = None,
) -> ShopNorms:
    """Learn a shop's yardsticks from its training events.

    Args:
        log: training events
        items: the catalogue, row-aligned with ``log.item_ids``
        discount: money off each line where the shop tells, (n_events,); seen from prices if None
        config: what counts as an order
    """
    config = config or BehaviourConfig()
    everyone = Requests(log, log.user_start[:-1], log.user_start[1:], np.full(log.n_users, np.inf))
    history = order_counts(everyone, config)
    categories = group_by_category(items["category"], depth=config.category_depth)
    listed = items["price"].to_numpy(np.float64) if "price" in items else None
    usual = usual_prices(log, listed)
    level = price_levels(usual, categories.code)
    sold = np.asarray(history.sum(axis=0)).ravel()
    popularity = np.asarray(pd.Series(sold).rank(pct=True, method="average"), dtype=np.float64)
    rate, strength = _discount_norms(everyone, discounted(log, usual, discount=discount, least=config.discount_least))
    new, later = novelty_counts(everyone, config)
    return ShopNorms(
        usual_price=usual,
        price_level=level,
        popularity=popularity,
        discount_rate=rate,
        category=fit_affinity(history, categories),
        brand=fit_affinity(history, group_by(items["brand"]), within=categories),
        price_prior=_mean_prior(history, level),
        mainstream_prior=_mean_prior(history, popularity),
        novelty_prior=share_prior(new, later),
        discount_strength=strength,
        config=config,
    )


def behaviour(requests: Requests, norms: ShopNorms, *, discount: NDArray[np.floating] | None = None) -> Behaviour:
    """Behaviour features of each history of a batch, as seen at the time of the request.

    ``discount`` is money off each line of the log, (n_events,), given if it was given to `fit_shop_norms`.
    """
    config, log = norms.config, requests.log
    history = order_counts(requests, config)
    orders, first_s, last_s = order_days(requests, config)
    lines = np.asarray(history.sum(axis=1)).ravel()
    spend = spend_of(requests, config)
    months = (requests.now_s - first_s) / (30 * DAY_S)
    new, later = novelty_counts(requests, config)
    sales = discounted(log, norms.usual_price, discount=discount, least=config.discount_least)
    observed, expected = _discount_counts(requests, sales, norms.discount_rate)
    deals = np.where(expected > 0, shrunk_ratio(observed, expected, norms.discount_strength), np.nan)
    mean, strength = norms.novelty_prior
    return Behaviour(
        orders=orders,
        lines=lines,
        spend=spend,
        spend_per_order=np.where(orders > 0, spend / np.maximum(orders, 1), np.nan),
        recency_s=requests.now_s - last_s,
        orders_per_month=np.where(months > 1 / 30, (orders - 1) / np.where(months > 1 / 30, months, 1), np.nan),
        price_level=_history_mean(history, norms.price_level, norms.price_prior),
        novelty=np.where(later > 0, shrunk_share(new, later, mean=mean, strength=strength), np.nan),
        mainstream=_history_mean(history, norms.popularity, norms.mainstream_prior),
        discount_sensitivity=deals,
        category_affinity=norms.category.affinity(history),
        brand_affinity=norms.brand.affinity(history),
    )


def features(batch: Behaviour, row: int, norms: ShopNorms, *, top: int = 5) -> BehaviourFeatures:
    """Features of one history of a batch, with the names of the ``top`` categories and brands liked more than usual."""
    return BehaviourFeatures(
        **{
            name: float(getattr(batch, name)[row])
            for name in BehaviourFeatures.__dataclass_fields__
            if name not in ("recency_days", "categories", "brands")
        },
        recency_days=float(batch.recency_s[row] / DAY_S),
        categories=_strongest(batch.category_affinity[[row]].toarray()[0], norms.category.groups.names, top),
        brands=_strongest(batch.brand_affinity[[row]].toarray()[0], norms.brand.groups.names, top),
    )


def _discount_norms(everyone: Requests, sales: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Discount rate of each item shrunk to the shop's, and how far shoppers scatter around their items' rates."""
    log = everyone.log
    known = ~np.isnan(sales)
    hits = np.bincount(log.item[known], sales[known], minlength=log.n_items)
    trials = np.bincount(log.item[known], minlength=log.n_items)
    mean, strength = share_prior(hits, trials)
    rate = shrunk_share(hits, trials, mean=mean, strength=strength)
    observed, expected = _discount_counts(everyone, sales, rate)
    _, squares = _discount_counts(everyone, sales, rate**2)
    return rate, ratio_strength(observed, expected, chance=expected - squares)


def _discount_counts(
    requests: Requests, sales: NDArray[np.float64], rate: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Discounted lines of each history, and how many its items would lead to expect."""
    request, event = requests.events()
    known = ~np.isnan(sales[event])
    request, event = request[known], event[known]
    n = len(requests)
    expected = np.bincount(request, rate[requests.log.item[event]], minlength=n)
    return np.bincount(request, sales[event], minlength=n).astype(np.float64), expected.astype(np.float64)


def _history_sums(
    history: sparse.csr_array, value: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Sum, sum of squares and number of known values over each history."""
    known, filled = (~np.isnan(value)).astype(np.float64), np.nan_to_num(value)
    return history @ filled, history @ filled**2, history @ known


def _mean_prior(history: sparse.csr_array, value: NDArray[np.float64]) -> tuple[float, float]:
    """Shop mean over events of an item value, and how many events it is worth against one shopper's."""
    totals, squares, counts = _history_sums(history, value)
    n = counts.sum()
    return float(totals.sum() / n) if n else float("nan"), mean_strength(totals, squares, counts)


def _history_mean(
    history: sparse.csr_array, value: NDArray[np.float64], prior: tuple[float, float]
) -> NDArray[np.float64]:
    """Mean of an item value over each history, shrunk to the shop's; NaN where the history has no known value."""
    totals, _, counts = _history_sums(history, value)
    return np.where(counts > 0, shrunk_mean(totals, counts, mean=prior[0], strength=prior[1]), np.nan)


def _strongest(affinity: NDArray[np.float64], names: NDArray[np.object_], top: int) -> tuple[tuple[str, float], ...]:
    """The ``top`` names with an affinity above 0, strongest first."""
    best = [row for row in np.argsort(-affinity, kind="stable")[:top] if affinity[row] > 0]
    return tuple((str(names[row]), float(affinity[row])) for row in best)
