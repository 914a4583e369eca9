"""Parts without a weight that the second stage reads: served as in the batch, told, kept, and of no use without it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tasteprint.profiling.encoders.encoder import HashEncoder
from tasteprint.profiling.log import EventLog, Requests
from tasteprint.retrieval.catalogue.update import apply_items
from tasteprint.retrieval.engine import Engine, make_engine
from tasteprint.retrieval.fusion import inverse_scale
from tasteprint.retrieval.recommender import Recommender, fit_recommender, weighed
from tasteprint.retrieval.scorer import TrainingSet
from tasteprint.retrieval.second_stage.facts import fit_rank_facts
from tasteprint.retrieval.second_stage.features import Asked, rank_features
from tasteprint.retrieval.second_stage.ranker import LinearRanker
from tasteprint.retrieval.second_stage.stage import SecondStage, feature_groups
from tasteprint.retrieval.state import recommender_from_state, recommender_state

ENCODER = HashEncoder(dim=24, seed=0)
WEIGHTS = {"meaning": 1.0, "recent_popular": 0.4, "taste_short": 0.2}
READ = ("bm25", "taste_long", "behaviour", "popular", "own", "transitions", "text_neighbours")
DEPTH = 25


@pytest.fixture(scope="module")
def train(random_shop) -> TrainingSet:
    train = random_shop(120, 10, 400)
    return replace(train, vectors=ENCODER.encode(train.items["title"].tolist(), "item"))


def everybody(log: EventLog, texts: tuple[str, ...] = ()) -> Requests:
    now_s = np.full(log.n_users, float(log.at_s.max()) + 3600.0)
    return Requests(log, log.user_start[:-1], log.user_start[1:], now_s, texts * log.n_users)


def fitted(train: TrainingSet, also: tuple[str, ...] = READ) -> Recommender:
    """A first stage of a few parts with an untrained ranker that reads all columns of the others too."""
    model = fit_recommender(train, weights=WEIGHTS, newcomer_weights={"popular": 1.0}, encoder=ENCODER, also=also)
    rng, stages = np.random.default_rng(3), {}
    for name, texts in (("second", ()), ("second_search", ("word1 word2",))):
        facts, groups = fit_rank_facts(train, words=bool(texts)), feature_groups(asked=bool(texts))
        requests = everybody(train.log, texts)
        _, pool = model.candidates(requests, depth=DEPTH)
        names = rank_features(Asked(pool, requests, facts, model.text_rows), groups).names
        n = len(names)
        ranker = LinearRanker(names, rng.normal(size=n), rng.uniform(0.5, 2, n), rng.normal(size=n))
        stages[name] = SecondStage(ranker, facts, groups, DEPTH)
    return replace(model, **stages)


@pytest.fixture(scope="module")
def engine(train) -> Engine:
    return make_engine(fitted(train), train.items, train.log, kind="flat")


def test_they_are_read_and_no_part_of_the_sum(train, engine) -> None:
    model, requests = engine.recommender, everybody(train.log)
    assert model.reads == READ
    assert {"popular", "own", "transitions", "text_neighbours", "bm25"} <= set(model.sources)
    total, parts = model.first_stage(requests, keep=True)
    assert set(parts) == {"recent_popular", "taste_short", *READ} - {"bm25"}
    np.testing.assert_array_equal(total, fitted(train, ()).first_stage(requests)[0])
    for name, raw in model.part_scores(requests, ("transitions", "behaviour")):
        np.testing.assert_allclose(parts[name], raw * inverse_scale(name, raw)[:, None], rtol=1e-6)
    assert set(model.first_stage(everybody(train.log, ("word1",)), keep=True)[1]) == {"meaning", "bm25"}
    stage = model.stage_for(asked=False)
    assert stage is not None
    assert {"own", "own_rank", "behaviour"} <= set(stage.model.names)


@pytest.mark.parametrize("texts", [(), ("word1 word2",)])
def test_the_engine_gives_the_order_of_the_batch(engine, texts) -> None:
    requests = everybody(engine.log, texts)
    scores = engine.recommender.scores(requests)
    query = texts[0] if texts else None
    for user in range(6):
        options = {"now_s": float(requests.now_s[user]), "k": DEPTH, "specificity": 1.0 if texts else None}
        answer = engine.answer(user=str(engine.log.user_ids[user]), query=query, **options)
        rows = [engine.facts.row(item.item_id) for item in answer.items]
        assert (np.diff(scores[user][rows]) <= 1e-4).all()
        assert np.delete(scores[user], rows).max() < scores[user][rows].min()


def test_reasons_tell_them_with_their_events_and_sum_to_the_score(engine) -> None:
    told, shared = set(), set()
    for user in engine.log.user_ids[:6]:
        options = {"user": str(user), "now_s": float(engine.log.at_s.max()) + 3600.0, "k": 12}
        plain = engine.answer(explain=False, **options).items
        for item, same in zip(engine.answer(**options).items, plain, strict=True):
            assert sum(reason.amount for reason in item.reasons) == pytest.approx(item.score, abs=1e-9)
            assert item.score == pytest.approx(same.score, abs=1e-4)
            told |= {reason.part for reason in item.reasons}
            shared |= {r.part for r in item.reasons if any(amount for _, amount in r.events)}
            for reason in (reason for reason in item.reasons if reason.events):
                assert sum(a for _, a in reason.events) <= reason.amount + 1e-5 * max(1.0, abs(reason.amount))
    assert {"taste_long", "behaviour", "own", "transitions", "text_neighbours"} <= told
    assert {"taste_long", "own", "text_neighbours"} <= shared


def test_newcomers_and_callers_weights_do_not_know_them(train, engine) -> None:
    without = make_engine(fitted(train, ()), train.items, train.log, kind="flat")
    now_s = float(train.log.at_s.max()) + 3600.0
    for options in ({"user": "new", "attributes": {}}, {"user": str(train.log.user_ids[0]), "weights": {"taste": 1.0}}):
        mine, theirs = (one.answer(now_s=now_s, **options).items for one in (engine, without))
        assert [(item.item_id, item.score) for item in mine] == [(item.item_id, item.score) for item in theirs]


def test_weighed_keeps_those_that_are_read(train) -> None:
    every = fit_recommender(train, weights=dict.fromkeys((*WEIGHTS, *READ), 1.0), encoder=ENCODER)
    again = weighed(every, weights=WEIGHTS, newcomer_weights={"popular": 1.0}, also=READ)
    fresh = fit_recommender(train, weights=WEIGHTS, newcomer_weights={"popular": 1.0}, encoder=ENCODER, also=READ)
    assert (again.reads, list(again.sources), dict(again.weights)) == (READ, list(fresh.sources), dict(fresh.weights))
    requests = everybody(train.log)
    for name, part in again.first_stage(requests, keep=True)[1].items():
        np.testing.assert_array_equal(part, fresh.first_stage(requests, keep=True)[1][name])
    assert weighed(every, weights=WEIGHTS, newcomer_weights={}).reads == ()


def test_a_taste_model_that_is_not_there_is_not_read(train) -> None:
    assert fit_recommender(train, weights=WEIGHTS, also=("taste_learned", "own", "meaning")).reads == ("own",)


def test_state_round_trip(engine) -> None:
    arrays, meta = recommender_state(engine.recommender)
    again = recommender_from_state(arrays, json.loads(json.dumps(meta)), encoder=ENCODER)
    assert again.reads == READ
    for texts in ((), ("word1 word5",)):
        requests = everybody(engine.log, texts)
        np.testing.assert_array_equal(again.scores(requests), engine.recommender.scores(requests))


def test_new_items_are_read_too(engine, train) -> None:
    items = train.items.iloc[:2].assign(item_id=["new1", "new2"])
    changed = apply_items(engine, items, ENCODER.encode(items["title"].tolist(), "item"))
    log = changed.log
    scores = changed.recommender.scores(everybody(log))
    assert scores.shape[1] == engine.log.n_items + 2
    for user in range(3):
        answer = changed.recommend(str(log.user_ids[user]), now_s=float(log.at_s.max()) + 3600.0, k=DEPTH)
        rows = [changed.facts.row(item.item_id) for item in answer.items]
        assert (np.diff(scores[user][rows]) <= 1e-4).all()
