"""Is the difference luck? Paired tests over requests that respect who asked, and Holm's correction for many of them.

Requests of one user are not independent, so all tests work on clusters. Comparing numbers of different runs, or
unpaired samples, is not covered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..profiling.errors import ConfigError

Float = NDArray[np.floating]


@dataclass(frozen=True)
class Paired:
    """Outcome of a paired test: mean difference with its 95 % interval, two-sided p, and how many took part."""

    difference: float
    low: float
    high: float
    p: float
    n: int
    clusters: int


def clustered_t(difference: Float, cluster: NDArray[np.integer]) -> Paired:
    """Student's t-test that the mean of ``difference`` (n,) is 0, with standard errors clustered by ``cluster`` (n,).

    With every request its own cluster this is the paired t-test. NaN differences are left out. Liang and Zeger 1986
    for the mean, with the factor C / (C - 1) and C - 1 degrees of freedom for C clusters.

    >>> round(clustered_t(np.array([1.0, 2.0, 3.0]), np.array([0, 1, 2])).p, 4)
    0.0742
    """
    from scipy.stats import t as student

    total, size = _by_cluster(difference, cluster)
    c, n = len(total), int(size.sum())
    if not n:
        return Paired(float("nan"), float("nan"), float("nan"), float("nan"), 0, 0)
    mean = float(total.sum() / n)
    if c < 2:
        return Paired(mean, float("nan"), float("nan"), float("nan"), n, c)
    error = float(np.sqrt(c / (c - 1) * np.sum((total - size * mean) ** 2)) / n)
    if error == 0.0:
        return Paired(mean, mean, mean, 1.0 if mean == 0.0 else 0.0, n, c)
    reach = float(student.ppf(0.975, c - 1)) * error
    p = float(2 * student.sf(abs(mean) / error, c - 1))
    return Paired(mean, mean - reach, mean + reach, p, n, c)


def sign_flip(
    difference: Float, cluster: NDArray[np.integer], *, rng: np.random.Generator, draws: int = 10_000
) -> float:
    """Two-sided p of a permutation test that flips the sign of whole clusters; no distribution is assumed.

    The smallest p it can give is ``1 / (draws + 1)``. Fisher's randomisation test; Smucker et al., CIKM 2007.
    """
    total, size = _by_cluster(difference, cluster)
    if not size.sum():
        return float("nan")
    observed = abs(total.sum()) * (1 - 1e-9)
    extreme, step = 0, max(1, 4_000_000 // len(total))
    for first in range(0, draws, step):
        signs = rng.integers(0, 2, size=(min(step, draws - first), len(total)), dtype=np.int8) * 2.0 - 1.0
        extreme += int((np.abs(signs @ total) >= observed).sum())
    return (1 + extreme) / (draws + 1)


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values that keep the chance of any false alarm below the level. Holm 1979; NaN stays NaN.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    adjusted = np.full(len(values), np.nan)
    raised = values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(raised), 1.0)
    return [float(x) for x in adjusted]


def compare(
    values: Mapping[str, Float], against: str, cluster: NDArray[np.integer], *, metric: str, level: float = 0.05
) -> list[dict[str, Any]]:
    """Test every method in ``values`` (name -> (n,)) against the one named ``against``, Holm-corrected together.

    Returns:
        one row a method: metric, a (``against``), b, means, difference a - b with its interval, p, p_holm, significant

    Raises:
        ConfigError: ``against`` is not among the methods.
    """
    if against not in values:
        raise ConfigError(f"against: must be one of {', '.join(values)}, got {against!r}")
    rows: list[dict[str, Any]] = []
    for name in values:
        if name == against:
            continue
        both = ~(np.isnan(values[against]) | np.isnan(values[name]))
        test = clustered_t(values[against] - values[name], cluster)
        rows.append(
            {
                "metric": metric,
                "a": against,
                "b": name,
                "mean_a": _mean(values[against][both]),
                "mean_b": _mean(values[name][both]),
                "difference": test.difference,
                "low": test.low,
                "high": test.high,
                "n": test.n,
                "clusters": test.clusters,
                "p": test.p,
            }
        )
    for row, adjusted in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = adjusted
        row["significant"] = bool(adjusted < level)
    return rows


def _mean(values: Float) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _by_cluster(difference: Float, cluster: NDArray[np.integer]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sum and number of the known differences of each cluster that has any."""
    if len(difference) != len(cluster):
        raise ConfigError(f"cluster: must have one entry a difference ({len(difference)}), got {len(cluster)}")
    known = ~np.isnan(difference)
    _, group = np.unique(np.asarray(cluster)[known], return_inverse=True)
    total = np.bincount(group, weights=np.asarray(difference, dtype=np.float64)[known])
    return total.astype(np.float64), np.bincount(group)
