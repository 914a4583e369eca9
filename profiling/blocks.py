"""Block vectors: the named blocks that shoppers and items share, side by side in one dense vector.

``score(shopper, item) = sum_b w_b <shopper_b, item_b>``. The item side is computed once; weights scale the shopper side
only, so they change with every request and never touch an index. Blocks: ``meaning`` (text vector of the item; the
encoded query), ``taste`` (whitened text vector; decayed sums of what the shopper did), ``behaviour`` (category, brand,
price level and popularity axes), ``context`` (when an item sells; the time of the request). A missing block is zeros.
Which weights are good is decided elsewhere; nothing here searches or ranks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from .interest_batch import interests
from .log import EventLog, Requests

BLOCKS: tuple[str, ...] = ("meaning", "taste", "behaviour", "context")
DAY_S = 86_400.0
_PERIODS_S = (DAY_S, 7 * DAY_S, 365.25 * DAY_S)  # hour of day, day of week, season

Float = NDArray[np.float32]


class BlocksConfig(BaseModel):
    """Sizes and memories of the blocks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    taste_dim: int = Field(192, ge=1, description="whitened dimensions kept for the taste block")
    category_dim: int = Field(24, ge=2, description="dimensions of the category axes")
    brand_dim: int = Field(12, ge=2, description="dimensions of the brand axes")
    price_levels: int = Field(6, ge=2, description="price levels, by quantile of the catalogue's prices")
    long_half_life_days: float = Field(180.0, gt=0, description="half-life of long-term interest")
    short_half_life_days: float = Field(7.0, gt=0, description="half-life of short-term interest")
    context_shrinkage: float = Field(50.0, ge=0, description="pseudo-sales that pull an item's season to the shop's")


@dataclass(frozen=True, eq=False)
class BlockSpace:
    """The item side of every block, and what is needed to put a shopper on the same axes.

    Attributes:
        items: block name -> item rows, each (n_items, d_b) float32
        behaviour_mean: what an average event looks like on the behaviour axes, (d_behaviour,)
        long_half_life_s, short_half_life_s: memories of the two interests
    """

    items: Mapping[str, Float]
    behaviour_mean: Float
    long_half_life_s: float
    short_half_life_s: float

    @property
    def dims(self) -> dict[str, int]:
        """Width of each block."""
        return {name: self.items[name].shape[1] for name in BLOCKS}

    def item_matrix(self) -> Float:
        """The blocks side by side in the order of `BLOCKS`, (n_items, sum of dims)."""
        return np.hstack([self.items[name] for name in BLOCKS])

    def shoppers(self, requests: Requests) -> dict[str, Float]:
        """Shopper side of each part of a profile but ``meaning``, which is the encoded query.

        Returns:
            ``taste_long``, ``taste_short`` (n_requests, d_taste), unit length or zero where nothing is known;
            ``behaviour`` (n_requests, d_behaviour), difference from the average event;
            ``context`` (n_requests, d_context), the time of the request
        """
        taste = self.items["taste"]
        long_total, _ = interests(requests, taste, self.long_half_life_s)
        short_total, _ = interests(requests, taste, self.short_half_life_s)
        behaviour, weight = interests(requests, self.items["behaviour"], self.long_half_life_s)
        known = np.maximum(weight, 0.0)[:, None]
        affinity = np.where(known > 0, (behaviour - known * self.behaviour_mean) / (known + 1.0), 0.0)
        return {
            "taste_long": unit_rows(long_total),
            "taste_short": unit_rows(short_total),
            "behaviour": affinity.astype(np.float32),
            "context": time_axes(requests.now_s),
        }


PART_BLOCK: Mapping[str, str] = {
    "meaning": "meaning",
    "taste_long": "taste",
    "taste_short": "taste",
    "behaviour": "behaviour",
    "context": "context",
}
"""The block each part of a shopper's vector lives in; parts of one block add up."""


