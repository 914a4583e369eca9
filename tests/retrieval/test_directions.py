"""The strongest directions against a dense decomposition; what is cut stays out; how fast histories fade is chosen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from tasteprint.profiling.log import EventLog
from tasteprint.retrieval.scorer import TrainingSet
from tasteprint.retrieval.sources.directions import DECAYS, DirectionsConfig, choose_directions, fit_directions

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


def test_the_decay_that_serves_best_is_chosen_and_the_first_of_equals(train: TrainingSet) -> None:
    assert choose_directions(train, lambda model: -abs(model.decay - 0.7)).decay == 0.7
    assert choose_directions(train, lambda model: 0.0).decay == DECAYS[0]
