"""Axes kept for later items: the catalogue's own rows again, and for a new item what a refit would say."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

from tasteprint.profiling.axes import fit_whitening, level_axes, unit_rows, whiten
from tasteprint.profiling.item_axes import fit_item_axes, item_axes_from_state, item_axes_state

WIDTHS = {"taste_dim": 5, "category_dim": 6, "brand_dim": 4, "price_levels": 3}


def catalogue(n: int = 40) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    items = pd.DataFrame(
        {
            "category": [f"c{number % 4}" for number in range(n)],
            "brand": [None if number % 5 == 0 else f"b{number % 3}" for number in range(n)],
            "price": np.where(rng.random(n) < 0.2, np.nan, rng.lognormal(1, 1, n)),
        }
    )
    vectors = rng.standard_normal((n, 8)).astype(np.float32)
    vectors[3] = 0.0
    return items, vectors


def test_whitening_of_later_texts_is_that_of_the_first() -> None:
    _, vectors = catalogue()
    learned = fit_whitening(vectors, 5)
    np.testing.assert_array_equal(learned.rows(vectors), whiten(vectors, 5))
    known = np.delete(vectors, 3, axis=0).astype(np.float64)
    later = np.random.default_rng(1).standard_normal((6, 8)).astype(np.float32)
    theirs = unit_rows(PCA(5, whiten=True).fit(known).transform(later))
    np.testing.assert_allclose(abs(learned.rows(later) * theirs), theirs**2, atol=1e-4)  # up to the sign of axes
    assert not learned.rows(np.zeros((2, 8), np.float32)).any()
    assert fit_whitening(vectors[3:4], 5).rows(later).shape == (6, 1)


def test_price_levels_of_later_items_are_those_of_the_catalogue() -> None:
    prices = np.sort(np.random.default_rng(2).lognormal(1, 1, 50))
    one_by_one = np.vstack([level_axes(prices[row : row + 1], 4, among=prices) for row in range(50)])
    np.testing.assert_array_equal(one_by_one, level_axes(prices, 4))
    assert not level_axes(np.array([np.nan]), 4, among=prices).any()
    assert not level_axes(np.array([3.0]), 4, among=prices[:0]).any()
    assert level_axes(np.array([1e9]), 4, among=prices).tolist() == [[0, 0, 0, 1]]


def test_state_brings_them_back() -> None:
    items, vectors = catalogue()
    axes = fit_item_axes(items, vectors, **WIDTHS)
    again = item_axes_from_state(*item_axes_state(axes))
    popularity = np.linspace(0, 1, len(items))
    rows = axes.behaviour(items, popularity)
    assert rows.shape == (40, 6 + 4 + 3 + 1)
    np.testing.assert_array_equal(again.behaviour(items, popularity), rows)
    np.testing.assert_array_equal(again.behaviour(items.iloc[7:9], popularity[7:9]), rows[7:9])
    np.testing.assert_array_equal(again.whitening.rows(vectors), axes.whitening.rows(vectors))
