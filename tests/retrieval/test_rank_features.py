"""Candidates and their features against counting by hand, and what a feature may not look at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tasteprint.profiling.log import Requests
from tasteprint.retrieval.scorer import TrainingSet
from tasteprint.retrieval.second_stage.facts import attribute_rows, fit_rank_facts, pair_counts
from tasteprint.retrieval.second_stage.features import GROUPS, PERSONAL_GROUPS, Asked, rank_features
from tasteprint.retrieval.second_stage.pool import Pool, best_items, make_pool, ranks


def pool_for(items: list[list[int]], *, n_items: int, seed: int = 0) -> Pool:
    rng = np.random.default_rng(seed)
    request = np.repeat(np.arange(len(items)), [len(row) for row in items])
    item = np.array([i for row in items for i in row])
    scores = rng.normal(size=(len(items), n_items)).astype(np.float32)
    parts = {"transitions": scores, "popular": scores[:, ::-1].copy()}
    return make_pool(request, item, n_requests=len(items), parts=parts, fused=scores + 1)


def columns(asked: Asked, group: str) -> dict[str, np.ndarray]:
    found = rank_features(asked, [group])
    return dict(zip(found.names, found.values.T, strict=True))


# Which candidates.


def test_best_items_are_those_of_a_full_sort() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 9, (7, 40)).astype(np.float32)
    scores[2, 5:] = -np.inf
    request, item = best_items(scores, 12)
    for row, line in enumerate(scores):
        order = np.lexsort((np.arange(40), -line))[:12]
        assert item[request == row].tolist() == sorted(order[np.isfinite(line[order])].tolist())
    assert len(best_items(np.zeros((0, 4), np.float32), 3)[0]) == 0


def test_ranks_are_those_of_counting_better_candidates() -> None:
    rng = np.random.default_rng(1)
    count = np.array([4, 1, 0, 9])
    request, values = np.repeat(np.arange(4), count), rng.integers(0, 4, 14).astype(float)
    found = ranks(values, request, count)
    for place in range(14):
        assert found[place] == 1 + ((values > values[place]) & (request == request[place])).sum()


# Facts.


def test_pairs_are_counted_by_distance_and_time(make_log) -> None:
    log = make_log([("a", 0, 0), ("a", 1, 1), ("a", 2, 2), ("a", 1, 2), ("b", 0, 0), ("b", 1, 5)], 4)
    follows, together = pair_counts(log, ties="together")
    of = lambda pairs, a, b: float(pairs.of(np.array([a]), np.array([b]))[0])  # noqa: E731
    assert of(follows, 0, 1) == pytest.approx(1 + 0.5 + 1)  # a: one and two steps later; b: one step later
    assert of(follows, 0, 2) == pytest.approx(0.5)
    assert of(follows, 1, 2) == 1.0
    assert of(follows, 2, 1) == 0.0
    assert of(together, 1, 2) == of(together, 2, 1) == 1.0
    assert of(together, 0, 1) == of(follows, 3, 0) == of(follows, -1, 0) == 0.0
    in_order, _ = pair_counts(log, ties="sequence")
    assert of(in_order, 2, 1) + of(in_order, 1, 2) > 1.0


def test_attributes_weigh_by_rarity(make_items) -> None:
    values = ['{"c": ["red", "x"]}', '{"c": "red", "n": 3}', '{"c": "blue", "n": 3}', None, "[]", '{"c": "lone"}']
    rows = attribute_rows(make_items([f"t{n}" for n in range(6)], attributes=values)).toarray()
    assert rows.shape == (6, 2)  # red and 3: values of one item alone say nothing about likeness
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), [1, 1, 1, 0, 0, 0], atol=1e-6)
    assert rows[0] @ rows[1] == pytest.approx(2**-0.5)
    assert rows[0] @ rows[2] == 0.0


# Features by hand.


@pytest.fixture(scope="module")
def asked(make_log, make_items) -> Asked:
    log = make_log(
        [("a", 0, 0), ("a", 1, 10), ("a", 0, 20), ("a", 2, 20), ("b", 2, 0), ("b", 0, 3), ("c", 3, 1)], n_items=5
    )
    items = make_items(
        ["t"] * 5, category=["x", "x", "y", "y", None], brand=["p", None, "p", "q", "q"], price=[1, 2, 4, 8, np.nan]
    )
    train = TrainingSet(log, items, None, 1e12)
    now = np.array([log.at_s.max() + 86_400.0] * 4)
    start, stop = np.append(log.user_start[:-1], 0), np.append(log.user_start[1:], 0)
    vectors = np.eye(5, 3, dtype=np.float32)
    requests = Requests(log, start, stop, now)
    pool = pool_for([[0, 1, 3, 4], [0, 2], [1], [2, 3]], n_items=5)
    return Asked(pool, requests, fit_rank_facts(train, ties="together"), vectors)


def test_pairs_against_the_last_steps(asked) -> None:
    found = columns(asked, "pairs")
    assert found["last_text"][:4].tolist() == [1.0, 0.0, 0.0, 0.0]  # a's last basket holds items 0 and 2
    assert found["before_text"][:4].tolist() == [0.0, 1.0, 0.0, 0.0]
    assert found["newest_text"][:4].tolist() == [1.0, 1.0, 0.0, 0.0]
    facts = asked.facts
    after = [max(facts.follows.of(np.array([0]), np.array([i]))[0], facts.follows.of(np.array([2]), np.array([i]))[0])
             for i in (0, 1, 3, 4)]  # fmt: skip
    np.testing.assert_allclose(found["last_next"][:4], np.log1p(after), rtol=1e-6)
    assert np.isnan(found["last_text"][-2:]).all()  # nobody's history
    assert found["last_next"][-1] == 0.0


def test_repeats_by_hand(asked) -> None:
    found = columns(asked, "repeats")
    assert found["own_count"][:4] == pytest.approx(np.log1p([2, 1, 0, 0]))
    assert found["own_days"][:2] == pytest.approx(np.log1p([1, 11]))
    assert np.isnan(found["own_days"][2:4]).all()
    assert np.isfinite(found["own_due"][0])
    assert np.isnan(found["own_due"][2])
    assert ((found["item_repeats"] >= 0) & (found["item_repeats"] <= 1))[:2].all()


def test_affinity_and_price_by_hand(asked) -> None:
    found = columns(asked, "affinity")
    assert found["category_share"][:3] == pytest.approx([0.75, 0.75, 0.25])
    assert np.isnan(found["category_share"][3])
    assert found["brand_share"][[0, 2]] == pytest.approx([0.75, 0.0])
    usual = np.mean(np.log([1, 2, 1, 4]))
    assert found["price_above"][:3] == pytest.approx(np.log([1, 2, 8]) - usual, abs=1e-6)
    assert np.isnan(found["price_above"][[3, -1]]).all()


def test_shopper_and_popularity_by_hand(asked) -> None:
    found = columns(asked, "shopper")
    assert found["history"][[0, 4, 6, 7]] == pytest.approx(np.log1p([4, 2, 1, 0]))
    assert found["last_days"][0] == pytest.approx(np.log1p(1))
    assert found["last_day_events"][[0, 4]] == pytest.approx(np.log1p([2, 1]))
    assert found["own_repeats"][[0, 4]] == pytest.approx([0.25, 0.0])
    told = columns(asked, "popularity")
    assert told["count"][:4] == pytest.approx(np.log1p([3, 1, 1, 0]))
    assert "popular" in told
    assert "popular" not in columns(asked, "parts")
    assert "transitions" in columns(asked, "parts")


def test_fused_columns(asked) -> None:
    found = columns(asked, "together")
    assert found["fused_behind"].min() == 0.0
    assert (
        np.exp(found["fused_rank"][:4]).round().astype(int).tolist()
        == (1 + (asked.pool.fused[:4][:, None] < asked.pool.fused[:4]).sum(axis=1)).tolist()
    )


# What features may not do.


def test_features_do_not_see_what_comes_after_the_request(random_shop) -> None:
    train = random_shop(50, 6, 200)
    log = train.log
    facts = fit_rank_facts(train)
    half = (log.user_start[:-1] + log.user_start[1:]) // 2
    now = np.full(log.n_users, log.at_s.max())
    early = Requests(log, log.user_start[:-1], half, now)
    kept = log.select(np.arange(len(log)) < half[log.user()])
    alone = Requests(kept, kept.user_start[:-1], kept.user_start[1:], now)
    pool = pool_for([list(range(0, 50, 3))] * log.n_users, n_items=50)
    ours, theirs = (rank_features(Asked(pool, r, facts, train.vectors), PERSONAL_GROUPS) for r in (early, alone))
    np.testing.assert_array_equal(ours.values, theirs.values)


def test_one_request_at_a_time_is_the_batch(random_shop) -> None:
    train = random_shop(50, 6, 200)
    log, facts = train.log, fit_rank_facts(train, ties="together")
    requests = Requests(log, log.user_start[:-1], log.user_start[1:], np.full(log.n_users, log.at_s.max()))
    pool = pool_for([list(range(n, 50, 7)) for n in range(log.n_users)], n_items=50)
    whole = rank_features(Asked(pool, requests, facts, train.vectors), PERSONAL_GROUPS).values
    for row in range(log.n_users):
        mine = pool.request == row
        parts = {name: values[mine] for name, values in pool.parts.items()}
        one = Pool(np.zeros(int(mine.sum()), int), pool.item[mine], pool.count[[row]], parts, pool.fused[mine])
        asked = Asked(one, requests.take(slice(row, row + 1)), facts, train.vectors)
        np.testing.assert_allclose(rank_features(asked, PERSONAL_GROUPS).values, whole[mine], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_works_on_a_shop_without_events(group, make_log, make_items) -> None:
    empty = make_log([("a", 0, 0)], 3)
    empty = empty.select(np.zeros(1, dtype=bool))
    train = TrainingSet(empty, make_items(["red lamp", "blue lamp", "desk"]), None, 1.0)
    requests = Requests(empty, np.array([0]), np.array([0]), np.array([1.0]), ("red lamp",))
    asked = Asked(
        pool_for([[0, 2]], n_items=3), requests, fit_rank_facts(train, words=True), np.eye(3, dtype=np.float32)
    )
    found = rank_features(asked, [group])
    assert found.values.shape == (2, len(found.names))
    assert set(found.groups) <= {group}
    assert not np.isinf(found.values).any()


def test_a_pool_can_be_cut() -> None:
    pool = pool_for([[0, 1, 2], [3]], n_items=5)
    left = pool.take(np.array([True, False, True, False]))
    assert (left.item.tolist(), left.count.tolist(), len(left)) == ([0, 2], [2, 0], 2)
    np.testing.assert_array_equal(left.parts["popular"], pool.parts["popular"][[0, 2]])
    assert replace(left).fused.shape == (2,)


# The company of the best.


def test_company_by_hand() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(80, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pool = pool_for([list(range(70)), [5], [7, 9, 11]], n_items=80)
    none = np.zeros(3, dtype=np.int64)
    found = columns(Asked(pool, Requests(None, none, none, none.astype(float)), None, vectors), "company")  # type: ignore[arg-type]
    assert np.isnan([found[name][70] for name in found]).all()  # alone: nobody to be like
    for part in (slice(0, 70), slice(71, 74)):
        rows, order = vectors[pool.item[part]], np.argsort(-pool.fused[part])
        for n in (10, 30):
            mean = rows[order[:n]].mean(axis=0)
            np.testing.assert_allclose(found[f"company_{n}"][part], rows @ mean / np.linalg.norm(mean), rtol=1e-5)
        for row in range(len(rows)):
            others = sorted((rows[row] @ rows[o] for o in order[:30] if o != row), reverse=True)[:5]
            assert found["company_near"][part][row] == pytest.approx(np.mean(others), abs=1e-5)
