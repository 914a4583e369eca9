"""The largest of long arrays against a full sort, and runs of places."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from tasteprint.retrieval.largest import entries, largest, spans


@pytest.mark.parametrize("n", [1, 7, 300, 20_000])
@pytest.mark.parametrize("shape", ["normal", "few apart", "all equal", "rising", "not allowed"])
def test_it_is_the_largest(n: int, shape: str) -> None:
    rng = np.random.default_rng(n)
    values = rng.standard_normal(20_000).astype(np.float32)
    if shape == "few apart":
        values = np.zeros_like(values)
        values[rng.integers(20_000, size=40)] = 5.0
    elif shape == "all equal":
        values[:] = 2.0
    elif shape == "rising":
        values = np.sort(values)
    elif shape == "not allowed":
        values[rng.random(20_000) < 0.999] = -np.inf
    found = largest(values, n)
    assert len(set(found.tolist())) == n
    np.testing.assert_array_equal(np.sort(values[found]), np.sort(values)[len(values) - n :])


def test_spans_of_nothing_are_nothing() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert spans(none, none).tolist() == []
    assert spans(np.array([3, 4]), np.array([3, 6])).tolist() == [4, 5]


def test_entries_are_where_rows_and_columns_meet() -> None:
    matrix = sp.random(40, 60, 0.2, format="csr", rng=np.random.default_rng(0), dtype=np.float32)
    row, column = np.array([3, 3, 0, 39]), np.array([59, 0, 17])
    np.testing.assert_array_equal(entries(matrix, row, column), matrix.toarray()[row][:, column].astype(np.float64))
    assert entries(matrix, row[:0], column).shape == (0, 3)
