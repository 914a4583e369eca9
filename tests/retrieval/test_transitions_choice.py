"""Choosing the options of transitions: every trial is the model that a plain fit gives, and the best one is kept."""

from __future__ import annotations

import itertools

import numpy as np

from tasteprint.retrieval.sources.transitions import TransitionsConfig, fit_transitions
from tasteprint.retrieval.sources.transitions_choice import TRANSITIONS_GRID, WINDOWS, choose_transitions


def test_trials_are_what_a_plain_fit_gives_and_the_best_is_kept(random_shop) -> None:
    train = random_shop(n_items=25, n_users=6, n_events=120)
    wanted = TransitionsConfig(ties="together", window=WINDOWS["together"], decay=0.9, target_power=0.4, backward=1.0)
    target, tried = fit_transitions(train, wanted), []

    def near(model) -> float:
        tried.append(model)
        distance = abs(model.decay - wanted.decay) + 10.0 * (model.ties != wanted.ties)
        return -distance - float(np.abs((model.weights - target.weights).toarray()).sum())

    found = choose_transitions(train, near)
    assert (found.ties, found.window, found.decay) == ("together", 2, 0.9)
    plain = fit_transitions(train, found)
    assert any(abs(plain.weights - model.weights).max() == 0 and plain.decay == model.decay for model in tried)
    for a, b in itertools.combinations(tried, 2):
        same = abs(a.weights - b.weights).max() == 0
        assert not (same and (a.decay, a.ties) == (b.decay, b.ties))  # nothing is tried twice


def test_equals_change_nothing_and_a_small_grid_is_all_that_is_tried(random_shop) -> None:
    train = random_shop(n_items=25, n_users=6, n_events=120)
    start = TransitionsConfig(decay=0.8)
    assert choose_transitions(train, lambda model: 1.0, config=start) == start
    found = choose_transitions(train, lambda model: -model.decay, config=start, grid={"decay": (1.0, 0.5)})
    assert found == start.model_copy(update={"decay": 0.5})


def test_the_grid_names_options_and_valid_values() -> None:
    for name, values in TRANSITIONS_GRID.items():
        for value in values:
            TransitionsConfig.model_validate({name: value})
