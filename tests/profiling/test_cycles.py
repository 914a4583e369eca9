"""Cycles by hand and against simulated shoppers of known rhythm."""

import numpy as np
import pytest

from tasteprint.profiling.log import KINDS, EventLog, Requests
from tasteprint.profiling.shopper.cycles import fit_cycles, repeats

DAY = 86_400.0


def purchases(user, item, day, n_items, quantity=None) -> EventLog:
    user, item, day = np.asarray(user), np.asarray(item), np.asarray(day, dtype=float)
    order = np.lexsort((day, user))
    n, n_users = len(user), int(user.max()) + 1
    units = np.ones(n) if quantity is None else np.asarray(quantity, dtype=float)
    return EventLog(
        user_ids=np.asarray([f"u{k}" for k in range(n_users)], dtype=object),
        item_ids=np.asarray([f"i{k}" for k in range(n_items)], dtype=object),
        user_start=np.concatenate([[0], np.cumsum(np.bincount(user))]),
        item=item[order].astype(np.int32),
        at_s=day[order] * DAY,
        kind=np.full(n, KINDS.index("purchase"), dtype=np.int8),
        weight=np.ones(n, dtype=np.float32),
        quantity=units[order].astype(np.float32),
        price=np.full(n, np.nan, dtype=np.float32),
    )


def everyone(log: EventLog, now_day: float) -> Requests:
    return Requests(log, log.user_start[:-1], log.user_start[1:], np.full(log.n_users, now_day * DAY))


def test_repeats_by_hand():
    log = purchases([0, 0, 0, 0, 0, 1], [1, 1, 1, 0, 1, 1], [0, 0.5, 8, 8, 12, 3], 2, [1, 1, 1, 1, -1, 1])
    found = repeats(everyone(log, 20))
    assert list(zip(found.request, found.item, found.count, found.last_s / DAY, strict=True)) == [
        (0, 0, 1, 8.0),
        (0, 1, 2, 8.0),
        (1, 1, 1, 3.0),
    ]
    np.testing.assert_allclose(found.log_gaps, [0, np.log(8), 0])
    np.testing.assert_allclose(found.squared_log_gaps, [0, np.log(8) ** 2, 0])


def test_the_only_gap_of_a_shop_is_everybodys_cycle_and_due_counts_it():
    log = purchases([0, 0, 1], [0, 0, 0], [0, 8, 3], 1)
    model = fit_cycles(log, np.zeros(1, dtype=int))
    rows = repeats(everyone(log, 19))
    np.testing.assert_allclose(model.cycle_s(rows) / DAY, [8, 8])
    np.testing.assert_allclose(model.due(rows, np.full(2, 19 * DAY)), [11 / 8, 2.0])


def test_nothing_repeated_is_unknown():
    log = purchases([0, 1], [0, 1], [0, 0], 2)
    assert np.isnan(fit_cycles(log, np.zeros(2, dtype=int)).item_log_gap).all()


def test_simulated_cycles_are_found_better_than_by_the_raw_mean():
    rng = np.random.default_rng(0)
    n_users, n_items = 60, 50
    category = np.arange(n_items) % 5
    truth = np.log(np.asarray([3, 7, 14, 30, 60]))[category] + rng.normal(0, 0.2, n_items)
    own = truth + rng.normal(0, 0.3, (n_users, n_items))
    rows = []
    for user in range(n_users):
        for item in rng.choice(n_items, 8, replace=False):
            gaps = np.maximum(np.round(np.exp(own[user, item] + rng.normal(0, 0.5, rng.integers(0, 5)))), 1)
            rows += [(user, item, day) for day in np.concatenate([[0], np.cumsum(gaps)])]
    log = purchases(*zip(*rows, strict=True), n_items)
    model = fit_cycles(log, category)
    found = repeats(everyone(log, 1000))
    error = np.log(model.cycle_s(found) / DAY) - own[found.request, found.item]
    closed = found.count > 1
    raw = found.log_gaps[closed] / (found.count[closed] - 1) - own[found.request, found.item][closed]
    assert (error[closed] ** 2).mean() < 0.6 * (raw**2).mean()
    assert (error**2).mean() < 0.2
    assert model.strength == pytest.approx(0.5**2 / 0.3**2, rel=0.6)


def test_repeat_share_leans_on_the_category():
    log = purchases([0, 0, 1, 2, 3], [0, 0, 0, 1, 2], [0, 5, 0, 0, 0], 4)
    share = fit_cycles(log, np.asarray([0, 0, 1, 1])).repeat_share
    assert share[0] > share[1] > 0
    assert share[1] >= share[2]
    assert share[3] == pytest.approx(share[2], abs=0.2)
