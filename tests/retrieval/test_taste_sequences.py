"""Training sequences of the taste model: everything is read and predicted once, and nothing looks ahead."""

from __future__ import annotations

import numpy as np
import pytest

from tasteprint.profiling.log import EventLog
from tasteprint.retrieval.taste.config import TasteConfig
from tasteprint.retrieval.taste.sequences import epoch_batches, epoch_sequences, ties_for


def many(make_log, n_users: int = 30, seed: int = 0) -> EventLog:
    """Users of 1 to 40 events, several at one time."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        days = np.sort(rng.integers(0, 12, size=rng.integers(1, 41)))
        rows += [(f"u{user:03d}", int(rng.integers(50)), float(day)) for day in days]
    return make_log(rows, 50)


@pytest.mark.parametrize("shuffle", [False, True])
def test_in_sequence_each_event_predicts_the_next_one_once(make_log, shuffle: bool) -> None:
    log = many(make_log)
    found = epoch_sequences(log, TasteConfig(last=8, shuffle=shuffle), np.random.default_rng(0))
    user = log.user()
    assert len(found.event) == sum(max(n - 1, 0) for n in np.diff(log.user_start))
    assert len(set(found.event)) == len(found.event)
    assert len(set(found.target)) == len(found.target)
    assert (user[found.event] == user[found.target]).all()
    assert (log.at_s[found.event] <= log.at_s[found.target]).all()
    np.testing.assert_array_equal(found.asked_s, log.at_s[found.target])
    if not shuffle:
        np.testing.assert_array_equal(found.target, found.event + 1)


def test_together_each_event_predicts_one_of_the_next_time(make_log) -> None:
    log = many(make_log)
    config = TasteConfig(last=8, ties="together")
    found = epoch_sequences(log, config, np.random.default_rng(0))
    for user in range(log.n_users):
        times = np.unique(log.at_s[log.user_start[user] : log.user_start[user + 1]])
        mine = log.user()[found.event] == user
        after = times[np.searchsorted(times, log.at_s[found.event[mine]]) + 1]
        np.testing.assert_array_equal(log.at_s[found.target[mine]], after)
        np.testing.assert_array_equal(found.asked_s[mine], after)
    drawn = {tuple(epoch_sequences(log, config, np.random.default_rng(seed)).target) for seed in range(3)}
    assert len(drawn) == 3


@pytest.mark.parametrize("ties", ["sequence", "together"])
def test_windows_hold_one_user_in_order_and_batches_hold_all_of_them(make_log, ties) -> None:
    log, config = many(make_log), TasteConfig(last=8, batch=64, ties=ties)
    found = epoch_sequences(log, config, np.random.default_rng(3))
    windows = np.split(found.event, found.start[1:-1])
    assert max(map(len, windows)) == 8
    for window in windows:
        assert len(set(log.user()[window])) == 1
        assert (np.diff(log.at_s[window]) >= 0).all()
    batches = list(epoch_batches(log, config, np.random.default_rng(3)))
    assert all(batch.events.item.size <= 64 for batch in batches)
    assert sum(len(batch.target) for batch in batches) == len(found.event)
    read = np.concatenate([batch.events.item[batch.events.valid] for batch in batches])
    assert np.bincount(read, minlength=50).tolist() == np.bincount(log.item[found.event], minlength=50).tolist()


def test_what_a_shopper_disliked_is_read_but_not_predicted(make_log) -> None:
    stars = [5.0, 1.0, 5.0, 1.0]
    rows = [("a", item, float(item), {"kind": "review", "rating": stars[item]}) for item in range(4)]
    (batch,) = epoch_batches(make_log(rows, 4), TasteConfig(), np.random.default_rng(0))
    assert batch.events.item.tolist() == [[0, 1, 2]]
    assert batch.predicts.tolist() == [[False, True, False]]
    assert batch.target.tolist() == [2]
    assert (batch.events.kind % 2).tolist() == [[0, 0, 0]] or (batch.events.kind % 2).tolist() == [[0, 1, 0]]


def test_nobody_with_two_events_gives_nothing(make_log) -> None:
    assert len(epoch_batches(make_log([("a", 1, 0), ("b", 2, 0)], 5), TasteConfig(), np.random.default_rng(0))) == 0


def test_requests_in_the_middle_of_a_time_want_a_sequence(make_log, make_requests) -> None:
    log = make_log([("a", 1, 0), ("a", 2, 1), ("b", 3, 0)], 5)
    assert ties_for(make_requests(log)) == "together"
    assert ties_for(make_requests(log, now_day=1.0)) == "sequence"
    empty = make_requests(log).take(np.zeros(0, dtype=np.int64))
    assert ties_for(empty) == "together"
