"""Signs that choose whom to compare behind a rare filter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasteprint.retrieval.index import INDEXES, ApproximateIndex, IndexConfig, build_index
from tasteprint.retrieval.index import approximate as approximate_module
from tasteprint.retrieval.index.sketch import make_sketch
from tasteprint.retrieval.index.store import open_index, save_index
from tasteprint.retrieval.index.tune import exact_rows, recall_at, violations


def shop(n: int = 6000, dim: int = 70) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((40, dim))[rng.integers(40, size=n)] + 0.7 * rng.standard_normal((n, dim))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    queries = (rows[rng.integers(n, size=30)] + 0.05 * rng.standard_normal((30, dim))).astype(np.float32)
    queries[:10, :50], queries[10:20, 50:] = 0, 0
    return rows, queries


def test_the_choice_is_that_of_weighted_signs_counted_one_by_one() -> None:
    matrix, queries = shop(500)
    sketch = make_sketch(matrix)
    above = matrix > matrix.mean(axis=0)
    rows = np.flatnonzero(np.random.default_rng(1).random(500) < 0.6)
    for query in queries:
        weight = np.abs(query) * matrix.std(axis=0)
        level = np.minimum(weight / weight.max() * 4, 3).astype(int)
        off = ((above[rows] != (query > 0)) * level).sum(axis=1)
        chosen = sketch.likeliest(rows, query, 40)
        assert len(set(chosen.tolist())) == 40
        assert set(chosen.tolist()) <= set(rows.tolist())
        mine = np.sort(off[np.searchsorted(rows, chosen)])
        assert np.abs(mine - np.sort(off)[:40]).max() <= 6  # means in float32 turn a bit here and there
    assert sketch.likeliest(rows[:30], queries[0], 40) is not None
    assert len(sketch.likeliest(rows[:30], queries[0], 40)) == 30
    assert len(sketch.likeliest(rows, np.zeros(70, np.float32), 40)) == 40  # a query of nothing is no error


@pytest.mark.parametrize("kind", ["ivf-pq", "hnsw"])
def test_rare_filters_are_answered_from_it(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, queries = shop()
    config = IndexConfig(kind=kind, sketch=True)
    index = build_index(matrix, config=config)
    assert isinstance(index, ApproximateIndex)
    assert index.resident_bytes == pytest.approx(INDEXES[kind].sizes(6000, 70, config).resident, rel=0.1)
    assert build_index(matrix, kind=kind).resident_bytes == index.resident_bytes - 6000 * 16
    index = replace(index, exact_rows=20)
    monkeypatch.setattr(approximate_module, "_RARE", 0.2)
    monkeypatch.setattr(approximate_module, "_LIKELY", 150)
    used: list[int] = []
    sketched = ApproximateIndex._sketched
    monkeypatch.setattr(ApproximateIndex, "_sketched", lambda self, *rest: used.append(1) or sketched(self, *rest))
    for share in (0.15, 0.03):
        allowed = np.random.default_rng(2).random(6000) < share
        found = index.search_batch(queries, 10, allowed=allowed)
        assert used
        assert violations(found, allowed) == 0
        assert (found.count == 10).all()
        assert recall_at(found, exact_rows(matrix, queries, 10, allowed=allowed)) >= 0.95
        for i, query in enumerate(queries[:5]):
            assert index.search(query, 10, allowed=allowed)[0].tolist() == found.one(i)[0].tolist()
    save_index(index, tmp_path / "i")
    again = open_index(tmp_path / "i").search_batch(queries, 10, allowed=allowed)
    np.testing.assert_array_equal(again.rows, found.rows)


def test_small_indexes_keep_none_and_large_ones_do() -> None:
    sizes = [INDEXES["ivf-pq"].sizes(n, 64, IndexConfig(kind="ivf-pq", lists=100)).resident for n in (199_999, 200_000)]
    assert sizes[1] - sizes[0] > 200_000 * 8
    without = INDEXES["ivf-pq"].sizes(200_000, 64, IndexConfig(kind="ivf-pq", lists=100, sketch=False)).resident
    assert without < sizes[0] + 100
