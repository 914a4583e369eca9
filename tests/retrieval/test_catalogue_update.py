"""Items that come, change and go under a running engine, against brute force and against building anew."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest

from tasteprint.profiling.encoders.encoder import HashEncoder
from tasteprint.profiling.errors import ArtefactError, ShopError, UnknownIdError
from tasteprint.profiling.tables.schema import conform
from tasteprint.retrieval.catalogue.facts import extended_words
from tasteprint.retrieval.catalogue.parts import Placed, extended_source
from tasteprint.retrieval.catalogue.update import apply_items
from tasteprint.retrieval.engine import Engine, make_engine
from tasteprint.retrieval.filters import Filters
from tasteprint.retrieval.fusion import inverse_scale
from tasteprint.retrieval.index import ApproximateIndex, build_index
from tasteprint.retrieval.index.live import LiveView
from tasteprint.retrieval.lexical import index_words
from tasteprint.retrieval.recommender import PARTS, SEARCH_PARTS, fit_recommender
from tasteprint.retrieval.rules import RulesConfig
from tasteprint.retrieval.second_stage.facts import Pairs
from tasteprint.retrieval.second_stage.text_features import fit_item_words, read_query, text_values
from tasteprint.retrieval.weighing import REST_BLOCKS
from tasteprint.retrieval.worked import covariance
from tests.retrieval.test_second_stage import with_stage
from tests.taste_stand_in import random_taste

ENCODER = HashEncoder(dim=24, seed=0)
WEIGHTS = dict(zip(PARTS, (1.4, 1.0, 0.3, 0.2, 0.6, 0.4, 0.1, 0.2, 0.3, 0.25, 0.5, 0.5, 0.3, 0.2), strict=True))
N = 90


def upserts(*rows: dict) -> pd.DataFrame:
    return conform("items", pd.DataFrame(list(rows)))


CHANGES = upserts(
    {"item_id": "i00003", "title": "word3 renewed lamp", "category": "root1 > leaf2", "brand": "brand1", "price": 7.5},
    {"item_id": "new-b", "title": "word5 word9 lantern", "category": "root9 > leaf9", "brand": "Fresh", "price": 3.0},
    {"item_id": "i00007", "title": "word1", "category": None, "brand": None, "price": None},
    {"item_id": "new-a", "title": "lantern", "category": "root1 > leaf2", "price": 99.0},
)
GONE = ["i00000", "i00011", "never there"]


def vectors_of(items: pd.DataFrame) -> np.ndarray:
    return ENCODER.encode(items["title"].tolist(), "item")


def now(engine: Engine) -> float:
    return float(engine.log.at_s.max()) + 3600.0


@pytest.fixture(scope="module")
def train(random_shop):
    train = random_shop(N, 12, 400)
    return replace(train, vectors=vectors_of(train.items))


@pytest.fixture(scope="module")
def engine(train) -> Engine:
    model = fit_recommender(train, weights=WEIGHTS, encoder=ENCODER, taste_model=random_taste(N))
    return make_engine(model, train.items, train.log, kind="flat")


@pytest.fixture(scope="module")
def changed(engine: Engine) -> Engine:
    return apply_items(engine, CHANGES, vectors_of(CHANGES), removed=GONE)


def everything(engine: Engine, user: str | None, query: str | None, specificity: float = 1.0) -> np.ndarray:
    """Scores of the whole catalogue from the parts' own definitions; -inf for what is not sold."""
    from tests.retrieval.test_engine import request_of

    model, requests = engine.recommender, request_of(engine, user, query, now(engine))
    by_shopper = model.weights if user is not None else model.newcomer_weights
    together = sum(weight for name, weight in by_shopper.items() if name not in SEARCH_PARTS)
    personal = model.personalisation * (1 - specificity) / together if query else 1.0
    total = np.zeros(engine.log.n_items)
    for name, part in model.part_scores(requests):
        chosen = model.weights if name in SEARCH_PARTS or user else model.newcomer_weights
        weight = chosen.get(name, 0.0) * (float(bool(query)) if name in SEARCH_PARTS else personal)
        total += weight * part[0].astype(np.float64) * float(inverse_scale(name, part, asked=bool(query))[0])
    return total if engine.facts.sold is None else np.where(engine.facts.sold, total, -np.inf)


