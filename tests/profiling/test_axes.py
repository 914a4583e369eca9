"""Axes: whitening, names and levels, against hand figures and what they promise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tasteprint.profiling.axes import level_axes, name_axes, unit_rows, whiten


def test_whitened_rows_have_identity_covariance_before_they_are_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    vectors = unit_rows(rng.standard_normal((500, 12)) @ rng.standard_normal((12, 12)) + 1.0)
    monkeypatch.setattr("tasteprint.profiling.axes.unit_rows", lambda rows: rows)
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
