"""Scales, reciprocal ranks, the objective and the search for weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tasteprint.evaluation.metrics import ideal_dcg, look_up, ndcg, relevance
from tasteprint.retrieval.fusion import (
    CLEAR,
    FAR,
    Candidates,
    candidates,
    choose_weights,
    inverse_scale,
    inverse_sd,
    likely_weights,
    merge_candidates,
    reciprocal_rank,
)


def test_scales_by_hand() -> None:
    rows = np.array([[1.0, 3.0, 5.0, 7.0], [2.0, 2.0, 2.0, 2.0]], dtype=np.float32)
    np.testing.assert_allclose(inverse_scale("own", rows), [1 / np.sqrt(5), 0], rtol=1e-6)
    np.testing.assert_allclose(inverse_scale("bm25", rows), [1 / 7, 1 / 2], rtol=1e-6)
    assert inverse_scale("meaning", rows).tolist() == [1.0, 1.0]
    np.testing.assert_allclose(inverse_scale("own", rows, asked=True), [1 / 7, 1 / 2], rtol=1e-6)
    np.testing.assert_allclose(inverse_scale("behaviour", rows, asked=True), [1 / np.sqrt(5) / FAR, 0], rtol=1e-6)
    assert inverse_scale("bm25", np.zeros((2, 3))).tolist() == [0.0, 0.0]


def test_scales_do_not_depend_on_the_unit_of_a_part() -> None:
    scores = np.random.default_rng(0).standard_normal((4, 50)).astype(np.float32)
    for part in ("bm25", "own"):
        scores = np.abs(scores)
        once = scores * inverse_scale(part, scores)[:, None]
        again = (1000 * scores) * inverse_scale(part, 1000 * scores)[:, None]
        np.testing.assert_allclose(once, again, rtol=1e-4)
    np.testing.assert_allclose((scores * inverse_sd(scores)[:, None]).std(axis=1), 1.0, rtol=1e-4)


def test_reciprocal_rank_by_hand() -> None:
    first = np.array([[0.9, 0.5, 0.1, 0.0], [1.0, 3.0, 3.0, -2.0]], dtype=np.float32)
    found = reciprocal_rank(first, k=60)
    np.testing.assert_allclose(found, [[1 / 61, 1 / 62, 1 / 63, 0], [1 / 63, 1 / 61, 1 / 61, 0]], rtol=1e-6)
    assert not reciprocal_rank(np.array([[4.0, 4.0, 4.0]])).any()  # a part that knows nothing of a request
    np.testing.assert_allclose(reciprocal_rank(1000 * first[:1]), reciprocal_rank(first[:1]))  # no unit, no scale


def problem(n_requests: int = 40, n_items: int = 60, *, seed: int = 0):
    """Scores of three parts, gains that follow 2 x the first plus 1 x the second, and the truth as `Relevance`."""
    rng = np.random.default_rng(seed)
    parts = {name: rng.standard_normal((n_requests, n_items)).astype(np.float32) for name in ("a", "b", "noise")}
    order = np.argsort(-(2 * parts["a"] + parts["b"]), axis=1)[:, :6]
    gain = np.zeros((n_requests, n_items), dtype=np.float32)
    np.put_along_axis(gain, order, np.array([7, 3, 3, 1, 1, 1], dtype=np.float32)[None], axis=1)
    request, item = np.nonzero(gain)
    truth = relevance(request, item, n_requests, gain=gain[request, item])
    return parts, gain, truth


@pytest.mark.parametrize("weights", [(1.0, 0.0, 0.0), (0.5, 1.0, 0.2), (0.0, 0.0, 1.0)])
def test_the_objective_is_ndcg_of_the_whole_catalogue(weights: tuple[float, ...]) -> None:
    parts, gain, truth = problem()
    found = candidates(parts, gain, ideal_dcg(truth, 10).astype(np.float32), n=60)
    fused = sum(w * p / p.std(axis=1, keepdims=True) for w, p in zip(weights, parts.values(), strict=True))
    ranked = np.argsort(-fused, axis=1)[:, :10]
    expected = ndcg(look_up(ranked, np.ones_like(ranked, dtype=bool), truth), truth, 10).mean()
    assert found.ndcg(weights) == pytest.approx(float(expected), abs=1e-6)


def test_forbidden_items_are_never_counted() -> None:
    parts, gain, truth = problem()
    allowed = np.random.default_rng(5).random(gain.shape) < 0.5
    found = candidates(parts, gain, ideal_dcg(truth, 10).astype(np.float32), allowed=allowed, n=20)
    fused = np.where(allowed, parts["a"], -np.inf)
    ranked = np.argsort(-fused, axis=1)[:, :10]
    expected = ndcg(look_up(ranked, np.take_along_axis(allowed, ranked, 1), truth), truth, 10).mean()
    assert found.ndcg([1.0, 0.0, 0.0]) == pytest.approx(float(expected), abs=1e-6)


def test_padding_never_takes_a_rank() -> None:
    scores = np.array([[-1.0, -2.0, -30.0], [-1.0, -2.0, -3.0]], dtype=np.float32)
    allowed = np.array([[False, False, True], [True, True, True]])
    gain = np.array([[0, 0, 1], [1, 0, 0]], dtype=np.float32)
    found = candidates({"a": scores}, gain, np.ones(2, np.float32), allowed=allowed, n=3)
    assert found.ndcg([1.0]) == 1.0


def test_merged_batches_are_the_whole() -> None:
    parts, gain, truth = problem()
    ideal = ideal_dcg(truth, 10).astype(np.float32)
    batches = [
        candidates({n: p[rows] for n, p in parts.items()}, gain[rows], ideal[rows], n=15)
        for rows in (slice(0, 13), slice(13, 14), slice(14, 40))
    ]
    whole, merged = candidates(parts, gain, ideal, n=15), merge_candidates(batches)
    for weights in ([1, 0, 0], [0.3, 1, 0.1]):
        assert merged.ndcg(weights) == pytest.approx(whole.ndcg(weights), abs=1e-7)


def test_few_candidates_are_no_trouble() -> None:
    gain = np.array([[1.0, 0.0]], dtype=np.float32)
    found = candidates({"a": np.array([[0.0, 1.0]], dtype=np.float32)}, gain, np.ones(1, np.float32), n=150)
    assert found.ndcg([1.0]) == pytest.approx(1 / np.log2(3))
    nothing = candidates({"a": gain}, gain, np.ones(1, np.float32), allowed=np.zeros((1, 2), bool))
    assert nothing.ndcg([1.0]) == 0.0


def worth(found: Candidates, weights: Sequence[float]) -> float:
    return found.reached(found.fused(weights))


def test_deep_lists_count_as_much_as_the_first_page() -> None:
    parts, gain, truth = problem()
    ideal = ideal_dcg(truth, 10).astype(np.float32)
    found = candidates(parts, gain, ideal, n=60)
    ranked = np.argsort(-found.fused([1.0, 0.5, 0.0]), axis=1)
    ordered = np.take_along_axis(found.gain, ranked, axis=1) / np.log2(np.arange(2, ranked.shape[1] + 2))
    by_hand = (ordered[:, :10].sum(axis=1) + ordered[:, :100].sum(axis=1)) / 2 / ideal
    assert worth(found, [1.0, 0.5, 0.0]) == pytest.approx(by_hand.mean(), abs=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_weights_are_found(seed: int) -> None:
    parts, gain, truth = problem(200, seed=seed)
    found = candidates(parts, gain, ideal_dcg(truth, 10).astype(np.float32), n=60)
    weights, reached = choose_weights(found)
    assert reached == pytest.approx(worth(found, list(weights.values())), abs=1e-6)
    assert reached > worth(found, [2.0, 1.0, 0.0]) - 0.02
    assert 1.2 < weights["a"] / weights["b"] < 3.4
    assert weights["noise"] <= 0.1 * weights["a"]


@pytest.mark.parametrize("seed", range(4))
def test_chosen_weights_are_never_worse_than_the_best_part_or_the_start(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = {f"p{n}": rng.standard_normal((20, 40)).astype(np.float32) for n in range(4)}
    gain = (rng.random((20, 40)) < 0.1).astype(np.float32)
    gain[:, 0] = 1.0
    request, item = np.nonzero(gain)
    ideal = ideal_dcg(relevance(request, item, 20), 10).astype(np.float32)
    found = candidates(parts, gain, ideal, n=40)
    weights, reached = choose_weights(found)
    assert reached * (1 + CLEAR) >= max(worth(found, one) for one in np.eye(4))
    assert min(weights.values()) >= 0
    start = {"p0": 1.0, "p3": 0.5}
    assert choose_weights(found, start=start)[1] >= worth(found, [1.0, 0.0, 0.0, 0.5])


def test_parts_that_only_help_together_are_found() -> None:
    """Each of two parts is drowned by a noise that the other takes away; the best single part stands in their way."""
    rng = np.random.default_rng(0)
    truth, noise = rng.standard_normal((60, 50)), 60 * rng.standard_normal((60, 50))
    parts = {"alone": truth + 1.0 * rng.standard_normal((60, 50)), "plus": truth + noise, "minus": truth - noise}
    gain = (truth == truth.max(axis=1, keepdims=True)).astype(np.float32)
    scores = {name: part.astype(np.float32) for name, part in parts.items()}
    found = candidates(scores, gain, np.ones(60, np.float32), n=50)
    one_by_one = choose_weights(found, start={"alone": 1.0})[1]
    weights, reached = choose_weights(found)
    assert reached > one_by_one + 0.1
    assert weights["plus"] / weights["minus"] == pytest.approx(1.0, abs=0.3)


def test_likely_weights_are_those_of_a_logistic_regression() -> None:
    """With two candidates a softmax is a logistic regression on their difference."""
    rng = np.random.default_rng(1)
    values = rng.standard_normal((3, 400, 2)).astype(np.float32)
    difference = (values[:, :, 0] - values[:, :, 1]).T
    first = rng.random(400) < 1 / (1 + np.exp(-difference @ np.array([2.0, 1.0, 0.4])))
    gain = np.stack([first, ~first], axis=1).astype(np.float32)
    sample = Candidates(("a", "b", "c"), values, gain, np.ones((400, 2), dtype=bool), np.ones(400, np.float32))
    by_hand = LogisticRegression(C=1 / (2 * 1e-3 * 400), fit_intercept=False, tol=1e-8).fit(difference, first).coef_[0]
    assert by_hand.min() > 0
    np.testing.assert_allclose(likely_weights(sample), by_hand / by_hand.max(), atol=2e-3)


def test_likely_weights_of_nothing_right_are_none() -> None:
    values, allowed = np.ones((2, 3, 4), dtype=np.float32), np.ones((3, 4), dtype=bool)
    nothing = Candidates(("a", "b"), values, np.zeros((3, 4), np.float32), allowed, np.ones(3, np.float32))
    assert likely_weights(nothing).tolist() == [0.0, 0.0]
    flat = Candidates(("a", "b"), values, np.eye(3, 4, dtype=np.float32), allowed, np.ones(3, np.float32))
    assert likely_weights(flat).tolist() == [0.0, 0.0]
    assert max(choose_weights(flat)[0].values()) == 1.0
