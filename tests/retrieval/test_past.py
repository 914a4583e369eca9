"""Histories gone through once, and scores worked out as far as somebody looks, against the sources' own arithmetic."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest

from tasteprint.profiling.encoders.encoder import HashEncoder
from tasteprint.profiling.log import EventLog, Requests
from tasteprint.retrieval.engine import Engine, make_engine, one_user
from tasteprint.retrieval.fusion import inverse_scale
from tasteprint.retrieval.past import Past
from tasteprint.retrieval.ranking import PastEvents, events_told, past_events
from tasteprint.retrieval.recommender import PARTS, RecommenderConfig, fit_recommender
from tasteprint.retrieval.scores import Summed, scores_of, weighted_sum
from tasteprint.retrieval.sources.directions import DirectionsConfig
from tasteprint.retrieval.weighing import hopeful, rest_bounds, rest_range, rest_scores

ENCODER = HashEncoder(dim=16, seed=0)
YEAR_S = 365 * 86_400.0


@pytest.fixture(scope="module")
def engine(random_shop) -> Engine:
    train = random_shop(1500, 15, 1200)
    vectors = ENCODER.encode(train.items["title"].tolist(), "item")
    config = RecommenderConfig(directions=DirectionsConfig(counts="log"))  # damped, too
    model = fit_recommender(replace(train, vectors=vectors), config, weights=dict.fromkeys(PARTS, 0.5), encoder=ENCODER)
    return make_engine(model, train.items, train.log, kind="int8")


def request(log: EventLog, now_s: float, texts: tuple[str, ...] = ()) -> Requests:
    return Requests(log, np.array([0]), np.array([len(log)]), np.array([now_s]), texts)


def histories(engine: Engine) -> list[EventLog]:
    return [one_user(engine.log, row) for row in range(engine.log.n_users)]


@pytest.mark.parametrize("later_s", [0.0, 3600.0, YEAR_S])
def test_interests_and_sides_are_those_of_the_batch(engine: Engine, later_s: float) -> None:
    space = engine.recommender.space
    for log in histories(engine):
        requests = request(log, float(log.at_s[-1]) + later_s)
        past = Past.of(engine.recommender, requests)
        wanted = space.shoppers(requests)
        found = space.sides(requests, past.interests(space, float(requests.now_s[0])))
        assert wanted.keys() == found.keys()
        for part, side in wanted.items():
            np.testing.assert_allclose(found[part], side, atol=1e-6)
        taste = space.items["taste"].astype(np.float64)[past.item]
        shares = past.shares("taste_short", space, float(requests.now_s[0]))
        np.testing.assert_allclose(shares @ taste, wanted["taste_short"][0], atol=1e-6)


def test_a_history_may_lie_anywhere_in_a_log(engine: Engine) -> None:
    log, now_s = engine.log, float(engine.log.at_s.max()) + 60.0
    for row, own in enumerate(histories(engine)):
        span = slice(row, row + 1)
        inside = Requests(log, log.user_start[:-1][span], log.user_start[1:][span], np.array([now_s]))
        found, alone = engine.past_of(inside), engine.past_of(request(own, now_s))
        np.testing.assert_array_equal(found.item, alone.item)
        for name in alone.counted:
            np.testing.assert_allclose(found.counts(name, now_s), alone.counts(name, now_s))
        for part in alone.total:
            np.testing.assert_allclose(found.total[part], alone.total[part])


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("later_s", [60.0, YEAR_S])
def test_scores_are_the_sources_own_wherever_one_looks(engine: Engine, asked: bool, later_s: float) -> None:
    rng = np.random.default_rng(0)
    for log in histories(engine)[:6]:
        requests = request(log, float(log.at_s[-1]) + later_s, ("word1 word3",) if asked else ())
        past, total, parts = Past.of(engine.recommender, requests), np.zeros(engine.log.n_items), []
        for name, source in engine.recommender.sources.items():
            wanted, scores = source.scores(requests)[0], scores_of(source, name, past, requests)
            rows = np.concatenate([rng.permutation(engine.log.n_items)[:50], np.unique(log.item[:5])])
            rows = np.unique(rows)[::-1].copy()
            np.testing.assert_allclose(scores.whole, wanted, rtol=1e-5, atol=1e-9)
            np.testing.assert_allclose(scores[rows], wanted[rows], rtol=1e-5, atol=1e-9)
            scale = float(inverse_scale(name, wanted[None], asked=asked)[0])
            assert scores.scale(name, asked=asked) == pytest.approx(scale, rel=1e-5)
            total += 0.3 * wanted
            parts.append((scores, 0.3))
            if (events := scores.events(rows)) is not None:
                assert np.isin(events[0], log.item).all()
                np.testing.assert_allclose(events[1].sum(axis=0) + scores.shared[rows], wanted[rows], rtol=1e-5)
            if isinstance(scores, Summed):
                assert scores.range() == pytest.approx((min(0.0, wanted.min()), wanted.max()), rel=1e-5)
        np.testing.assert_allclose(weighted_sum(parts, engine.log.n_items), total, rtol=1e-4, atol=1e-6)


def test_a_history_is_gone_through_once_and_again_after_the_next_event(engine: Engine) -> None:
    whole = one_user(engine.log, 3)
    before = whole.select(np.arange(len(whole)) < len(whole) - 1)
    now_s = float(whole.at_s[-1]) + 60.0
    first = engine.past_of(request(before, now_s))
    assert engine.past_of(request(before, now_s + YEAR_S)) is first
    assert engine.past_of(request(whole, now_s)) is not first
    fewer = replace(request(whole, now_s), stop=np.array([2]))  # an earlier moment of the same history
    assert len(engine.past_of(fewer).item) <= 2
    asked = {"user": "somebody", "now_s": now_s, "query": "word2 word5", "k": 30, "specificity": 0.2}
    held, fresh = [[engine.answer(**asked, history=log).to_json() for _ in range(2)] for log in (whole, replace(whole))]
    assert held[0] == held[1] == fresh[0] == fresh[1]
    assert held[0] != engine.answer(**asked, history=before).to_json()


def test_what_was_found_lives_no_longer_than_the_history(engine: Engine) -> None:
    log = replace(one_user(engine.log, 1))
    gc.collect()
    kept = len(engine._pasts)
    engine.past_of(request(log, float(log.at_s[-1])))
    assert len(engine._pasts) == kept + 1
    del log
    gc.collect()
    assert len(engine._pasts) == kept


def test_no_winner_is_left_out_of_the_hopeful() -> None:
    rng, left_out = np.random.default_rng(1), 0
    for _ in range(300):
        n, k, slack = 400, int(rng.integers(1, 20)), float(rng.choice([1e-6, 0.05]))
        true = rng.normal(size=n)
        others, late = rng.exponential(size=n).astype(np.float32), rng.uniform(-0.2, 0.3, size=n)
        told = (true + rng.uniform(-slack, slack, size=n)).astype(np.float32)
        dense = np.argsort(-told)[: int(rng.integers(k, 100))]
        top = np.argsort(-others)[:80]
        candidates = np.union1d(dense, top)
        found = hopeful(k, (dense, told[dense]), top, others, (-0.2, 0.3), slack)
        assert np.isin(found, candidates).all()
        assert (np.diff(found) > 0).all()
        score = true + others + late
        best = candidates[np.argsort(-score[candidates])][:k]
        assert np.isin(best, found).all()
        left_out += len(candidates) - len(found)
    assert left_out > 1000
    np.testing.assert_array_equal(hopeful(k, (dense, told[dense]), top, others, (0.0, 0.0), None), candidates)


def test_bounds_of_the_other_blocks_hold(engine: Engine) -> None:
    items, rng = engine.recommender.space.items, np.random.default_rng(2)
    within = rest_range(items)
    rows = np.array([5, 3, 900])
    for _ in range(20):
        vector = rng.normal(size=within.shape[1]).astype(np.float32)
        vector[rng.random(len(vector)) < 0.6] = 0.0
        scores = rest_scores(items, vector)
        low, high = rest_bounds(vector, within)
        assert low <= scores.min()
        assert scores.max() <= high
        whole = np.hstack([items["taste_learned"], items["behaviour"], items["context"]])
        np.testing.assert_allclose(scores, whole @ vector, atol=1e-4)
        np.testing.assert_allclose(rest_scores(items, vector, rows), scores[rows], atol=1e-5)


def test_past_items_of_several_parts_are_told_as_those_of_each() -> None:
    rng = np.random.default_rng(3)
    ids = np.array([f"i{row}" for row in range(300)], dtype=object)
    parts = []
    for n in (0, 3, 64, 65, 200):
        rows = np.sort(rng.permutation(300)[:n])
        amounts = np.round(rng.normal(size=(n, 4)), 1) * (rng.random((n, 4)) < 0.5)  # ties and zeros
        amounts[:, 0] -= 2.0 * (amounts[:, 0] != amounts[:, 0].max(initial=0.0))  # one column where hardly any adds
        parts.append((rows, amounts))
    together = events_told(ids, parts)
    for (rows, amounts), told in zip(parts, together, strict=True):
        assert [tuple(one) for one in told] == [tuple(one) for one in past_events(ids, rows, amounts)]
        for one, column in zip(told, amounts.T, strict=True):
            order = sorted(np.flatnonzero(column).tolist(), key=lambda place: (-abs(column[place]), place))
            assert tuple(one) == tuple((ids[rows[place]], float(column[place])) for place in order)
            assert tuple(one[:5]) == tuple(one)[:5]
            assert len(one) == len(order)
            if isinstance(one, PastEvents):
                for but in ("none", ids[rows[order[0]]]):
                    adding = [event for event, amount in one if amount > 0 and event != but]
                    assert one.strongest(but) == (adding[0] if adding else None)
