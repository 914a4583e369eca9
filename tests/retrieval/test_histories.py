"""Steps, history matrices and pruned rows, against loops."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from tasteprint.profiling.log import Requests
from tasteprint.retrieval.histories import (
    history_matrix,
    history_scores,
    history_sums,
    interaction_matrix,
    keep_largest,
    step_of_event,
    steps_ago,
)


def test_steps_by_hand(make_log) -> None:
    log = make_log([("a", 0, 0), ("a", 1, 0), ("a", 2, 1), ("b", 0, 1), ("b", 0, 1)], 3)
    assert step_of_event(log, "together").tolist() == [0, 0, 1, 2, 2]
    assert step_of_event(log, "sequence").tolist() == [0, 1, 2, 3, 4]
    assert step_of_event(make_log([("a", 0, 0)], 1).select(np.array([False])), "together").tolist() == []


@pytest.mark.parametrize("ties", ["together", "sequence"])
@pytest.mark.parametrize("last", [1, 3, 100])
def test_ages_equal_a_loop(random_shop, ties: str, last: int) -> None:
    log = random_shop().log
    rng = np.random.default_rng(0)
    start = log.user_start[:-1]
    stop = start + rng.integers(0, np.diff(log.user_start) + 1)
    request, event, age = steps_ago(Requests(log, start, stop, np.full(len(start), 2e9)), ties, last=last)
    expected = []
    for r in range(len(start)):
        events = list(range(start[r], stop[r]))[-last:]
        times = sorted({log.at_s[e] for e in events}, reverse=True)
        for position, e in enumerate(events):
            steps = times.index(log.at_s[e]) if ties == "together" else len(events) - 1 - position
            expected.append((r, e, steps))
    assert list(zip(request.tolist(), event.tolist(), age.tolist(), strict=True)) == expected


def test_history_matrix_adds_repeats(make_log, make_requests) -> None:
    log = make_log([("a", 1, 0), ("a", 1, 1), ("a", 2, 2), ("b", 0, 0)], 4)
    requests = make_requests(log)
    request, event = requests.events()
    weight = np.array([1.0, 2.0, -4.0, 8.0])
    dense = history_matrix(requests, request, event, weight).toarray()
    assert dense.tolist() == [[0, 3, -4, 0], [8, 0, 0, 0]]


def test_one_history_gives_what_it_gives_in_a_batch(random_shop) -> None:
    log = random_shop().log
    requests = Requests(log, log.user_start[:-1], log.user_start[1:], np.full(log.n_users, 2e9))
    to_items = sp.random(log.n_items, log.n_items, 0.3, format="csr", rng=np.random.default_rng(0), dtype=np.float32)
    request, event = requests.events()
    sums, scores = (
        history_sums(requests, request, event, log.weight[event]),
        history_scores(requests, request, event, log.weight[event], to_items=to_items),
    )
    np.testing.assert_allclose(scores, sums @ to_items.toarray(), rtol=1e-4, atol=1e-6)
    for row in (0, 1, log.n_users - 1):
        one = requests.take(np.array([row]))
        nobody, mine = one.events()
        weight = log.weight[mine]
        np.testing.assert_allclose(history_sums(one, nobody, mine, weight)[0], sums[row], rtol=1e-6)
        alone = history_scores(one, nobody, mine, weight, to_items=to_items)
        assert (alone.shape, alone.dtype) == ((1, log.n_items), np.float32)
        np.testing.assert_allclose(alone[0], scores[row], rtol=1e-4, atol=1e-6)


def test_interactions_are_binary_and_liked(make_log) -> None:
    rows = [("a", 0, 0), ("a", 0, 1), ("a", 1, 2, {"kind": "impression"}), ("b", 2, 0, {"kind": "review", "rating": 1})]
    log = make_log(rows, 3)
    assert interaction_matrix(log, log.user().astype(np.int64), 2).toarray().tolist() == [[1, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("k", [1, 2, 5, 50])
def test_keep_largest_equals_sorting_with_ties_to_the_left(k: int) -> None:
    rng = np.random.default_rng(k)
    dense = rng.integers(0, 4, (40, 30)).astype(np.float32)  # few values, so many ties at the edge
    matrix = sp.csr_matrix(dense)
    before = (matrix.data.copy(), matrix.indices.copy(), matrix.indptr.copy())
    expected = np.zeros_like(dense)
    for row, values in enumerate(dense):
        best = np.lexsort((np.arange(30), -values))[:k]
        expected[row, best] = values[best]
    np.testing.assert_array_equal(keep_largest(matrix, k).toarray(), expected)
    for old, new in zip(before, (matrix.data, matrix.indices, matrix.indptr), strict=True):
        np.testing.assert_array_equal(old, new)


def test_keep_largest_leaves_an_unsorted_input_as_it_was() -> None:
    parts = (np.array([1.0, 2.0, 3.0]), np.array([2, 0, 1]), np.array([0, 3]))
    matrix = sp.csr_matrix(parts, shape=(1, 3))
    assert keep_largest(matrix, 2).toarray().tolist() == [[2.0, 3.0, 0.0]]
    assert matrix.indices.tolist() == [2, 0, 1]
