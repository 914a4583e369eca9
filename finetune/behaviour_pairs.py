"""Training pairs from what shoppers did: clicked items of a query, reviews, baskets, queries that share clicks.

Every link carries the time of the newest event behind it, and no event at or after ``PairsConfig.until`` is read.
Events weigh what their kind says (`log.KIND_WEIGHTS`), times the inverse of the chance that their rank was looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from ..profiling.log import rating_weight
from ..profiling.tables.shop import Shop
from ..profiling.templates import query_text, review_text
from .examples import Examples, link
from .pairs_config import PairsConfig

_BOUGHT = 0.5  # kinds that weigh this much say that the item was wanted, not only looked at
_MOST_IN_BASKET = 30
_MOST_SHARING = 1000
_LEAST_REVIEW = 4  # words
_ROWS = 4096


def query_pairs(shop: Shop, config: PairsConfig, texts: Sequence[str], rng: np.random.Generator) -> Examples:
    """Queries and the items clicked, put into the cart or bought after them, by weight of evidence."""
    events = asked_events(shop, config)
    weight = _event_weights(events, shop, config)
    rows = shop.item_rows(events["item_id"], "events")
    query, queries = pd.factorize(events["query"].map(query_text), sort=True)
    total, key, newest = _summed(query, rows, weight, len(texts), _seconds(events))
    query, rows, total, newest = _best(key // len(texts), key % len(texts), total, newest, config.positives)
    return link(
        [str(q) for q in queries],
        texts,
        (query, rows),
        weight=tempered(query, total),
        source="queries",
        at_s=newest,
    )


def review_pairs(shop: Shop, config: PairsConfig, texts: Sequence[str], rng: np.random.Generator) -> Examples:
    """What shoppers wrote about items they liked, and the items; ratings below the middle are left out."""
    events = reviewed_events(shop, config)
    if len(events) > config.most_reviews:
        events = events.iloc[np.sort(rng.permutation(len(events))[: config.most_reviews])]
    words = [review_text(text).split()[: config.max_review_words] for text in events["text"]]
    review, reviews = pd.factorize(pd.Series([" ".join(w) for w in words], dtype=object))
    long = np.asarray([len(w) >= _LEAST_REVIEW for w in words], dtype=bool)
    rows = shop.item_rows(events["item_id"], "events")
    return link(
        [str(text) for text in reviews],
        texts,
        (review[long], rows[long]),
        source="reviews",
        at_s=_seconds(events)[long],
    )


def together_pairs(shop: Shop, config: PairsConfig, texts: Sequence[str], rng: np.random.Generator) -> Examples:
    """Items and what lies in the same baskets, by how often, popular items divided down.

    A basket is a session of several items; else events of a user with gaps below ``window_s``. Weight: shared baskets
    over (baskets of one x baskets of the other) to ``popularity_power`` (Sarwar et al., 2001, Item-based
    collaborative filtering, section 3.1 with power .5).
    """
    events = bought_events(shop, config)
    basket, rows = _baskets(events, config), shop.item_rows(events["item_id"], "events")
    held = _incidence(basket, rows, len(texts), most=_MOST_IN_BASKET, rng=rng)
    a, b, weight = shared_counts(held, config.least_together, config.popularity_power, config.positives)
    last = np.full(len(texts), -np.inf)
    np.maximum.at(last, rows, _seconds(events))
    own = np.arange(len(texts))  # an item is no negative of itself
    newest = np.minimum(last[a], last[b])
    weight = tempered(a, weight)
    return link(texts, texts, (a, b), weight=weight, source="together", spared=(own, own), at_s=newest)


def shared_pairs(shop: Shop, config: PairsConfig, texts: Sequence[str], rng: np.random.Generator) -> Examples:
    """Queries and other queries after which the same items were clicked; items of very many queries tell nothing."""
    events = asked_events(shop, config)
    query, queries = pd.factorize(events["query"].map(query_text), sort=True)
    rows, weight = shop.item_rows(events["item_id"], "events"), _event_weights(events, shop, config)
    some = weight > 0
    held = _incidence(rows[some], query[some], len(queries), most=_MOST_SHARING, rng=rng)
    a, b, weight = shared_counts(held, config.least_together, config.popularity_power, config.positives)
    last = np.full(len(queries), -np.inf)
    np.maximum.at(last, query, _seconds(events))
    names = [str(q) for q in queries]
    own = np.arange(len(names))
    newest = np.minimum(last[a], last[b])
    weight = tempered(a, weight)
    return link(names, names, (a, b), weight=weight, source="shared", spared=(own, own), at_s=newest)


def asked_events(shop: Shop, config: PairsConfig) -> pd.DataFrame:
    """Events of an item that a query led to and that say something for it."""
    events = _events(shop, config)
    weighs = events["kind"].map(lambda kind: config.kind_weights.get(kind, 0.0)).to_numpy(np.float64) > 0
    return events[(events["query"].notna() & events["item_id"].notna()).to_numpy() & weighs]


def reviewed_events(shop: Shop, config: PairsConfig) -> pd.DataFrame:
    """Events of an item with a text and no rating below the middle."""
    events = _events(shop, config)
    events = events[events["text"].notna() & events["item_id"].notna()]
    rating = pd.to_numeric(events["rating"]).to_numpy(np.float32, na_value=np.nan)
    return events[rating_weight(rating, shop.meta.get("rating_scale")) > 0]


def bought_events(shop: Shop, config: PairsConfig) -> pd.DataFrame:
    """Events by which an item was wanted; where a shop has none, any that say something for it. No returns."""
    events = _events(shop, config)
    events = events[events["item_id"].notna() & ~events["kind"].isin(shop.meta.get("untimed_kinds") or [])]
    events = events[~(pd.to_numeric(events["quantity"]).to_numpy(np.float64, na_value=np.nan) < 0)]
    weighs = events["kind"].map(lambda kind: config.kind_weights.get(kind, 0.0)).to_numpy(np.float64)
    bought = weighs >= _BOUGHT
    return events[bought if bought.any() else weighs > 0]


def propensity_weights(
    position: NDArray[np.floating], *, power: float = 1.0, clip: float = 10.0
) -> NDArray[np.float64]:
    """Inverse of the chance that a rank was looked at, at most ``clip``; 1 where the rank is not known, (n,).

    The chance is (1 / rank)^power (Joachims, Swaminathan and Schnabel, 2017, Unbiased learning-to-rank with biased
    feedback, section 5.1); clipping as in their equation 7.

    >>> propensity_weights(np.array([1.0, 4.0, 50.0, np.nan])).tolist()
    [1.0, 4.0, 10.0, 1.0]
    """
    rank = np.maximum(np.where(np.isnan(position), 1.0, position), 1.0)
    return np.asarray(np.minimum(rank**power, clip), dtype=np.float64)


def tempered(anchor: NDArray[np.integer], weight: NDArray[np.floating]) -> NDArray[np.float64]:
    """Weights in proportion inside each anchor whose mean is the log of the anchor's total over the usual log, (n,).

    >>> tempered(np.array([0, 0, 1]), np.array([3.0, 1.0, 4.0])).tolist()
    [1.5, 0.5, 1.0]
    """
    if not len(anchor):
        return np.zeros(0)
    total = np.bincount(anchor, weights=weight)
    count = np.bincount(anchor)
    mean = total / np.maximum(count, 1)
    size = np.log1p(total)
    return np.asarray(weight / mean[anchor] * (size / size[count > 0].mean())[anchor], dtype=np.float64)


def shared_counts(
    held: sparse.csr_array, least: int, power: float, most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of different columns that share ``least`` rows or more, the ``most`` strongest of each column.

    Args:
        held: which rows hold which columns, 0 or 1, (n_rows, n_columns)
        least: rows to share
        power: shared rows are divided by the product of both columns' rows to this power
        most: pairs kept of a column

    Returns:
        One column, the other, and the weight of each pair, aligned, by first column.
    """
    size = np.asarray(held.sum(axis=0)).ravel().astype(np.float64)
    back = held.T.tocsr()
    first, second, weights = [], [], []
    for start in range(0, back.shape[0], _ROWS):
        near = (back[start : start + _ROWS] @ held).tocoo()
        a, b, n = near.row.astype(np.int64) + start, near.col.astype(np.int64), near.data
        keep = (a != b) & (n >= least)
        a, b, n = a[keep], b[keep], n[keep]
        weight = n / (size[a] * size[b]) ** power
        a, b, weight, _ = _best(a, b, weight, weight, most)
        first.append(a)
        second.append(b)
        weights.append(weight)
    return np.concatenate(first), np.concatenate(second), np.concatenate(weights)


