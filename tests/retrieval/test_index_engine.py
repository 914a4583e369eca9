"""An engine over an approximate index: nearly the exact engine's answers, and it says that they are not proven."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder
from tasteprint.retrieval.engine import Engine, make_engine
from tasteprint.retrieval.filters import Filters
from tasteprint.retrieval.index import ApproximateIndex, build_index
from tasteprint.retrieval.recommender import fit_recommender
from tests.retrieval.test_second_stage import with_stage

ENCODER = open_encoder(EncoderConfig(name="hash:24"))
WEIGHTS = {"meaning": 1.0, "taste_long": 0.5, "popular": 0.1}


@pytest.fixture
def exact(random_shop) -> Engine:
    train = random_shop(4000, 10, 400)
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((30, 24))[rng.integers(30, size=4000)] + 0.6 * rng.standard_normal((4000, 24))
    vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    model = fit_recommender(replace(train, vectors=vectors), weights=WEIGHTS, encoder=ENCODER)
    return make_engine(model, train.items, train.log)


@pytest.mark.parametrize("kind", ["ivf-sq8", "ivf-pq", "hnsw"])
def test_its_answers_are_nearly_those_of_the_exact_engine(kind: str, exact: Engine) -> None:
    index = build_index(exact.texts, kind=kind)
    assert isinstance(index, ApproximateIndex)
    engine = replace(exact, index=index)
    now_s = float(exact.log.at_s.max()) + 1
    alike = []
    for number in range(12):
        user = str(exact.log.user_ids[number % exact.log.n_users])
        for filters in (None, Filters(price_max=float(np.nanmedian(exact.facts.price)))):
            wanted = exact.search(f"word{number}", user, now_s=now_s, k=10, filters=filters)
            got = engine.search(f"word{number}", user, now_s=now_s, k=10, filters=filters)
            assert wanted.exact
            assert not got.exact
            assert len(got.items) == len(wanted.items)
            scores = {item.item_id: item.score for item in wanted.items}
            for item in got.items:
                if item.item_id in scores:
                    assert item.score == pytest.approx(scores[item.item_id], abs=1e-5)
            alike.append(len({item.item_id for item in got.items} & scores.keys()) / 10)
    assert np.mean(alike) >= 0.9


@pytest.mark.parametrize(("kind", "proven"), [("int8", True), ("ivf-sq8", False)])
def test_what_a_ranker_orders_is_proven_only_where_its_candidates_are(random_shop, kind: str, proven: bool) -> None:
    train = random_shop(4000, 10, 400)
    train = replace(train, vectors=ENCODER.encode(train.items["title"].tolist(), "item"))
    engine = make_engine(with_stage(train), train.items, train.log, kind=kind)
    user, now_s = str(train.log.user_ids[0]), float(train.log.at_s.max()) + 1
    for ask in ({"query": "word1 word2"}, {"query": "word3", "user": user}):
        answer = engine.answer(now_s=now_s, **ask)
        assert len(answer.items) == 10
        assert answer.exact == proven