@pytest.mark.parametrize("query", [None, "word3 lantern", "word1"])
@pytest.mark.parametrize("user", [None, 0, 5])
def test_answers_are_the_best_of_what_is_sold(changed: Engine, query: str | None, user: int | None) -> None:
    name = None if user is None else str(changed.log.user_ids[user])
    oracle = everything(changed, name, query, 0.4)
    answer = changed.answer(user=name, query=query, now_s=now(changed), k=15, specificity=0.4)
    rows = np.array([changed.facts.row(item.item_id) for item in answer.items])
    np.testing.assert_allclose(oracle[rows], np.sort(oracle)[::-1][:15], atol=5e-4)
    np.testing.assert_allclose([item.score for item in answer.items], oracle[rows], atol=5e-4)
    assert answer.exact


def test_plain_search_is_as_if_built_anew(engine: Engine, changed: Engine, train) -> None:
    kept = train.items[~train.items["item_id"].isin([*CHANGES["item_id"], *GONE])]
    items = pd.concat([kept, CHANGES], ignore_index=True)
    texts = vectors_of(items)
    for query in ("lantern", "word3 renewed lamp", "word1", "word5"):
        answer = changed.search(query, now_s=now(changed), k=20, weights={"meaning": 1.0})
        scores = texts @ ENCODER.encode([query], "query")[0]
        truth = dict(zip(items["item_id"], scores, strict=True))
        np.testing.assert_allclose([i.score for i in answer.items], np.sort(scores)[::-1][:20], atol=1e-6)
        np.testing.assert_allclose([truth[i.item_id] for i in answer.items], [i.score for i in answer.items], atol=1e-6)
    best = changed.search("word3 renewed lamp", now_s=now(changed), k=1, weights={"meaning": 1.0}).items[0]
    assert (best.item_id, best.title) == ("i00003", "word3 renewed lamp")


def test_what_reads_columns_is_as_if_built_anew(changed: Engine, engine: Engine) -> None:
    space, old = changed.recommender.space, engine.recommender.space
    for place, item_id in enumerate(CHANGES["item_id"]):
        row = changed.facts.row(item_id)
        np.testing.assert_array_equal(space.items["meaning"][row], vectors_of(CHANGES)[place])
        np.testing.assert_array_equal(space.items["taste"][row], old.axes.whitening.rows(vectors_of(CHANGES))[place])
    twin = engine.facts.category.tolist().index("root1 > leaf2")
    dim = old.axes.category_dim
    row = changed.facts.row("new-a")
    np.testing.assert_array_equal(space.items["behaviour"][row, :dim], old.items["behaviour"][twin, :dim])
    assert space.items["behaviour"][row, -1] == 0.0
    assert space.items["behaviour"][3, -1] == old.items["behaviour"][3, -1]
    untouched = np.setdiff1d(np.arange(N), [3, 7])
    for name, block in space.items.items():
        np.testing.assert_array_equal(block[untouched], old.items[name][untouched])
        np.testing.assert_allclose(changed.moments[name], covariance(block.astype(np.float64)), atol=1e-9)
    rest = np.hstack([space.items[name] for name in REST_BLOCKS])
    np.testing.assert_array_equal(changed.rest_range, [rest.min(axis=0), rest.max(axis=0)])
    assert changed.facts.price[changed.facts.row("i00003")] == 7.5
    assert changed.facts.brand[changed.facts.row("new-b")] == "fresh"


def test_removed_items_never_come_back_and_histories_that_hold_them_stay(engine: Engine, changed: Engine) -> None:
    gone = {"i00000", "i00011"}
    had = engine.log.user_ids[engine.log.user()[engine.log.item == 0][0]]
    for user in (None, *map(str, changed.log.user_ids[:6]), str(had)):
        for query in (None, "word1 word2"):
            answer = changed.answer(user=user, query=query, now_s=now(changed), k=N + 10)
            found = [item.item_id for item in answer.items]
            assert not gone & set(found)
            assert len(set(found)) == len(found)
            if user is None and query:
                assert len(found) == N  # 90, two more, two gone
                assert {"new-a", "new-b"} <= set(found)
    assert changed.history_of(str(had)).item.tolist().count(0) > 0
    assert not gone & {
        i.item_id for i in changed.search("word1", now_s=now(changed), filters=Filters(brand="brand1")).items
    }
    with pytest.raises(UnknownIdError, match="was removed"):
        changed.facts.row("i00000")
    assert changed.search("word1", now_s=now(changed), filters=Filters(exclude=("i00000", "new-a"))).items


