"""The map of shoppers: their tastes laid out in two directions, coloured by what sets each apart.

The two directions are principal components, named by the categories that grow along them. Two dimensions hold only
part of the differences; how much is told.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from ..profiling.log import EventLog
from ..profiling.readable import abbreviations, readable_name
from .people import Tastes
from .story import Dot, TasteMap

_SEPARATOR = " > "
_MOST_DOTS = 1200
_MOST_GROUPS = 6


def taste_map(log: EventLog, items: pd.DataFrame, found: Tastes, marked: tuple[int, int]) -> TasteMap:
    """Lay out shoppers; ``marked`` are the rows of the two to point at."""
    centred = found.vectors.astype(np.float64) - found.vectors.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    place = np.zeros((len(centred), 2))
    place[:, : len(s)] = (u * s)[:, :2]
    total = float((s**2).sum())
    low, high = np.quantile(place, [0.01, 0.99], axis=0)
    xy = np.clip((place - low) / np.maximum(high - low, 1e-12), 0.0, 1.0)
    group, names = _groups(log, items, found.rows)
    every = np.linspace(0, len(xy) - 1, min(_MOST_DOTS, len(xy))).astype(np.int64)
    at = [int(np.flatnonzero(found.rows == row)[0]) for row in marked]
    return TasteMap(
        dots=tuple(_dot(xy, group, k) for k in every.tolist()),
        groups=names,
        marked=(_dot(xy, group, at[0]), _dot(xy, group, at[1])),
        ends=_ends(log, items, found.rows, place),
        explained=float((s[:2] ** 2).sum()) / total if total > 0 else 0.0,
        shoppers=len(found.rows),
    )


def _dot(xy: NDArray[np.float64], group: NDArray[np.int64], k: int) -> Dot:
    return Dot(x=round(float(xy[k, 0]), 4), y=round(float(xy[k, 1]), 4), group=int(group[k]))


def _groups(log: EventLog, items: pd.DataFrame, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """For each shopper the category that sets them apart most, the rarest of these joined as the last group."""
    shares, names = _category_shares(log, items, rows, level=1)
    if len(names) < 3:
        shares, names = _category_shares(log, items, rows, level=2)
    if not names:
        return np.zeros(len(rows), dtype=np.int64), ("all shoppers",)
    common = shares.mean(axis=0) >= 0.005
    spread = np.where(common, shares.std(axis=0), np.inf)
    apart = ((shares - shares.mean(axis=0)) / np.maximum(spread, 1e-9)).argmax(axis=1)
    most = np.argsort(-np.bincount(apart, minlength=len(names)), kind="stable")[:_MOST_GROUPS]
    place = {int(column): k for k, column in enumerate(most)}
    group = np.asarray([place.get(int(column), len(most)) for column in apart], dtype=np.int64)
    kept = tuple(names[column] for column in most)
    return group, (*kept, "other") if (group == len(most)).any() else kept


def _ends(
    log: EventLog, items: pd.DataFrame, rows: NDArray[np.int64], place: NDArray[np.float64]
) -> tuple[str, str, str, str]:
    """The category whose share grows most to the left, right, bottom and top."""
    shares, names = _category_shares(log, items, rows, level=2)
    common = np.flatnonzero((shares.mean(axis=0) >= 0.01) & (shares.std(axis=0) > 0)) if names else np.zeros(0, int)
    if not len(common):
        return ("", "", "", "")
    centred = shares[:, common] - shares[:, common].mean(axis=0)
    scale = np.maximum(np.linalg.norm(centred, axis=0)[:, None] * np.linalg.norm(place, axis=0), 1e-12)
    correlation = centred.T @ (place - place.mean(axis=0)) / scale  # (n_common, 2)
    ends: list[int] = []
    for axis, sign in ((0, -1), (0, 1), (1, -1), (1, 1)):
        order = np.argsort(-sign * correlation[:, axis], kind="stable")
        ends.append(next((int(k) for k in order if k not in ends), int(order[0])))  # no name at two ends
    left, right, bottom, top = (names[common[k]] for k in ends)
    return (left, right, bottom, top)


def _category_shares(
    log: EventLog, items: pd.DataFrame, rows: NDArray[np.int64], *, level: int
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Share of each shopper's events in each category down to ``level``, (n, n_categories), and readable names."""
    steps = items["category"].astype("string").str.split(_SEPARATOR).str[level - 1]
    code, paths = pd.factorize(steps.to_numpy(object), use_na_sentinel=True)
    if not len(paths):
        return np.zeros((len(rows), 0)), ()
    user, item = log.user(), log.item
    known = code[item] >= 0
    shape = (log.n_users, len(paths))
    ones = np.ones(int(known.sum()))
    counts = sparse.csr_array(sparse.coo_array((ones, (user[known], code[item[known]])), shape=shape))[rows].toarray()
    spelled = abbreviations([str(path) for path in paths])
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0), tuple(
        readable_name(str(path), spelled) for path in paths
    )
