"""Unit prices, levels and discounts by hand."""

import numpy as np
import pytest

from tasteprint.profiling.log import EventLog
from tasteprint.profiling.shopper.prices import discounted, price_levels, unit_prices, usual_prices

NAN = np.nan


def small_log(item, quantity, price, n_items=3) -> EventLog:
    n = len(item)
    return EventLog(
        user_ids=np.asarray(["u"], dtype=object),
        item_ids=np.asarray([f"i{k}" for k in range(n_items)], dtype=object),
        user_start=np.asarray([0, n]),
        item=np.asarray(item, dtype=np.int32),
        at_s=np.arange(n, dtype=np.float64),
        kind=np.full(n, 4, dtype=np.int8),
        weight=np.ones(n, dtype=np.float32),
        quantity=np.asarray(quantity, dtype=np.float32),
        price=np.asarray(price, dtype=np.float32),
    )


def test_unit_price_is_line_over_units():
    log = small_log([0] * 6, [2, NAN, 0, -1, 1, 1], [3, 4, 5, 6, NAN, 0])
    np.testing.assert_array_equal(unit_prices(log), [1.5, 4, NAN, NAN, NAN, NAN])


def test_paid_prices_win_over_listed_and_unknown_stays_nan():
    log = small_log([0, 0, 0], [1, 1, 2], [1, 3, 20])
    np.testing.assert_array_equal(usual_prices(log), [3, NAN, NAN])
    np.testing.assert_array_equal(usual_prices(log, np.asarray([9.0, 8.0, NAN])), [3, 8, NAN])


def test_levels_are_ranks_inside_the_category():
    usual = np.asarray([10.0, 20.0, 1.0, 2.0, 2.0, NAN])
    category = np.asarray([0, 0, 1, 1, 1, 1])
    levels = price_levels(usual, category, least=0)
    np.testing.assert_allclose(levels, [-0.5, 0.5, -2 / 3, 1 / 3, 1 / 3, NAN])
    np.testing.assert_allclose(price_levels(usual, category, least=2)[:2], [-0.25, 0.25])
    tripled = price_levels(usual * 3, category, least=0)
    np.testing.assert_allclose(tripled, levels)


def test_discounts_from_prices_and_from_the_shops_own_column():
    log = small_log([0, 0, 0, 1, 2], [1, 1, 1, 1, 1], [10, 9.6, 9.4, NAN, 5])
    usual = np.asarray([10.0, 10.0, NAN])
    np.testing.assert_array_equal(discounted(log, usual), [0, 0, 1, NAN, NAN])
    own = discounted(log, usual, discount=np.asarray([NAN, 0.4, 0.6, 2.0, 0]))
    np.testing.assert_array_equal(own, [0, 0, 1, 1, 0])


def test_a_shop_without_prices_knows_nothing():
    log = small_log([0, 1], [NAN, NAN], [NAN, NAN])
    assert np.isnan(usual_prices(log)).all()
    assert np.isnan(price_levels(usual_prices(log), np.zeros(3, dtype=int))).all()
    assert np.isnan(discounted(log, usual_prices(log))).all()
    assert pytest.approx(0) == np.nan_to_num(discounted(log, usual_prices(log))).sum()
