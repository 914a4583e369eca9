"""Orders that spread a ranking over groups: a cap on each, and fair exposure. Arrays in, positions out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def capped(groups: Ints, *, most: int, among: int) -> Ints:
    """Positions in a new order in which no group has more than ``most`` of the first ``among``.

    Items over the cap come right after those ranks, in their order; where the cap leaves fewer than ``among`` items,
    after the last of them. Items without a group are free.

    Args:
        groups: group of each item in the ranking's order, -1 for none, (n,)
        most: items of one group
        among: ranks the cap holds for

    >>> capped(np.array([0, 0, 0, 1, 1]), most=1, among=3).tolist()
    [0, 3, 1, 2, 4]
    """
    taken: dict[int, int] = {}
    first: list[int] = []
    for place, group in enumerate(groups.tolist()):
        if len(first) == among:
            break
        if group < 0 or taken.get(group, 0) < most:
            first.append(place)
            taken[group] = taken.get(group, 0) + 1
    return _rest_after(first, len(groups))


def fair_order(groups: Ints, shares: NDArray[np.floating], *, among: int) -> Ints:
    """Positions in a new order in which each group has at least its share of the first m ranks, for every m.

    At rank m a group that has fewer than ``floor(share * m)`` items goes first (the best-ranked item of those short);
    else the best item of the groups below ``ceil(share * m)``; else the best item. Groups that run out are passed over.

    Source: Geyik, Ambler and Kenthapadi, "Fairness-aware ranking in search and recommendation systems with application
    to LinkedIn talent search", KDD 2019, DetGreedy.

    Args:
        groups: group of each item in the ranking's order, -1 for none, (n,); those are a group without a share
        shares: wanted share of the ranks of each group, (n_groups,), summing to at most 1
        among: ranks it holds for

    >>> fair_order(np.array([0, 0, 0, 1]), np.array([0.5, 0.5]), among=4).tolist()
    [0, 3, 1, 2]
    """
    left = list(range(len(groups)))
    count = np.zeros(len(shares), dtype=np.int64)
    first: list[int] = []
    for rank in range(1, min(among, len(groups)) + 1):
        least = np.floor(shares * rank + 1e-9)
        most = np.ceil(shares * rank - 1e-9)
        short = [at for at in left if groups[at] >= 0 and count[groups[at]] < least[groups[at]]]
        room = [at for at in left if groups[at] < 0 or count[groups[at]] < most[groups[at]]]
        chosen = (short or room or left)[0]
        left.remove(chosen)
        first.append(chosen)
        if groups[chosen] >= 0:
            count[groups[chosen]] += 1
    return np.array(first + left, dtype=np.int64)


def _rest_after(first: list[int], n: int) -> Ints:
    """The chosen positions, then all others in their order."""
    chosen = set(first)
    return np.array(first + [place for place in range(n) if place not in chosen], dtype=np.int64)
