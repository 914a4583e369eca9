"""Rankers: what they learn, that contributions sum, gradients and metrics against other ways of computing them."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from tasteprint.profiling.errors import ArtefactError, ConfigError
from tasteprint.retrieval.second_stage import pool, ranker
from tasteprint.retrieval.second_stage.default import DEFAULT_RANKER, default_ranker
from tasteprint.retrieval.second_stage.ranker import (
    RANKERS,
    LinearRanker,
    RankerConfig,
    RankTable,
    _levels,
    fit_ranker,
)
from tasteprint.retrieval.second_stage.ranker_state import ranker_from_state, ranker_state

NAMES = ("good", "noise", "unknown", "often")


def table(n_requests: int = 60, width: int = 12, *, seed: int = 0, graded: bool = False) -> RankTable:
    """Candidates whose gain depends on the first column; the second is noise, the third is never known."""
    rng = np.random.default_rng(seed)
    count = rng.integers(3, width, n_requests)
    n = int(count.sum())
    values = rng.normal(size=(n, 4)).astype(np.float32)
    values[:, 2] = np.nan
    values[rng.random(n) < 0.3, 3] = np.nan
    score = values[:, 0] + 0.3 * rng.normal(size=n)
    gain = np.where(score > 0.8, np.exp2(np.floor(score)) if graded else 1.0, 0.0).astype(np.float32)
    request = np.repeat(np.arange(n_requests), count)
    ideal = np.array([ideal_of(gain[request == row]) for row in range(n_requests)])
    return RankTable(NAMES, values, gain, count, ideal, rng.normal(size=n).astype(np.float32))


def ideal_of(gain: np.ndarray) -> float:
    best = np.sort(gain)[::-1][:10]
    return float((best / np.log2(np.arange(2, len(best) + 2))).sum())


def test_ndcg_is_that_of_scikit_learn() -> None:
    data = table(graded=True)
    scores = np.random.default_rng(1).normal(size=len(data.gain))
    found, first = data.ndcg(scores), 0
    for row, n in enumerate(data.count):
        gain = data.gain[first : first + n]
        expected = ndcg_score([gain], [scores[first : first + n]], k=10) if gain.any() else 0.0
        assert found[row] == pytest.approx(expected)
        first += n


@pytest.mark.parametrize("at_once", [1, 50, 1_000_000])
def test_places_are_those_of_a_stable_sort(monkeypatch, at_once) -> None:
    monkeypatch.setattr(pool, "_COMPARED", at_once)
    rng = np.random.default_rng(6)
    count = np.array([5, 0, 1, 12, 0, 7, 3, 0])
    scores = rng.integers(0, 4, count.sum()).astype(np.float64)  # many are equal
    scores[3] = -np.inf
    request = np.repeat(np.arange(len(count)), count)
    order = np.lexsort((np.arange(len(scores)), -scores, request))
    want = np.empty(len(scores), dtype=np.int64)
    want[order] = np.arange(len(scores)) - np.repeat(np.cumsum(count) - count, count)
    rows = rng.permutation(len(scores))[:17]
    np.testing.assert_array_equal(pool.standing_before(scores, rows, count), want[rows])
    none = np.zeros(0, dtype=np.int64)
    assert pool.standing_before(np.zeros(0), none, none).shape == (0,)


@pytest.mark.parametrize("kind", RANKERS)
@pytest.mark.parametrize("graded", [False, True])
def test_every_ranker_learns_what_is_there(kind, graded) -> None:
    if kind != "linear":
        pytest.importorskip("lightgbm")
    config = RankerConfig(kind=kind, trees=40, least_rows=5)
    data, other = table(graded=graded), table(seed=1, graded=graded)
    model = fit_ranker(data, config, rng=np.random.default_rng(0), held_out=other)
    reached = other.ndcg(model.scores(other.values)).mean()
    best = other.ndcg(other.values[:, 0]).mean()
    assert reached > 0.9 * best > other.ndcg(other.start).mean()
    again = fit_ranker(data, config, rng=np.random.default_rng(0), held_out=other)
    np.testing.assert_array_equal(model.scores(other.values), again.scores(other.values))


@pytest.mark.parametrize("kind", RANKERS)
def test_contributions_sum_and_states_return(kind) -> None:
    if kind != "linear":
        pytest.importorskip("lightgbm")
    data = table()
    model = fit_ranker(data, RankerConfig(kind=kind, trees=15, least_rows=5), rng=np.random.default_rng(0))
    told = model.contributions(data.values)
    assert told.shape == data.values.shape
    np.testing.assert_allclose(told.sum(axis=1) + model.bias, model.scores(data.values), atol=1e-9)
    np.testing.assert_array_equal(told[:, 2], 0.0)  # a column that was never known says nothing
    arrays, meta = ranker_state(model)
    same = ranker_from_state(arrays, json.loads(json.dumps(meta)))
    np.testing.assert_array_equal(same.scores(data.values), model.scores(data.values))
    assert (same.names, same.bias) == (model.names, model.bias)
    assert model.scores(data.values[:0]).shape == (0,)


def test_linear_weights_are_a_minimum_of_the_loss() -> None:
    """The slope of the loss, computed anew by differences, is 0 in every direction."""
    data = table(20)
    model = fit_ranker(data, RankerConfig(kind="linear", l2=2.0), rng=np.random.default_rng(0))
    request = np.repeat(np.arange(len(data.count)), data.count)
    rows = np.nan_to_num((data.values - model.mean) / model.spread)

    def loss(weight: np.ndarray) -> float:
        total = 0.0
        for row in range(len(data.count)):
            gain = data.gain[request == row]
            if gain.any():
                score = rows[request == row] @ weight
                total -= float(gain / gain.sum() @ (score - np.log(np.exp(score).sum())))
        return total + float(weight @ weight)

    for axis in np.eye(4):
        slope = (loss(model.weight + 1e-4 * axis) - loss(model.weight - 1e-4 * axis)) / 2e-4
        assert slope == pytest.approx(0.0, abs=0.02)


def test_more_pull_makes_smaller_weights() -> None:
    data = table()
    sizes = [
        np.abs(fit_ranker(data, RankerConfig(kind="linear", l2=l2), rng=np.random.default_rng(0)).weight).sum()
        for l2 in (0.0, 10.0, 1000.0)
    ]
    assert sizes[0] > sizes[1] > sizes[2]


def test_nothing_to_learn_from() -> None:
    data = table(5)
    nothing = RankTable(NAMES, data.values, np.zeros_like(data.gain), data.count, data.ideal)
    with pytest.raises(ConfigError, match="at least one candidate"):
        fit_ranker(nothing, rng=np.random.default_rng(0))


def test_without_lightgbm_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ConfigError, match=r"pip install 'tasteprint\[rank\]'"):
        fit_ranker(table(5), RankerConfig(kind="lambdamart"), rng=np.random.default_rng(0))


def test_states_of_unknown_rankers_are_refused() -> None:
    with pytest.raises(ArtefactError, match="train it again"):
        ranker_from_state({}, {"type": "magic", "names": []})
    with pytest.raises(ArtefactError, match="cannot be saved"):
        ranker_state(object.__new__(type("Other", (), {"names": ()})))


def test_the_default_reads_what_a_shop_has() -> None:
    names = ("nobody knows", *DEFAULT_RANKER)
    model = default_ranker(names, asked=False)
    assert isinstance(model, LinearRanker)
    assert model.names == names
    assert model.weight[0] == 0.0
    assert np.isfinite(model.weight).all()
    assert (model.spread > 0).all()
    rows = np.random.default_rng(0).normal(size=(5, len(names))).astype(np.float32)
    few = default_ranker(names[:2], asked=False)
    assert few is not None
    np.testing.assert_allclose(few.contributions(rows[:, :2]), model.contributions(rows)[:, :2])
    assert default_ranker(names, asked=True) is None
    assert default_ranker(("nobody knows",), asked=False) is None


def test_many_gains_become_few_levels() -> None:
    pytest.importorskip("lightgbm")
    data = table()
    rng = np.random.default_rng(0)
    many = RankTable(NAMES, data.values, rng.random(len(data.gain)).astype(np.float32), data.count, data.ideal)
    for kind in ("lambdamart", "xendcg"):
        model = fit_ranker(many, RankerConfig(kind=kind, trees=3, least_rows=5), rng=rng)
        assert np.isfinite(model.scores(data.values)).all()
    levels, label = _levels(many.gain, most=8)
    assert (len(levels), label.min(), label.max()) == (8, 0, 7)
    np.testing.assert_allclose(np.array(levels)[label], many.gain, atol=0.1)
    config = RankerConfig(kind="xendcg", trees=9, least_rows=5)
    few = RankTable(NAMES, data.values, np.array(levels, dtype=np.float32)[label], data.count, data.ideal)
    found, same = (fit_ranker(some, config, rng=np.random.default_rng(0)) for some in (many, few))
    np.testing.assert_array_equal(found.scores(data.values), same.scores(data.values))


def test_xendcg_learns_the_tail_that_lambdamart_cuts_off() -> None:
    pytest.importorskip("lightgbm")
    rng = np.random.default_rng(4)
    values = rng.normal(size=(60 * 80, 2)).astype(np.float32)
    gain = (values[:, 0] > 0).astype(np.float32)  # half of each list is right: most of it stands beyond the cut
    data = RankTable(("good", "noise"), values, gain, np.full(60, 80), np.full(60, 4.5))
    found = {}
    for kind in ("lambdamart", "xendcg"):
        config = RankerConfig(kind=kind, trees=8, least_rows=50, leaves=4, truncation=1)
        model = fit_ranker(data, config, rng=np.random.default_rng(0))
        found[kind] = data.ndcg(model.scores(values), k=40).mean()
        assert f"objective={'rank_xendcg' if kind == 'xendcg' else 'lambdarank'}" in model.text
    assert found["xendcg"] > found["lambdamart"]


def test_lambdamart_is_grown_for_more_ranks_where_there_are_more_candidates() -> None:
    pytest.importorskip("lightgbm")
    rng = np.random.default_rng(5)
    values = rng.normal(size=(20 * 240, 2)).astype(np.float32)
    gain = (values[:, 0] + rng.normal(size=len(values)) > 1).astype(np.float32)

    def grown(width: int, truncation: int | None) -> str:
        n = len(values) // width
        data = RankTable(("good", "noise"), values, gain, np.full(n, width), np.full(n, 4.5))
        config = RankerConfig(trees=3, least_rows=50, leaves=4, truncation=truncation)
        return str(fit_ranker(data, config, rng=np.random.default_rng(0)).text).split("parameters:")[0]

    assert grown(240, None) == grown(240, 30) != grown(240, 20)
    assert grown(80, None) == grown(80, 20) != grown(80, 10)


@pytest.mark.parametrize("kind", ["lambdamart", "xendcg"])
def test_trees_do_not_depend_on_the_number_of_threads(monkeypatch, kind) -> None:
    pytest.importorskip("lightgbm")
    data, options = table(400, graded=True), ranker._tree_options
    grown = set()
    for threads in (1, 2, 3):
        monkeypatch.setattr(
            ranker, "_tree_options", lambda *given, threads=threads: options(*given) | {"num_threads": threads}
        )
        model = fit_ranker(data, RankerConfig(kind=kind, trees=10, least_rows=5), rng=np.random.default_rng(0))
        grown.add(str(model.text).split("parameters:")[0])  # type: ignore[attr-defined]
    assert len(grown) == 1