def fit_blocks(items: pd.DataFrame, vectors: Float, log: EventLog, config: BlocksConfig | None = None) -> BlockSpace:
    """Item blocks of a catalogue.

    Args:
        items: catalogue, row-aligned with ``vectors`` and ``log.item_ids``
        vectors: unit-length text vectors, zero rows where there is no text, (n_items, d)
        log: training events, for seasons and popularity
        config: sizes and memories
    """
    config = config or BlocksConfig()
    behaviour = behaviour_axes(items, log, config)
    sold = log.weight > 0
    mean = behaviour[log.item[sold]].mean(axis=0) if sold.any() else np.zeros(behaviour.shape[1], np.float32)
    blocks = {
        "meaning": np.ascontiguousarray(vectors, dtype=np.float32),
        "taste": whiten(vectors, config.taste_dim),
        "behaviour": behaviour,
        "context": context_axes(log, config.context_shrinkage),
    }
    return BlockSpace(
        blocks, mean.astype(np.float32), config.long_half_life_days * DAY_S, config.short_half_life_days * DAY_S
    )


def whiten(vectors: Float, dim: int) -> Float:
    """PCA-whitened vectors scaled to unit length, (n, min(dim, rank)) or (n, 1) of zeros; zero rows stay zero.

    Whitening takes away what all texts of a catalogue share, which otherwise dominates cosines
    (Su et al., "Whitening sentence representations", 2021).
    """
    known = np.linalg.norm(vectors, axis=1) > 0
    if known.sum() < 2:
        return np.zeros((len(vectors), 1), dtype=np.float32)
    mean = vectors[known].mean(axis=0, dtype=np.float64)
    covariance = np.cov(vectors[known].astype(np.float64), rowvar=False).reshape(vectors.shape[1], -1)
    variance, axes = np.linalg.eigh(covariance)
    order = np.argsort(-variance)[:dim]
    order = order[variance[order] > max(1e-10 * float(variance.max()), 1e-12)]  # below is rounding, not meaning
    if not len(order):
        return np.zeros((len(vectors), 1), dtype=np.float32)
    scale = axes[:, order] / np.sqrt(variance[order])
    first, group = distinct_rows(vectors)
    white = (vectors[first] - mean.astype(np.float32)) @ scale.astype(np.float32)
    white[~known[first]] = 0.0
    return unit_rows(white)[group]


