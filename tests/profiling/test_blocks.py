"""Block vectors: whitening, name and level axes, seasons, and the shopper side against interests built one by one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tasteprint.profiling.blocks import (
    BLOCKS,
    DAY_S,
    PART_BLOCK,
    BlocksConfig,
    blocks_from_state,
    blocks_state,
    context_axes,
    fit_blocks,
    level_axes,
    name_axes,
    time_axes,
    unit_rows,
    whiten,
)
from tasteprint.profiling.interest import advance, from_events
from tasteprint.profiling.interest_batch import event_weights
from tasteprint.profiling.log import EventLog, Requests, event_log
from tasteprint.profiling.tiny import tiny_shop


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


def test_whitened_rows_have_identity_covariance_before_they_are_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    vectors = unit_rows(rng.standard_normal((500, 12)) @ rng.standard_normal((12, 12)) + 1.0)
    monkeypatch.setattr("tasteprint.profiling.blocks.unit_rows", lambda rows: rows)
    white = whiten(vectors, 12)
    assert white.shape[1] == 12
    np.testing.assert_allclose(np.cov(white, rowvar=False), np.eye(12), atol=2e-3)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-3)


def test_whitening_keeps_the_widest_directions_and_zero_rows() -> None:
    rng = np.random.default_rng(1)
    vectors = (rng.standard_normal((300, 6)) * [5, 3, 1, 0.1, 0.1, 0.0]).astype(np.float32)
    vectors[4] = 0.0
    white = whiten(vectors, 2)
    assert white.shape == (300, 2)
    assert not white[4].any()
    np.testing.assert_allclose(np.linalg.norm(np.delete(white, 4, axis=0), axis=1), 1.0, atol=1e-5)
    expected = unit_rows(np.abs(vectors[:, :2] / [5, 3]))  # up to sign and sampling error these axes are kept
    assert np.abs(np.abs(white) - expected)[np.arange(300) != 4].mean() < 0.1
    assert whiten(vectors, 6).shape[1] == 5  # a direction without variance is no direction


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_whitening_alike_texts_knows_nothing(n: int) -> None:
    alike = np.tile(unit_rows(np.arange(1.0, 9.0)[None]), (n, 1))
    alike = alike + (1e-8 * np.random.default_rng(n).standard_normal(alike.shape)).astype(np.float32)  # as batches do
    white = whiten(alike, 4)
    assert white.shape[0] == n
    assert not white.any()
    assert white.shape[1] >= 1


def test_unit_rows() -> None:
    rows = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0], [1e-20, 0.0]]))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0], [0, 0]], rtol=1e-6)
    assert rows.dtype == np.float32


def test_same_name_same_vector_whatever_the_catalogue() -> None:
    first = name_axes(pd.Series(["Garden", None, "Wine", "Garden"]), 24)
    second = name_axes(pd.Series(["Shoes", "Wine", "Garden"]), 24)
    np.testing.assert_array_equal(first[0], first[3])
    np.testing.assert_array_equal(first[0], second[2])
    np.testing.assert_array_equal(first[2], second[1])
    assert not first[1].any()
    np.testing.assert_allclose(np.linalg.norm(second, axis=1), 1.0, atol=1e-6)
    assert not name_axes(pd.Series([None, None], dtype=object), 8).any()


def test_different_names_are_nearly_orthogonal() -> None:
    dim = 64
    axes = name_axes(pd.Series([f"name {n}" for n in range(300)]), dim)
    products = (axes @ axes.T)[np.triu_indices(300, 1)]
    assert abs(products.mean()) < 0.01
    assert products.std() == pytest.approx(dim**-0.5, rel=0.05)
    assert np.abs(products).max() < 0.7


def test_price_levels() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, np.nan, np.inf])
    levels = level_axes(values, 4)  # a value in the middle of each band: one band each
    np.testing.assert_allclose(levels[:4], np.eye(4), atol=1e-6)
    assert not levels[4:].any()
    even = level_axes(np.full(5, 3.0), 4)  # all alike: in the middle, between the two inner bands
    np.testing.assert_allclose(even, np.tile(unit_rows(np.array([[0, 1.0, 1.0, 0]])), (5, 1)), atol=1e-6)
    assert not level_axes(np.array([np.nan]), 4).any()


def test_nearer_prices_have_nearer_levels() -> None:
    levels = level_axes(np.arange(100.0), 6)
    to_first = levels @ levels[0]
    assert (np.diff(to_first) <= 1e-6).all()
    assert to_first[-1] == 0.0


def test_time_axes_turn_with_day_week_and_year() -> None:
    base = 1.7e9
    axes = time_axes(np.array([base, base + DAY_S, base + 7 * DAY_S, base + 365.25 * DAY_S]))
    hour, week, year = (0, 3), (1, 4), (2, 5)
    np.testing.assert_allclose(axes[:3][:, hour], np.tile(axes[0, hour], (3, 1)), atol=1e-5)
    np.testing.assert_allclose(axes[2, week], axes[0, week], atol=1e-5)
    np.testing.assert_allclose(axes[3, year], axes[0, year], atol=1e-5)
    np.testing.assert_allclose(
        axes[0] @ axes[1], 2 * 1 / 2 + np.cos(2 * np.pi / 7) + np.cos(2 * np.pi / 365.25), atol=1e-5
    )


def test_item_seasons_by_hand(fitted) -> None:
    log, _, _ = fitted
    shrinkage = 7.0
    axes = context_axes(log, shrinkage)
    sold = log.weight > 0
    usual = time_axes(log.at_s[sold]).astype(np.float64).mean(axis=0)
    for item in (0, 5, log.n_items - 1):
        times = log.at_s[sold & (log.item == item)]
        expected = (time_axes(times).astype(np.float64) - usual).sum(axis=0) / (len(times) + shrinkage)
        np.testing.assert_allclose(axes[item], expected, atol=1e-6)
    empty = log.select(np.zeros(len(log), dtype=bool))
    assert not context_axes(empty, shrinkage).any()


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


def test_nothing_known_is_zeros_but_for_the_time(fitted) -> None:
    log, _, space = fitted
    zero = np.zeros(2, dtype=np.int64)
    found = space.shoppers(Requests(log, zero, zero, np.array([1.7e9, 1.8e9])))
    assert not any(found[part].any() for part in ("taste_long", "taste_short", "behaviour"))
    np.testing.assert_array_equal(found["context"], time_axes(np.array([1.7e9, 1.8e9])))
    assert {name: rows.shape for name, rows in found.items()} == {
        name: (2, space.dims[PART_BLOCK[name]]) for name in PART_BLOCK if name != "meaning"
    }


def test_item_side(fitted) -> None:
    log, vectors, space = fitted
    matrix = space.item_matrix()
    assert matrix.shape == (log.n_items, sum(space.dims.values()))
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix[:, : space.dims["meaning"]], vectors)
    assert not space.items["taste"][7].any()  # no text, no taste
    last = 0
    for name in BLOCKS:
        np.testing.assert_array_equal(matrix[:, last : last + space.dims[name]], space.items[name])
        last += space.dims[name]


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
    np.testing.assert_array_equal(again.item_matrix(), space.item_matrix())
    requests = everyone(log)
    for name, rows in space.shoppers(requests).items():
        np.testing.assert_array_equal(again.shoppers(requests)[name], rows)
