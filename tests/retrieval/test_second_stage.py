"""The second stage: the engine against the batch, reasons that sum, what is a candidate, saving and loading."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tasteprint.profiling.encoders.encoder import HashEncoder
from tasteprint.profiling.log import EventLog, Requests
from tasteprint.retrieval.engine import Engine, make_engine, one_user
from tasteprint.retrieval.filters import Filters
from tasteprint.retrieval.recommender import DEFAULT_WEIGHTS, Recommender, fit_recommender
from tasteprint.retrieval.rules import RulesConfig
from tasteprint.retrieval.scorer import TrainingSet
from tasteprint.retrieval.second_stage.facts import fit_rank_facts, text_rows
from tasteprint.retrieval.second_stage.features import Features
from tasteprint.retrieval.second_stage.ranker import LinearRanker, RankerConfig, RankTable, fit_ranker
from tasteprint.retrieval.second_stage.stage import TAKEN, SecondStage, above_the_rest, aligned, feature_groups, pool_of
from tasteprint.retrieval.state import recommender_from_state, recommender_state
from tasteprint.retrieval.weighing import by_part

ENCODER = HashEncoder(dim=24, seed=0)
DEPTH = 25


def random_linear(names: tuple[str, ...], seed: int = 0) -> LinearRanker:
    """A ranker that nobody trained: its order has nothing to do with the first stage's."""
    rng = np.random.default_rng(seed)
    n = len(names)
    return LinearRanker(names, rng.normal(size=n), rng.uniform(0.5, 2, n), rng.normal(size=n))


def with_stage(train: TrainingSet, *, trees: bool = False, hide: bool = False, depth: int = DEPTH) -> Recommender:
    model = fit_recommender(train, weights=DEFAULT_WEIGHTS, encoder=ENCODER, exclude_seen=hide)
    stages = {}
    for name, asked in (("second", False), ("second_search", True)):
        facts, groups = fit_rank_facts(train, words=asked), feature_groups(asked=asked)
        texts = ("word1 word2",) * train.log.n_users if asked else ()
        log = train.log
        requests = Requests(log, log.user_start[:-1], log.user_start[1:], np.full(log.n_users, log.at_s.max()), texts)
        _, pool = model.candidates(requests, depth=depth)
        empty = SecondStage(random_linear(()), facts, groups, depth)
        names = empty_features(empty, model, pool, requests).names
        ranker = grown(names, empty_features(empty, model, pool, requests).values, pool.count) if trees else None
        stages[name] = replace(empty, model=ranker or random_linear(names))
    return replace(model, **stages)


def empty_features(stage: SecondStage, model: Recommender, pool, requests) -> Features:
    from tasteprint.retrieval.second_stage.features import Asked, rank_features

    return rank_features(Asked(pool, requests, stage.facts, text_rows(model.space.items)), stage.groups)


def grown(names, values, count):
    """Trees over answers that one feature gives away, plus noise."""
    rng = np.random.default_rng(0)
    gain = (np.nan_to_num(values[:, 0]) + rng.normal(size=len(values)) > 1).astype(np.float32)
    table = RankTable(names, values, gain, count, np.ones(len(count)))
    return fit_ranker(table, RankerConfig(trees=8, least_rows=5), rng=rng)


@pytest.fixture(scope="module")
def train(random_shop) -> TrainingSet:
    train = random_shop(120, 10, 400)
    return replace(train, vectors=ENCODER.encode(train.items["title"].tolist(), "item"))


@pytest.fixture(scope="module", params=["linear", "trees"])
def engine(request, train) -> Engine:
    if request.param == "trees":
        pytest.importorskip("lightgbm")
    return make_engine(with_stage(train, trees=request.param == "trees"), train.items, train.log, kind="flat")


def now(log: EventLog) -> float:
    return float(log.at_s.max()) + 3600.0


def batch_scores(engine: Engine, user: str, texts: tuple[str, ...] = ()) -> np.ndarray:
    log = one_user(engine.log, engine.user_row[user])
    stop = np.array([len(log)])
    return engine.recommender.scores(Requests(log, np.array([0]), stop, np.array([now(log_of(engine))]), texts))[0]


def log_of(engine: Engine) -> EventLog:
    return engine.log


def test_the_engine_gives_the_order_of_the_batch(engine) -> None:
    for user in list(engine.user_row)[:6]:
        answer = engine.recommend(user, now_s=now(engine.log), k=DEPTH)
        scores = batch_scores(engine, user)
        rows = [engine.facts.row(item.item_id) for item in answer.items]
        assert (np.diff(scores[rows]) <= 1e-4).all()
        outside = np.delete(scores, rows)
        assert outside.max() < scores[rows].min()


