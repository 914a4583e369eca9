"""What to call an item's category, which categories are big enough, and where they lie among the vectors.

Covers the choice of a source (the shop's own paths, else a telling attribute, else clusters), backing small categories
off to their parents, centroids shrunk to their parents and price levels. How likely a text asks for a category is
`prototypes`' work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from .catalogue_words import WordIndex
from .clusters import contrastive_names, nearest_centroid, spherical_kmeans
from .intent.attribute_values import attribute_table

SEPARATOR = " > "
_FEWEST_PRICES = 10


class PrototypeConfig(BaseModel):
    """How category prototypes are made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_items: int = Field(5, ge=1, description="a category with fewer items is read as part of its parent")
    min_coverage: float = Field(0.5, ge=0, le=1, description="share of items an attribute must name to stand for it")
    n_clusters: int | None = Field(None, ge=2, description="groups where there are no categories; null = sqrt(items/2)")
    shrinkage: float = Field(2.0, ge=0, description="items' worth of the parent's centroid mixed into a category's")
    n_calibration: int = Field(800, ge=10, description="held-out titles that set temperature and word weight")


def item_labels(
    items: pd.DataFrame,
    vectors: NDArray[np.float32],
    known: WordIndex,
    config: PrototypeConfig,
    *,
    rng: Generator,
) -> tuple[str, list[str | None]]:
    """What to call each item's category, (n_items,), and where that comes from.

    The category column where at least ``min_coverage`` of the items have it; else the text attribute that covers that
    many and whose values the items' vectors tell apart best; else clusters of the vectors.
    """
    if "category" in items:
        paths = [p if isinstance(p, str) else None for p in items["category"].tolist()]
        if sum(p is not None for p in paths) >= config.min_coverage * max(len(paths), 1) and len({*paths} - {None}) > 1:
            return "category", paths
    best: tuple[float, str, list[str | None]] | None = None
    for name, pairs in attribute_table(items).items():
        values: list[str | None] = [None] * len(items)
        for row, value in pairs:
            values[row] = values[row] or value
        lift = _told_apart(values, vectors, config)
        if lift > 0 and (best is None or lift > best[0]):
            best = (lift, name, values)
    if best is not None:
        return f"attribute:{best[1]}", best[2]
    if not np.any(vectors):
        return "none", [None] * len(items)
    n = config.n_clusters or int(np.clip(np.sqrt(len(items) / 2), 2, 256))
    groups = nearest_centroid(vectors, spherical_kmeans(vectors, n, rng=rng))
    names = contrastive_names(groups, known, items["title"].fillna("").tolist())
    return "clusters", [names[g] if g >= 0 else None for g in groups.tolist()]


def back_off(labels: Sequence[str | None], min_items: int) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Category names and each item's category, -1 for none (internal), (n_items,).

    An item belongs to the deepest prefix of its path that at least ``min_items`` items share; an item whose very root
    is smaller than that keeps its root.

    >>> back_off(["a > b", "a > b", "a > c", None, "d"], 2)
    (('a', 'a > b', 'd'), array([ 1,  1,  0, -1,  2]))
    """
    sizes = Counter(prefix for label in labels if label for prefix in prefixes(label))
    homes: list[str | None] = []
    for label in labels:
        ways = prefixes(label) if label else []
        homes.append(next((p for p in reversed(ways) if sizes[p] >= min_items), ways[0] if ways else None))
    paths = tuple(sorted({home for home in homes if home is not None}))
    row = {path: i for i, path in enumerate(paths)}
    return paths, np.asarray([row[h] if h is not None else -1 for h in homes], dtype=np.int64)


def prefixes(path: str) -> list[str]:
    """A path and its ancestors, root first.

    >>> prefixes("food > dairy > milk")
    ['food', 'food > dairy', 'food > dairy > milk']
    """
    parts = path.split(SEPARATOR)
    return [SEPARATOR.join(parts[: i + 1]) for i in range(len(parts))]


def centroids_of(
    vectors: NDArray[np.float32], member: NDArray[np.int64], paths: Sequence[str], *, shrinkage: float = 2.0
) -> NDArray[np.float32]:
    """Unit centroid of each category, (n_categories, d), mixed with ``shrinkage`` items' worth of its parent's mean."""
    sums = np.zeros((len(paths), vectors.shape[1]), dtype=np.float64)
    np.add.at(sums, member[member >= 0], vectors[member >= 0])
    counts = np.bincount(member[member >= 0], minlength=len(paths)).astype(np.float64)
    above: dict[str, tuple[NDArray[np.float64], float]] = {}
    for row, path in enumerate(paths):
        for prefix in prefixes(path):
            total, n = above.get(prefix, (np.zeros(vectors.shape[1]), 0.0))
            above[prefix] = (total + sums[row], n + counts[row])
    for row, path in enumerate(paths):
        parent = path.rpartition(SEPARATOR)[0]
        if parent:
            total, n = above[parent]
            sums[row] += shrinkage * total / max(n, 1.0)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    return (sums / np.where(norms > 0, norms, 1.0)).astype(np.float32)


def price_levels(items: pd.DataFrame, member: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    """Lower and upper third of the prices in each of ``n`` categories and, last, in the whole catalogue, (n + 1, 2)."""
    levels = np.full((n + 1, 2), np.nan)
    if "price" not in items:
        return levels
    price = pd.to_numeric(items["price"]).to_numpy(np.float64, na_value=np.nan)
    known = ~np.isnan(price)
    if known.any():
        levels[n] = np.quantile(price[known], [1 / 3, 2 / 3])
    order = np.argsort(member[known], kind="stable")
    price, where = price[known][order], member[known][order]
    first = np.searchsorted(where, np.arange(n + 1))
    for row in np.flatnonzero(np.diff(first) >= _FEWEST_PRICES).tolist():
        levels[row] = np.quantile(price[first[row] : first[row + 1]], [1 / 3, 2 / 3])
    return levels


def _told_apart(values: Sequence[str | None], vectors: NDArray[np.float32], config: PrototypeConfig) -> float:
    """How much better than the commonest value nearest centroids name the value, times coverage; 0 if unfit."""
    counts = Counter(v for v in values if v is not None)
    usable = {v for v, n in counts.items() if n >= config.min_items}
    covered = sum(counts[v] for v in usable)
    if len(usable) < 3 or covered < config.min_coverage * len(values) or not np.any(vectors):
        return 0.0
    paths, member = back_off([v if v in usable else None for v in values], config.min_items)
    rows = np.flatnonzero(member >= 0)[:: max(1, covered // 2000)]
    guess = nearest_centroid(vectors[rows], centroids_of(vectors, member, paths, shrinkage=0.0))
    return (float((guess == member[rows]).mean()) - max(counts.values()) / covered) * covered / len(values)
