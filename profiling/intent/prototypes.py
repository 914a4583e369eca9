"""Category prototypes: what each category of a catalogue sounds like, and how likely a text asks for it.

Covers the model (directions, word habits, sizes) and a temperature that the catalogue sets itself: titles held out must
predict their own category. Nothing here needs a label or a click. Which categories there are is `categories`' work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray

from ..catalogue_words import WordIndex, item_words
from ..categories import SEPARATOR, PrototypeConfig, back_off, centroids_of, item_labels, prefixes, price_levels

_SMOOTH = 2.0  # pseudo-items of the whole catalogue in each category's word habits


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

    def probabilities(
        self,
        vectors: NDArray[np.float32],
        words: Sequence[Sequence[int]],
        *,
        cosine: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """P(category | text) for texts given by unit vectors (n, d) and stem rows, (n, n_categories); rows sum to 1.

        ``cosine`` is ``vectors @ centroids.T`` where the caller has it.
        """
        near = vectors @ self.centroids.T if cosine is None else cosine
        return softmax(self._score(near, self.word_scores(words)))

    def word_scores(self, words: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Log-likelihood ratio of the stems in each category against the whole catalogue, (n, n_categories)."""
        scores = np.zeros((len(words), len(self.paths)), dtype=np.float32)
        for out, rows in zip(scores, words, strict=True):
            for row in rows:
                at = slice(self.word_start[row], self.word_start[row + 1])
                out[self.word_category[at]] += self.word_gain[at]
            out += len(rows) * self.base
        return scores

    def levels(self, share: NDArray[np.float32]) -> list[tuple[str, float]]:
        """The likeliest root, its likeliest child and so on, each with all the probability beneath it, given P (k,)."""
        nodes, of, where = self._tree
        if not nodes:
            return []
        mass = np.bincount(of, weights=share[where], minlength=len(nodes))
        found: list[tuple[str, float]] = []
        within = ""
        while (children := self._children.get(within)) is not None:
            best = int(children[np.argmax(mass[children])])  # the first of equals
            within = nodes[best]
            found.append((within, float(mass[best])))
        return found

    @cached_property
    def _tree(self) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
        """All paths and ancestors, and aligned (node, category) pairs of what lies beneath what."""
        pairs = [(prefix, row) for row, path in enumerate(self.paths) for prefix in prefixes(path)]
        nodes = sorted({prefix for prefix, _ in pairs})
        at = {node: i for i, node in enumerate(nodes)}
        return (
            nodes,
            np.asarray([at[node] for node, _ in pairs], dtype=np.int64),
            np.asarray([row for _, row in pairs], dtype=np.int64),
        )

    @cached_property
    def _children(self) -> dict[str, NDArray[np.int64]]:
        """Node rows beneath each node; the roots are beneath the empty path."""
        found: dict[str, list[int]] = {}
        for i, node in enumerate(self._tree[0]):
            found.setdefault(node.rpartition(SEPARATOR)[0], []).append(i)
        return {node: np.asarray(rows, dtype=np.int64) for node, rows in found.items()}

    @cached_property
    def _log_size(self) -> NDArray[np.float32]:
        """Log of the items in each category."""
        return np.log(np.maximum(self.n_members, 1)).astype(np.float32)

    def _score(self, cosine: NDArray[np.float32], lexical: NDArray[np.float32]) -> NDArray[np.float32]:
        """Weighted sum of the evidence, (n, n_categories)."""
        sharp, by_words, by_size = self.weights
        return sharp * cosine + by_words * lexical + np.float32(by_size) * self._log_size


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
    return replace(plain, weights=_calibrate(plain, vectors, member, held, known))


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
