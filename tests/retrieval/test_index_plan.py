"""Planning before building and tuning after it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tasteprint.profiling.errors import ConfigError
from tasteprint.retrieval.index import INDEXES, ApproximateIndex, IndexConfig, build_index
from tasteprint.retrieval.index.config import ServedIndexConfig
from tasteprint.retrieval.index.kinds import EXACT, built_again
from tasteprint.retrieval.index.plan import LARGE, Wishes, plan_index, served_kind
from tasteprint.retrieval.index.tune import exact_rows, ladder, recall_at, tune_index

GB = 10**9


def wishes(rows: int, **other: float) -> Wishes:
    return Wishes.model_validate({"rows": rows, "dims": 384, "memory_bytes": 64 * GB, "bytes_per_s": 8e9, **other})


def test_a_small_catalogue_gets_an_exact_kind() -> None:
    plan = plan_index(wishes(5_000))
    assert INDEXES[plan.kind].exact
    assert "nothing is missed" in plan.why


def test_a_large_one_an_approximate_kind_with_the_reason() -> None:
    plan = plan_index(wishes(1_000_000))
    assert not INDEXES[plan.kind].exact
    assert "no exact kind fits (flat: about" in plan.why
    assert not plan.chosen.against
    assert plan_index(wishes(1_000_000, latency_ms=1e3)).kind in ("flat", "flat-fp16", "sq8")


@pytest.mark.parametrize("memory", [0.4, 0.5, 1.0, 1.7, 2.0, 4.0])
def test_what_is_chosen_fits_into_the_memory(memory: float) -> None:
    asked = wishes(1_000_000, memory_bytes=int(memory * GB), latency_ms=1e4, vectors_on_disk=True)
    chosen = plan_index(asked).chosen
    assert chosen.resident <= asked.memory_bytes
    assert chosen.sizes.build_peak <= asked.memory_bytes


def test_vectors_count_unless_they_stay_on_disk() -> None:
    for on_disk, held in ((False, 10_000 * 384 * 4), (True, 0)):
        choices = plan_index(wishes(10_000, vectors_on_disk=on_disk)).choices
        assert choices["ivf-pq"].resident == choices["ivf-pq"].sizes.resident + held  # what it finds is scored again
        assert choices["flat"].resident == choices["flat"].sizes.resident
    with pytest.raises(ConfigError, match="no kind of index fits: flat: 1,536 MB held, 1,000 MB allowed"):
        plan_index(wishes(1_000_000, memory_bytes=GB))
    assert plan_index(wishes(1_000_000, memory_bytes=GB, vectors_on_disk=True, latency_ms=5)).kind.startswith("ivf")


def test_a_recall_that_codes_cannot_reach_rules_them_out() -> None:
    choices = plan_index(wishes(3_000, recall=0.999)).choices
    assert any("recall 0.975 at best" in reason for reason in choices["sq8"].against)
    assert not choices["flat"].against
    assert plan_index(wishes(3_000, recall=1.0)).kind == "flat"


def test_a_gpu_is_planned_only_where_there_is_one() -> None:
    assert not any(name.startswith("gpu") for name in plan_index(wishes(10_000)).choices)
    plan = plan_index(wishes(10_000_000, gpu_bytes=16 * GB, latency_ms=5))
    assert plan.kind == "gpu-exact"
    assert plan.chosen.sizes.gpu == 10_000_000 * 384 * 2
    too_small = plan_index(wishes(1_000_000, gpu_bytes=GB // 2))
    assert "768 MB on the GPU, 500 MB allowed" in too_small.choices["gpu-exact"].against[-1]


def test_bytes_grow_with_rows_and_groups_are_as_configured() -> None:
    plan = plan_index(wishes(1_000_000), config=IndexConfig(lists=777))
    assert plan.choices["ivf-pq"].config.lists == 777
    for kind in plan.choices:
        small, large = (INDEXES[kind].sizes(n, 384, IndexConfig(kind=kind)) for n in (10_000, 1_000_000))
        assert small.resident < large.resident <= large.build_peak


def test_ladders_start_low_and_end_at_the_most() -> None:
    assert ladder(1) == [1]
    for most in (2, 50, 4096):
        steps = ladder(most)
        assert (steps[0], steps[-1]) == (1, most)
        assert all(b <= 1.3 * a + 1 for a, b in itertools.pairwise(steps))


def grouped(n: int, dim: int = 24) -> np.ndarray:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((30, dim))[rng.integers(30, size=n)] + 0.7 * rng.standard_normal((n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def asked(matrix: np.ndarray, n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    some = matrix[rng.integers(len(matrix), size=n)] + 0.1 * rng.standard_normal((n, 24)).astype(np.float32)
    first, second = some.copy(), some.copy()
    first[:, 16:], second[:, :16] = 0, 0
    return {"first": first, "second": second, "both": some}


def test_the_truth_is_that_of_a_plain_sort() -> None:
    matrix = grouped(700)
    queries = asked(matrix, 5)["both"]
    allowed = np.random.default_rng(0).random(700) < 0.01
    for may in (None, allowed):
        products = queries @ matrix.T if may is None else np.where(may, queries @ matrix.T, -np.inf)
        wanted = np.argsort(-products, axis=1)[:, :10]
        wanted = np.where(np.isneginf(np.take_along_axis(products, wanted, 1)), -1, wanted)
        np.testing.assert_array_equal(exact_rows(matrix, queries, 10, allowed=may), wanted)


@pytest.mark.parametrize("kind", ["ivf-sq8", "ivf-pq", "hnsw"])
def test_tuning_reaches_the_target_on_queries_it_has_not_seen(kind: str) -> None:
    matrix = grouped(4000)
    queries = asked(matrix, 80)
    index = build_index(matrix, config=IndexConfig(kind=kind, effort=1), widths=(16, 8))
    before = {
        mix: recall_at(index.search_batch(some, 10), exact_rows(matrix, some, 10)) for mix, some in queries.items()
    }
    tuned, found = tune_index(index, queries, matrix, target=0.9)
    assert isinstance(tuned, ApproximateIndex)
    assert tuned.efforts.by_blocks == {1: found.efforts["first"], 2: found.efforts["second"], 3: found.efforts["both"]}
    assert min(before.values()) < 0.9
    for mix, some in queries.items():
        assert found.recall[mix] >= 0.87  # the target less the noise of 40 queries
        fresh = recall_at(tuned.search_batch(some[1::2], 10), exact_rows(matrix, some[1::2], 10))
        assert fresh == found.recall[mix]
    assert found.n_queries == dict.fromkeys(queries, 40)


def test_exact_kinds_are_only_measured() -> None:
    matrix = grouped(500)
    index = build_index(matrix, kind="flat")
    same, found = tune_index(index, {"both": asked(matrix, 10)["both"]}, matrix)
    assert same is index
    assert (found.recall, found.met) == ({"both": 1.0}, True)


def test_how_few_rows_are_compared_all_follows_the_clock() -> None:
    matrix = grouped(4000)
    index = build_index(matrix, kind="ivf-flat")
    assert isinstance(index, ApproximateIndex)
    ticks = iter(range(10**6))
    tuned, _ = tune_index(index, asked(matrix, 10), matrix, clock=lambda: float(next(ticks)))
    assert isinstance(tuned, ApproximateIndex)
    assert tuned.exact_rows == 1000  # searching takes as long as 2,000 rows: 4,000 would do, a quarter is the most


def test_tuning_without_queries_is_refused() -> None:
    matrix = grouped(50)
    with pytest.raises(ConfigError, match="at least two of every mix"):
        tune_index(build_index(matrix, kind="flat"), {}, matrix)
    with pytest.raises(ConfigError, match=r"target must lie in \(0, 1\], got 0"):
        tune_index(build_index(matrix, kind="flat"), asked(matrix, 4), matrix, target=0)


def test_rows_are_skipped_from_where_an_exact_search_takes_too_long() -> None:
    within = [n for n in range(10_000, 400_000, 10_000) if served_kind(n, 384, ServedIndexConfig()) in EXACT]
    assert within == list(range(10_000, within[-1] + 1, 10_000))  # up to somewhere, and never again
    choices = plan_index(wishes(within[-1], latency_ms=1e3)).choices
    quickest = served_kind(within[-1], 384, ServedIndexConfig())
    assert choices[quickest].query_ms <= ServedIndexConfig().most_ms
    assert choices[quickest].query_ms == min(choices[kind].query_ms for kind in EXACT)
    assert served_kind(400_000, 384, ServedIndexConfig()) == LARGE
    assert served_kind(400_000, 384, ServedIndexConfig(most_ms=1e3)) == quickest
    assert served_kind(10, 384, ServedIndexConfig(kind="hnsw")) == "hnsw"
    for kind in ("milvus", "gpu-flat", "flta"):
        with pytest.raises(ConfigError, match=f"index.kind must be auto or one of flat,.*got '{kind}'"):
            served_kind(10, 384, ServedIndexConfig(kind=kind))


@pytest.mark.parametrize("kind", ["int8", "ivf-sq8"])
def test_an_index_built_again_over_more_rows_searches_as_hard(kind: str) -> None:
    matrix = grouped(2000)
    index = build_index(matrix[:1500], kind=kind, widths=(16, 8))
    if isinstance(index, ApproximateIndex):
        index, _ = tune_index(index, asked(matrix[:1500], 20), matrix[:1500])
    again = built_again(index, matrix)
    assert (again.kind, again.n_items) == (kind, 2000)
    if isinstance(again, ApproximateIndex):
        assert isinstance(index, ApproximateIndex)
        assert (again.efforts, again.refine) == (index.efforts, index.refine)
    queries = asked(matrix, 20)["both"]
    assert recall_at(again.search_batch(queries, 10), exact_rows(matrix, queries, 10)) > 0.9