def test_a_pin_does_not_bring_a_removed_item_back(changed: Engine) -> None:
    rules = RulesConfig.model_validate({"rules": [{"rule": "pin", "items": ["i00000", "new-a"]}]})
    shown = [item.item_id for item in changed.search("word1", now_s=now(changed), k=5, rules=rules).items]
    assert shown[0] == "new-a"
    assert "i00000" not in shown


def test_a_removed_item_comes_back_with_what_was_known_of_it(engine: Engine, changed: Engine, train) -> None:
    again = apply_items(
        changed, train.items.iloc[[0, 11, 3, 7]], train.vectors[[0, 11, 3, 7]], removed=["new-a", "new-b"]
    )
    user = str(engine.log.user_ids[4])
    for query in (None, "word2 word4"):
        # rows of new items stay, so whatever is in units of spread over the catalogue moves a little
        now_, then = (e.answer(user=user, query=query, now_s=now(e), k=20) for e in (again, engine))
        assert len({i.item_id for i in now_.items} & {i.item_id for i in then.items}) >= 17
        plain = {"meaning": 1.0, "taste_long": 0.5} if query else {"taste_long": 0.5, "repeat": 1.0}
        now_, then = (e.answer(user=user, query=query, now_s=now(e), k=20, weights=plain) for e in (again, engine))
        np.testing.assert_allclose([i.score for i in now_.items], [i.score for i in then.items], atol=1e-6)
    assert again.facts.sold is not None
    assert again.facts.sold.sum() == N


def test_the_engine_before_stays_as_it_was(engine: Engine, train) -> None:
    user = str(engine.log.user_ids[1])
    before = engine.answer(user=user, query="word1", now_s=now(engine), k=30)
    step = engine
    for turn in range(5):  # one after the other: additions share their room
        more = upserts(
            {"item_id": f"turn{turn}", "title": f"word{turn} word1"}, {"item_id": "i00001", "title": f"t{turn}"}
        )
        step = apply_items(step, more, vectors_of(more), removed=[f"turn{turn - 1}"])
        other = apply_items(step, more.iloc[:0], vectors_of(more)[:0], removed=["i00002"])
        assert other.facts.sold is not None
        assert not other.facts.sold[2]
        assert step.facts.sold is None or step.facts.sold[2]
    after = engine.answer(user=user, query="word1", now_s=now(engine), k=30)
    assert [(i.item_id, i.score) for i in after.items] == [(i.item_id, i.score) for i in before.items]
    assert isinstance(step.index, LiveView)
    best = step.search("t4", now_s=now(step), k=1, weights={"meaning": 1.0}).items[0]
    assert best.item_id == "i00001"
    assert apply_items(engine, None, np.zeros((0, 24), np.float32), removed=["never there"]) is engine


