"""The pipeline as one thing: parts added up, saved and loaded, and weights learned on validation only."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tasteprint.evaluation.first_stage import TasteprintConfig, choose_first, choose_settings, default_weights
from tasteprint.evaluation.metrics import look_up, ndcg
from tasteprint.evaluation.pipeline import fit_chosen
from tasteprint.evaluation.protocol import Options, make_split
from tasteprint.evaluation.rank import measure, rank
from tasteprint.profiling.encoders.encoder import HashEncoder
from tasteprint.profiling.log import event_log
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.retrieval.fusion import inverse_scale
from tasteprint.retrieval.recommender import (
    DEFAULT_WEIGHTS,
    NEWCOMER_PARTS,
    PARTS,
    PERSONAL_PARTS,
    SEARCH_PARTS,
    SOURCES,
    RecommenderConfig,
    fit_recommender,
    weighed,
)
from tasteprint.retrieval.scorer import TrainingSet
from tasteprint.retrieval.state import log_arrays, log_from_arrays, recommender_from_state, recommender_state
from tests.taste_stand_in import random_taste

ENCODER = HashEncoder(dim=24, seed=0)


@pytest.fixture(scope="module")
def shop():
    return tiny_shop()


@pytest.fixture(scope="module")
def train(shop) -> TrainingSet:
    log = event_log(shop.events, shop.items["item_id"].tolist(), rating_scale="1-5")
    vectors = ENCODER.encode(shop.items["title"].tolist(), "item")
    return TrainingSet(log, shop.items, vectors, float(log.at_s.max()) + 1)


def test_parts_are_named_once() -> None:
    assert len(set(PARTS)) == len(PARTS)
    assert set(SOURCES) <= set(PARTS)
    assert set(DEFAULT_WEIGHTS) <= set(PARTS)


@pytest.mark.parametrize("asked", [False, True])
def test_the_score_is_the_weighted_sum_of_scaled_parts(train, make_requests, asked: bool) -> None:
    weights = {name: 0.1 * (n + 1) for n, name in enumerate(PARTS)}
    model = fit_recommender(train, weights=weights, encoder=ENCODER, taste_model=random_taste(train.log.n_items))
    requests = make_requests(train.log, ["garden hose"] * train.log.n_users if asked else ())
    expected = np.zeros((len(requests), train.log.n_items))
    told = set()
    for name, part in model.part_scores(requests):
        told.add(name)
        if (name in SEARCH_PARTS) == asked:  # a query that is taken as specific is not personal, and nobody searches
            scale = inverse_scale(name, part, asked=asked)
            expected += weights[name] * scale[:, None].astype(np.float64) * part
    found = model.scores(requests)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert told == set(PARTS) if asked else set(PARTS) - {"meaning"}


def test_parts_without_weight_are_not_built(train) -> None:
    model = fit_recommender(train, weights={"popular": 1.0, "own": 0.0, "taste_long": 2.0})
    assert list(model.weights) == ["taste_long", "popular"]
    assert list(model.sources) == ["popular"]
    config = RecommenderConfig(parts=("popular", "own"))
    assert set(fit_recommender(train, config).weights) == {"popular", "own"}


def test_a_precise_query_is_not_personal_and_a_vague_one_is(train) -> None:
    model = fit_recommender(train, weights=DEFAULT_WEIGHTS)
    assert model.request_weights(has_text=False)["bm25"] == 0.0
    assert model.request_weights(has_text=False)["repeat"] == DEFAULT_WEIGHTS["repeat"]
    precise, vague = (model.request_weights(has_text=True, specificity=s) for s in (1.0, 0.0))
    assert precise["bm25"] == vague["bm25"] == DEFAULT_WEIGHTS["bm25"]
    assert precise["repeat"] == 0.0
    personal = [name for name in vague if name not in SEARCH_PARTS]
    assert sum(vague[name] for name in personal) == pytest.approx(model.personalisation)
    unit = vague["repeat"] / DEFAULT_WEIGHTS["repeat"]
    assert [vague[name] for name in personal] == pytest.approx([unit * DEFAULT_WEIGHTS[name] for name in personal])


def test_the_size_of_personal_weights_does_not_drown_words(train) -> None:
    larger = {name: w if name in SEARCH_PARTS else 40 * w for name, w in DEFAULT_WEIGHTS.items()}
    usual, large = (fit_recommender(train, weights=weights) for weights in (DEFAULT_WEIGHTS, larger))
    for newcomer in (False, True):
        asked = [m.request_weights(has_text=True, specificity=0.3, newcomer=newcomer) for m in (usual, large)]
        assert asked[1] == pytest.approx(asked[0])
    assert large.request_weights(has_text=False)["repeat"] == 40 * DEFAULT_WEIGHTS["repeat"]
    nobody = fit_recommender(train, weights={"bm25": 1.0})
    assert nobody.request_weights(has_text=True, specificity=0.0) == {"bm25": 1.0}


def test_without_vectors(train, make_requests) -> None:
    model = fit_recommender(replace(train, vectors=None), weights=DEFAULT_WEIGHTS)
    assert np.isfinite(model.scores(make_requests(train.log))).all()


def test_state_round_trip(train, make_requests) -> None:
    model = fit_recommender(train, weights=dict.fromkeys(PARTS, 1.0), encoder=ENCODER, exclude_seen=True)
    arrays, meta = recommender_state(model)
    again = recommender_from_state(arrays, json.loads(json.dumps(meta)), encoder=ENCODER)
    for texts in ((), [f"garden {n}" for n in range(train.log.n_users)]):
        requests = make_requests(train.log, texts)
        np.testing.assert_array_equal(again.scores(requests), model.scores(requests))
    assert (again.exclude_seen, again.personalisation) == (True, model.personalisation)
    log = log_from_arrays(log_arrays(train.log), train.log.user_ids, train.log.item_ids)
    requests = make_requests(log)
    np.testing.assert_array_equal(again.scores(requests), model.scores(make_requests(train.log)))


# Learning on validation.


def validation(shop, train, protocol: str):
    split = make_split(shop, protocol, Options(), stage="valid")
    return TrainingSet(split.train, shop.items, train.vectors, split.until_s), split


@pytest.mark.parametrize("protocol", ["time_split", "search_full"])
def test_what_validation_promises_is_what_full_ranking_gives(shop, train, protocol: str) -> None:
    """The search looks at candidates only; with as many candidates as items its NDCG is the real one."""
    before, split = validation(shop, train, protocol)
    learned = choose_first(before, split, rng=np.random.default_rng(0), encoder=ENCODER)[0]
    model = fit_recommender(before, learned.recommender, weights=learned.weights, encoder=ENCODER)
    if protocol == "time_split":
        split = split.take(np.flatnonzero(split.requests.stop > split.requests.start))
    scores = model.scores(split.requests).astype(np.float64)
    if split.exclude_seen:
        raise AssertionError("the tiny shop buys things again")
    ranked = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    value = np.nan_to_num(ndcg(look_up(ranked, np.ones_like(ranked, dtype=bool), split.truth), split.truth, 10)).mean()
    assert learned.ndcg == pytest.approx(float(value), abs=2e-3)  # ties are broken in another order
    parts = SEARCH_PARTS if protocol == "search_full" else PERSONAL_PARTS
    assert set(learned.weights) <= set(parts)
    assert set(learned.single) == set(parts) - {"taste_learned"}  # nothing was trained
    assert learned.ndcg >= max(learned.single.values()) - 1e-9
    assert min(learned.weights.values()) >= 0


@pytest.mark.parametrize("protocol", ["time_split", "search_full"])
def test_parts_fitted_once_and_weighed_rank_as_those_fitted_for_the_weights(shop, train, protocol: str) -> None:
    before, split = validation(shop, train, protocol)
    learned, parts = choose_first(before, split, rng=np.random.default_rng(0), encoder=ENCODER)
    again = fit_chosen(before, learned, split, encoder=ENCODER)
    found = weighed(parts, weights=learned.weights, newcomer_weights=learned.newcomer_weights, gate=learned.gate)
    assert found.weights == again.weights
    assert found.newcomer_weights == again.newcomer_weights
    assert set(found.sources) == set(again.sources)
    np.testing.assert_allclose(found.scores(split.requests), again.scores(split.requests), rtol=1e-5, atol=1e-5)


def test_newcomers_have_weights_of_their_own(shop, train, make_requests) -> None:
    before, split = validation(shop, train, "time_split")
    learned = choose_first(before, split, rng=np.random.default_rng(0))[0]
    assert set(learned.newcomer_weights) <= set(NEWCOMER_PARTS)
    assert learned.newcomer_weights
    model = fit_recommender(before, weights={"own": 1.0, "context": 9.0}, newcomer_weights={"popular": 2.0})
    requests = make_requests(train.log)
    requests = replace(requests, start=np.where(np.arange(len(requests)) % 2, requests.start, requests.stop))
    found = model.scores(requests)
    popular = fit_recommender(before, weights={"popular": 1.0}).scores(requests)
    known = fit_recommender(before, weights={"own": 1.0, "context": 9.0}).scores(requests)
    np.testing.assert_allclose(found[::2], 2 * popular[::2], rtol=1e-5)
    np.testing.assert_allclose(found[1::2], known[1::2], rtol=1e-5)


def test_weights_of_newcomers_are_the_best_that_popularity_and_context_reach(shop, train) -> None:
    before, split = validation(shop, train, "time_split")
    learned = choose_first(before, split, rng=np.random.default_rng(0))[0]
    hidden = replace(split, requests=replace(split.requests, start=split.requests.stop))

    def reached(weights: dict[str, float]) -> float:
        model = fit_recommender(before, weights=weights, newcomer_weights=weights)
        return float(np.nanmean(measure(rank(model, hidden), hidden)["ndcg@10"]))

    best = reached(dict(learned.newcomer_weights))
    assert best >= max(reached({name: 1.0}) for name in ("popular", "recent_popular", "context")) - 2e-3


def test_learning_is_deterministic_and_reads_no_test_event(shop, train) -> None:
    before, split = validation(shop, train, "time_split")
    learned = choose_first(before, split, rng=np.random.default_rng(0))[0]
    test_from = np.datetime64(shop.meta["protocols"]["time_split"]["test_from"].rstrip("Z"))
    late = (shop.events["at"] >= test_from) & shop.events["item_id"].notna()
    item_id = shop.events["item_id"].where(~late, shop.items["item_id"].iloc[0])  # another future altogether
    other = replace(shop, events=shop.events.assign(item_id=item_id))
    again = choose_first(*validation(other, train, "time_split"), rng=np.random.default_rng(0))[0]
    assert dict(again.weights) == dict(learned.weights)
    assert again.ndcg == learned.ndcg


def test_settings_that_are_chosen(shop, train) -> None:
    before, split = validation(shop, train, "time_split")
    settings = choose_settings(before, split, RecommenderConfig(), rng=np.random.default_rng(0))
    assert settings.repeat.half_life_days in (15.0, 30.0, 60.0, 120.0, 240.0)
    assert settings.transitions.ties in ("together", "sequence")
    assert settings.bm25 == RecommenderConfig().bm25


def test_default_weights_need_events_to_be_personal(train) -> None:
    assert default_weights(train) == dict(DEFAULT_WEIGHTS)
    empty = replace(train, log=train.log.select(np.zeros(len(train.log), dtype=bool)))
    assert set(default_weights(empty)) == set(SEARCH_PARTS)


def test_an_unknown_option_of_the_pipeline_is_refused() -> None:
    with pytest.raises(ValueError, match="candidates"):
        TasteprintConfig(candidates=1)