def _events(shop: Shop, config: PairsConfig) -> pd.DataFrame:
    """The shop's events before the cut; where there is one, without those whose time means nothing."""
    events = shop.table("events")
    if config.until is None:
        return events
    until = config.until if config.until.tzinfo is None else config.until.astimezone(UTC).replace(tzinfo=None)
    untimed = events["kind"].isin(shop.meta.get("untimed_kinds") or [])
    return events[(events["at"] < pd.Timestamp(until)) & ~untimed]


def _event_weights(events: pd.DataFrame, shop: Shop, config: PairsConfig) -> NDArray[np.float64]:
    """Weight of each event: its kind, its rating where it has one, its rank; 0 where that would be negative."""
    kind = events["kind"].map(lambda name: config.kind_weights.get(name, 0.0)).to_numpy(np.float64)
    rating = pd.to_numeric(events["rating"]).to_numpy(np.float32, na_value=np.nan)
    position = pd.to_numeric(events["position"]).to_numpy(np.float64, na_value=np.nan)
    seen = propensity_weights(position, power=config.propensity, clip=config.propensity_clip)
    returned = pd.to_numeric(events["quantity"]).to_numpy(np.float64, na_value=np.nan) < 0
    weight = kind * rating_weight(rating, shop.meta.get("rating_scale")) * seen
    return np.where(returned, 0.0, np.maximum(weight, 0.0))


