"""User-kNN: what the training users with the most similar histories took.

Source: Herlocker et al., "An algorithmic framework for performing collaborative filtering", SIGIR 1999, for sets
instead of ratings. The asking shopper is compared by history, not by name, so a training user who is the same
person is a neighbour like any other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ...profiling.log import Requests
from ...retrieval.histories import keep_largest
from ...retrieval.scorer import TrainingSet
from ...retrieval.sources.neighbours import popular_tie_break
from .matrices import DECAY, Counts, request_items, unit_rows, user_items


class UserKnnConfig(BaseModel):
    """Options of user-kNN."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    neighbours: int = Field(default=200, ge=1, description="most similar training users that vote")
    power: float = Field(default=1.0, gt=0, le=8, description="exponent of the similarity in a vote")
    rarity: float = Field(
        default=0.0, ge=0, le=2, description="exponent of the inverse item frequency in the similarity"
    )
    counts: Counts = Field(default="binary", description="whether buying twice says more than once")
    decay: float = Field(default=1.0, gt=0, le=1, description=DECAY)


@dataclass(frozen=True, eq=False)
class UserKnnModel:
    """Votes of similar users.

    Attributes:
        users: what each training user took, (n_users, n_items) CSR
        directions: the same with unit rows after item weighting, (n_items, n_users) CSR
        item_weight: weight of an item in the similarity, (n_items,)
        neighbours, power, counts, decay: see `UserKnnConfig`
        tie_break: added to every score, (n_items,)
    """

    users: sp.csr_matrix
    directions: sp.csr_matrix
    item_weight: NDArray[np.float32]
    neighbours: int
    power: float
    counts: Counts
    decay: float
    tie_break: NDArray[np.float32]

    def scores(self, requests: Requests) -> NDArray[np.float32]:
        """Sum over neighbours of ``similarity ** power`` times what they took, (n_requests, n_items)."""
        asked = unit_rows(request_items(requests, self.counts, decay=self.decay) @ sp.diags(self.item_weight))
        similar = keep_largest((asked @ self.directions).tocsr(), self.neighbours)
        similar.data = similar.data**self.power
        return np.asarray((similar @ self.users).toarray() + self.tie_break, dtype=np.float32)


def fit_user_knn(
    train: TrainingSet, config: UserKnnConfig | None = None, *, rng: np.random.Generator | None = None
) -> UserKnnModel:
    """Index the training users; cosine over items weighted by ``(n_users / users of the item) ** (rarity / 2)``."""
    config = config or UserKnnConfig()
    users = user_items(train.log, config.counts)
    holders = np.maximum(np.asarray((users > 0).sum(axis=0)).ravel(), 1)
    weight = ((max(users.shape[0], 1) / holders) ** (config.rarity / 2)).astype(np.float32)
    directions = unit_rows(users @ sp.diags(weight)).T.tocsr()
    return UserKnnModel(
        users,
        directions,
        weight,
        config.neighbours,
        config.power,
        config.counts,
        config.decay,
        popular_tie_break(train),
    )
