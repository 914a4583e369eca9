"""The strongest directions of who took what, as item-item weights: what goes with a whole history, not with one item.

Counts of pairs (`transitions`, `neighbours`) look at two items at a time; here a history is put onto the few hundred
directions along which histories differ most, which joins items that were never taken by one user. Cut to the shop's
most popular items and to the largest weights of each, it stays sparse however large the catalogue, and is served, saved
and explained like any neighbours. Items that are cut, and new ones, weigh nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..histories import Ties, interaction_counts, keep_largest
from ..scorer import TrainingSet
from .neighbours import NeighboursModel, popular_tie_break

Float = NDArray[np.float32]

_ROWS = 1000  # items whose weights are made at once


Counts = Literal["binary", "log"]


class DirectionsConfig(BaseModel):
    """Options of the strongest directions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    directions: int = Field(256, ge=1, description="directions kept; fewer where there are fewer items or users")
    counts: Counts = Field("binary", description="whether taking an item twice says more: a logarithm of how often")
    max_items: int = Field(12_000, ge=1, description="most popular items that take part")
    neighbours: int = Field(300, ge=1, description="weights kept for each item")
    decay: float = Field(1.0, gt=0, le=1, description="weight of a history event for each step of age")
    last: int = Field(500, ge=1, description="newest history events that count")
    ties: Ties = Field("together", description="whether events at one time are one step")


DECAYS: tuple[float, ...] = (1.0, 0.9, 0.7, 0.4)
KINDS: tuple[tuple[Counts, int], ...] = (("binary", 256), ("log", 128), ("log", 64))
"""Values that `choose_directions` tries: how fast histories fade, and what is counted along how many directions."""


def fit_directions(
    train: TrainingSet, config: DirectionsConfig | None = None, *, rng: np.random.Generator | None = None
) -> NeighboursModel:
    """Inner products of items on the strongest directions of the user-item matrix, the largest of each item kept.

    Source: Cremonesi, Koren and Turrin, "Performance of recommender algorithms on top-N recommendation tasks", RecSys
    2010 (PureSVD). ``rng`` starts the iteration and hardly matters.
    """
    config = config or DirectionsConfig()
    taken = interaction_counts(train.log, train.log.user().astype(np.int64), train.log.n_users)
    popular = np.asarray((taken > 0).sum(axis=0)).ravel()
    kept = np.sort(np.lexsort((np.arange(len(popular)), -popular))[: config.max_items])
    taken.data = np.log1p(taken.data) if config.counts == "log" else np.ones_like(taken.data)
    basis = _directions(taken[:, kept].tocsr(), config.directions, rng or np.random.default_rng(0))
    largest = _largest(basis, config.neighbours)
    n = train.log.n_items
    weights = sp.csr_matrix((largest.data, (kept[largest.row], kept[largest.col])), shape=(n, n), dtype=np.float32)
    damped = config.counts == "log"
    return NeighboursModel(weights, popular_tie_break(train), config.decay, config.last, config.ties, damped)


def choose_directions(
    train: TrainingSet, objective: Callable[[NeighboursModel], float], *, config: DirectionsConfig | None = None
) -> DirectionsConfig:
    """What is counted, and then how fast histories fade: the first that is best by ``objective`` (higher is better).

    Tried are `KINDS` and, for the best of them, `DECAYS`. ``objective`` may look at validation requests only.
    """
    config = config or DirectionsConfig()
    kinds = [config.model_copy(update={"counts": counts, "directions": n}) for counts, n in KINDS]
    fitted = [(kind, fit_directions(train, kind)) for kind in kinds]
    best, model = max(fitted, key=lambda one: objective(replace(one[1], decay=DECAYS[0])))
    return best.model_copy(update={"decay": max(DECAYS, key=lambda decay: objective(replace(model, decay=decay)))})


def _directions(taken: sp.csr_matrix, most: int, rng: np.random.Generator) -> Float:
    """Right singular vectors of the largest singular values, (n_items, n_directions)."""
    from scipy.sparse.linalg import svds

    n = min(most, min(taken.shape) - 1)
    if n < 1 or not taken.nnz:
        return np.zeros((taken.shape[1], 1), dtype=np.float32)
    start = rng.standard_normal(min(taken.shape)).astype(np.float32)
    return np.ascontiguousarray(svds(taken, k=n, v0=start, return_singular_vectors="vh")[2].T, dtype=np.float32)


def _largest(basis: Float, most: int) -> sp.coo_matrix:
    """The ``most`` largest positive inner products of each row with the others, (n_items, n_items)."""
    parts = []
    for first in range(0, len(basis), _ROWS):
        rows = basis[first : first + _ROWS] @ basis.T
        rows[np.arange(len(rows)), first + np.arange(len(rows))] = 0.0
        parts.append(keep_largest(sp.csr_matrix(np.maximum(rows, 0.0)), most))
    return sp.vstack(parts, format="coo") if parts else sp.coo_matrix((0, 0), dtype=np.float32)
