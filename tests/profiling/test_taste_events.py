"""Events of the taste model: bands of time, steps, who sees whom, when a step is looked back from."""

from __future__ import annotations

import numpy as np

from tasteprint.profiling.taste_events import N_AGES, N_KINDS, age_band, next_times, signed_kind
from tasteprint.profiling.taste_model import request_events
from tests.profiling.taste_samples import START, asked, log_of


def test_a_band_begins_where_the_time_doubles() -> None:
    edges = 60.0 * 2.0 ** np.arange(20)
    assert age_band(edges).tolist() == list(range(1, 21))
    assert age_band(edges * 1.999).tolist() == list(range(1, 21))
    assert age_band(np.array([1e30, 0.0, -1.0])).tolist() == [N_AGES - 1, 0, 0]


def test_each_event_is_looked_back_from_the_next_step() -> None:
    at_s = np.array([1.0, 5.0, 5.0, 9.0, 2.0])
    row, step = np.array([0, 0, 0, 0, 1]), np.array([0, 1, 1, 2, 3])
    assert next_times(at_s, row, step, np.array([20.0, 30.0])).tolist() == [5.0, 9.0, 9.0, 20.0, 30.0]


def test_a_sequence_sees_what_came_before_and_a_basket_sees_itself_too() -> None:
    log = log_of([("a", 1, 0), ("a", 2, 5), ("a", 3, 5), ("b", 4, 7)])
    single = request_events(asked(log, 10), last=9, together=False)
    assert single.allowed()[0].tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert single.valid.tolist() == [[True, True, True], [True, False, False]]
    basket = request_events(asked(log, 10), last=9, together=True)
    assert basket.allowed()[0].tolist() == [[True, False, False], [True, True, True], [True, True, True]]
    assert basket.distance(9)[0].tolist() == [[0, 0, 0], [1, 0, 0], [1, 0, 0]]
    assert basket.asked_s[0].tolist() == [at + START.timestamp() for at in (300.0, 600.0, 600.0)]
    assert basket.age()[0, 2].tolist() == age_band(np.array([600.0, 300.0, 300.0])).tolist()


def test_only_the_newest_events_are_read() -> None:
    log = log_of([("a", item, item) for item in range(8)])
    events = request_events(asked(log, 20), last=3, together=False)
    assert events.item.tolist() == [[5, 6, 7]]


def test_a_bad_rating_and_a_return_speak_against_their_item() -> None:
    rows = [("a", 1, 0), ("a", 2, 1), ("a", 3, 2)]
    log = log_of(rows, rating=[5.0, 1.0, None], quantity=[1.0, 1.0, -1.0])
    kinds = signed_kind(log, np.arange(3))
    assert (kinds % 2).tolist() == [0, 1, 1]
    assert kinds.max() < N_KINDS
