"""What every kind of index must do, against numpy: the contract of the stage."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from tasteprint.profiling.errors import ArtefactError
from tasteprint.retrieval.index import (
    INDEXES,
    NO_ROW,
    ApproximateIndex,
    BlockIndex,
    Found,
    IndexConfig,
    ItemIndex,
    build_index,
)
from tasteprint.retrieval.index.approximate import Efforts, block_mix
from tasteprint.retrieval.index.store import open_index, save_index
from tasteprint.retrieval.index.tune import violations

SAVED = [name for name, kind in INDEXES.items() if kind.where == "cpu"]
HERE = [name for name, kind in INDEXES.items() if kind.where in ("cpu", "torch")]
LEAST = {"ivf-flat": 0.9, "ivf-sq8": 0.9, "ivf-pq": 0.85, "ivf-rabitq": 0.85, "hnsw": 0.95}


def shop(n: int = 2000, dim: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Grouped unit vectors, as item texts are, and queries near some of them."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((40, dim))
    rows = centres[rng.integers(40, size=n)] + 0.6 * rng.standard_normal((n, dim))
    queries = rows[rng.integers(n, size=20)] + 0.3 * rng.standard_normal((20, dim))
    return unit(rows), unit(queries)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def built() -> dict[str, ItemIndex]:
    return {kind: build_index(shop()[0], kind=kind) for kind in HERE}


def strict(index: ItemIndex) -> ItemIndex:
    """The index without its exact way out, so that filters meet the structure itself."""
    return replace(index, exact_rows=0) if isinstance(index, ApproximateIndex) else index


def exact(matrix: np.ndarray, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> list[set[int]]:
    products = queries @ matrix.T
    if allowed is not None:
        products = np.where(allowed, products, -np.inf)
    return [{int(r) for r in np.argsort(-line)[:k] if np.isfinite(line[r])} for line in products]


def recall(found: Found, wanted: list[set[int]]) -> float:
    shares = [len(set(found.one(i)[0].tolist()) & rows) / len(rows) for i, rows in enumerate(wanted) if rows]
    return float(np.mean(shares))


def in_order(found: Found, k: int) -> None:
    """Best first, ties by row, no repeats, nothing after the last."""
    for i in range(len(found.rows)):
        rows, scores = found.one(i)
        assert list(zip(-scores, rows, strict=True)) == sorted(zip(-scores, rows, strict=True))
        assert len(set(rows.tolist())) == len(rows) <= k
    rest = np.arange(found.rows.shape[1]) >= found.count[:, None]
    assert (found.rows[rest] == NO_ROW).all()
    assert np.isneginf(found.scores[rest]).all()


@pytest.mark.parametrize("kind", HERE)
@pytest.mark.parametrize("k", [1, 10, 100])
def test_it_finds_nearly_what_numpy_finds(kind: str, k: int, built: dict[str, ItemIndex]) -> None:
    matrix, queries = shop()
    found = built[kind].search_batch(queries, k)
    in_order(found, k)
    assert (found.count == k).all()
    assert recall(found, exact(matrix, queries, k)) >= LEAST.get(kind, 0.9)
    exactly = np.einsum("nkd,nd->nk", matrix[found.rows], queries)
    near = 0.02 if kind == "ivf-sq8" else 1e-5  # kinds that skip rows score candidates exactly
    off = [near if (bound := built[kind].slack(query)) is None else bound for query in queries]
    assert (np.abs(found.scores - exactly).max(axis=1) <= off).all()


@pytest.mark.parametrize("kind", HERE)
def test_a_batch_answers_as_single_queries_do(kind: str, built: dict[str, ItemIndex]) -> None:
    _, queries = shop()
    allowed = np.random.default_rng(5).random(2000) < 0.3
    for may in (None, allowed):
        found = built[kind].search_batch(queries, 7, allowed=may)
        for i, query in enumerate(queries):
            rows, scores = built[kind].search(query, 7, allowed=may)
            np.testing.assert_allclose(scores, found.one(i)[1], atol=1e-5)
            assert len(set(rows.tolist()) ^ set(found.one(i)[0].tolist())) <= 2  # a tie at the border may differ


@pytest.mark.parametrize("kind", HERE)
@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.001])
@pytest.mark.parametrize("way", ["spread", "grouped"])
@pytest.mark.parametrize("fallback", [True, False], ids=["with exact way", "without"])
def test_filters_hold_and_give_k(
    kind: str, share: float, way: str, fallback: bool, built: dict[str, ItemIndex]
) -> None:
    matrix, queries = shop()
    liking = np.random.default_rng(3).random(2000) if way == "spread" else matrix @ unit(np.ones((1, 24)))[0]
    allowed = liking >= np.quantile(liking, 1 - share)
    index = built[kind] if fallback else strict(built[kind])
    found = index.search_batch(queries, 10, allowed=allowed)
    in_order(found, 10)
    assert violations(found, allowed) == 0
    assert (found.count == min(10, int(allowed.sum()))).all()
    assert recall(found, exact(matrix, queries, 10, allowed)) >= LEAST.get(kind, 0.9) - (0 if fallback else 0.2)


@pytest.mark.parametrize("kind", HERE)
def test_nothing_allowed_is_nothing_found(kind: str, built: dict[str, ItemIndex]) -> None:
    _, queries = shop()
    found = strict(built[kind]).search_batch(queries, 5, allowed=np.zeros(2000, dtype=bool))
    assert found.count.tolist() == [0] * 20
    rows, scores = built[kind].search(queries[0], 5, allowed=np.zeros(2000, dtype=bool))
    assert (rows.tolist(), scores.tolist()) == ([], [])


@pytest.mark.parametrize("kind", HERE)
@pytest.mark.parametrize("n", [1, 3, 40])
def test_small_catalogues_and_more_than_there_is(kind: str, n: int) -> None:
    matrix, queries = shop(n)
    index = build_index(matrix, kind=kind)
    for query in queries[:3]:
        rows, _ = index.search(query, n + 5)
        assert sorted(rows.tolist()) == list(range(n))


@pytest.mark.parametrize("kind", HERE)
def test_the_callers_matrix_is_left_alone(kind: str) -> None:
    matrix, queries = shop(300)
    before = matrix.copy()
    build_index(matrix, kind=kind).search(queries[0], 5)
    np.testing.assert_array_equal(matrix, before)


@pytest.mark.parametrize("kind", HERE)
def test_built_twice_it_answers_alike(kind: str, built: dict[str, ItemIndex]) -> None:
    matrix, queries = shop()
    again, first = build_index(matrix, kind=kind).search_batch(queries, 10), built[kind].search_batch(queries, 10)
    np.testing.assert_array_equal(again.rows, first.rows)


@pytest.mark.parametrize("kind", HERE)
def test_what_makes_no_sense_is_refused(kind: str, built: dict[str, ItemIndex]) -> None:
    index, query = built[kind], shop()[1][0]
    with pytest.raises(ValueError, match="query must be 24 finite numbers"):
        index.search(query[:5], 3)
    with pytest.raises(ValueError, match="query must be 24 finite numbers"):
        index.search_batch(np.full((2, 24), np.nan, np.float32), 3)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        index.search(query, 0)
    with pytest.raises(ValueError, match="allowed must be 2000 booleans"):
        index.search(query, 3, allowed=np.ones(1999, dtype=bool))
    with pytest.raises(ArtefactError, match="row 1 is not"):
        build_index(np.array([[0.0], [np.nan]], np.float32), kind=kind)
    with pytest.raises(ArtefactError, match="at least one row"):
        build_index(np.zeros((0, 4), np.float32), kind=kind)


@pytest.mark.parametrize("kind", HERE)
def test_many_threads_get_the_answers_of_one(kind: str, built: dict[str, ItemIndex]) -> None:
    _, queries = shop()
    masks = [None, np.random.default_rng(5).random(2000) < 0.3, np.random.default_rng(6).random(2000) < 0.02]
    asks = [(query, mask) for query in queries for mask in masks] * 2
    index = strict(built[kind])
    wanted = [index.search(query, 5, allowed=mask)[0].tolist() for query, mask in asks]
    with ThreadPoolExecutor(6) as pool:
        got = list(pool.map(lambda ask: index.search(ask[0], 5, allowed=ask[1])[0].tolist(), asks))
    assert got == wanted


@pytest.mark.parametrize("kind", SAVED)
def test_saved_and_opened_it_answers_alike(kind: str, built: dict[str, ItemIndex], tmp_path) -> None:
    _, queries = shop()
    index = strict(built[kind])
    if isinstance(index, ApproximateIndex):
        index = index.tuned(efforts=Efforts((16, 8), {1: 3, 3: 9}, 7), refine=3)
    save_index(index, tmp_path / "i", measured={"recall": 0.9})
    opened = open_index(tmp_path / "i")
    assert (opened.kind, opened.n_items, opened.dim) == (kind, 2000, 24)
    assert opened.slack(queries[0]) == index.slack(queries[0])
    assert opened.resident_bytes == index.resident_bytes
    if isinstance(index, ApproximateIndex) and isinstance(opened, ApproximateIndex):
        assert (opened.efforts, opened.refine, opened.exact_rows) == (index.efforts, 3, 0)
    allowed = np.random.default_rng(5).random(2000) < 0.3
    for may in (None, allowed):
        old, new = index.search_batch(queries, 10, allowed=may), opened.search_batch(queries, 10, allowed=may)
        np.testing.assert_array_equal(old.rows, new.rows)
        np.testing.assert_array_equal(old.scores, new.scores)


@pytest.mark.parametrize("kind", HERE)
def test_the_bytes_it_holds_are_the_bytes_predicted(kind: str) -> None:
    config = IndexConfig(kind=kind, lists=16)
    matrix, _ = shop(8000, 32)
    predicted = INDEXES[kind].sizes(8000, 32, config).resident
    assert build_index(matrix, config=config).resident_bytes == pytest.approx(predicted, rel=0.1)


@pytest.mark.parametrize("kind", ["sq8", "int8"])
@pytest.mark.parametrize("dim", [24, 64])
def test_the_slack_of_8_bits_is_a_bound_that_is_nearly_reached(kind: str, dim: int) -> None:
    matrix, queries = shop(500, dim)
    index = build_index(matrix, kind=kind)
    assert isinstance(index, BlockIndex)
    queries = np.vstack([queries, -matrix[:50], 1e3 * queries[:1], np.eye(1, dim, dtype=np.float32)])
    found, exactly = index.search_batch(queries, 500), queries @ matrix.T
    off = np.abs(found.scores - np.take_along_axis(exactly, found.rows, 1)).max(axis=1)
    slack = np.array([index.slack(query) for query in queries])
    assert (off <= slack).all()
    assert (off > slack / 20).mean() > 0.9


def test_whole_numbers_of_a_query_of_zeros_are_zeros() -> None:
    matrix, _ = shop(50)
    matrix[:, 3] = 0  # a dimension that says nothing
    rows, scores = build_index(matrix, kind="int8").search(np.zeros(24, np.float32), 4)
    assert (rows.tolist(), scores.tolist()) == ([0, 1, 2, 3], [0.0] * 4)


def test_each_mix_of_blocks_has_its_own_effort() -> None:
    matrix, queries = shop()
    queries[1, :16], queries[[0, 3], 16:] = 0, 0
    index = build_index(matrix, config=IndexConfig(kind="ivf-flat", effort=1), widths=(16, 8))
    assert isinstance(index, ApproximateIndex)
    index = replace(index, efforts=Efforts((16, 8), {1: 50, 2: 1000}, 1))
    assert block_mix(queries[:4], (16, 8)).tolist() == [1, 2, 3, 1]
    assert index.efforts.of(queries[:4]).tolist() == [50, 1000, 1, 50]
    found = index.search_batch(queries[:4], 10)
    for i, effort in enumerate([50, 1000, 1, 50]):
        alone = replace(index, efforts=Efforts((24,), {}, effort)).search(queries[i], 10)
        assert found.one(i)[0].tolist() == alone[0].tolist()
    assert set(found.rows[1].tolist()) == exact(matrix, queries[1:2], 10)[0]


@pytest.mark.parametrize("kind", ["ivf-flat", "ivf-sq8"])
def test_groups_without_allowed_rows_are_passed_over(kind: str, built: dict[str, ItemIndex]) -> None:
    matrix, queries = shop()
    index = built[kind]
    assert isinstance(index, ApproximateIndex)
    hits = []
    for query in queries:
        far = matrix @ query < np.quantile(matrix @ query, 0.1)  # none of the nearest groups has one
        rows, _ = index.scanner.scan(query[None], 10, 6, far)
        assert (rows >= 0).all()
        assert far[rows[0]].all()
        hits.append(len(set(rows[0].tolist()) & exact(matrix, query[None], 10, far)[0]))
    assert np.mean(hits) >= 3.5  # of 10, comparing a third of the 200 allowed rows


def test_blocks_must_fill_the_rows() -> None:
    with pytest.raises(ArtefactError, match=r"add up to the 24 dimensions, got \(16, 9\)"):
        build_index(shop(50)[0], kind="flat", widths=(16, 9))


def test_unknown_kinds_name_the_known() -> None:
    with pytest.raises(ArtefactError, match=r"ivf-pq.*got 'lsh'"):
        build_index(np.ones((2, 2), np.float32), kind="lsh")
