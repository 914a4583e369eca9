"""What held-out sentences decide about a head: its temperature, its out-of-scope score, and the threshold.

Covers arithmetic on logits and scores. Nothing here trains or reads a text.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from ...evaluation.calibration import auroc
from ...profiling.errors import ConfigError
from ...profiling.heads.scores import OUT_SCORES, Seen, log_sum_exp, usable_scores

Floats = NDArray[np.float32]
_COLDEST, _HOTTEST = 0.02, 50.0


def log_loss(logits: Floats, rows: NDArray[np.int64], temperature: float = 1.0) -> float:
    """Mean negative log probability of the true classes in nats; logits (n, k), rows (n,) in 0 .. k - 1.

    >>> round(log_loss(np.zeros((2, 4), np.float32), np.array([0, 3])), 4)
    1.3863
    """
    cooled = logits.astype(np.float64) / temperature
    return float(np.mean(log_sum_exp(cooled) - cooled[np.arange(len(rows)), rows]))


def fit_temperature(logits: Floats, rows: NDArray[np.int64]) -> float:
    """The temperature of least log loss on held-out sentences (Guo et al. 2017, section 4.2); 1 without any.

    The loss is convex in 1 / temperature, so a bounded search over its logarithm finds the one minimum.
    """
    if not len(rows):
        return 1.0
    found = minimize_scalar(
        lambda log_t: log_loss(logits, rows, float(np.exp(log_t))),
        bounds=(np.log(_COLDEST), np.log(_HOTTEST)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(np.exp(found.x))


def out_scores(seen: Seen, outside: NDArray[np.bool_]) -> dict[str, float]:
    """AUROC of each score that can be computed, in scope against out of scope; NaN where one of them is absent."""
    values = {name: np.asarray(OUT_SCORES[name].score(seen)) for name in usable_scores(seen)}
    return {name: auroc(value[~outside], value[outside]) for name, value in values.items()}


def choose_score(areas: dict[str, float], asked: str) -> str:
    """The score to abstain by: the one asked for, else the best, else (no out-of-scope sentences) the last usable.

    Raises:
        ConfigError: the score asked for cannot be computed for this head.
    """
    if asked != "auto":
        if asked not in areas:
            raise ConfigError(f"score: for this head must be auto or among {', '.join(areas)}, got {asked!r}")
        return asked
    known = {name: area for name, area in areas.items() if not np.isnan(area)}
    if known:
        return max(known, key=lambda name: known[name])
    return next(name for name in _UNTAUGHT if name in areas)


_UNTAUGHT = ("sum", "energy")
"""What to abstain by where nothing out of scope is known."""
