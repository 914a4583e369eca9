"""A trained taste model on a catalogue that has changed since: items come and go every day, training does not.

Items that were there keep what was learned of them. New ones get learned columns from a ridge regression of the known
items' learned columns on what the catalogue says of them, so they have a place before anybody has touched them; what
was learned of the shoppers' side stays as it is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...profiling.axes import unit_rows
from ...profiling.errors import ArtefactError
from ...profiling.taste_model import TasteModel

_RIDGE = 1.0
_LEAST_KNOWN = 0.5


def extended(
    model: TasteModel,
    old_row: NDArray[np.int64],
    features: NDArray[np.float32],
    *,
    cosine: bool,
) -> TasteModel:
    """The same model over the present items.

    Args:
        model: trained on another catalogue
        old_row: row in ``model.items`` of each present item, -1 where it is new, (n_items,)
        features: what the catalogue says of the present items, see `features.item_features`, (n_items, n_features)
        cosine: as in training

    Raises:
        ArtefactError: less than half of the items are known, or they have other features than in training.
    """
    known = old_row >= 0
    if known.mean() < _LEAST_KNOWN:
        raise ArtefactError(
            f"taste model: knows {int(known.sum()):,} of {len(known):,} items, which is too few to place the others; "
            "train it again"
        )
    width = len(model.norm)
    n_features = model.items.shape[1] - width
    if n_features not in (0, features.shape[1]):
        raise ArtefactError(
            f"taste model: items had {n_features} features in training and have {features.shape[1]} now; train it again"
        )
    learned = np.empty((len(known), width), dtype=np.float32)
    learned[known] = model.items[old_row[known], :width]
    placed = _predicted(features[known], learned[known], features[~known])
    if cosine:  # learned vectors are all of one length, and angles alone count
        placed = unit_rows(placed) * np.linalg.norm(learned[known], axis=1).mean()
    learned[~known] = placed
    return replace(model, items=np.hstack([learned, features[:, :n_features]]))


def _predicted(x: NDArray[np.float32], y: NDArray[np.float32], asked: NDArray[np.float32]) -> NDArray[np.floating]:
    """Ridge regression of ``y`` on ``x`` with an intercept, at ``asked``."""
    mean_x, mean_y = x.mean(axis=0, dtype=np.float64), y.mean(axis=0, dtype=np.float64)
    off = x - mean_x
    weights = np.linalg.solve(off.T @ off + _RIDGE * np.eye(x.shape[1]), off.T @ (y - mean_y))
    return (asked - mean_x) @ weights + mean_y
