"""Order-aware item-item counts: what tends to follow what, soon after.

Every pair of a user's training events within ``window`` steps adds ``decay ** (distance - 1)`` from the earlier to the
later item and ``backward`` times that from the later to the earlier. With ``ties="together"`` events at one time are
one step, and pairs inside it add ``same_step`` both ways. Counts are normalised by popularity on either side, with
exponents; fitted to the last item they are a smoothed first-order Markov chain (compare Rendle et al., "Factorizing
personalized Markov chains", WWW 2010), with all exponents .5 a cosine over close events only.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ...profiling.log import EventLog
from ..histories import Ties, interaction_matrix, keep_largest, step_of_event
from ..scorer import TrainingSet
from .neighbours import NeighboursModel, popular_tie_break
from .popularity import fit_popular


class TransitionsConfig(BaseModel):
    """Options of transition counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window: int = Field(10, ge=1, le=100, description="largest distance of a counted pair, in steps")
    pair_decay: float = Field(0.8, gt=0, le=1, description="weight of a pair for each step of distance beyond 1")
    backward: float = Field(0.5, ge=0, le=1, description="weight of a pair against the order of time")
    same_step: float = Field(1.0, ge=0, description="weight of a pair at one time, when ties are together")
    source_power: float = Field(0.8, ge=0, le=1, description="exponent of the history item's popularity")
    target_power: float = Field(0.2, ge=0, le=1, description="exponent of the candidate's popularity")
    smoothing: float = Field(5.0, ge=0, description="added to popularity before the exponents")
    decay: float = Field(0.6, gt=0, le=1, description="weight of a history event for each step of age")
    last: int = Field(50, ge=1, description="newest history events that count")
    neighbours: int = Field(500, ge=1, description="transitions kept for each item")
    ties: Ties = Field("sequence", description="whether events at one time are one step")


def fit_transitions(
    train: TrainingSet, config: TransitionsConfig | None = None, *, rng: np.random.Generator | None = None
) -> NeighboursModel:
    """Count, normalise and keep the strongest transitions of each item."""
    config = config or TransitionsConfig()
    return transitions_model(train, count_transitions(train, config), config)


def count_transitions(train: TrainingSet, config: TransitionsConfig) -> sp.csr_matrix:
    """Pair counts of the training events before any normalisation, (n_items, n_items) CSR."""
    return transition_counts(
        train.log,
        window=config.window,
        pair_decay=config.pair_decay,
        backward=config.backward,
        same_step=config.same_step,
        ties=config.ties,
    )


def transitions_model(train: TrainingSet, counts: sp.csr_matrix, config: TransitionsConfig) -> NeighboursModel:
    """Pair counts divided by popularity on either side, the strongest of each item kept."""
    base = fit_popular(train).item_score + max(config.smoothing, 1e-6)
    weights = sp.diags(base**-config.source_power) @ counts @ sp.diags(base**-config.target_power)
    weights = keep_largest(weights.tocsr().astype(np.float32), config.neighbours)
    return NeighboursModel(weights, popular_tie_break(train), config.decay, config.last, config.ties)


def transition_counts(
    log: EventLog, *, window: int, pair_decay: float, backward: float, same_step: float, ties: Ties
) -> sp.csr_matrix:
    """Decayed pair counts from item (row) to item (column), diagonal 0, (n_items, n_items) CSR."""
    step = step_of_event(log, ties)
    n_steps = int(step[-1]) + 1 if len(step) else 0
    baskets = interaction_matrix(log, step, n_steps)
    user = np.zeros(n_steps, dtype=np.int64)
    user[step] = log.user()
    forward = baskets.T.tocsr() @ _soon_after(baskets, user, window=window, pair_decay=pair_decay)
    counts = forward + backward * forward.T
    if ties == "together" and same_step > 0:
        counts = counts + same_step * (baskets.T @ baskets)
    counts = sp.coo_matrix(counts)
    off = (counts.row != counts.col) & (counts.data > 0)
    return sp.csr_matrix((counts.data[off], (counts.row[off], counts.col[off])), shape=counts.shape)


def _soon_after(baskets: sp.csr_matrix, user: NDArray[np.int64], *, window: int, pair_decay: float) -> sp.csr_matrix:
    """What the same user takes in the next ``window`` steps, decayed by distance, (n_steps, n_items) CSR."""
    n_steps = len(user)
    later = sp.csr_matrix((n_steps, n_steps), dtype=np.float32)
    for distance in range(1, min(window, n_steps - 1) + 1):
        earlier = np.flatnonzero(user[distance:] == user[:-distance])
        weight = np.full(len(earlier), pair_decay ** (distance - 1), dtype=np.float32)
        later = later + sp.csr_matrix((weight, (earlier, earlier + distance)), shape=later.shape)
    return later @ baskets
