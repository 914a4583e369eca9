"""The block index against numpy, and what it must never return."""

from __future__ import annotations

import numpy as np
import pytest

from tasteprint.profiling.errors import ArtefactError
from tasteprint.retrieval.index import EXACT, BlockIndex, build_index
from tasteprint.retrieval.index import flat as index_module


def off(built: BlockIndex, query: np.ndarray) -> float:
    """How far the index itself says that a score can be from the exact one."""
    return 1e-5 + built.slack(query)


@pytest.fixture(params=[1 << 14, 100], ids=["one shard", "several shards"])
def shard_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(index_module, "_SHARD_ROWS", request.param)
    monkeypatch.setattr(index_module.os, "cpu_count", lambda: 4)
    return request.param


def data(n: int = 350, dim: int = 9, seed: int = 0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, dim)).astype(np.float32), rng.standard_normal((5, dim)).astype(np.float32)


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("k", [1, 10, 350])
def test_it_finds_what_numpy_finds(kind: str, k: int, shard_rows: int) -> None:
    matrix, queries = data()
    built = build_index(matrix, kind=kind)
    assert len(built.shards) == (1 if shard_rows > 350 else 4)
    for query in queries:
        products = matrix.astype(np.float64) @ query
        rows, scores = built.search(query, k)
        assert rows.dtype == np.int64
        assert len(set(rows.tolist())) == k
        np.testing.assert_allclose(scores, products[rows], atol=off(built, query))
        np.testing.assert_allclose(products[rows], np.sort(products)[::-1][:k], atol=2 * off(built, query))
        assert (np.diff(scores) <= 0).all()
        if kind == "flat":
            np.testing.assert_array_equal(rows, np.argsort(-products)[:k])


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("share", [0.5, 0.03])
def test_forbidden_rows_never_come_back(kind: str, share: float, shard_rows: int) -> None:
    matrix, queries = data()
    allowed = np.random.default_rng(2).random(len(matrix)) < share
    built = build_index(matrix, kind=kind)
    for query in queries:
        rows, scores = built.search(query, 40, allowed=allowed)
        assert allowed[rows].all()
        assert len(rows) == len(scores) == min(40, int(allowed.sum()))
        products = np.where(allowed, matrix @ query, -np.inf)
        np.testing.assert_allclose(products[rows], np.sort(products)[::-1][: len(rows)], atol=2 * off(built, query))


@pytest.mark.parametrize("kind", EXACT)
def test_more_than_there_is_gives_what_there_is(kind: str, shard_rows: int) -> None:
    matrix, queries = data(230)
    built = build_index(matrix, kind=kind)
    rows, _ = built.search(queries[0], 1000)
    assert sorted(rows.tolist()) == list(range(230))  # in particular never -1
    nothing, scores = built.search(queries[0], 10, allowed=np.zeros(230, dtype=bool))
    assert (nothing.tolist(), scores.tolist()) == ([], [])
    last = np.zeros(230, dtype=bool)
    last[229] = True
    assert built.search(queries[0], 10, allowed=last)[0].tolist() == [229]


@pytest.mark.parametrize("kind", EXACT)
def test_ties_come_by_row(kind: str, shard_rows: int) -> None:
    matrix = np.ones((250, 3), dtype=np.float32)
    rows, _ = build_index(matrix, kind=kind).search(np.ones(3, dtype=np.float32), 250)
    assert rows.tolist() == list(range(250))


def test_one_item_is_a_catalogue() -> None:
    built = build_index(np.array([[1.0, -2.0]], dtype=np.float32))
    rows, scores = built.search(np.array([1.0, 1.0], dtype=np.float32), 3)
    assert (rows.tolist(), scores.tolist()) == ([0], [-1.0])


def test_the_matrix_is_not_changed() -> None:
    matrix, queries = data()
    before = matrix.copy()
    build_index(matrix).search(queries[0], 5)
    np.testing.assert_array_equal(matrix, before)


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.zeros((0, 3), np.float32), "at least one row"),
        (np.zeros((3, 0), np.float32), "at least one row"),
        (np.array([[1.0], [np.nan]], np.float32), "row 1 is not"),
        (np.array([[np.inf], [0.0]], np.float32), "row 0 is not"),
        (np.array([[1.0], [1e30]], np.float32), "row 1"),
    ],
)
def test_matrices_that_cannot_be_indexed(matrix: np.ndarray, words: str) -> None:
    with pytest.raises(ArtefactError, match=words):
        build_index(matrix, kind="flat-fp16")


def test_unknown_kinds_name_the_known() -> None:
    with pytest.raises(ArtefactError, match="flat, flat-fp16, sq8"):
        build_index(np.ones((2, 2), np.float32), kind="annoy")


@pytest.mark.parametrize("query", [np.ones(4), np.array([1.0, np.nan, 0.0]), np.ones((1, 3))])
def test_queries_that_make_no_sense(query: np.ndarray) -> None:
    with pytest.raises(ValueError, match="query must be 3 finite numbers"):
        build_index(np.eye(3, dtype=np.float32)).search(query.astype(np.float32), 1)
