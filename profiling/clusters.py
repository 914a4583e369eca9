"""Groups of similar items for shops without categories, named by the words that set each group apart.

Covers spherical k-means on unit vectors and contrastive names from item words. Shops with categories or a telling
attribute never come here: see `prototypes`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .catalogue_words import WordIndex, item_words
from .intent.units import stem, words

_LOOKED_AT = 200
_STOP = frozenset(["the", "a", "an", "of", "for", "with", "and", "in", "to", "on", "by", "x", "or"])


def spherical_kmeans(
    vectors: NDArray[np.float32], n_clusters: int, *, rng: Generator, rounds: int = 12, sample: int = 20_000
) -> NDArray[np.float32]:
    """Unit centroids (k, d) of unit vectors (n, d) by cosine; k <= ``n_clusters``, empty clusters are dropped.

    Lloyd's iterations on a sample (Dhillon and Modha, Concept decompositions, 2001, algorithm 1); rows of zeros, which
    have no meaning, are ignored. Seeds are spread: each is the farthest of a few random candidates.
    """
    some = np.flatnonzero(np.einsum("nd,nd->n", vectors, vectors) > 0)
    if len(some) > sample:
        some = np.sort(rng.choice(some, sample, replace=False))
    points = vectors[some]
    centroids = _seeds(points, min(n_clusters, len(points)), rng)
    for _ in range(rounds):
        nearest = np.argmax(points @ centroids.T, axis=1)
        sums = np.zeros_like(centroids)
        np.add.at(sums, nearest, points)
        norms = np.linalg.norm(sums, axis=1)
        centroids = (sums[norms > 0] / norms[norms > 0, None]).astype(np.float32)
    return centroids


def nearest_centroid(vectors: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.int64]:
    """Nearest centroid of each vector by cosine, (n,); -1 for a row of zeros (internal: never shown to a caller)."""
    nearest = np.concatenate(
        [np.argmax(vectors[i : i + 8192] @ centroids.T, axis=1) for i in range(0, len(vectors), 8192)]
        or [np.zeros(0, np.int64)]
    )
    return np.where(np.einsum("nd,nd->n", vectors, vectors) > 0, nearest, -1)


def contrastive_names(
    groups: NDArray[np.int64], known: WordIndex, texts: Sequence[str], *, n_words: int = 3
) -> list[str]:
    """A name for each group, (max(groups) + 1,): the words commonest in it relative to the rest, joined by " · ".

    Words are ranked by share inside times log(share inside / share outside); a word with a digit names nothing. Two
    groups that would share a name get a further word, or their number.

    Args:
        groups: group of each item, -1 for none, (n_items,)
        known: word index of the items
        texts: what was indexed, (n_items,): words are shown as they are mostly written there
        n_words: words in a name
    """
    inside = item_words(known)
    stems_: Sequence[str] = list(known.vocabulary)
    total = np.diff(known.start).astype(np.float64)
    fit = np.asarray([w.isalpha() and len(w) > 1 and w not in _STOP for w in stems_], dtype=bool)
    names: list[str] = []
    for group in range(int(groups.max(initial=-1)) + 1):
        rows = np.flatnonzero(groups == group)
        count = inside.counts(rows, len(stems_)).astype(np.float64)
        share = count / max(len(rows), 1)
        other = (total - count + 0.5) / (known.n_items - len(rows) + 1.0)
        score = np.where(fit & (count > 0), share * np.log((share + 1e-9) / other), -np.inf)
        best = np.argsort(-score, kind="stable")[: n_words + 2]
        ranked = [stems_[w] for w in best.tolist() if np.isfinite(score[w])]
        written = _spellings(ranked, [texts[row] for row in rows[:_LOOKED_AT].tolist()])
        names.append(_unused(written, n_words, names, group))
    return names


def _spellings(ranked: Sequence[str], texts: Sequence[str]) -> list[str]:
    """The commonest whole word in these texts behind each stem; the stem itself where there is none."""
    seen = Counter(word for text in texts for word in words(text))
    best: dict[str, str] = {}
    for word, _ in seen.most_common():
        best.setdefault(stem(word), word)
    return [best.get(one, one) for one in ranked]


def _unused(ranked: Sequence[str], n_words: int, names: Sequence[str], group: int) -> str:
    """The first of growing names that no earlier group has."""
    for n in range(n_words, len(ranked) + 1):
        if " · ".join(ranked[:n]) not in names:
            return " · ".join(ranked[:n])
    return " · ".join([*ranked[:n_words], f"group {group + 1}"])


def _seeds(points: NDArray[np.float32], n: int, rng: Generator) -> NDArray[np.float32]:
    """``n`` starting centroids: each new one is the farthest of eight random candidates from those chosen."""
    chosen = [int(rng.integers(len(points)))]
    closest = points @ points[chosen[0]]
    while len(chosen) < n:
        candidates = rng.integers(len(points), size=8)
        pick = int(candidates[np.argmin(closest[candidates])])
        chosen.append(pick)
        closest = np.maximum(closest, points @ points[pick])
    return points[chosen].copy()