def test_a_query_is_ordered_anew_and_precise_ones_are_not_personal(engine) -> None:
    user = next(iter(engine.user_row))
    first = replace(engine, recommender=replace(engine.recommender, second_search=None))
    said = [item.item_id for item in engine.search("word1 word2", now_s=now(engine.log)).items]
    assert said != [item.item_id for item in first.search("word1 word2", now_s=now(engine.log)).items]
    precise = [item.item_id for item in engine.search("word1 word2", user, now_s=now(engine.log), specificity=1).items]
    assert precise == said
    vague = engine.search("word1 word2", user, now_s=now(engine.log), specificity=0.0)
    parts = {reason.part for item in vague.items for reason in item.reasons}
    assert parts & {"taste_long", "repeat", "transitions"}


@pytest.mark.parametrize("query", [None, "word1 word2"])
@pytest.mark.parametrize("specificity", [0.0, 1.0])
def test_reasons_sum_to_the_score(engine, query, specificity) -> None:
    for user in list(engine.user_row)[:4]:
        options = {"now_s": now(engine.log), "k": 12, "specificity": specificity}
        told = engine.answer(user=user, query=query, **options).items
        plain = engine.answer(user=user, query=query, explain=False, **options).items
        assert [item.item_id for item in told] == [item.item_id for item in plain]
        for item, same in zip(told, plain, strict=True):
            assert sum(reason.amount for reason in item.reasons) == pytest.approx(item.score, abs=1e-9)
            assert item.score == pytest.approx(same.score, abs=1e-4)
            for reason in item.reasons:
                if reason.events:
                    assert sum(a for _, a in reason.events) <= reason.amount + 1e-5 * max(1.0, abs(reason.amount))


def test_a_high_place_in_the_sum_is_told_as_the_parts_that_lifted_it() -> None:
    told = {"together": np.array([6.0, -2.0, 1.0]), "own": np.array([1.0, 1.0, 1.0])}
    amounts = {"own": np.array([1.0, 1.0, -3.0]), "meaning": np.array([2.0, 1.0, 0.0]), "context": np.full(3, -0.5)}
    found = by_part(told, amounts)
    assert {name: amount.tolist() for name, amount in found.items()} == {
        "own": [3.0, 1.0, 1.0],  # 1 + 6 x 1/3
        "meaning": [4.0, 0.0, 0.0],
        "context": [0.0, 0.0, 0.0],
        "together": [0.0, -2.0, 1.0],  # nothing is to blame, and nothing lifted the third
    }
    np.testing.assert_allclose(sum(found.values()), sum(told.values()))


def test_callers_weights_switch_the_second_stage_off(engine) -> None:
    first = replace(engine, recommender=replace(engine.recommender, second=None, second_search=None))
    for weights in ({"meaning": 1.0}, {"taste": 1.0, "own": 0.5}):
        weights = {name: w for name, w in weights.items() if name != "own"}
        ours = engine.search("word3", now_s=now(engine.log), weights=weights)
        theirs = first.search("word3", now_s=now(engine.log), weights=weights)
        assert [i.item_id for i in ours.items] == [i.item_id for i in theirs.items]


def test_newcomers_keep_the_first_order(engine) -> None:
    first = replace(engine, recommender=replace(engine.recommender, second=None))
    asked = {"now_s": now(engine.log), "attributes": {"age": "25-34"}, "k": 8}
    assert engine.answer(user="new", **asked).items == first.answer(user="new", **asked).items


def test_filters_and_what_is_taken(train) -> None:
    engine = make_engine(with_stage(train, hide=True), train.items, train.log, kind="flat")
    for user in list(engine.user_row)[:5]:
        history = one_user(train.log, engine.user_row[user])
        had = set(train.log.item_ids[history.item[np.isin(history.kind, TAKEN)]])
        answer = engine.recommend(user, now_s=now(train.log), k=20)
        assert not had & {item.item_id for item in answer.items}
    brand = str(train.items["brand"].dropna().iloc[0])
    answer = engine.recommend(user, now_s=now(train.log), k=5, filters=Filters(brand=brand))
    brands = train.items.set_index("item_id")["brand"]
    assert all(brands[item.item_id] == brand for item in answer.items)


def test_more_items_than_candidates(train) -> None:
    engine = make_engine(with_stage(train, depth=5), train.items, train.log, kind="flat")
    user = next(iter(engine.user_row))
    assert len(engine.recommend(user, now_s=now(train.log), k=30).items) == 30
    assert len(engine.recommend(user, now_s=now(train.log), k=6, diversity=0.5).items) == 6


def test_state_round_trip(engine) -> None:
    arrays, meta = recommender_state(engine.recommender)
    again = recommender_from_state(arrays, json.loads(json.dumps(meta)), encoder=ENCODER)
    log = engine.log
    for texts in ((), ("word1 word5",) * log.n_users):
        requests = Requests(log, log.user_start[:-1], log.user_start[1:], np.full(log.n_users, now(log)), texts)
        np.testing.assert_array_equal(again.scores(requests), engine.recommender.scores(requests))


