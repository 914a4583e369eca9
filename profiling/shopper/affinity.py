"""Affinity: how much more often a shopper takes a group (category, brand) than the shop's shoppers do.

Category affinity compares with the shop's shares; brand affinity compares with the brand's share *inside the categories
the shopper buys in*, so that buying yogurt is not mistaken for loving the one brand that makes most of it. Both are
logarithms of a shrunk ratio: 0 = like everybody, log 2 = twice as often.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from .shrinkage import ratio_strength, shrunk_ratio


@dataclass(frozen=True, eq=False)
class Grouping:
    """Items sorted into named groups.

    Attributes:
        code: group of each item, (n_items,); -1 where it has none
        names: name of each group, (n_groups,)
    """

    code: NDArray[np.int64]
    names: NDArray[np.object_]

    @property
    def matrix(self) -> sparse.csr_array:
        """Membership, sparse (n_items, n_groups); an all-zero row where an item has no group."""
        rows = np.flatnonzero(self.code >= 0)
        cells = (np.ones(len(rows)), (rows, self.code[rows]))
        return sparse.csr_array(sparse.coo_array(cells, shape=(len(self.code), len(self.names))))


def group_by(values: pd.Series) -> Grouping:
    """Group items by equal values; nulls belong nowhere.

    >>> group_by(pd.Series(["b", None, "a", "b"])).code.tolist()
    [1, -1, 0, 1]
    """
    code, names = pd.factorize(values, sort=True)
    return Grouping(code.astype(np.int64), np.asarray(names, dtype=object))


def group_by_category(category: pd.Series, *, depth: int) -> Grouping:
    """Group items by the first ``depth`` steps of their category path (``"A > B > C"``).

    >>> group_by_category(pd.Series(["A > B > C", "A > B", None]), depth=2).names.tolist()
    ['A > B']
    """
    unique = category.dropna().unique()
    cut = {path: " > ".join(str(path).split(" > ")[:depth]) for path in unique}
    return group_by(category.map(cut))


@dataclass(frozen=True, eq=False)
class AffinityModel:
    """What each group's share is where a shopper buys, and how far shoppers differ in it.

    Attributes:
        groups: the groups
        member: which item is in which group, sparse (n_items, n_groups)
        stratum: expectations are formed inside these groups of items (one for all, or categories), (n_items, n_strata)
        share: share of each group inside each stratum, (n_strata, n_groups)
        strength: how many expected events the prior is worth
    """

    groups: Grouping
    member: sparse.csr_array
    stratum: sparse.csr_array
    share: sparse.csr_array
    strength: float

    def affinity(self, history: sparse.csr_array) -> sparse.csr_array:
        """Log of how much more often than expected each history (n, n_items) holds each group, sparse (n, n_groups).

        Implicit zeros are exact where nothing was observed nor expected.
        """
        observed, expected, _ = self._counts(history)
        touched = sparse.coo_array(observed + expected)
        cells = (touched.row, touched.col)
        ratio = shrunk_ratio(_values(observed, cells), _values(expected, cells), self.strength)
        return sparse.csr_array(sparse.coo_array((np.log(ratio), cells), shape=observed.shape))

    def _counts(self, history: sparse.csr_array) -> tuple[sparse.csr_array, sparse.csr_array, sparse.csr_array]:
        """Observed events of each group, expected ones, and the variance chance alone would give, (n, n_groups)."""
        visits = sparse.csr_array(history @ self.stratum)  # (n, n_strata)
        observed = sparse.csr_array(history @ self.member)
        expected = sparse.csr_array(visits @ self.share)
        return observed, expected, sparse.csr_array(expected - visits @ self.share.power(2))


def fit_affinity(
    history: sparse.csr_array,
    groups: Grouping,
    *,
    within: Grouping | None = None,
    negligible: float = 1e-3,
    sample: int = 2_000,
) -> AffinityModel:
    """Learn shares and spread from the shop's shoppers.

    Args:
        history: how often each shopper took each item, (n_users, n_items)
        groups: the groups whose affinity is wanted
        within: expectations are formed inside these groups; over the whole shop if None
        negligible: shares under this count as 0, which keeps thousands of small brands sparse
        sample: spread is estimated from at most this many shoppers, evenly spaced
    """
    n_items = len(groups.code)
    if within is None:
        stratum = sparse.csr_array((groups.code >= 0)[:, None].astype(np.float64))  # (n_items, 1)
    else:
        both = (within.code >= 0) & (groups.code >= 0)
        stratum = Grouping(np.where(both, within.code, -1), within.names).matrix
    sold = sparse.dia_array((np.asarray(history.sum(axis=0))[None], [0]), shape=(n_items, n_items))
    member = groups.matrix
    counts = sparse.csr_array(stratum.T @ sold @ member)  # (n_strata, n_groups)
    total = np.asarray(counts.sum(axis=1)).ravel()
    counts.data = counts.data / np.repeat(np.maximum(total, 1e-300), np.diff(counts.indptr))
    counts.data[counts.data < negligible] = 0.0
    counts.eliminate_zeros()
    model = AffinityModel(groups, member, stratum, counts, 1.0)
    rows = np.unique(np.linspace(0, history.shape[0] - 1, min(sample, history.shape[0])).astype(int))
    observed, expected, variance = model._counts(history[rows])
    cells = expected.nonzero()
    o, e, chance = (_values(matrix, cells) for matrix in (observed, expected, variance))
    return AffinityModel(groups, member, stratum, counts, ratio_strength(o, e, chance=chance))


def _values(matrix: sparse.csr_array, cells: tuple[NDArray[np.int64], NDArray[np.int64]]) -> NDArray[np.float64]:
    """Dense values at these cells; scipy answers an empty question with a sparse array."""
    return np.asarray(matrix[cells]).ravel() if len(cells[0]) else np.zeros(0)
