"""Maximal marginal relevance: fewer near-copies among the first items.

Source: Carbonell and Goldstein, "The use of MMR, diversity-based reranking for reordering documents", SIGIR 1998.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mmr(scores: NDArray[np.floating], vectors: NDArray[np.floating], k: int, *, diversity: float) -> NDArray[np.int64]:
    """Positions of ``k`` candidates, each the best of ``(1 - diversity) * score - diversity * likeness`` in its turn.

    Args:
        scores: of the candidates, any scale, (n,); brought to [0, 1] here
        vectors: unit vectors, (n, d); likeness is the largest cosine to an item chosen before
        k: how many to choose
        diversity: 0 = by score alone, 1 = by likeness alone

    Raises:
        ValueError: ``diversity`` is outside [0, 1].

    >>> mmr(np.array([3.0, 2.9, 1.0]), np.array([[1, 0], [1, 0], [0, 1.0]]), 2, diversity=0.5).tolist()
    [0, 2]
    """
    if not 0.0 <= diversity <= 1.0:
        raise ValueError(f"diversity must lie in [0, 1], got {diversity}")
    n, span = len(scores), float(np.ptp(scores)) if len(scores) else 0.0
    relevance = (scores - scores.min()) / span if span > 0 else np.zeros(n)
    likeness, left, chosen = np.zeros(n), np.ones(n, dtype=bool), []
    for _ in range(min(k, n)):
        value = np.where(left, (1 - diversity) * relevance - diversity * likeness, -np.inf)
        best = int(np.argmax(value))
        chosen.append(best)
        left[best] = False
        likeness = np.maximum(likeness, vectors @ vectors[best])
    return np.array(chosen, dtype=np.int64)
