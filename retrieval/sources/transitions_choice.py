"""Options of transition counts chosen by trial: what a step is, how histories fade, how much popularity counts.

Pairs are counted once for each kind of step and window; exponents and decay are tried on the same counts, so a search
costs little more than its looks at the objective. What the objective looks at is the caller's: where goods are bought
again it should rank new items only, as another part ranks the old ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import scipy.sparse as sp

from ..scorer import TrainingSet
from .neighbours import NeighboursModel
from .transitions import TransitionsConfig, count_transitions, transitions_model

WINDOWS: Mapping[str, int] = {"together": 2, "sequence": 10}
"""Steps that pairs may span at first: few where a step is a whole basket, or counting pairs takes long."""

TRANSITIONS_GRID: Mapping[str, tuple[Any, ...]] = {
    "ties": ("together", "sequence"),
    "decay": (1.0, 0.9, 0.8, 0.6, 0.4),
    "target_power": (0.0, 0.2, 0.4, 0.6),
    "source_power": (0.2, 0.5, 0.8, 1.0),
    "backward": (0.0, 0.5, 1.0),
}
"""Values that `choose_transitions` tries, option by option."""


def choose_transitions(
    train: TrainingSet,
    objective: Callable[[NeighboursModel], float],
    *,
    config: TransitionsConfig | None = None,
    grid: Mapping[str, tuple[Any, ...]] = TRANSITIONS_GRID,
) -> TransitionsConfig:
    """The options of ``grid`` one after the other, each at its best by ``objective`` (higher is better).

    The value that is there already stays among equals. ``objective`` may look at validation requests only. With
    ``ties`` in the grid the window becomes that of `WINDOWS`.
    """
    best = config or TransitionsConfig()
    counts: dict[TransitionsConfig, sp.csr_matrix] = {}
    reached: dict[TransitionsConfig, float] = {}

    def value(tried: TransitionsConfig) -> float:
        if tried not in reached:
            kept = {name: getattr(TransitionsConfig(), name) for name in _AFTER_COUNTING}
            counted = tried.model_copy(update=kept)
            if counted not in counts:
                counts.clear()  # counts of a large catalogue are large, and earlier ones hardly come back
                counts[counted] = count_transitions(train, tried)
            reached[tried] = objective(transitions_model(train, counts[counted], tried))
        return reached[tried]

    for name, values in grid.items():
        for candidate in values:
            update = {name: candidate} | ({"window": WINDOWS[candidate]} if name == "ties" else {})
            tried = best.model_copy(update=update)
            best = tried if value(tried) > value(best) else best
    return best


_AFTER_COUNTING = ("source_power", "target_power", "smoothing", "decay", "last", "neighbours")
"""Options that need no new counts."""
