"""The strongest directions against a dense decomposition; what is cut stays out; how fast histories fade is chosen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from tasteprint.profiling.log import EventLog, Requests
from tasteprint.retrieval.scorer import TrainingSet
from tasteprint.retrieval.sources.directions import DECAYS, KINDS, DirectionsConfig, choose_directions, fit_directions
from tasteprint.retrieval.state import source_from_state, source_state

HISTORIES = {
    "a": [0, 1, 2], "b": [1, 2, 3], "c": [0, 2], "d": [3, 4, 5], "e": [4, 5], "f": [5, 3, 0, 1], "g": [0, 1],
}  # fmt: skip


@pytest.fixture
def train(make_log: Callable[..., EventLog], make_items: Callable[..., pd.DataFrame]) -> TrainingSet:
    rows = [(user, item, float(place)) for user, items in HISTORIES.items() for place, item in enumerate(items)]
    return TrainingSet(make_log(rows, n_items=6), make_items("abcdef"), None, 1e9)


def taken() -> np.ndarray:
    out = np.zeros((len(HISTORIES), 6))
    for row, items in enumerate(HISTORIES.values()):
        out[row, items] = 1.0
    return out


def test_weights_are_products_on_the_strongest_directions(train: TrainingSet) -> None:
    _, _, right = np.linalg.svd(taken())
    expected = np.maximum(right[:3].T @ right[:3], 0.0)
    np.fill_diagonal(expected, 0.0)
    found = fit_directions(train, DirectionsConfig(directions=3)).weights.toarray()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_only_popular_items_and_the_largest_weights_are_kept(train: TrainingSet) -> None:
    counts = taken().sum(axis=0)
    found = fit_directions(train, DirectionsConfig(directions=2, max_items=4, neighbours=1)).weights.toarray()
    kept = np.sort(np.lexsort((np.arange(6), -counts))[:4])
    left_out = np.setdiff1d(np.arange(6), kept)
    assert not found[left_out].any()
    assert not found[:, left_out].any()
    assert (np.count_nonzero(found, axis=1) <= 1).all()
    assert found.any()


@pytest.mark.parametrize("rows", [[("a", 0, 0.0)], [("a", 0, 0.0), ("b", 0, 1.0)]])
def test_too_little_to_learn_from_says_nothing(
    make_log: Callable[..., EventLog], make_items: Callable[..., pd.DataFrame], rows: list[tuple[str, int, float]]
) -> None:
    model = fit_directions(TrainingSet(make_log(rows, n_items=3), make_items("abc"), None, 1e9))
    assert model.weights.shape == (3, 3)
    assert not model.weights.nnz


def test_what_serves_best_is_chosen_and_the_first_of_equals(train: TrainingSet) -> None:
    assert choose_directions(train, lambda model: -abs(model.decay - 0.7)).decay == 0.7
    nothing = choose_directions(train, lambda model: 0.0)
    assert (nothing.decay, nothing.counts, nothing.directions) == (DECAYS[0], *KINDS[0])
    damped = choose_directions(train, lambda model: float(model.damped))
    assert (damped.counts, damped.directions) == KINDS[1]


def test_logarithms_of_counts_are_decomposed_and_histories_count_alike(
    make_log: Callable[..., EventLog], make_items: Callable[..., pd.DataFrame]
) -> None:
    rng = np.random.default_rng(0)
    rows = [(f"u{n % 9}", int(item), float(n)) for n, item in enumerate(rng.integers(6, size=80))]
    log = make_log(rows, n_items=6)
    train = TrainingSet(log, make_items("abcdef"), None, 1e9)
    model = fit_directions(train, DirectionsConfig(directions=3, counts="log"))
    counts = np.zeros((log.n_users, 6))
    np.add.at(counts, (log.user(), log.item), 1.0)
    _, _, right = np.linalg.svd(np.log1p(counts))
    weights = np.maximum(right[:3].T @ right[:3], 0.0)
    np.fill_diagonal(weights, 0.0)
    np.testing.assert_allclose(model.weights.toarray(), weights, atol=1e-5)
    requests = Requests(log, log.user_start[:-1], log.user_start[1:], log.at_s[log.user_start[1:] - 1])
    wanted = np.log1p(counts) @ weights + model.tie_break
    np.testing.assert_allclose(model.scores(requests), wanted, atol=1e-5)
    restored = source_from_state(*source_state(model))
    np.testing.assert_allclose(restored.scores(requests), wanted, atol=1e-5)
