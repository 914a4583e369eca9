"""Calibration of class probabilities: does a stated confidence of .8 come true four times in five?

Covers the expected calibration error of the most likely class; it says nothing about the other classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..profiling.errors import ConfigError


def expected_calibration_error(
    confidence: NDArray[np.floating], correct: NDArray[np.bool_], *, bins: int = 15
) -> float:
    """Mean distance between confidence and accuracy over equal-width bins, weighted by their size, in [0, 1].

    ``confidence`` (n,) in [0, 1] is the probability of the chosen class, ``correct`` (n,) whether it was right.
    Bins are open on the left, (0, 1/bins] and so on. Guo et al. 2017, equation 3; NaN for no predictions.

    Raises:
        ConfigError: a confidence outside [0, 1], or arrays of different lengths.

    >>> expected_calibration_error(np.array([0.9, 0.9]), np.array([True, False]), bins=10)
    0.4
    """
    confidence = np.asarray(confidence, dtype=np.float64)
    if confidence.shape != np.shape(correct):
        raise ConfigError(f"correct: must have the shape of confidence {confidence.shape}, got {np.shape(correct)}")
    if not len(confidence):
        return float("nan")
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ConfigError("confidence: must lie in [0, 1]; give probabilities, not scores")
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(place, weights=confidence - correct, minlength=bins)  # n_b * (confidence - accuracy)
    return float(np.abs(gap).sum() / len(confidence))
