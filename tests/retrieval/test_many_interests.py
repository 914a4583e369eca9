"""Several interests: against the plain mean, brute force over medoids, and planted tastes."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from tasteprint.profiling.log import Requests
from tasteprint.retrieval.histories import history_matrix, steps_ago
from tasteprint.retrieval.sources.many_interests import ManyInterestsConfig, fit_many_interests, interests_of, medoids


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def covered(near: np.ndarray, share: np.ndarray, chosen: tuple[int, ...]) -> float:
    return float(share @ near[:, list(chosen)].max(axis=1))


@pytest.mark.parametrize("most", [1, 2, 3])
def test_medoids_cover_what_theory_promises(most: int) -> None:
    rng = np.random.default_rng(most)
    for _ in range(10):
        vectors, share = unit(rng.standard_normal((9, 4))), rng.dirichlet(np.ones(9))
        chosen, near = medoids(vectors, share, most=most, gain=0.0)
        best = max(covered(near, share, some) for some in itertools.combinations(range(9), most))
        assert covered(near, share, tuple(chosen)) >= (1 - 1 / np.e) * best
        assert len(set(chosen)) == most
        if most == 1:
            assert covered(near, share, tuple(chosen)) == pytest.approx(best)


def test_two_planted_tastes_are_two_interests() -> None:
    rng = np.random.default_rng(0)
    one, other = np.eye(6)[0], np.eye(6)[1]
    vectors = unit(np.vstack([one + 0.05 * rng.standard_normal((5, 6)), other + 0.05 * rng.standard_normal((2, 6))]))
    found = interests_of(vectors, np.ones(7), most=4, share_power=1.0, gain=0.05)
    assert found.shape == (2, 6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [5 / 7, 2 / 7], rtol=1e-5)
    assert found[0] @ one > 0.99 * 5 / 7
    assert found[1] @ other > 0.99 * 2 / 7


def test_one_interest_is_the_mean_of_the_history(random_shop, make_requests) -> None:
    train = random_shop()
    model = fit_many_interests(train, ManyInterestsConfig(most=1, decay=0.8, dim=8))
    requests = make_requests(train.log)
    request, event, age = steps_ago(requests, "together", last=60)
    liked = np.maximum(train.log.weight[event], 0) * 0.8 ** age.astype(float)
    mean = history_matrix(requests, request, event, liked) @ model.vectors
    np.testing.assert_allclose(model.scores(requests), np.maximum(unit(mean) @ model.vectors.T, 0), atol=1e-5)


def test_nothing_known_scores_nothing(random_shop, make_requests) -> None:
    train = random_shop()
    requests = make_requests(train.log)
    strangers = Requests(train.log, requests.stop, requests.stop, requests.now_s)
    assert not fit_many_interests(train).scores(strangers).any()

    blind = fit_many_interests(replace(train, vectors=None))
    assert not blind.scores(requests).any()


def test_a_batch_is_its_requests_one_by_one(random_shop, make_requests) -> None:
    train = random_shop()
    requests = make_requests(train.log)
    model = fit_many_interests(train, ManyInterestsConfig(most=3))
    whole = model.scores(requests)
    assert whole.dtype == np.float32
    assert np.isfinite(whole).all()
    for row in range(len(requests)):
        np.testing.assert_allclose(model.scores(requests.take(np.array([row])))[0], whole[row], atol=1e-6)
    assert all(len(interests) <= 3 for interests in model.interests(requests))