def distinct_rows(matrix: Float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that are equal to the bit, such as the vectors of items with one text.

    Returns:
        first: a row of each group, ascending, (n_distinct,)
        group: the group of each row, (n,): ``matrix[first][group]`` equals ``matrix``

    >>> first, group = distinct_rows(np.array([[1, 2], [3, 4], [1, 2]], dtype=np.float32))
    >>> first.tolist(), group.tolist()
    ([0, 1], [0, 1, 0])
    """
    seen: dict[bytes, int] = {}
    rows = np.ascontiguousarray(matrix, dtype=np.float32)
    group = [seen.setdefault(hashlib.blake2b(row.tobytes(), digest_size=16).digest(), len(seen)) for row in rows]
    codes = np.array(group, dtype=np.int64)
    first = np.full(len(seen), len(rows), dtype=np.int64)
    np.minimum.at(first, codes, np.arange(len(rows)))
    return first, codes


def unit_rows(rows: NDArray[np.floating]) -> Float:
    """Rows scaled to unit length; rows shorter than 1e-12 become zero."""
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(norm > 1e-12, rows / np.maximum(norm, 1e-12), 0.0).astype(np.float32)


def behaviour_axes(items: pd.DataFrame, log: EventLog, config: BlocksConfig) -> Float:
    """Category, brand, price-level and popularity axes of each item; each group has length 1 or 0, (n_items, d)."""
    price = items["price"].to_numpy(np.float64, na_value=np.nan)
    counts = np.bincount(log.item[log.weight > 0], minlength=len(items)).astype(np.float64)
    popularity = np.log1p(counts)
    groups = [
        name_axes(items["category"], config.category_dim),
        name_axes(items["brand"], config.brand_dim),
        level_axes(price, config.price_levels),
        (popularity / max(float(popularity.max(initial=0.0)), 1e-9)).astype(np.float32)[:, None],
    ]
    return np.hstack(groups).astype(np.float32)


def name_axes(names: pd.Series, dim: int) -> Float:
    """A fixed pseudo-random unit vector for each distinct name, zeros for null, (n, dim).

    Different names are nearly orthogonal (inner products of size ``dim ** -.5``), so averages of these vectors are
    a compressed histogram of names (Johnson and Lindenstrauss, 1984). The same name has the same vector in every run.
    """
    code, distinct = pd.factorize(names.to_numpy(object))
    table = np.zeros((len(distinct) + 1, dim), dtype=np.float32)  # the last row serves code -1, null
    for row, name in enumerate(distinct):
        seed = int.from_bytes(hashlib.blake2b(str(name).encode(), digest_size=8).digest(), "little")
        table[row] = np.random.default_rng(seed).standard_normal(dim)
    return unit_rows(table)[code]


def level_axes(values: NDArray[np.float64], levels: int) -> Float:
    """Which quantile band of the catalogue a value lies in, shared by its two nearest bands, (n, levels)."""
    out = np.zeros((len(values), levels), dtype=np.float32)
    known = np.isfinite(values)
    if not known.any():
        return out
    ordered = np.sort(values[known])
    rank = (np.searchsorted(ordered, values[known], "left") + np.searchsorted(ordered, values[known], "right")) / 2
    place = np.clip(rank / len(ordered) * levels - 0.5, 0, levels - 1)
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, levels - 1)
    rows = np.flatnonzero(known)
    out[rows, low] += (1 - (place - low)).astype(np.float32)
    out[rows, high] += (place - low).astype(np.float32)
    return unit_rows(out)


def context_axes(log: EventLog, shrinkage: float) -> Float:
    """Mean time axes of each item's sales minus the shop's, shrunk by ``shrinkage`` pseudo-sales, (n_items, 6)."""
    sold = log.weight > 0
    axes = time_axes(log.at_s[sold]).astype(np.float64)
    if not len(axes):
        return np.zeros((log.n_items, 2 * len(_PERIODS_S)), dtype=np.float32)
    item = log.item[sold]
    count = np.bincount(item, minlength=log.n_items)[:, None]
    axes = axes - axes.mean(axis=0)
    total = np.stack([np.bincount(item, axes[:, j], minlength=log.n_items) for j in range(axes.shape[1])], axis=1)
    return (total / np.maximum(count + shrinkage, 1e-9)).astype(np.float32)


def time_axes(at_s: NDArray[np.float64]) -> Float:
    """Sine and cosine of the hour of the day, the day of the week and the season in UTC, (n, 6)."""
    turns = 2 * np.pi * np.asarray(at_s, dtype=np.float64)[:, None] / np.asarray(_PERIODS_S)
    return np.hstack([np.sin(turns), np.cos(turns)]).astype(np.float32)


def blocks_state(space: BlockSpace) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and JSON-able values that `blocks_from_state` turns back into the same space."""
    arrays: dict[str, NDArray[Any]] = {f"items.{name}": rows for name, rows in space.items.items()}
    arrays["behaviour_mean"] = space.behaviour_mean
    return arrays, {"long_half_life_s": space.long_half_life_s, "short_half_life_s": space.short_half_life_s}


def blocks_from_state(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> BlockSpace:
    """The space that `blocks_state` took apart."""
    items = {name: np.asarray(arrays[f"items.{name}"]) for name in BLOCKS}
    return BlockSpace(items, np.asarray(arrays["behaviour_mean"]), meta["long_half_life_s"], meta["short_half_life_s"])
