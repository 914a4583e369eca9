"""Category prototypes: what each category of a catalogue sounds like, and how likely a text asks for it.

Covers the choice of what to call a category (the shop's own paths, else a telling attribute, else clusters), backing
small categories off to their parents, centroids shrunk to their parents, word evidence beside them, and a temperature
that the catalogue sets itself: titles held out must predict their own category. Nothing here needs a label or a click.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from .attribute_values import attribute_table
from .catalogue_words import WordIndex, item_words
from .clusters import contrastive_names, nearest_centroid, spherical_kmeans

SEPARATOR = " > "
_FEWEST_PRICES = 10
_SMOOTH = 2.0  # pseudo-items of the whole catalogue in each category's word habits


class PrototypeConfig(BaseModel):
    """How category prototypes are made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_items: int = Field(5, ge=1, description="a category with fewer items is read as part of its parent")
    min_coverage: float = Field(0.5, ge=0, le=1, description="share of items an attribute must name to stand for it")
    n_clusters: int | None = Field(None, ge=2, description="groups where there are no categories; null = sqrt(items/4)")
    shrinkage: float = Field(2.0, ge=0, description="items' worth of the parent's centroid mixed into a category's")
    n_calibration: int = Field(800, ge=10, description="held-out titles that set temperature and word weight")


@dataclass(frozen=True, eq=False)
class Prototypes:
    """Categories as directions and word habits.

    Attributes:
        paths: name of each category, root first, joined by " > ", (n_categories,)
        source: where the names come from: "category", "attribute:NAME" or "clusters"
        centroids: unit rows (zeros where no member has a vector), (n_categories, d)
        n_members: items in each category, (n_categories,)
        word_start, word_category, word_gain: log-likelihood gain of stem ``w`` for the categories that hold it, CSR
        base: what any word costs a category before its gain, (n_categories,)
        weights: (cosine / temperature, words, log size) weights of the score
        price_levels: prices below which "cheap" and above which "premium" lies, the whole catalogue last; NaN where
            fewer than ten prices are known, (n_categories + 1, 2)
    """

    paths: tuple[str, ...]
    source: str
    centroids: NDArray[np.float32]
    n_members: NDArray[np.int64]
    word_start: NDArray[np.int64]
    word_category: NDArray[np.int32]
    word_gain: NDArray[np.float32]
    base: NDArray[np.float32]
    weights: tuple[float, float, float]
    price_levels: NDArray[np.float64]

    def probabilities(self, vectors: NDArray[np.float32], words: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """P(category | text) for texts given by unit vectors (n, d) and stem rows, (n, n_categories); rows sum to 1."""
        cosine, lexical = vectors @ self.centroids.T, self.word_scores(words)
        return softmax(self._score(cosine, lexical))

    def word_scores(self, words: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Log-likelihood ratio of the stems in each category against the whole catalogue, (n, n_categories)."""
        scores = np.zeros((len(words), len(self.paths)), dtype=np.float32)
        for out, rows in zip(scores, words, strict=True):
            for row in rows:
                at = slice(self.word_start[row], self.word_start[row + 1])
                out[self.word_category[at]] += self.word_gain[at]
            out += len(rows) * self.base
        return scores

    def _score(self, cosine: NDArray[np.float32], lexical: NDArray[np.float32]) -> NDArray[np.float32]:
        """Weighted sum of the evidence, (n, n_categories)."""
        sharp, by_words, by_size = self.weights
        return sharp * cosine + by_words * lexical + (by_size * np.log(self.n_members)).astype(np.float32)


def softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of probabilities from rows of scores, (n, k)."""
    raised = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf))
    return raised / raised.sum(axis=1, keepdims=True)


def fit_prototypes(
    items: pd.DataFrame,
    vectors: NDArray[np.float32],
    known: WordIndex,
    config: PrototypeConfig | None = None,
    *,
    rng: Generator,
    probes: tuple[NDArray[np.int64], NDArray[np.float32], Sequence[Sequence[int]]] | None = None,
) -> Prototypes:
    """Make prototypes from a catalogue.

    Args:
        items: the shop's items table
        vectors: unit text vectors of the items (zero rows allowed), (n_items, d)
        known: word index of the items' texts
        config: sizes and shrinkage
        rng: draws clusters and held-out titles
        probes: made-up queries for calibration: item row each comes from, its vector, its stem rows;
            without them the items' own vectors and words stand in
    """
    config = config or PrototypeConfig()
    source, labels = item_labels(items, vectors, known, config, rng=rng)
    paths, member = back_off(labels, config.min_items)
    n_members = np.bincount(member[member >= 0], minlength=len(paths)).astype(np.int64)
    start, category, gain, base = _word_habits(member, n_members, known)
    plain = Prototypes(
        paths=paths,
        source=source,
        centroids=centroids_of(vectors, member, paths, shrinkage=config.shrinkage),
        n_members=n_members,
        word_start=start,
        word_category=category,
        word_gain=gain,
        base=base,
        weights=(20.0, 0.5, 0.0),
        price_levels=price_levels(items, member, len(paths)),
    )
    if len(paths) < 2:
        return plain
    held = probes or _items_as_probes(vectors, member, known, config.n_calibration, rng)
    return Prototypes(**{**vars(plain), "weights": _calibrate(plain, vectors, member, held, known)})


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
    n = config.n_clusters or int(np.clip(np.sqrt(len(items) / 4), 2, 256))
    groups = nearest_centroid(vectors, spherical_kmeans(vectors, n, rng=rng))
    names = contrastive_names(groups, known)
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


