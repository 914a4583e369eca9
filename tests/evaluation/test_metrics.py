"""Metrics against fractions worked by hand and against scikit-learn."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score

from tasteprint.evaluation import metrics
from tasteprint.evaluation.calibration import expected_calibration_error
from tasteprint.evaluation.metrics import Relevance, look_up, per_request, relevance
from tasteprint.evaluation.ranking import exclude, top_k
from tasteprint.profiling.errors import ConfigError


def truth_of(*rows: dict[int, float], relevant_from: float = 1e-9) -> Relevance:
    pairs = [(r, i, g) for r, row in enumerate(rows) for i, g in row.items()]
    request, item, gain = (np.array(x) for x in zip(*pairs, strict=True))
    return relevance(request, item, len(rows), gain=gain, relevant=gain >= relevant_from)


def test_hand_fractions() -> None:
    ranked = np.array([[4, 7, 2, 9], [1, 2, 3, 4], [0, 1, 2, 3]])
    truth = truth_of({7: 1, 9: 1, 30: 1}, {8: 1}, {2: 1})
    found = look_up(ranked, np.ones_like(ranked, bool), truth)
    got = per_request(found, truth, ("recall@4", "mrr@4", "map@4", "hit@4", "hit@1", "recall@2"))
    assert got["recall@4"].tolist() == [float(Fraction(2, 3)), 0, 1]
    assert got["recall@2"].tolist() == [float(Fraction(1, 3)), 0, 0]
    assert got["mrr@4"].tolist() == [0.5, 0, float(Fraction(1, 3))]
    assert got["map@4"] == pytest.approx([float(Fraction(1, 3) * (Fraction(1, 2) + Fraction(1, 2))), 0, 1 / 3])
    assert got["hit@4"].tolist() == [1, 0, 1]
    assert got["hit@1"].tolist() == [0, 0, 0]


def test_ndcg_ideal_is_cut_at_k_and_at_the_number_relevant() -> None:
    ranked = np.array([[0, 1], [0, 1]])
    truth = truth_of({0: 1, 1: 1, 2: 1}, {1: 1})
    found = look_up(ranked, np.ones_like(ranked, bool), truth)
    value = metrics.ndcg(found, truth, 2)
    assert value[0] == pytest.approx(1.0)  # three relevant, two ranks: a full page is perfect
    assert value[1] == pytest.approx(1 / np.log2(3))


def test_padding_never_hits() -> None:
    truth = truth_of({0: 1})
    found = look_up(np.array([[5, 0]]), np.array([[True, False]]), truth)
    assert not found.hit.any()
    assert metrics.ndcg(found, truth, 2).tolist() == [0]


def test_request_without_relevant_items_has_no_value() -> None:
    truth = relevance(np.array([1]), np.array([3]), 3, gain=np.array([0.0]), relevant=np.array([False]))
    found = look_up(np.zeros((3, 2), int), np.ones((3, 2), bool), truth)
    for key, value in per_request(found, truth, ("ndcg@2", "recall@2", "mrr@2", "map@2", "hit@2")).items():
        assert np.isnan(value).all(), key


def test_ndcg_equals_sklearn_graded() -> None:
    rng = np.random.default_rng(3)
    gains = rng.integers(0, 4, size=(40, 30)).astype(float) * (rng.random((40, 30)) < 0.4)
    scores = rng.permuted(np.arange(30.0)[None].repeat(40, 0), axis=1).astype(np.float32)
    request, item = np.nonzero(gains)
    truth = relevance(request, item, 40, gain=gains[request, item])
    best = top_k(scores, 10)
    ours = metrics.ndcg(look_up(best.items, best.valid, truth), truth, 10)
    theirs = [ndcg_score(gains[[r]], scores[[r]], k=10) for r in range(40)]
    assert ours == pytest.approx(theirs, abs=1e-6)


def test_average_precision_equals_sklearn() -> None:
    rng = np.random.default_rng(4)
    label = rng.random((25, 20)) < 0.3
    label[:, 0] = True
    scores = rng.random((25, 20)).astype(np.float32)
    truth = relevance(*np.nonzero(label), 25)
    best = top_k(scores, 20)
    ours = metrics.average_precision(look_up(best.items, best.valid, truth), truth, 20)
    assert ours.mean() == pytest.approx(label_ranking_average_precision_score(label, scores))


def test_top_k_equals_a_full_sort_with_ties_by_row() -> None:
    rng = np.random.default_rng(5)
    scores = rng.integers(0, 6, size=(50, 200)).astype(np.float32)
    scores[:5] = 0  # all tied
    scores[5:25] -= 3  # boundaries at, above and below 0
    scores[25:30] = -1
    scores[rng.random(scores.shape) < 0.05] = -np.inf
    best = top_k(scores, 20)
    for r in range(50):
        full = sorted(range(200), key=lambda c, r=r: (-scores[r, c], c))[:20]
        assert best.items[r].tolist() == full
        assert best.scores[r].tolist() == scores[r, full].tolist()
    halves = [top_k(scores[:17], 20), top_k(scores[17:], 20)]
    assert np.array_equal(np.concatenate([h.items for h in halves]), best.items)


def test_top_k_pads_when_the_catalogue_is_short() -> None:
    best = top_k(np.array([[1, -np.inf, 2]], dtype=np.float32), 5)
    assert best.valid.tolist() == [[True, True, False, False, False]]
    assert best.items.tolist() == [[2, 0, 0, 0, 0]]


def test_top_k_refuses_nan() -> None:
    for column in range(3):
        scores = np.ones((1, 3), dtype=np.float32)
        scores[0, column] = np.nan
        with pytest.raises(ConfigError, match="NaN"):
            top_k(scores, 1)


def test_exclude_leaves_its_input_alone() -> None:
    scores = np.ones((2, 3), dtype=np.float32)
    masked = exclude(scores, np.array([0, 1]), np.array([2, 0]))
    assert np.isneginf(masked).tolist() == [[False, False, True], [True, False, False]]
    assert scores.tolist() == [[1, 1, 1], [1, 1, 1]]


def test_relevance_take_and_only() -> None:
    truth = relevance(np.array([0, 0, 2, 2, 2]), np.array([4, 1, 9, 7, 8]), 3)
    again = truth.take(np.array([2, 1, 0, 2]))
    assert again.items.tolist() == [7, 8, 9, 1, 4, 7, 8, 9]
    assert np.diff(again.indptr).tolist() == [3, 0, 2, 3]
    assert truth.only(truth.items > 4).count().tolist() == [0, 0, 3]


def test_coverage_novelty_and_gini_by_hand() -> None:
    items = np.array([[0, 1], [0, 3]])
    valid = np.array([[True, True], [True, False]])
    assert metrics.coverage(items, valid, 4) == 0.5
    counts = np.array([3, 0, 1, 0])  # smoothed shares 4/8, 1/8
    assert metrics.novelty(items, valid, counts) == pytest.approx((1 + 3 + 1) / 3)
    shown = np.array([2.0, 1, 0, 0])
    mean_difference = np.abs(shown[:, None] - shown[None]).mean()
    assert metrics.gini(items, valid, 4) == pytest.approx(mean_difference / (2 * shown.mean()))


def test_expected_calibration_error_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.55, 0.55, 0.55, 1.0])
    correct = np.array([True, False, True, True, False, True])
    top = abs(0.95 + 0.95 + 1.0 - 2)
    low = abs(0.55 * 3 - 2)
    assert expected_calibration_error(confidence, correct, bins=10) == pytest.approx((top + low) / 6)
    with pytest.raises(ConfigError, match="confidence"):
        expected_calibration_error(np.array([1.2]), np.array([True]))


def test_unknown_metric_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="ndcg, recall, mrr"):
        metrics.parse_key("auc@10")