def _baskets(events: pd.DataFrame, config: PairsConfig) -> NDArray[np.int64]:
    """A number for the basket of each event: its session, or the visit where its session holds this one item only."""
    at = _seconds(events)
    user = pd.factorize(events["user_id"])[0]
    order = np.lexsort((at, user))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (np.diff(user[order]) != 0) | (np.diff(at[order]) > config.window_s)
    visit = np.empty(len(order), dtype=np.int64)
    visit[order] = np.cumsum(new)
    session = pd.factorize(events["session_id"])[0]  # -1 where there is none
    held = events.groupby("session_id")["item_id"].nunique()
    several = events["session_id"].map(held).to_numpy(np.float64, na_value=0.0) > 1
    return np.where(several, session, len(events) + visit)


def _incidence(
    rows: NDArray[np.integer], columns: NDArray[np.integer], n_columns: int, *, most: int, rng: np.random.Generator
) -> sparse.csr_array:
    """Which rows hold which columns, 0 or 1; rows with more than ``most`` columns keep so many, drawn evenly."""
    row = np.unique(rows, return_inverse=True)[1].astype(np.int64)
    key = np.unique(row * n_columns + columns)
    row, column = key // n_columns, key % n_columns
    order = np.lexsort((rng.random(len(row)), row))
    keep = order[np.arange(len(row)) - np.searchsorted(row, row) < most]
    ones = np.ones(len(keep), dtype=np.float32)
    return sparse.csr_array((ones, (row[keep], column[keep])), shape=(int(row.max(initial=-1)) + 1, n_columns))


def _summed(
    first: NDArray[np.integer],
    second: NDArray[np.integer],
    weight: NDArray[np.float64],
    n_second: int,
    at_s: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Sum of weights, key and newest time of each distinct pair with a weight."""
    some = weight > 0
    key, slot = np.unique(np.asarray(first, dtype=np.int64)[some] * n_second + second[some], return_inverse=True)
    newest = np.full(len(key), -np.inf)
    np.maximum.at(newest, slot, at_s[some])
    total = np.bincount(slot, weights=weight[some], minlength=len(key)).astype(np.float64)
    return total, key.astype(np.int64), newest


def _best(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    weight: NDArray[np.float64],
    at_s: NDArray[np.float64],
    most: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """The ``most`` heaviest pairs of each first row, ties by second row."""
    order = np.lexsort((second, -weight, first))
    place = np.arange(len(order)) - np.searchsorted(first[order], first[order])
    kept = order[place < most]
    return first[kept], second[kept], weight[kept], at_s[kept]


def _seconds(events: pd.DataFrame) -> NDArray[np.float64]:
    """Time of each event in seconds since 1970 UTC."""
    return np.asarray(events["at"].to_numpy("datetime64[us]").astype(np.int64) / 1e6, dtype=np.float64)
