"""The engine against scoring everything with numpy: exactness, filters, reasons, errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from tasteprint.profiling.context import Context
from tasteprint.profiling.encoders.encoder import HashEncoder
from tasteprint.profiling.errors import ConfigError, UnknownIdError
from tasteprint.profiling.log import KINDS, Requests
from tasteprint.retrieval import view as view_module
from tasteprint.retrieval.engine import Engine, make_engine, no_history, one_user
from tasteprint.retrieval.filters import Filters
from tasteprint.retrieval.fusion import inverse_scale
from tasteprint.retrieval.index import EXACT
from tasteprint.retrieval.recommender import PARTS, SEARCH_PARTS, SOURCES, fit_recommender
from tasteprint.retrieval.scorer import TrainingSet
from tasteprint.retrieval.sources.popularity import PopularModel
from tasteprint.retrieval.weighing import rest_range
from tests.taste_stand_in import random_taste

ENCODER = HashEncoder(dim=24, seed=0)
TASTES = ("taste_long", "taste_short")
WEIGHTS = dict(zip(PARTS, (1.4, 1.0, 0.3, 0.2, 0.6, 0.4, 0.1, 0.2, 0.3, 0.25, 0.5, 0.5, 0.3, 0.2), strict=True))


def build(train: TrainingSet, *, kind: str = "flat", weights: Mapping[str, float] = WEIGHTS, **options) -> Engine:
    vectors = ENCODER.encode(train.items["title"].tolist(), "item")
    vectors[::17] = 0.0
    train = replace(train, vectors=vectors)
    taste = random_taste(train.log.n_items)
    model = fit_recommender(train, weights=weights, encoder=ENCODER, taste_model=taste, **options)
    return make_engine(model, train.items, train.log, kind=kind)


@pytest.fixture(scope="module")
def small(random_shop) -> Engine:
    return build(random_shop(80, 12, 300))


@pytest.fixture(scope="module")
def large(random_shop) -> Engine:
    """More than four times the first candidates, so that the threshold algorithm may stop early."""
    return build(random_shop(2000, 20, 1500))


def now(engine: Engine) -> float:
    return float(engine.log.at_s.max()) + 3600.0


def request_of(engine: Engine, user: str | None, query: str | None, now_s: float) -> Requests:
    log = engine.log
    row = engine.user_row[user] if user else 0
    start, stop = (log.user_start[row], log.user_start[row + 1]) if user else (0, 0)
    texts = (query,) if query else ()
    return Requests(log, np.array([start]), np.array([stop]), np.array([now_s]), texts)


def everything(engine: Engine, user: str | None, query: str | None, specificity: float = 1.0) -> np.ndarray:
    """Scores of the whole catalogue from the parts' own definitions, one part after the other."""
    model = engine.recommender
    requests = request_of(engine, user, query, now(engine))
    by_shopper = model.weights if user is not None else model.newcomer_weights
    together = sum(weight for name, weight in by_shopper.items() if name not in SEARCH_PARTS)
    personal = model.personalisation * (1 - specificity) / together if query else 1.0
    total = np.zeros(engine.log.n_items)
    for name, part in model.part_scores(requests):
        search = name in SEARCH_PARTS
        chosen = model.weights if search or user else model.newcomer_weights
        weight = chosen.get(name, 0.0) * (float(bool(query)) if search else personal)
        total += weight * part[0].astype(np.float64) * float(inverse_scale(name, part, asked=bool(query))[0])
    return total


def assert_best(answer, oracle: np.ndarray, engine: Engine, k: int, tolerance: float = 5e-4) -> None:
    """The answer holds k distinct items whose scores are the oracle's, and none outside is better."""
    rows = np.array([engine.facts.row(item.item_id) for item in answer.items])
    assert len(set(rows.tolist())) == len(rows) == k
    np.testing.assert_allclose(oracle[rows], np.sort(oracle)[::-1][:k], atol=tolerance)
    np.testing.assert_allclose([item.score for item in answer.items], oracle[rows], atol=tolerance)
    assert [item.rank for item in answer.items] == list(range(1, k + 1))


# Plain semantic search is one weight.


