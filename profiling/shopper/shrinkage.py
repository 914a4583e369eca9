"""Empirical-Bayes shrinkage: what few observations say, pulled to what the whole shop says.

Three estimators serve every behaviour feature: a ratio of observed to expected counts (gamma-Poisson), a share
(beta-binomial) and a mean (normal-normal). Their prior strengths are estimated from the shop by moments, so nothing
here is tuned to one shop.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def shrunk_ratio(observed: ArrayLike, expected: ArrayLike, strength: float) -> NDArray[np.float64]:
    """Observed over expected, pulled to 1: ``(observed + strength) / (expected + strength)``; any shape.

    Posterior mean of a Poisson rate under a gamma prior of mean 1 and shape ``strength`` (Clayton & Kaldor 1987,
    "Empirical Bayes estimates of age-standardized relative risks", eq. 3).

    >>> shrunk_ratio([0, 1, 50], [1.0, 1.0, 10.0], 4.0).round(2).tolist()
    [0.8, 1.0, 3.86]
    """
    return (np.asarray(observed, dtype=np.float64) + strength) / (np.asarray(expected, dtype=np.float64) + strength)


def ratio_strength(
    observed: ArrayLike,
    expected: ArrayLike,
    *,
    chance: ArrayLike | None = None,
    lowest: float = 0.1,
    highest: float = 1e3,
) -> float:
    """Gamma shape that explains how far observed counts scatter around the expected ones, by moments.

    Var(O) = chance + E^2 / shape summed over the pairs with E > 0 gives ``shape = sum E^2 / sum((O - E)^2 - chance)``,
    clipped; the highest where counts scatter no more than chance does. ``chance`` is the variance under no differences
    at all, the Poisson one (E) if None; for shares of a fixed number of trials give the binomial one.

    >>> ratio_strength([5, 5, 5], [5.0, 5.0, 5.0])
    1000.0
    """
    o, e = np.asarray(observed, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    excess = float(((o - e) ** 2 - (e if chance is None else np.asarray(chance, dtype=np.float64)))[e > 0].sum())
    if excess <= 0:
        return highest
    return float(np.clip((e[e > 0] ** 2).sum() / excess, lowest, highest))


def shrunk_share(hits: ArrayLike, trials: ArrayLike, *, mean: float, strength: float) -> NDArray[np.float64]:
    """Share of hits, pulled to ``mean`` as if ``strength`` trials had shown it; in [0, 1], any shape.

    Posterior mean of a binomial share under a beta prior (Gelman et al., Bayesian Data Analysis, section 2.4).

    >>> shrunk_share([0, 9], [0, 10], mean=0.5, strength=10.0).tolist()
    [0.5, 0.7]
    """
    return (np.asarray(hits, dtype=np.float64) + strength * mean) / (np.asarray(trials, dtype=np.float64) + strength)


def share_prior(
    hits: ArrayLike, trials: ArrayLike, *, lowest: float = 0.5, highest: float = 1e3
) -> tuple[float, float]:
    """Mean and strength of the beta prior behind many shares, by moments (Kleinman 1973, with weights = trials).

    Returns the shop's share and the number of trials the prior is worth; (nan, ``highest``) where there are no trials.
    """
    k, n = np.asarray(hits, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    k, n = k[n > 0], n[n > 0]
    total = float(n.sum())
    if total == 0:
        return math.nan, highest
    mean = float(k.sum() / total)
    if len(n) < 2 or mean in (0.0, 1.0):
        return mean, highest
    scatter = float((n * (k / n - mean) ** 2).sum())
    binomial = mean * (1 - mean)
    between = (scatter - binomial * (len(n) - 1)) / (total - float((n**2).sum()) / total)
    if between <= 0:
        return mean, highest
    return mean, float(np.clip(binomial / between - 1, lowest, highest))


def shrunk_mean(totals: ArrayLike, counts: ArrayLike, *, mean: ArrayLike, strength: float) -> NDArray[np.float64]:
    """Mean of few values, pulled to ``mean`` as if ``strength`` values had shown it; any shape.

    Credibility estimator of Buehlmann & Straub 1970, Z = n / (n + strength).
    """
    n = np.asarray(counts, dtype=np.float64)
    return (np.asarray(totals, dtype=np.float64) + strength * np.asarray(mean, dtype=np.float64)) / (n + strength)


def mean_strength(
    totals: ArrayLike,
    squares: ArrayLike,
    counts: ArrayLike,
    *,
    mean: ArrayLike | None = None,
    lowest: float = 0.5,
    highest: float = 1e3,
) -> float:
    """How many values the prior mean of a group is worth: variance within groups over variance between them.

    Args:
        totals, squares, counts: sum of values, sum of squared values and number of values of each group, (n_groups,)
        mean: the prior mean of each group, (n_groups,) or one number; the mean of all values if None
        lowest, highest: bounds of the answer; the highest where groups differ no more than chance makes them

    Unbiased moment estimators of Buehlmann & Straub 1970.
    """
    t, s, n = (np.asarray(a, dtype=np.float64) for a in (totals, squares, counts))
    seen = n > 0
    prior = np.broadcast_to(np.asarray(t[seen].sum() / max(n.sum(), 1.0) if mean is None else mean, float), n.shape)
    t, s, n, prior = t[seen], s[seen], n[seen], prior[seen]
    spare = float((n - 1).sum())
    if spare <= 0 or len(n) < 2:
        return highest
    within = float((s - t**2 / n).sum()) / spare
    if mean is None:
        scatter = float((n * (t / n - prior) ** 2).sum()) - (len(n) - 1) * within
        size = n.sum() - (n**2).sum() / n.sum()
    else:
        scatter, size = float((n * (t / n - prior) ** 2).sum()) - len(n) * within, n.sum()
    between = scatter / size
    if between <= 0:
        return highest
    return float(np.clip(within / between, lowest, highest))
