"""Are scores worth believing: does a stated confidence of .8 come true four times in five, does a low score mean no?

Covers the expected calibration error of the most likely class, which says nothing about the other classes, and the area
under the ROC curve of a score.
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


def auroc(inside: NDArray[np.floating], outside: NDArray[np.floating]) -> float:
    """Probability that a score of ``inside`` exceeds one of ``outside``, ties counting half, in [0, 1].

    Scores (n,) and (m,); Mann and Whitney 1947 over n m. NaN where either is empty.

    >>> auroc(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.875
    """
    if not len(inside) or not len(outside):
        return float("nan")
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([inside, outside]))[: len(inside)]
    return float((ranks.sum() - len(inside) * (len(inside) + 1) / 2) / (len(inside) * len(outside)))
