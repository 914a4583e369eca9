"""Who and where somebody is, and fusion by rank: the engine against the batch recommender."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tasteprint.profiling.context import Context, contexts, contexts_of
from tasteprint.profiling.encoders.encoder import HashEncoder
from tasteprint.profiling.errors import ConfigError, UnknownIdError
from tasteprint.profiling.log import Requests
from tasteprint.retrieval.engine import Engine, make_engine
from tasteprint.retrieval.recommender import DEFAULT_WEIGHTS, fit_recommender
from tasteprint.retrieval.scorer import TrainingSet

ENCODER = HashEncoder(dim=16, seed=0)
ALL = {**DEFAULT_WEIGHTS, "popular": 0.4, "own": 0.2, "behaviour": 0.3, "context": 0.6}


@pytest.fixture(scope="module")
def train(random_shop) -> TrainingSet:
    """A shop where even items sell in the north and odd ones in the south, and one age prefers the first items."""
    shop = random_shop(60, 120, 1500)
    log, rng = shop.log, np.random.default_rng(1)
    place = np.where(rng.random(len(log)) < 0.9, log.item % 2, 1 - log.item % 2)
    log = replace(log, where=contexts(place=np.array(["north", "south"], dtype=object)[place]))
    likes_first = np.bincount(log.user(), log.item, log.n_users) / np.maximum(np.diff(log.user_start), 1) < 19
    users = pd.DataFrame({"user_id": log.user_ids, "age": np.where(likes_first, "60+", "18-25")})
    users.loc[len(users)] = ["newcomer", "60+"]
    vectors = ENCODER.encode(shop.items["title"].tolist(), "item")
    return replace(shop, log=log, vectors=vectors, users=users)


@pytest.fixture(scope="module")
def engine(train: TrainingSet) -> Engine:
    return engine_of(train)


def engine_of(train: TrainingSet, **options) -> Engine:
    model = fit_recommender(train, weights=ALL, encoder=ENCODER, **options)
    return make_engine(model, train.items, train.log, users=train.users, kind="flat")


def expected(engine: Engine, user: str, context: Context, query: str | None = None) -> dict[str, float]:
    row = engine.user_row[user]
    start, stop = engine.log.user_start[[row]], engine.log.user_start[[row + 1]]
    known = (engine.attributes[user],)
    texts = (query,) if query else ()
    now = np.array([context.at_s])
    requests = Requests(engine.log, start, stop, now, texts, contexts_of(context), known)
    return dict(zip(engine.log.item_ids.tolist(), engine.recommender.scores(requests)[0].tolist(), strict=True))


def at(engine: Engine) -> float:
    return float(engine.log.at_s.max()) + 3600.0


@pytest.mark.parametrize("fusion", ["scaled", "reciprocal_rank"])
def test_the_engine_knows_what_the_batch_knows(train: TrainingSet, fusion: str) -> None:
    engine = engine_of(train, fusion=fusion)
    user, context = str(train.log.user_ids[3]), Context(at(engine), place="north")
    oracle = expected(engine, user, context)
    answer = engine.recommend(user, None, context, k=60)
    assert len(answer.items) == 60
    for item in answer.items:
        assert item.score == pytest.approx(oracle[item.item_id], abs=5e-4)
        assert sum(reason.amount for reason in item.reasons) == pytest.approx(item.score, abs=1e-6)
    scores = [item.score for item in answer.items]
    assert scores == pytest.approx(sorted(oracle.values(), reverse=True), abs=5e-4)


def test_past_events_add_up_to_their_part_when_ranks_are_fused(train: TrainingSet) -> None:
    engine = engine_of(train, fusion="reciprocal_rank")
    user = str(train.log.user_ids[5])
    told = [r for item in engine.recommend(user, now_s=at(engine), k=60).items for r in item.reasons if r.events]
    assert {r.part for r in told} >= {"taste_long", "repeat", "transitions"}
    for r in told:
        assert sum(amount for _, amount in r.events) == pytest.approx(r.amount, abs=1e-6)


def test_ranks_are_fused_for_queries_too(train: TrainingSet) -> None:
    engine = engine_of(train, fusion="reciprocal_rank")
    user, context = str(train.log.user_ids[3]), Context(at(engine))
    found = engine.search("word1 word2", user, context, k=60, specificity=1.0)
    oracle = expected(engine, user, context, "word1 word2")
    assert [i.score for i in found.items] == pytest.approx(sorted(oracle.values(), reverse=True), abs=1e-5)
    plain = engine.search("word1 word2", user, context, k=5, weights={"meaning": 1.0})  # weights are always of scores
    meaning = engine.recommender.space.items["meaning"] @ ENCODER.encode(["word1 word2"], "query")[0]
    np.testing.assert_allclose([i.score for i in plain.items], np.sort(meaning)[::-1][:5], atol=1e-6)


def test_what_sells_there_is_shown_there(engine: Engine) -> None:
    user = str(engine.log.user_ids[0])
    odd = {}
    for place in ("north", "south"):
        answer = engine.answer(user=user, context=Context(at(engine), place=place), k=10, weights={"context": 1.0})
        odd[place] = sum(int(item.item_id[1:]) % 2 for item in answer.items)
        assert all(r.part == "context" for item in answer.items for r in item.reasons)
    assert odd["north"] <= 2
    assert odd["south"] >= 8
    unknown = engine.answer(user=user, context=Context(at(engine), place="elsewhere"), k=10)
    silent = engine.answer(user=user, now_s=at(engine), k=10)
    assert unknown.to_json() == silent.to_json()


def test_a_newcomer_starts_from_what_shoppers_alike_choose(engine: Engine) -> None:
    now_s = at(engine)
    nobody = engine.answer(now_s=now_s, k=60)
    newcomer = engine.recommend("newcomer", now_s=now_s, k=60)
    assert newcomer.to_json() != nobody.to_json()
    assert newcomer.to_json() == engine.answer(attributes={"age": "60+"}, now_s=now_s, k=60).to_json()
    assert engine.recommend("stranger", now_s=now_s, k=60, attributes={"age": "60+"}).to_json() == newcomer.to_json()
    popular = [
        {i.item_id: i.score for i in engine.answer(attributes=who, now_s=now_s, k=60, weights={"popular": 1.0}).items}
        for who in ({"age": "60+"}, {"age": "18-25"})
    ]
    gain = [popular[0][item_id] - popular[1][item_id] for item_id in engine.log.item_ids]
    assert np.sum(gain[:19]) > 1 > -1 > np.sum(gain[19:])
    alike = [r.amount for item in newcomer.items for r in item.reasons if r.part == "alike"]
    assert max(alike) > 0 > min(alike)
    assert any("shoppers like you" in item.sentence for item in newcomer.items)


def test_what_is_not_known_is_said(engine: Engine) -> None:
    with pytest.raises(UnknownIdError, match="stranger"):
        engine.recommend("stranger", now_s=at(engine))
    with pytest.raises(ConfigError, match="got both"):
        engine.answer(context=Context(1e9), now_s=1e9)
    with pytest.raises(ConfigError, match="time in seconds"):
        engine.answer(context=Context(float("nan")))
