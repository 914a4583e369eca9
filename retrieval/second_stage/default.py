"""The ranker that ships: a weighted sum for shops with too few answers to train one.

Learned on 350 answered requests each of three shops (groceries, gifts, cosmetics), from features that mean the same in
every shop: ranks, cosines, shares, days and scaled scores, no counts of a shop's size, no popularity. Rankers carry
badly from one kind of shop to another (`docs/ranker.md`), so it is tried, and used only where it wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .ranker import LinearRanker

DEFAULT_RANKER: Mapping[str, tuple[float, float, float]] = {
    "fused_rank": (3.64, 0.923, -0.508),
    "own_count": (0.663, 0.798, 0.216),
    "context_rank": (4.36, 0.908, -0.215),
    "repeat_rank": (3.52, 0.974, 0.187),
    "transitions_rank": (3.89, 1.07, -0.162),
    "last_at_once_share": (0.302, 0.594, -0.155),
    "brand_share": (0.585, 0.222, -0.111),
    "behaviour": (0.402, 2.34, 0.103),
    "own_days": (3.84, 1.23, -0.099),
    "before_at_once_share": (0.109, 0.315, -0.093),
    "taste_long": (2.22, 2.13, 0.09),
    "newest_text": (0.338, 0.303, 0.081),
    "price_above": (-0.0339, 0.928, -0.061),
    "own_rank": (3.78, 1.04, -0.061),
    "fused": (15.7, 24.3, 0.06),
    "newest_attributes": (0.232, 0.361, 0.057),
    "last_earlier_share": (0.147, 0.346, -0.05),
    "category_share": (0.0181, 0.0342, -0.048),
    "last_next_share": (0.231, 0.478, 0.045),
    "before_next_share": (0.0904, 0.259, -0.038),
    "before_text": (0.145, 0.238, 0.038),
    "own": (11.8, 16.1, 0.035),
    "repeat": (11.0, 18.4, -0.034),
    "last_attributes": (0.107, 0.263, 0.034),
    "taste_short": (1.84, 2.3, 0.031),
    "before_earlier_share": (0.052, 0.175, 0.03),
    "behaviour_rank": (4.03, 1.05, 0.027),
    "text_neighbours_rank": (3.63, 0.926, -0.025),
    "transitions": (7.96, 12.1, 0.02),
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
