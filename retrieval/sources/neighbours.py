"""Item-item neighbours: cosine of who took both, the classic collaborative filter.

Source: Sarwar et al., "Item-based collaborative filtering recommendation algorithms", WWW 2001.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ...profiling.log import Requests
from ..histories import Ties, history_scores, interaction_matrix, keep_largest, steps_ago
from ..scorer import TrainingSet
from .popularity import fit_popular


class ItemKnnConfig(BaseModel):
    """Options of item-kNN."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decay: float = Field(0.8, gt=0, le=1, description="weight of a history event for each step of age")
    last: int = Field(200, ge=1, description="newest history events that count")
    neighbours: int = Field(1000, ge=1, description="neighbours kept for each item")
    shrinkage: float = Field(0.0, ge=0, description="added to the norm: damps pairs seen together by few users")
    ties: Ties = Field("sequence", description="whether events at one time are one step")


@dataclass(frozen=True, eq=False)
class NeighboursModel:
    """Scores by summing a row of weights for each history event.

    Attributes:
        weights: weight from a history item (row) to a candidate (column), (n_items, n_items) CSR
        tie_break: added to every score, (n_items,); small against any weight
        decay, last, ties: how history events are weighed, see `ItemKnnConfig`
        damped: whether n events of one item count log(1 + n) together, and not n
    """

    weights: sp.csr_matrix
    tie_break: NDArray[np.float32]
    decay: float
    last: int
    ties: Ties
    damped: bool = False

    def scores(self, requests: Requests) -> NDArray[np.float32]:
        """Sum over history events of ``decay ** age * weights[event item]``, (n_requests, n_items)."""
        request, event, age = steps_ago(requests, self.ties, last=self.last)
        weight = self.event_weight(requests, request, event, age)
        out = history_scores(requests, request, event, weight, to_items=self.weights)
        out += self.tie_break
        return out

    def event_weight(
        self, requests: Requests, request: NDArray[np.int64], event: NDArray[np.int64], age: NDArray[np.int64]
    ) -> NDArray[np.floating]:
        """Weight of each history event, (n_history_events,): its preference weight, decayed by steps, damped or not."""
        weight = requests.log.weight[event] * self.decay**age
        if not self.damped:
            return weight
        of_item = request * requests.log.n_items + requests.log.item[event]
        _, place, count = np.unique(of_item, return_inverse=True, return_counts=True)
        return weight * (np.log1p(count) / count)[place]


def fit_item_knn(
    train: TrainingSet, config: ItemKnnConfig | None = None, *, rng: np.random.Generator | None = None
) -> NeighboursModel:
    """Cosine between the sets of users of two items, an item never its own neighbour."""
    config = config or ItemKnnConfig()
    log = train.log
    matrix = interaction_matrix(log, log.user().astype(np.int64), log.n_users)
    weights = cosine_neighbours(matrix, k=config.neighbours, shrinkage=config.shrinkage)
    return NeighboursModel(weights, popular_tie_break(train), config.decay, config.last, config.ties)


def popular_tie_break(train: TrainingSet) -> NDArray[np.float32]:
    """Popularity scaled to at most 1e-6: orders what nothing else orders."""
    popular = fit_popular(train).item_score
    return (1e-6 * popular / max(float(popular.max(initial=0.0)), 1.0)).astype(np.float32)


def cosine_neighbours(matrix: sp.csr_matrix, *, k: int, shrinkage: float = 0.0, block: int = 2000) -> sp.csr_matrix:
    """Cosine between columns of a binary matrix, ``k`` largest a column kept, diagonal 0; (n_items, n_items) CSR.

    Works through blocks of columns so that the dense part never exceeds ``block`` rows.
    """
    columns = matrix.T.tocsr()
    norm = np.sqrt(np.asarray(matrix.sum(axis=0)).ravel())
    parts = []
    for first in range(0, columns.shape[0], block):
        together = (columns[first : first + block] @ matrix).tocoo()
        row, column = together.row + first, together.col
        keep = row != column
        row, column = row[keep], column[keep]
        value = together.data[keep] / (norm[row] * norm[column] + shrinkage)
        shape = (min(block, columns.shape[0] - first), columns.shape[0])
        parts.append(keep_largest(sp.csr_matrix((value, (row - first, column)), shape=shape), k))
    return sp.vstack(parts, format="csr").astype(np.float32)