def test_batches_do_not_matter(engine) -> None:
    log = engine.log
    requests = Requests(log, log.user_start[:-1], log.user_start[1:], np.full(log.n_users, now(log)))
    whole = engine.recommender.scores(requests)
    for row in range(0, log.n_users, 3):
        one = engine.recommender.scores(requests.take(slice(row, row + 1)))
        np.testing.assert_allclose(one[0], whole[row], atol=2e-3)


def test_candidates_come_first_and_keep_their_distances() -> None:
    fused = np.array([[5.0, 1.0, 2.0, 7.0]], dtype=np.float32)
    nobody = Requests(*empty_log(), np.zeros(1))
    also = np.array([[False, True, False, False]])
    pool = pool_of(nobody, fused, {"part": fused}, depth=1, also=also)
    assert pool.item.tolist() == [1, 3]
    assert pool.parts["part"].tolist() == [1.0, 7.0]
    assert above_the_rest(fused, pool, np.array([3.0, 0.25])).tolist() == [[5.0, 8.75, 2.0, 6.0]]
    hidden = np.where(also, -np.inf, fused).astype(np.float32)
    assert pool_of(nobody, hidden, {}, depth=2, also=also).item.tolist() == [0, 3]


def empty_log():
    nothing = np.zeros(0)
    log = EventLog(
        np.array(["u"], object), np.array(list("abcd"), object), np.array([0, 0]), nothing.astype(np.int32), nothing,
        nothing.astype(np.int8), nothing.astype(np.float32), nothing.astype(np.float32), nothing.astype(np.float32),
    )  # fmt: skip
    return log, np.array([0]), np.array([0])


def test_absent_columns_are_unknown() -> None:
    table = Features(("a", "b"), ("x", "y"), np.array([[1.0, 2.0]], dtype=np.float32))
    found = aligned(table, ("b", "c"))
    assert found.groups == ("y", "absent")
    np.testing.assert_array_equal(found.values, [[2.0, np.nan]])
    assert aligned(table, ("a", "b")) is table


def test_what_absent_columns_add_is_told_as_the_sum_of_everything() -> None:
    model = SimpleNamespace(contributions=lambda values: np.arange(1.0, 1.0 + values.size).reshape(values.shape))
    stage = SecondStage(model, None, ("parts",))  # type: ignore[arg-type]
    features = Features(("own", "a", "b", "own_rank"), ("parts", "absent", "pairs", "parts"), np.zeros((2, 4)))
    told = stage.amounts(features)
    assert {name: amount.tolist() for name, amount in told.items()} == {
        "own": [5, 13],
        "together": [2, 6],
        "pairs": [3, 7],
    }


# --- rules after the second stage ------------------------------------------------------------------------------------


def _pin(*items: str) -> RulesConfig:
    return RulesConfig.model_validate({"rules": [{"rule": "pin", "items": items}]})


@pytest.mark.parametrize("query", [None, "word1 word2"])
def test_a_pin_comes_first_even_if_the_first_stage_would_never_have_shown_it(engine, query) -> None:
    now_s = float(engine.log.at_s.max()) + 60.0
    options = {"user": "u03", "query": query, "now_s": now_s}
    every = engine.answer(k=120, **options).items
    last = every[-1].item_id
    answer = engine.answer(k=6, rules=_pin(last), **options)
    assert answer.items[0].item_id == last
    assert answer.items[0].rules
    assert len({item.item_id for item in answer.items}) == 6
    for item in answer.items:
        assert item.score == pytest.approx(sum(reason.amount for reason in item.reasons), abs=1e-6)


def test_a_pin_that_a_filter_forbids_is_not_smuggled_in(engine) -> None:
    now_s = float(engine.log.at_s.max()) + 60.0
    for query in (None, "word1 word2"):
        options = {"user": "u03", "query": query, "now_s": now_s, "k": 120}
        forbidden = engine.answer(**options).items[-1].item_id
        answer = engine.answer(filters=Filters(exclude=(forbidden,)), rules=_pin(forbidden), **options)
        assert forbidden not in {item.item_id for item in answer.items}


@pytest.mark.parametrize("diversity", [0.0, 0.6])
def test_a_cap_after_the_second_stage_keeps_its_order_inside_a_brand(engine, diversity) -> None:
    now_s = float(engine.log.at_s.max()) + 60.0
    rules = RulesConfig.model_validate({"rules": [{"rule": "cap", "by": "brand", "most": 1, "among": 5}]})
    options = {"user": "u03", "query": "word1", "now_s": now_s, "k": 30, "diversity": diversity}
    plain = [item.item_id for item in engine.answer(**options).items]
    capped = [item.item_id for item in engine.answer(rules=rules, **options).items]
    brands = [str(engine.facts.brand[engine.facts.row_of[item]]) for item in capped[:5]]
    assert all(brands.count(brand) == 1 for brand in set(brands) - {""})
    if not diversity:
        assert capped[0] == plain[0]
