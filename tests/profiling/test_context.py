"""Context: clocks by hand, standardisation, and items that sell where they were made to sell."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from tasteprint.profiling.context import (
    Context,
    ContextConfig,
    context_from_state,
    context_state,
    context_vectors,
    contexts,
    contexts_of,
    cyclic,
    fit_context,
    item_contexts,
)

HOUR, DAY = 3600.0, 86_400.0


@pytest.mark.parametrize("when", ["2024-02-29 23:30", "1999-12-31 00:00", "2011-12-09 12:50"])
@pytest.mark.parametrize("offset_h", [0, -5, 9])
def test_hour_and_weekday_equal_the_calendar(when, offset_h):
    context = Context(pd.Timestamp(when).timestamp(), utc_offset_s=offset_h * HOUR)
    local = pd.Timestamp(when) + pd.Timedelta(hours=offset_h)
    assert context.hour == pytest.approx(local.hour + local.minute / 60)
    assert context.weekday == local.weekday()


def test_cycles_close_and_neighbours_are_near():
    late, early, noon = cyclic([23.5 * HOUR, 24.5 * HOUR, 12 * HOUR], DAY)
    assert np.linalg.norm(late - early) < 0.3 < np.linalg.norm(late - noon)
    np.testing.assert_allclose(cyclic([1.0], DAY), cyclic([1.0 + 5 * DAY], DAY), atol=1e-9)
    monday = cyclic([pd.Timestamp("2024-01-01").timestamp()], 7 * DAY, start_s=4 * DAY)
    np.testing.assert_allclose(monday, [[1.0, 0.0]], atol=1e-9)
    assert cyclic([math.nan], DAY).tolist() == [[0.0, 0.0]]


def one(context, axes):
    return context_vectors(axes, np.array([context.at_s]), contexts_of(context))[0]


def made_up(rng, n=20_000):
    """Croissants in the morning, beer on Saturdays in Leeds, sunscreen in summer, bread always."""
    start = pd.Timestamp("2022-01-01").timestamp()
    at_s = start + rng.uniform(0, 730, n) * DAY
    place = rng.choice(["York", "Leeds"], n)
    hour = at_s % DAY / HOUR
    weekday = ((at_s // DAY) + 3) % 7
    month = pd.to_datetime(at_s, unit="s").month.to_numpy()
    odds = np.ones((n, 4))
    odds[:, 0] = np.where((hour > 6) & (hour < 10), 3, 0.3)
    odds[:, 1] = np.where((weekday == 5) & (place == "Leeds"), 5, 0.5)
    odds[:, 2] = np.where((month > 5) & (month < 9), 3, 0.2)
    item = (rng.random(n)[:, None] > np.cumsum(odds / odds.sum(1, keepdims=True), axis=1)).sum(axis=1)
    return item, at_s, place


def test_items_sell_where_they_sell():
    item, at_s, place = made_up(np.random.default_rng(0))
    where = contexts(place=place)
    axes = fit_context(at_s, where)
    assert set(axes.places) == {"York", "Leeds"}
    vectors = context_vectors(axes, at_s, where)
    known = [k for k, name in enumerate(axes.names) if not name.startswith("scene")]
    np.testing.assert_allclose(vectors[:, known].mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(vectors[:, known].std(axis=0), 1, atol=1e-9)
    profile = item_contexts(axes, item, at_s, where, n_items=4)

    def best(when, where):
        return int(np.argmax(profile @ one(Context(pd.Timestamp(when).timestamp(), place=where), axes)))

    assert best("2024-11-05 08:00", "York") == 0
    assert best("2024-11-02 20:00", "Leeds") == 1
    assert best("2024-07-09 20:00", "York") == 2


def test_random_sales_have_almost_no_context():
    rng = np.random.default_rng(1)
    item, at_s, place = made_up(rng)
    where = contexts(place=place)
    axes = fit_context(at_s, where)
    truth = np.linalg.norm(item_contexts(axes, item, at_s, where, n_items=4))
    assert np.linalg.norm(item_contexts(axes, rng.permutation(item), at_s, where, n_items=4)) < 0.1 * truth


def test_pieces_make_the_same_whole(monkeypatch):
    item, at_s, place = made_up(np.random.default_rng(4), n=1000)
    where = contexts(place=place)
    axes = fit_context(at_s, where)
    whole = item_contexts(axes, item, at_s, where, n_items=4)
    monkeypatch.setattr("tasteprint.profiling.context._CHUNK", 77)
    again = fit_context(at_s, where)
    np.testing.assert_allclose(again.mean, axes.mean, atol=1e-12)
    np.testing.assert_allclose(again.spread, axes.spread, atol=1e-12)
    np.testing.assert_allclose(item_contexts(again, item, at_s, where, n_items=4), whole, atol=1e-10)


def test_state_round_trip():
    _, at_s, place = made_up(np.random.default_rng(5), n=500)
    axes = fit_context(at_s, contexts(place=place))
    arrays, meta = context_state(axes)
    again = context_from_state(arrays, json.loads(json.dumps(meta)))
    asked = Context(float(at_s[3]), place="York")
    np.testing.assert_array_equal(one(asked, again), one(asked, axes))
    assert again.names == axes.names


def test_circumstances_are_taken_together():
    where = contexts(scene=[None, "mail", "home"], place=[None, None, None], utc_offset_s=[0.0, 60.0, np.nan])
    taken = where.take(np.array([2, 1]))
    assert list(taken.scene) == ["home", "mail"]
    assert taken.place is taken.device is None
    np.testing.assert_array_equal(taken.utc_offset_s, [np.nan, 60.0])


def test_a_shoppers_own_clock_shifts_the_hour_of_that_request_alone():
    at_s = np.linspace(0, 9 * DAY, 500)
    axes = fit_context(at_s, config=ContextConfig(utc_offset_s=HOUR))
    asked = np.full(3, 5 * HOUR)
    found = context_vectors(axes, asked, contexts(utc_offset_s=[np.nan, HOUR, 3 * HOUR]))
    np.testing.assert_allclose(found[0], found[1], atol=1e-12)
    np.testing.assert_allclose(found[2], context_vectors(axes, asked[:1] + 2 * HOUR)[0], atol=1e-12)


def test_few_sales_are_shrunk():
    rng = np.random.default_rng(2)
    item = np.repeat(np.arange(200), rng.integers(1, 60, 200))
    morning = rng.random(len(item)) < rng.beta(2, 2, 200)[item]
    at_s = np.arange(len(item)) * DAY + np.where(morning, 8, 20) * HOUR
    axes = fit_context(at_s)
    found = item_contexts(axes, item, at_s, n_items=201)
    raw = np.stack([np.bincount(item, v) / np.bincount(item) for v in context_vectors(axes, at_s).T], axis=1)
    hour = [k for k, name in enumerate(axes.names) if name.startswith("hour") and np.ptp(found[:, k]) > 0]
    assert hour
    assert (np.abs(found[:200, hour]) < np.abs(raw[:, hour])).all()
    assert not found[200].any()


def test_unknown_parts_are_zero():
    _, at_s, place = made_up(np.random.default_rng(3), n=500)
    axes = fit_context(at_s, contexts(place=place, scene=["home", "mail"] * 250))
    nothing = one(Context(math.nan), axes)
    assert (nothing == 0).all()
    abroad = context_vectors(axes, at_s[:1], contexts(place=["Paris"], scene=[None]))[0]
    by_name = dict(zip(axes.names, abroad, strict=True))
    assert by_name["place York"] == by_name["scene home"] == 0.0
    assert by_name["hour cos1"] != 0.0


def test_relative_clocks_and_whole_days_lose_their_axes():
    at_s = np.arange(100) * DAY
    assert fit_context(at_s, config=ContextConfig(calendar=False)).dim == 0
    assert not [n for n in fit_context(at_s, config=ContextConfig(hours=False)).names if n.startswith("hour")]
    assert fit_context(np.zeros(0)).dim == 0


def test_a_cycle_is_used_once_the_log_has_seen_enough_of_it():
    def cycles(days, **config):
        return fit_context(np.linspace(0, days * DAY, 50), config=ContextConfig(**config)).cycles

    assert cycles(0.4) == ()
    assert cycles(3) == ("hour",)
    assert cycles(100) == ("hour", "weekday")
    assert cycles(200) == ("hour", "weekday", "season")
    assert cycles(700, least_turns=2) == ("hour", "weekday")


def test_the_shops_clock_shifts_the_hour():
    at_s = np.asarray([20 * HOUR, 32 * HOUR, 50 * HOUR])
    utc = fit_context(at_s, config=ContextConfig(utc_offset_s=0))
    shifted = fit_context(at_s - 5 * HOUR, config=ContextConfig(utc_offset_s=5 * HOUR))
    np.testing.assert_allclose(context_vectors(utc, at_s), context_vectors(shifted, at_s - 5 * HOUR), atol=1e-9)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="at_s"):
        Context(math.inf)
    with pytest.raises(ValueError, match="utc_offset_s"):
        Context(0.0, utc_offset_s=1e6)
