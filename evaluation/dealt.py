"""Dealing requests to those that teach and those that decide, so that nobody decides on what they taught."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def some_users(cluster: NDArray[np.int64], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Requests of a randomly drawn share of the users, at least of one, (n_requests,)."""
    users = np.unique(cluster)
    n = max(1, round(share * len(users)))
    return np.isin(cluster, users[rng.permutation(len(users))[:n]])


def deal_users(cluster: NDArray[np.int64], share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """A number for each request, that of its user: users are dealt to folds of this share at random, (n_requests,)."""
    users, place = np.unique(cluster, return_inverse=True)
    n = max(1, round(share * len(users)))
    fold = np.empty(len(users), dtype=np.int64)
    fold[rng.permutation(len(users))] = np.minimum(np.arange(len(users)) // n, max(round(1 / share), 2) - 1)
    return fold[place]


def only_first(n_decide: int, n_teach: int) -> NDArray[np.int64]:
    """Folds of requests of which the first decide and the others teach, (n_decide + n_teach,)."""
    return np.repeat(np.array([0, -1]), [n_decide, n_teach])
