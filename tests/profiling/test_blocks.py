"""Block vectors: whitening, name and level axes, seasons, and the shopper side against interests built one by one."""

from __future__ import annotations

import numpy as np
import pytest

from tasteprint.profiling.axes import unit_rows
from tasteprint.profiling.blocks import (
    BLOCKS,
    DAY_S,
    PART_BLOCK,
    BlocksConfig,
    blocks_from_state,
    blocks_state,
    fit_blocks,
)
from tasteprint.profiling.context import context_vectors, contexts
from tasteprint.profiling.log import EventLog, Requests, event_log
from tasteprint.profiling.shopper.interest import advance, from_events
from tasteprint.profiling.shopper.interest_batch import event_weights
from tasteprint.profiling.tables.tiny import tiny_shop


@pytest.fixture(scope="module")
def fitted():
    shop = tiny_shop()
    log = event_log(shop.events, shop.items["item_id"].tolist(), rating_scale="1-5")
    rng = np.random.default_rng(0)
    vectors = unit_rows(rng.standard_normal((log.n_items, 16)) + 2.0)
    vectors[7] = 0.0
    config = BlocksConfig(taste_dim=10, long_half_life_days=90, short_half_life_days=5)
    return log, vectors, fit_blocks(shop.items, vectors, log, config)


def everyone(log: EventLog, now_s: float | None = None) -> Requests:
    now = float(log.at_s.max()) + 3600.0 if now_s is None else now_s
    return Requests(log, log.user_start[:-1], log.user_start[1:], np.full(log.n_users, now))


def test_taste_is_the_interest_of_every_event_one_by_one(fitted) -> None:
    log, _, space = fitted
    requests = everyone(log)
    found = space.shoppers(requests)
    weights, taste = event_weights(log), space.items["taste"]
    for part, half_life_s in (("taste_long", 90 * DAY_S), ("taste_short", 5 * DAY_S)):
        for user in range(log.n_users):
            span = slice(log.user_start[user], log.user_start[user + 1])
            state = from_events(taste[log.item[span]], weights[span], log.at_s[span], half_life_s)
            total = advance(state, float(requests.now_s[user])).total
            np.testing.assert_allclose(found[part][user], total / np.linalg.norm(total), atol=1e-5)


def test_behaviour_is_the_difference_from_an_average_event(fitted) -> None:
    log, _, space = fitted
    requests = everyone(log)
    found = space.shoppers(requests)["behaviour"]
    mean = space.items["behaviour"][log.item[log.weight > 0]].mean(axis=0)
    for user in (0, 11, 29):
        span = slice(log.user_start[user], log.user_start[user + 1])
        vectors = space.items["behaviour"][log.item[span]]
        state = from_events(vectors, event_weights(log)[span], log.at_s[span], 90 * DAY_S)
        state = advance(state, float(requests.now_s[user]))
        expected = (state.total - state.weight * mean) / (state.weight + 1)
        np.testing.assert_allclose(found[user], expected, atol=1e-5)


def test_nothing_known_is_zeros_but_for_the_circumstances(fitted) -> None:
    log, _, space = fitted
    zero, now = np.zeros(2, dtype=np.int64), np.array([1.7e9, 1.8e9])
    where = contexts(place=["north", "south"], device=["phone", None])
    found = space.shoppers(Requests(log, zero, zero, now, where=where))
    assert not any(found[part].any() for part in ("taste_long", "taste_short", "behaviour"))
    expected = context_vectors(space.context, now, where)
    np.testing.assert_allclose(found["context"], expected, rtol=1e-6)
    assert found["context"].any()
    assert {name: rows.shape for name, rows in found.items()} == {
        name: (2, space.dims[PART_BLOCK[name]]) for name in PART_BLOCK if name not in ("meaning", "taste_learned")
    }


def test_item_side(fitted) -> None:
    log, vectors, space = fitted
    assert all(space.items[name].shape == (log.n_items, space.dims[name]) for name in BLOCKS)
    assert all(space.items[name].dtype == np.float32 for name in BLOCKS)
    np.testing.assert_array_equal(space.items["meaning"], vectors)
    assert not space.items["taste"][7].any()  # no text, no taste


def test_a_shop_without_a_shared_calendar_keeps_its_places(fitted) -> None:
    log, vectors, _ = fitted
    shop = tiny_shop()
    space = fit_blocks(shop.items, vectors, log, calendar=False)
    assert space.context.cycles == ()
    assert space.context.places


def test_the_bare_item_has_neither_brand_nor_price(fitted) -> None:
    log, _, space = fitted
    config = BlocksConfig()
    bare = space.items["behaviour"][log.n_items - 1]
    brand = slice(config.category_dim, config.category_dim + config.brand_dim)
    price = slice(brand.stop, brand.stop + config.price_levels)
    assert not bare[brand].any()
    assert not bare[price].any()
    assert np.linalg.norm(bare[: config.category_dim]) == pytest.approx(1.0, abs=1e-6)


def test_state_round_trip(fitted) -> None:
    log, _, space = fitted
    arrays, meta = blocks_state(space)
    again = blocks_from_state(arrays, meta)
    for name in BLOCKS:
        np.testing.assert_array_equal(again.items[name], space.items[name])
    requests = everyone(log)
    for name, rows in space.shoppers(requests).items():
        np.testing.assert_array_equal(again.shoppers(requests)[name], rows)
