"""Paired tests against scipy, an exact enumeration and a simulation; Holm by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from tasteprint.evaluation.significance import clustered_t, compare, holm, sign_flip
from tasteprint.profiling.errors import ConfigError


def test_one_request_a_cluster_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(60), rng.random(60) * 0.9
    ours = clustered_t(a - b, np.arange(60))
    theirs = stats.ttest_rel(a, b)
    low, high = theirs.confidence_interval()
    assert ours.p == pytest.approx(theirs.pvalue)
    assert (ours.low, ours.high) == pytest.approx((low, high))


def test_repeating_every_request_within_its_cluster_changes_nothing() -> None:
    """Ten copies of each user's request are no new evidence; a test over requests would think they were."""
    rng = np.random.default_rng(1)
    difference = rng.standard_normal(30) + 0.2
    once = clustered_t(difference, np.arange(30))
    copied = clustered_t(np.repeat(difference, 10), np.repeat(np.arange(30), 10))
    assert copied.p == pytest.approx(once.p)
    assert copied.clusters == 30
    assert stats.ttest_1samp(np.repeat(difference, 10), 0).pvalue < once.p


def test_clustered_t_holds_its_level_where_requests_of_a_user_agree() -> None:
    rng = np.random.default_rng(2)
    cluster = np.repeat(np.arange(40), rng.integers(1, 12, 40))
    false_alarms = 0
    for _ in range(400):
        difference = rng.standard_normal(40)[cluster] + 0.3 * rng.standard_normal(len(cluster))
        false_alarms += clustered_t(difference, cluster).p < 0.05
    assert 0.02 < false_alarms / 400 < 0.09


def test_sign_flip_equals_the_exact_enumeration() -> None:
    rng = np.random.default_rng(3)
    difference = rng.standard_normal(14) + 0.4
    cluster = np.repeat(np.arange(7), 2)
    totals = difference.reshape(7, 2).sum(axis=1)
    flips = np.array(list(product([-1, 1], repeat=7)))
    exact = (np.abs(flips @ totals) >= abs(totals.sum()) - 1e-12).mean()
    assert sign_flip(difference, cluster, rng=rng, draws=40_000) == pytest.approx(exact, abs=0.01)


def test_sign_flip_agrees_with_scipy() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.random(25) + 0.15, rng.random(25)
    theirs = stats.permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=9999, rng=rng
    )
    assert sign_flip(a - b, np.arange(25), rng=rng) == pytest.approx(theirs.pvalue, abs=0.02)


def test_holm_by_hand() -> None:
    assert holm([0.04, 0.01, 0.03, 0.005]) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    adjusted = holm([0.01, float("nan")])
    assert adjusted[0] == 0.01
    assert np.isnan(adjusted[1])


def test_compare_leaves_out_requests_without_a_value() -> None:
    values = {"a": np.array([1, 1, np.nan, 1.0]), "b": np.array([0, 1, 0, 0.5]), "c": np.array([1, 1, 1, 1.0])}
    rows = compare(values, "a", np.arange(4), metric="m")
    assert [r["b"] for r in rows] == ["b", "c"]
    assert rows[0]["n"] == 3
    assert rows[0]["difference"] == pytest.approx(0.5)
    assert rows[1]["p"] == 1.0
    assert not rows[1]["significant"]
    with pytest.raises(ConfigError, match="against"):
        compare(values, "d", np.arange(4), metric="m")


def test_a_lone_cluster_proves_nothing() -> None:
    assert np.isnan(clustered_t(np.ones(5), np.zeros(5, int)).p)
    assert np.isnan(clustered_t(np.array([np.nan]), np.zeros(1, int)).difference)