@pytest.mark.parametrize("which", ["small", "large"])
@pytest.mark.parametrize("query", ["word1 word4", "word7"])
def test_meaning_alone_is_plain_semantic_search(which, query, request) -> None:
    engine = request.getfixturevalue(which)
    vector = ENCODER.encode([query], "query")[0]
    cosine = engine.recommender.space.items["meaning"] @ vector
    user = str(engine.log.user_ids[0])
    for asked in (None, user):
        answer = engine.search(query, asked, now_s=now(engine), k=20, weights={"meaning": 1.0})
        assert_best(answer, cosine, engine, 20, tolerance=1e-6)
        assert {r.part for item in answer.items for r in item.reasons} <= {"meaning"}


def test_meaning_alone_in_the_same_order_where_scores_differ(random_shop) -> None:
    train = random_shop(3000, 5, 50)
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((3000, 24)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    model = fit_recommender(replace(train, vectors=vectors), weights=WEIGHTS, encoder=ENCODER)
    for kind in EXACT:
        engine = make_engine(model, train.items, train.log, kind=kind)
        vector = ENCODER.encode(["word1 word2"], "query")[0]
        cosine = vectors @ vector
        best = np.argsort(-cosine, kind="stable")[:50]
        assert np.diff(np.sort(cosine)[::-1][:51]).max() < -1e-7  # no ties in this draw
        answer = engine.search("word1 word2", now_s=now(engine), k=50, weights={"meaning": 1.0})
        assert [item.item_id for item in answer.items] == [str(train.log.item_ids[row]) for row in best]
        np.testing.assert_allclose(answer.ranking().scores, cosine[best], atol=1e-6)


# The engine's best k are the recommender's best k.


@pytest.mark.parametrize("which", ["small", "large"])
@pytest.mark.parametrize("row", [0, 3, 11])
def test_known_shopper(which, row, request) -> None:
    engine = request.getfixturevalue(which)
    user = str(engine.log.user_ids[row])
    requests = request_of(engine, user, None, now(engine))
    assert_best(engine.recommend(user, now_s=now(engine), k=15), engine.recommender.scores(requests)[0], engine, 15)


@pytest.mark.parametrize("which", ["small", "large"])
@pytest.mark.parametrize("specificity", [0.0, 0.4, 1.0])
def test_known_shopper_with_a_query(which, specificity, request) -> None:
    engine = request.getfixturevalue(which)
    user = str(engine.log.user_ids[2])
    answer = engine.search("word2 word5", user, now_s=now(engine), k=15, specificity=specificity)
    assert_best(answer, everything(engine, user, "word2 word5", specificity), engine, 15)


@pytest.mark.parametrize("which", ["small", "large"])
@pytest.mark.parametrize("query", [None, "word3"])
def test_new_shopper(which, query, request) -> None:
    engine = request.getfixturevalue(which)
    assert_best(engine.answer(query=query, now_s=now(engine), k=15), everything(engine, None, query), engine, 15)


@pytest.mark.parametrize("kind", EXACT)
def test_stopping_early_is_exact(kind, random_shop, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = build(random_shop(700, 30, 900, seed=5), kind=kind)
    monkeypatch.setattr(view_module, "_FIRST", 20)
    rounds: list[int] = []
    dense = view_module.View._dense
    monkeypatch.setattr(
        view_module.View, "_dense", lambda self, n, allowed: (rounds.append(n), dense(self, n, allowed))[1]
    )
    early = 0
    for row in range(30):
        user = str(engine.log.user_ids[row])
        query = f"word{row}" if row % 3 == 0 else None
        rounds.clear()
        answer = engine.answer(user=user, query=query, now_s=now(engine), k=5, specificity=0.5)
        assert answer.exact
        assert_best(answer, everything(engine, user, query, 0.5), engine, 5)
        early += rounds == [20]
    assert early > 3  # else this test would not test what it says


class FirstAxis:
    """An encoder for which every text is the first axis."""

    dim, stamp = 2, ENCODER.stamp

    def encode(self, texts, kind="item"):
        return np.tile(np.float32([[1.0, 0.0]]), (len(texts), 1))


def test_half_precision_lists_do_not_change_the_order(random_shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two items that fp16 cannot tell apart at the end of the list, the better one outside: the proof must see it."""
    train = random_shop(200, 3, 20)
    step = 2.0**-11  # fp16 below 1
    axis = np.full(200, 0.5, dtype=np.float32)
    axis[:19], axis[19], axis[20] = 1.0, 0.75 + 0.3 * step, 0.75 + 0.4 * step
    vectors = np.stack([axis, np.zeros(200, np.float32)], axis=1)
    assert len(set(vectors[19:21, 0].astype(np.float16).tolist())) == 1
    model = fit_recommender(replace(train, vectors=vectors), weights={"meaning": 1.0}, encoder=FirstAxis())
    engine = make_engine(model, train.items, train.log, kind="flat-fp16")
    monkeypatch.setattr(view_module, "_FIRST", 20)
    answer = engine.search("anything", now_s=now(engine), k=20)
    assert answer.items[19].item_id == "i00020"


@pytest.mark.parametrize("kind", EXACT)
def test_an_item_that_is_second_best_in_both_lists_is_found(kind, random_shop, monkeypatch: pytest.MonkeyPatch) -> None:
    train = random_shop(200, 3, 20)
    meaning, popular = np.full((2, 200), 0.1, dtype=np.float32)
    meaning[:25], popular[25:50], meaning[150], popular[150] = 1.0, 1.0, 0.9, 0.9
    vectors = np.stack([meaning, np.zeros(200, np.float32)], axis=1)
    model = fit_recommender(
        replace(train, vectors=vectors), weights={"meaning": 1.0, "popular": 1.0}, encoder=FirstAxis()
    )
    model = replace(model, sources={"popular": PopularModel(popular)})
    engine = make_engine(model, train.items, train.log, kind=kind)
    monkeypatch.setattr(view_module, "_FIRST", 20)
    answer = engine.search("anything", now_s=now(engine), k=1, weights={"meaning": 1.0, "popular": 1.0})
    assert answer.items[0].item_id == "i00150"
    assert answer.items[0].score == pytest.approx(1.8, abs=1e-6)


@pytest.mark.parametrize("weight", [0.01, 0.1, 0.5, 2.0, -0.3])
@pytest.mark.parametrize("where", ["everywhere", "allowed"])
def test_blocks_that_are_scored_at_candidates_alone_miss_nothing(
    weight: float, where: str, random_shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the engine when it scores every item: what a bound leaves out could not have come in."""
    train = random_shop(3000, 12, 40)
    engine = build(train, weights={"meaning": 1.0, "behaviour": 1.0, "context": 1.0, "popular": 1.0})
    sure = engine.recommender.space.items["behaviour"].copy()
    sure[1234] *= 3.0  # stands out by nothing that is looked through
    space = replace(engine.recommender.space, items={**engine.recommender.space.items, "behaviour": sure})
    engine = replace(engine, recommender=replace(engine.recommender, space=space), rest_range=rest_range(space.items))
    weights = {"meaning": 1.0, "behaviour": weight, "context": 0.1, "popular": 0.02}
    filters = Filters(price_max=30.0) if where == "allowed" else None
    said = []
    for first in (20, 10**9):
        monkeypatch.setattr(view_module, "_FIRST", first)
        answers = [
            engine.answer(user=str(u), query="word2", now_s=now(engine), weights=weights, k=5, filters=filters)
            for u in engine.log.user_ids
        ]
        assert all(answer.exact for answer in answers)
        said.append([[item.item_id for item in answer.items] for answer in answers])
    assert said[0] == said[1]


def test_equal_scores_come_in_the_order_of_the_catalogue(random_shop) -> None:
    train = random_shop(2000, 3, 20)
    engine = build(train, weights={"popular": 1.0})
    answer = engine.answer(now_s=now(engine), k=60)
    counts = engine.recommender.sources["popular"].item_score
    best = np.lexsort((np.arange(2000), -counts))[:60]
    assert [engine.facts.row(item.item_id) for item in answer.items] == best.tolist()


def test_without_reasons_the_same_items_and_scores(small) -> None:
    user = str(small.log.user_ids[1])
    long, short = (small.recommend(user, now_s=now(small), explain=explain) for explain in (True, False))
    assert [item.item_id for item in long.items] == [item.item_id for item in short.items]
    np.testing.assert_allclose(long.ranking().scores, short.ranking().scores, atol=1e-4)
    assert not any(item.reasons or item.sentence for item in short.items)


# Reasons are true.


@pytest.mark.parametrize("case", ["known", "new", "query", "both", "explicit"])
def test_reasons_sum_to_the_score_and_events_to_their_part(small, case) -> None:
    user = None if case in ("new", "query") else str(small.log.user_ids[4])
    query = "word2 word6" if case in ("query", "both") else None
    weights = {"taste": 2.0, "transitions": 1.0, "popular": -0.01} if case == "explicit" else None
    answer = small.answer(user=user, query=query, now_s=now(small), k=80, specificity=0.3, weights=weights)
    plain = small.answer(
        user=user, query=query, now_s=now(small), k=80, specificity=0.3, weights=weights, explain=False
    )
    said = {item.item_id: item.score for item in plain.items}
    parts = set()
    for item in answer.items:
        assert item.score == pytest.approx(sum(r.amount for r in item.reasons), abs=1e-5)
        assert item.score == pytest.approx(said[item.item_id], abs=1e-4)
        for r in item.reasons:
            parts.add(r.part)
            if r.part in (*TASTES, "transitions", "text_neighbours", "directions", "repeat", "own"):
                assert sum(amount for _, amount in r.events) == pytest.approx(r.amount, abs=1e-5), r.part
            else:
                assert not r.events
    if case == "known":
        assert parts == set(PARTS) - set(SEARCH_PARTS)
    if case == "new":
        assert not parts & {"taste_long", "taste_short", "behaviour", "repeat", "own", "transitions"}


def test_taste_is_taken_apart_event_by_event(small) -> None:
    """Leaving an event out of the sum (with the same length) takes away exactly what the reason says it adds."""
    user = str(small.log.user_ids[4])
    answer = small.recommend(user, now_s=now(small), k=5, weights={"taste_long": 1.0})
    mine = small.history_of(user)
    taste = small.recommender.space.items["taste"].astype(np.float64)
    age = np.exp2(-(now(small) - mine.at_s) / small.recommender.space.long_half_life_s)
    total = (mine.weight * age) @ taste[mine.item]
    for item in answer.items:
        (reason,) = item.reasons
        target = taste[small.facts.row(item.item_id)]
        for event, amount in reason.events:
            here = mine.item == small.facts.row(event)
            adds = ((mine.weight * age)[here] @ taste[mine.item[here]]) @ target / np.linalg.norm(total)
            assert amount == pytest.approx(adds, abs=1e-6)


def test_what_breaks_ties_is_told_as_popularity(small) -> None:
    answer = small.answer(now_s=now(small), k=10)
    for item in answer.items:
        assert {r.part for r in item.reasons} <= {"popular", "recent_popular", "context"}
        assert "you chose" not in item.sentence
        assert item.sentence.lower().count("is popular here (") <= 1


def test_reasons_come_largest_first_and_sentences_say_the_largest(small) -> None:
    user = str(small.log.user_ids[4])
    for item in small.recommend(user, now_s=now(small), k=20).items:
        amounts = [r.amount for r in item.reasons]
        assert amounts == sorted(amounts, reverse=True)
        assert item.sentence.endswith(").")
        shares = [int(word[1:-2].rstrip("%")) for word in item.sentence.split() if word.startswith("(")]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) <= 101


# Filters, shortage, diversity.


@pytest.mark.parametrize(
    ("filters", "keeps"),
    [
        (Filters(category="root1"), lambda i: i.category.startswith("root1 > ")),
        (Filters(category="root1 > leaf4"), lambda i: i.category == "root1 > leaf4"),
        (Filters(brand="BRAND2"), lambda i: i.brand == "brand2"),
        (Filters(price_min=5.0, price_max=12.0), lambda i: 5.0 <= i.price <= 12.0),
        (Filters(price_min=0.0), lambda i: i.price >= 0.0),
        (Filters(exclude=("i00000", "i00003")), lambda i: i.item_id not in ("i00000", "i00003")),
        (Filters(category="root0", price_max=9.0), lambda i: i.category.startswith("root0 > ") and i.price <= 9.0),
        (Filters(category="root"), lambda i: False),
        (Filters(brand="no such brand"), lambda i: False),
    ],
)
@pytest.mark.parametrize("query", [None, "word1"])
def test_filters_are_never_violated_and_nothing_else_is_lost(small, random_shop, filters, keeps, query) -> None:
    items = random_shop(80, 12, 300).items
    may = {item.item_id for item in items.itertuples() if keeps(item)}
    user = str(small.log.user_ids[2])
    for diversity in (0.0, 0.5):
        answer = small.answer(
            user=user, query=query, now_s=now(small), k=80, filters=filters, diversity=diversity, specificity=0.2
        )
        assert {item.item_id for item in answer.items} == may
        assert f"80 items were asked for, {len(may)} are left" in answer.shortage
        assert filters.describe() in answer.shortage
        assert filters.describe()
    if len(may) > 3:
        top = small.answer(user=user, query=query, now_s=now(small), k=3, filters=filters, specificity=0.2)
        oracle = everything(small, user, query, 0.2)
        oracle[[row for row, name in enumerate(items["item_id"]) if name not in may]] = -np.inf
        assert_best(top, oracle, small, 3)
        assert top.shortage == ""


def test_filters_in_a_large_catalogue(large, random_shop) -> None:
    items = random_shop(2000, 20, 1500).items
    keeps = (items["category"].str.startswith("root1 > ") & (items["price"] <= 15)).to_numpy()
    user = str(large.log.user_ids[2])
    oracle = np.where(keeps, everything(large, user, None), -np.inf)
    filters = Filters(category="root1", price_max=15)
    assert_best(large.answer(user=user, now_s=now(large), k=25, filters=filters), oracle, large, 25)


def test_in_stock(make_items, make_log) -> None:
    attributes = ['{"in_stock": true}', '{"in_stock": false}', None, '{"colour": "red"}', '{"in_stock": "no"}']
    train = TrainingSet(make_log([("a", 0, 0)], 5), make_items(list("abcde"), attributes=attributes), None, 2e9)
    engine = build(train)
    answer = engine.answer(now_s=now(engine), k=5, filters=Filters(in_stock=True))
    assert {item.item_id for item in answer.items} == {"i00000", "i00002", "i00003"}


def test_exclude_bought_leaves_out_what_was_taken_not_what_was_seen(small) -> None:
    user = str(small.log.user_ids[5])
    mine = small.history_of(user)
    taken = np.isin(mine.kind, [KINDS.index(kind) for kind in ("purchase", "review", "own")])
    bought = set(small.log.item_ids[mine.item[taken]])
    seen = set(small.log.item_ids[mine.item]) - bought
    assert bought
    assert seen
    answer = small.recommend(user, now_s=now(small), k=80, filters=Filters(exclude_bought=True))
    got = {item.item_id for item in answer.items}
    assert not got & bought
    assert seen <= got
    everything_else = small.recommend(user, now_s=now(small), k=80, filters=Filters(exclude_bought=False))
    assert len(everything_else.items) == 80


def test_a_shop_where_nothing_is_bought_twice_leaves_it_out_by_itself(random_shop) -> None:
    engine = build(random_shop(80, 12, 300), exclude_seen=True)
    user = str(engine.log.user_ids[5])
    mine = engine.history_of(user)
    bought = set(engine.log.item_ids[mine.item[mine.kind == KINDS.index("purchase")]])
    alone = {item.item_id for item in engine.recommend(user, now_s=now(engine), k=80).items}
    asked = {item.item_id for item in engine.recommend(user, "word1", now_s=now(engine), k=80).items}
    assert not alone & bought
    assert bought <= asked  # who asks for it in words may have it


def test_diversity_spreads_and_keeps_the_best_first(small) -> None:
    user = str(small.log.user_ids[3])
    meaning = small.recommender.space.items["meaning"]

    def likeness(answer) -> float:
        rows = [small.facts.row(item.item_id) for item in answer.items]
        return float((meaning[rows] @ meaning[rows].T)[np.triu_indices(len(rows), 1)].mean())

    plain = small.recommend(user, now_s=now(small), k=8)
    spread = small.recommend(user, now_s=now(small), k=8, diversity=0.7)
    assert spread.items[0].item_id == plain.items[0].item_id
    assert len({item.item_id for item in spread.items}) == 8
    assert likeness(spread) < likeness(plain)


# Time, histories, errors.


def test_events_of_the_future_are_not_used(small) -> None:
    user = str(small.log.user_ids[0])
    mine = small.history_of(user)
    middle = float(mine.at_s[len(mine) // 2])
    past = mine.select(mine.at_s <= middle)
    for options in ({}, {"filters": Filters(exclude_bought=True)}):
        stored = small.answer(user=user, now_s=middle, **options)
        given = small.answer(history=past, now_s=middle, **options)
        assert stored.to_json() == given.to_json()
    assert (
        small.answer(user=user, now_s=mine.at_s[0] - 1.0).to_json() == small.answer(now_s=mine.at_s[0] - 1.0).to_json()
    )


def test_what_happens_at_this_very_moment_is_known(small, make_log) -> None:
    log = make_log([("a", 7, 0), ("a", 9, 1)], 80)
    for now_s, known in ((float(log.at_s[1]), {"i00007", "i00009"}), (float(log.at_s[1]) - 1, {"i00007"})):
        answer = small.answer(history=log, now_s=now_s, k=80, weights={"repeat": 1.0})
        assert {item.item_id for item in answer.items if item.reasons} == known


def test_a_given_history_is_as_good_as_the_stored_one(small) -> None:
    user = str(small.log.user_ids[6])
    given = one_user(small.log, 6)
    assert small.answer(history=given, now_s=now(small)).to_json() == small.recommend(user, now_s=now(small)).to_json()
    nobody = small.answer(user="never seen", history=no_history(small.log), now_s=now(small))
    assert nobody.to_json() == small.answer(now_s=now(small)).to_json()


@pytest.mark.parametrize("query", [None, "", "   ", "\t\n"])
def test_no_words_is_no_query(small, query) -> None:
    answer = small.answer(query=query, now_s=now(small))
    assert answer.intent is None
    assert answer.to_json() == small.answer(now_s=now(small)).to_json()


def test_words_nobody_knows_still_give_k_items(small) -> None:
    answer = small.search("ξύλο 🌲 qwertz", now_s=now(small), k=7)
    assert len(answer.items) == 7


def test_errors_name_what_to_do(small) -> None:
    at = now(small)
    with pytest.raises(UnknownIdError, match=r"user_id 'u99' .*12 shoppers"):
        small.recommend("u99", now_s=at)
    with pytest.raises(UnknownIdError, match="item_id 'nothing'"):
        small.answer(now_s=at, filters=Filters(exclude=("nothing",)))
    with pytest.raises(ConfigError, match="k must be at least 1, got 0"):
        small.answer(now_s=at, k=0)
    with pytest.raises(ConfigError, match="'tase' is not a part of this engine; use one of meaning, taste"):
        small.answer(now_s=at, weights={"tase": 1.0})
    with pytest.raises(ConfigError, match="meaning must be finite"):
        small.answer(now_s=at, weights={"meaning": float("nan")})
    with pytest.raises(ConfigError, match="diversity must lie in"):
        small.answer(now_s=at, diversity=1.5)
    with pytest.raises(ConfigError, match="specificity must lie in"):
        small.answer(now_s=at, specificity=-0.1)
    with pytest.raises(ConfigError, match="now_s must be a time"):
        small.answer(now_s=float("nan"))
    with pytest.raises(ConfigError, match="history must be of one shopper, got 12"):
        small.answer(now_s=at, history=small.log)
    with pytest.raises(ConfigError, match="no encoder"):
        replace(small, recommender=replace(small.recommender, encoder=None)).search("word1", now_s=at)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"price_min": -1.0}, "price_min must be a finite number >= 0"),
        ({"price_max": float("nan")}, "price_max must be a finite number"),
        ({"price_min": 5.0, "price_max": 4.0}, "swap them"),
    ],
)
def test_filters_out_of_range(options, words) -> None:
    with pytest.raises(ConfigError, match=words):
        Filters(**options)