def prototypes_state(model: Prototypes) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and JSON-able form; `prototypes_from_state` rebuilds the model."""
    names = ("centroids", "n_members", "word_start", "word_category", "word_gain", "base", "price_levels")
    meta = {"paths": list(model.paths), "source": model.source, "weights": list(model.weights)}
    return {name: getattr(model, name) for name in names}, meta


def prototypes_from_state(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> Prototypes:
    """The model that `prototypes_state` described."""
    sharp, by_words, by_size = meta["weights"]
    return Prototypes(
        paths=tuple(meta["paths"]), source=meta["source"], weights=(sharp, by_words, by_size), **dict(arrays)
    )


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


def _word_habits(
    member: NDArray[np.int64], n_members: NDArray[np.int64], known: WordIndex
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """CSR over stems of log(P(stem | category) / P(stem)), split in a base a category and gains where it occurs."""
    word_of = np.repeat(np.arange(len(known.vocabulary), dtype=np.int64), np.diff(known.start))
    category = member[known.items]
    inside = category >= 0
    pair = word_of[inside] * max(len(n_members), 1) + category[inside]
    pairs, count = np.unique(pair, return_counts=True)
    words, cats = pairs // max(len(n_members), 1), pairs % max(len(n_members), 1)
    share = np.diff(known.start)[words] / max(known.n_items, 1)
    gain = np.log1p(count / (_SMOOTH * share)).astype(np.float32)
    base = np.log(_SMOOTH / (n_members + _SMOOTH)).astype(np.float32)
    start = np.concatenate([[0], np.cumsum(np.bincount(words, minlength=len(known.vocabulary)))]).astype(np.int64)
    return start, cats.astype(np.int32), gain, base


def _items_as_probes(
    vectors: NDArray[np.float32], member: NDArray[np.int64], known: WordIndex, n: int, rng: Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32], list[list[int]]]:
    """Items standing in for queries: their rows, vectors and stem rows."""
    rows = np.flatnonzero(member >= 0)
    rows = np.sort(rng.choice(rows, min(n, len(rows)), replace=False))
    inside = item_words(known)
    return rows, vectors[rows], [inside.words[inside.start[r] : inside.start[r + 1]].tolist() for r in rows.tolist()]


def _calibrate(
    model: Prototypes,
    vectors: NDArray[np.float32],
    member: NDArray[np.int64],
    probes: tuple[NDArray[np.int64], NDArray[np.float32], Sequence[Sequence[int]]],
    known: WordIndex,
) -> tuple[float, float, float]:
    """Weights of least log loss on probes, each scored with its own item taken out of its own category."""
    rows, asked, words = probes
    keep = np.flatnonzero(member[rows] >= 0)
    rows, asked, words = rows[keep], asked[keep], [words[i] for i in keep.tolist()]
    own = member[rows]
    cosine, lexical = asked @ model.centroids.T, model.word_scores(words)
    at = np.arange(len(rows))
    left = np.maximum(model.n_members[own], 1)
    without = model.centroids[own] * left[:, None] - vectors[rows]
    norm = np.maximum(np.linalg.norm(without, axis=1), 1e-6)
    cosine[at, own] = np.where(left > 1, np.einsum("nd,nd->n", asked, without) / norm, 0.0)
    step = known.n_items / (_SMOOTH * np.maximum(np.diff(known.start), 1))
    lexical[at, own] -= np.asarray([_own_gain(model, ws, c, step) for ws, c in zip(words, own.tolist(), strict=True)])
    best, least = model.weights, np.inf
    for sharp in (0.0, 5.0, 10.0, 20.0, 35.0, 60.0):
        for by_words in (0.0, 0.15, 0.3, 0.5, 0.75, 1.0):
            for by_size in (0.0, 0.5, 1.0):
                score = sharp * cosine + by_words * lexical + (by_size * np.log(model.n_members)).astype(np.float32)
                loss = float(-np.log(np.maximum(softmax(score)[at, own], 1e-12)).mean())
                if loss < least - 1e-4:
                    best, least = (sharp, by_words, by_size), loss
    return best


def _own_gain(model: Prototypes, words: Sequence[int], category: int, step: NDArray[np.float64]) -> float:
    """How much of a category's word score one member with exactly these words gave it."""
    lost = 0.0
    for row in words:
        at = slice(model.word_start[row], model.word_start[row + 1])
        gains = model.word_gain[at][model.word_category[at] == category]
        if len(gains):
            lost += float(gains[0] - np.log1p(max(np.expm1(gains[0]) - step[row], 0.0)))
    return lost
