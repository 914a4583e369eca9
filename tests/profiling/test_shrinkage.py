"""Shrinkage against simulated shops of known spread, and against its limits."""

import math

import numpy as np
import pytest

from tasteprint.profiling.shopper.shrinkage import (
    mean_strength,
    ratio_strength,
    share_prior,
    shrunk_mean,
    shrunk_ratio,
    shrunk_share,
)


@pytest.mark.parametrize("shape", [0.7, 3.0, 12.0])
def test_gamma_shape_is_recovered(shape):
    rng = np.random.default_rng(0)
    expected = rng.uniform(1, 30, 40_000)
    observed = rng.poisson(expected * rng.gamma(shape, 1 / shape, len(expected)))
    assert ratio_strength(observed, expected) == pytest.approx(shape, rel=0.08)


@pytest.mark.parametrize(("mean", "strength"), [(0.3, 4.0), (0.9, 20.0)])
def test_beta_prior_is_recovered(mean, strength):
    rng = np.random.default_rng(1)
    trials = rng.integers(1, 40, 40_000)
    hits = rng.binomial(trials, rng.beta(mean * strength, (1 - mean) * strength, len(trials)))
    found_mean, found_strength = share_prior(hits, trials)
    assert found_mean == pytest.approx(mean, abs=0.01)
    assert found_strength == pytest.approx(strength, rel=0.1)


def test_shrinking_beats_the_raw_share():
    rng = np.random.default_rng(2)
    trials = rng.integers(1, 6, 5_000)
    truth = rng.beta(3, 7, len(trials))
    hits = rng.binomial(trials, truth)
    mean, strength = share_prior(hits, trials)
    shrunk = shrunk_share(hits, trials, mean=mean, strength=strength)
    assert ((shrunk - truth) ** 2).mean() < 0.5 * ((hits / trials - truth) ** 2).mean()


def test_chance_alone_gives_the_strongest_prior():
    rng = np.random.default_rng(3)
    trials = np.full(20_000, 20)
    assert share_prior(rng.binomial(trials, 0.4), trials)[1] > 200
    assert ratio_strength(rng.poisson(9.0, 20_000), np.full(20_000, 9.0)) > 100


def test_limits():
    assert shrunk_ratio(0, 0, 2.0) == 1.0
    assert shrunk_ratio(1e9, 5e8, 2.0) == pytest.approx(2.0)
    assert math.isnan(share_prior([], [])[0])
    assert share_prior([0, 0], [3, 4]) == (0.0, 1e3)


@pytest.mark.parametrize("known_mean", [False, True])
def test_credibility_is_recovered(known_mean):
    rng = np.random.default_rng(4)
    counts = rng.integers(1, 9, 30_000)
    group = np.repeat(np.arange(len(counts)), counts)
    values = 5 + rng.normal(0, 0.5, len(counts))[group] + rng.normal(0, 1.5, len(group))
    totals, squares = np.bincount(group, values), np.bincount(group, values**2)
    found = mean_strength(totals, squares, counts, mean=5.0 if known_mean else None)
    assert found == pytest.approx(1.5**2 / 0.5**2, rel=0.1)


def test_shrunk_mean_limits():
    assert shrunk_mean(0.0, 0, mean=3.0, strength=2.0) == 3.0
    assert shrunk_mean(10.0, 2, mean=3.0, strength=2.0) == 4.0
    assert mean_strength([5.0], [25.0], [1]) == 1e3