def test_many_added_texts_are_indexed_anew(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasteprint.retrieval.catalogue.update._MOST_ADDED", 1)
    made = apply_items(engine, CHANGES, vectors_of(CHANGES), removed=GONE)
    assert isinstance(made.index, LiveView)
    assert len(made.index.added) == 0
    np.testing.assert_array_equal(
        made.index.alive, np.diff(made.first_of) > 0
    )  # texts of removed items are passed over
    oracle = everything(made, None, "word1")
    answer = made.search("word1", now_s=now(made), k=10)
    np.testing.assert_allclose([item.score for item in answer.items], np.sort(oracle)[::-1][:10], atol=5e-4)


def test_an_index_that_skips_rows_keeps_its_tuning_when_it_is_made_anew(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasteprint.retrieval.catalogue.update._MOST_ADDED", 1)
    dims = engine.recommender.space.dims
    index = build_index(engine.texts, kind="ivf-sq8", widths=(dims["meaning"], dims["taste"]))
    assert isinstance(index, ApproximateIndex)
    tuned = index.tuned(efforts=replace(index.efforts, by_blocks={1: 2, 3: 3}), refine=7)
    made = apply_items(replace(engine, index=tuned), CHANGES, vectors_of(CHANGES), removed=GONE)
    assert isinstance(made.index, LiveView)
    assert isinstance(made.index.base, ApproximateIndex)
    assert made.index.base.n_items > index.n_items
    assert (made.index.base.efforts, made.index.base.refine) == (tuned.efforts, 7)
    assert {"i00000", "i00011"}.isdisjoint(
        item.item_id for item in made.search("word1", now_s=now(made), k=N, weights={"meaning": 1.0}).items
    )


def test_a_second_stage_orders_new_items_too(train) -> None:
    model = with_stage(train)
    before = make_engine(model, train.items, train.log, kind="flat")
    after = apply_items(before, CHANGES, vectors_of(CHANGES), removed=GONE)
    user = str(after.log.user_ids[2])
    for query in (None, "word5 lantern"):
        answer = after.answer(user=user, query=query, now_s=now(after), k=15)
        assert len(answer.items) == 15
        for item in answer.items:
            assert item.score == pytest.approx(sum(reason.amount for reason in item.reasons), abs=1e-4)
    assert "new-b" in [i.item_id for i in after.answer(query="word5 word9 lantern", now_s=now(after), k=25).items]
    facts = after.recommender.second.facts
    assert (
        facts.category[after.facts.row("new-a")]
        == facts.category[before.facts.category.tolist().index("root1 > leaf2")]
    )
    assert facts.category[after.facts.row("new-b")] == before.recommender.second.facts.category.max() + 1
    assert facts.category[after.facts.row("i00007")] == -1
    assert facts.log_price[after.facts.row("new-b")] == pytest.approx(np.log(3.0))
    assert np.isfinite(facts.cycles.repeat_share).all()


def test_prices_paid_and_cycles_of_a_category_carry_over(train) -> None:
    before = make_engine(with_stage(train), train.items, train.log, kind="flat")
    second = before.recommender.second
    paid, share = np.linspace(-1, 1, N).astype(np.float32), np.linspace(0, 1, N)
    facts = replace(second.facts, log_price=paid, cycles=replace(second.facts.cycles, repeat_share=share))
    before = replace(before, recommender=replace(before.recommender, second=replace(second, facts=facts)))
    same = train.items.iloc[[5]].assign(title="word1 anew")
    items = pd.concat([same, CHANGES.iloc[[0, 3]]], ignore_index=True)
    after = apply_items(before, items, vectors_of(items)).recommender.second.facts
    assert after.log_price[5] == paid[5]  # its listed price is the same: what was paid stands
    assert after.log_price[3] == pytest.approx(np.log(7.5))
    alike = after.category[:N] == after.category[N]
    assert alike.any()
    assert after.cycles.repeat_share[N] == pytest.approx(share[alike].mean())


def test_words_of_new_items_are_read_as_in_a_build(train) -> None:
    rows = np.array([3, N, 7, N + 1])
    placed = Placed(CHANGES, vectors_of(CHANGES), rows, N)
    words = extended_words(fit_item_words(train.items), placed)
    replaced = train.items.copy()
    for place, row in ((0, 3), (2, 7)):
        replaced.loc[row] = CHANGES.loc[place]
    whole = fit_item_words(pd.concat([replaced, CHANGES.iloc[[1, 3]]], ignore_index=True))
    for query in ("word5 lantern", "renewed lamp", "word1 of brand1", "unheard"):
        ours = text_values(read_query(query, words), words, np.arange(N + 2))
        theirs = text_values(read_query(query, whole), whole, np.arange(N + 2))
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
        np.testing.assert_allclose(
            ours[:, [0, 6, 8, 9]], theirs[:, [0, 6, 8, 9]], atol=1e-6
        )  # no word weights in these
        np.testing.assert_allclose(ours, theirs, atol=0.35)
    assert len(words.idf) == len(words.prefix) == len(words.vocabulary)


def test_what_counts_events_starts_as_if_nothing_had_happened(changed: Engine, engine: Engine) -> None:
    repeat, before = (one.recommender.sources["repeat"] for one in (changed, engine))
    assert repeat.item_factor[N:].tolist() == [1.0, 1.0]  # a shopper's own repeats count as they are
    np.testing.assert_array_equal(repeat.item_factor[:N], before.item_factor)
    assert not changed.recommender.sources["popular"].item_score[N:].any()


def test_a_new_word_weighs_in_plain_bm25_as_the_weightiest_do(make_items) -> None:
    model = index_words(["red lamp", "red sofa", "red hose"])
    items = make_items(["quilt red"]).assign(item_id=["n"])
    grown = extended_source(model, Placed(items, np.zeros((1, 4), np.float32), np.array([3]), 3))
    usual = model.weights[model.vocabulary["lamp"]].max()
    assert grown.match(["quilt"]).toarray()[0].tolist() == pytest.approx([0, 0, 0, usual])
    assert grown.match(["red"]).toarray()[0, 3] == pytest.approx(model.match(["red"]).toarray()[0].mean())


def test_pairs_know_nothing_of_later_items() -> None:
    pairs = Pairs(np.array([1, 5]), np.array([2.0, 3.0], np.float32), 4)  # (0, 1) and (1, 1)
    first, second = np.array([0, 0, 1, 5, 0, -1]), np.array([1, 5, 1, 1, 4, 1])
    assert pairs.of(first, second).tolist() == [2.0, 0.0, 3.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("items", "vectors", "removed", "error", "said"),
    [
        (CHANGES, np.full((4, 24), np.nan, np.float32), (), ArtefactError, "row 0 is not"),
        (CHANGES, np.zeros((4, 23), np.float32), (), ArtefactError, r"must be \(n, 24\)"),
        (CHANGES, np.zeros((3, 24), np.float32), (), ShopError, "got 3 for 4 items"),
        (CHANGES.iloc[[0, 0]], np.zeros((2, 24), np.float32), (), ShopError, "'i00003' twice"),
        (CHANGES, np.zeros((4, 24), np.float32), ("new-a",), ShopError, "'new-a' twice"),
        (pd.DataFrame({"item_id": ["x"]}), np.zeros((1, 24), np.float32), (), ShopError, "title"),
        (pd.DataFrame({"item_id": [""], "title": ["x"]}), np.zeros((1, 24), np.float32), (), ShopError, "not empty"),
        (CHANGES.assign(price=[1.0, -2.0, 3.0, 4.0]), np.zeros((4, 24), np.float32), (), ShopError, "price of 'new-b'"),
        (CHANGES.assign(price=np.inf), np.zeros((4, 24), np.float32), (), ShopError, "price of 'i00003'"),
        (CHANGES.assign(attributes="[1]"), np.zeros((4, 24), np.float32), (), ShopError, "JSON object"),
        (CHANGES.assign(attributes="{"), np.zeros((4, 24), np.float32), (), ShopError, "JSON object"),
    ],
)
def test_what_makes_no_sense_is_refused(engine: Engine, items, vectors, removed, error, said: str) -> None:
    with pytest.raises(error, match=said):
        apply_items(engine, items, vectors, removed=removed)


def test_a_catalogue_of_an_earlier_version_says_so(engine: Engine) -> None:
    space = replace(engine.recommender.space, axes=None)
    old = replace(engine, recommender=replace(engine.recommender, space=space))
    with pytest.raises(ArtefactError, match="build it again"):
        apply_items(old, CHANGES, vectors_of(CHANGES))


def test_every_field_of_an_engine_was_thought_of() -> None:
    """Whoever adds a field to the engine: does it have a row an item? Then `apply_items` must make room in it."""
    sized = {
        "recommender", "index", "texts", "text_of", "items_of", "first_of", "rest_range", "moments", "facts", "titles",
        "log",
    }  # fmt: skip
    unsized = {"attributes", "user_row", "blas", "intent_model", "rules", "readings"}
    assert {field.name for field in fields(Engine)} <= sized | unsized