def test_every_source_and_block_can_be_weighed_alone(small) -> None:
    user = str(small.log.user_ids[1])
    requests = request_of(small, user, "word1", now(small))
    raw = dict(small.recommender.part_scores(requests))
    for name in (*SOURCES, "taste_long", "taste_short", "behaviour", "context"):
        answer = small.search("word1", user, now_s=now(small), k=6, weights={name: 1.0})
        assert_best(answer, raw[name][0].astype(np.float64), small, 6, tolerance=1e-4)
    both = small.search("word1", user, now_s=now(small), k=6, weights={"taste": 1.0})
    assert_best(both, (raw["taste_long"] + raw["taste_short"])[0].astype(np.float64), small, 6, tolerance=1e-5)


def test_answers_are_the_same_every_time(small) -> None:
    user = str(small.log.user_ids[1])
    first, second = (small.recommend(user, now_s=now(small)).to_json() for _ in range(2))
    assert first == second


def test_the_time_of_a_request_comes_from_its_context(small: Engine) -> None:
    user = str(small.log.user_ids[0])
    at_s = now(small)
    by_time = small.recommend(user, now_s=at_s, k=5)
    by_context = small.recommend(user, None, Context(at_s=at_s), k=5)
    assert [item.item_id for item in by_context.items] == [item.item_id for item in by_time.items]
    with pytest.raises(ConfigError, match="now_s or context"):
        small.recommend(user)


def test_where_nothing_is_weighed_nothing_is_told(small) -> None:
    for ask in ({"query": "word1"}, {"user": str(small.log.user_ids[0])}):
        found = small.answer(now_s=now(small), k=3, weights={}, **ask)
        assert [(item.score, item.reasons, item.rank) for item in found.items] == [
            (0.0, (), rank) for rank in (1, 2, 3)
        ]
