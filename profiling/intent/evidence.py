"""The evidence a batch of texts gives about a catalogue, and how specific a query is.

Covers similarity to the catalogue, word evidence and category concentration as one table, for inference and for
calibration alike, so both see the same numbers. What the numbers mean is decided in `intent` and `relevance`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..catalogue_words import WordEvidence, WordIndex
from .facets import Facets
from .prototypes import Prototypes
from .units import stems

SPECIFICITY: Mapping[str, float] = {"information": 0.4, "coherence": 0.25, "concentration": 0.2, "detail": 0.15}
"""How much each part counts in `specificity`."""

_NEAREST_OF = 10
_BROAD = 20  # members a category needs for its centroid to count as a place in the catalogue


@dataclass(frozen=True, eq=False)
class Seen:
    """Evidence about a batch.

    Attributes:
        words: word evidence of each text
        share: P(category | text), (n, n_categories)
        features: rows of `relevance.FEATURES`, (n, 6)
        coherence: mean cosine between the ten nearest anchors of each text, (n,)
    """

    words: tuple[WordEvidence, ...]
    share: NDArray[np.float32]
    features: NDArray[np.float32]
    coherence: NDArray[np.float32]


def look(
    texts: Sequence[str],
    vectors: NDArray[np.float32],
    known: WordIndex,
    prototypes: Prototypes,
    anchors: NDArray[np.float32],
    *,
    own: tuple[Sequence[int], NDArray[np.int64]] | None = None,
) -> Seen:
    """All evidence about texts (n,) with unit vectors (n, d).

    ``own`` is for calibration on texts made from items: the item row of each text, left out of the word evidence, and
    the item row of each anchor, left out of the similarities.
    """
    said = [known.mended(stems(text)) for text in texts]
    rows = [known.rows(word) for word in said]
    evidence = tuple(known.evidence(word, without=own[0][i] if own else None) for i, word in enumerate(said))
    to_category = vectors @ prototypes.centroids.T
    share = prototypes.probabilities(vectors, rows, cosine=to_category)
    cosine = vectors @ anchors.T
    if own is not None:
        cosine = np.where(np.asarray(own[0])[:, None] == own[1][None, :], cosine.min(initial=0.0), cosine)
    k = min(_NEAREST_OF, cosine.shape[1])
    top = np.argpartition(cosine, -k, axis=1)[:, -k:]
    ten = np.take_along_axis(cosine, top, axis=1)
    nearest = ten.max(axis=1)
    broad = prototypes.n_members >= _BROAD
    if broad.any():
        nearest = np.maximum(nearest, np.where(broad, to_category, -1.0).max(axis=1))
    by_words = np.asarray([[e.known, e.together, e.spelling] for e in evidence], dtype=np.float32).reshape(-1, 3)
    features = np.column_stack([nearest, ten.mean(axis=1), by_words, concentration(share)]).astype(np.float32)
    return Seen(evidence, share, features, coherence(anchors, top))


def coherence(anchors: NDArray[np.float32], top: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean cosine between different anchors of each row of ``top`` (n, k), (n,): high where all mean the same thing."""
    k = top.shape[1]
    found = np.zeros(len(top), dtype=np.float32)
    for i, row in enumerate(top):  # one at a time: (n, k, d) at once would be large
        near = anchors[row]
        total = near.sum(axis=0)
        found[i] = (total @ total - np.vdot(near, near)) / max(k * (k - 1), 1)
    return found


def concentration(share: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 - entropy / log(k) of each row of probabilities, (n, k) -> (n,); 0 where there are under two categories.

    >>> concentration(np.array([[1, 0], [0.5, 0.5]], dtype=np.float32)).tolist()
    [1.0, 0.0]
    """
    if share.shape[1] < 2:
        return np.zeros(len(share), dtype=np.float32)
    entropy = -(share * np.log(np.maximum(share, 1e-12))).sum(axis=1)
    return np.clip(1.0 - entropy / np.log(share.shape[1]), 0.0, 1.0).astype(np.float32)


def specificity(words: WordEvidence, facets: Facets, *, concentrated: float, coherent: float, n_items: int) -> float:
    """How narrow a query is, in [0, 1]: the mean, weighted by `SPECIFICITY`, of four parts in [0, 1].

    ``information``: 1 - exp(-information of its words / log(items)), so .63 where they single out one item;
    ``coherence``: rank of the coherence of its nearest items among made-up queries; ``concentration`` of the category
    distribution; ``detail``: 1 - 2^-(brands + attribute values and sizes + 2 x model numbers + a bounded price).
    """
    bounded = facets.price is not None and facets.price.relative is None
    named = len(facets.brands) + len(facets.attributes) + 2 * len(facets.models) + bounded
    parts = {
        "information": 1.0 - float(np.exp(-words.information / np.log(max(n_items, 3)))),
        "coherence": coherent,
        "concentration": concentrated,
        "detail": 1.0 - 2.0 ** -float(named),
    }
    return float(np.clip(sum(SPECIFICITY[name] * value for name, value in parts.items()), 0.0, 1.0))


def doubts(words: WordEvidence, nearest: float) -> list[str]:
    """Why a text may not be about this catalogue, in words."""
    if not words.n_words:
        return ["no words"]
    found = []
    if words.known < 0.5:
        found.append(f"the catalogue knows {words.known:.0%} of its words by weight")
    elif words.together < 0.5:
        found.append(f"no item holds more than {words.together:.0%} of it")
    if words.spelling < -3.5:
        found.append("its letters do not look like words of this catalogue")
    return [*found, f"nearest item's similarity {nearest:.2f}"]
