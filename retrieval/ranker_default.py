"""The ranker that ships: a weighted sum for shops with too few answers to train one.

Learned on one shop's baskets, measured on others (`docs/ranker.md`). Only features that mean the same in every shop are
in it: ranks, cosines, shares and days, no counts of one shop's size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .ranker import LinearRanker

DEFAULT_RANKER: Mapping[str, tuple[float, float, float]] = {
    "fused": (0.0, 1.0, 1.0),
}
"""Feature -> its mean, its spread and its weight, for requests of known shoppers without words."""


def default_ranker(names: Sequence[str], *, asked: bool) -> LinearRanker | None:
    """The ranker that ships, over the features ``names``; None for requests in words, or if it knows none of them.

    A feature it does not know weighs nothing.
    """
    if asked or not any(name in DEFAULT_RANKER for name in names):
        return None
    rows = [DEFAULT_RANKER.get(name, (0.0, 1.0, 0.0)) for name in names]
    mean, spread, weight = np.array(rows, dtype=np.float64).T
    return LinearRanker(tuple(names), mean, spread, weight)
