"""Learning a second stage on planted shops: it wins where something can be learned, and stays away where not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tasteprint.evaluation.dealt import deal_users, only_first, some_users
from tasteprint.evaluation.earlier import earlier_split
from tasteprint.evaluation.metrics import ideal_dcg
from tasteprint.evaluation.rank import mean, measure, rank
from tasteprint.evaluation.rank_learning import (
    REGIMES,
    RankLearningConfig,
    installed_rankers,
    learn_from_table,
    learn_ranker,
    used_columns,
    with_ranker,
)
from tasteprint.evaluation.rank_tables import (
    Impressions,
    gains_of,
    gather_ranks,
    impression_table,
    joined,
    without_parts,
)
from tasteprint.evaluation.search_split import search_split
from tasteprint.evaluation.splits import leave_one_out, time_split
from tasteprint.profiling.encoders.encoder import HashEncoder
from tasteprint.profiling.errors import ConfigError
from tasteprint.profiling.tables.schema import conform
from tasteprint.profiling.tables.shop import Shop
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.retrieval.recommender import fit_recommender
from tasteprint.retrieval.scorer import TrainingSet
from tasteprint.retrieval.second_stage import ranker
from tasteprint.retrieval.second_stage.both import with_line
from tasteprint.retrieval.second_stage.facts import fit_rank_facts
from tasteprint.retrieval.second_stage.ranker import LinearRanker, RankerConfig, RankTable, fit_ranker
from tasteprint.retrieval.second_stage.stage import feature_groups

from .test_splits import asked, shop_of

LINEAR = RankLearningConfig(rankers=("linear",), default=False, few=10, depth=30)


def planted(*, random: bool = False, n_users: int = 80) -> Shop:
    """Every shopper walks through the catalogue item after item, or takes anything."""
    rng = np.random.default_rng(0)
    ids = [f"i{n:02d}" for n in range(40)]
    rows = []
    for user in range(n_users):
        first = int(rng.integers(40))
        for step in range(6):
            item = int(rng.integers(40)) if random else (first + step) % 40
            rows.append((f"u{user:03d}", pd.Timestamp("2024-01-01") + pd.Timedelta(days=step), ids[item]))
    events = pd.DataFrame(rows, columns=["user_id", "at", "item_id"])
    events = events.assign(kind="purchase", seq=range(len(events)))
    items = conform("items", pd.DataFrame({"item_id": ids, "title": ids}))
    return Shop("planted", items=items, events=conform("events", events), meta={})


def training(shop: Shop, split) -> TrainingSet:
    return TrainingSet(split.train, shop.items, None, split.until_s)


def popular(train: TrainingSet, exclude: bool = True):
    return fit_recommender(train, weights={"popular": 1.0}, exclude_seen=exclude)


@pytest.mark.parametrize("regime", ["validation", "train"])
def test_a_ranker_finds_what_follows_what(regime) -> None:
    """The first stage knows popularity only; the item after the last one is in the pair features."""
    shop = planted()
    split = leave_one_out(shop, stage="valid")
    train = training(shop, split)
    config = LINEAR.model_copy(update={"regime": regime})
    learned = learn_ranker(popular, train, split, config, rng=np.random.default_rng(0))
    assert (learned.name, learned.regime) == ("linear", regime)
    assert learned.reached["linear"] > learned.first + 0.5
    test = leave_one_out(shop)
    model = popular(training(shop, test))
    both = with_ranker(model, training(shop, test), learned)
    before, after = (mean(measure(rank(m, test), test)["ndcg@10"]) for m in (model, both))
    assert after > before + 0.4
    assert learned.said()["ranker_answers"] == regime in REGIMES


def test_where_nothing_can_be_learned_nothing_is_used() -> None:
    shop = planted(random=True)
    split = leave_one_out(shop, stage="valid")
    train = training(shop, split)
    learned = learn_ranker(popular, train, split, LINEAR, rng=np.random.default_rng(0))
    assert (learned.model, learned.name) == (None, "none")
    model = popular(train)
    assert with_ranker(model, train, learned) is model


def test_too_few_answers_and_no_rankers() -> None:
    shop = planted(n_users=12)
    split = leave_one_out(shop, stage="valid")
    train = training(shop, split)
    few = LINEAR.model_copy(update={"few": 100, "default": True})
    assert set(learn_ranker(popular, train, split, few, rng=np.random.default_rng(0)).reached) <= {"default"}
    off = RankLearningConfig(rankers=(), default=False)
    learned = learn_ranker(lambda _: 1 / 0, train, split, off, rng=np.random.default_rng(0))
    assert learned.said() == {"ranker": "none", "ranker_answers": "validation"}


def test_trees_are_tried_only_where_they_can_grow(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert installed_rankers(asked=True) == ("linear",)


def test_popularity_can_be_left_out() -> None:
    shop = planted()
    split = leave_one_out(shop, stage="valid")
    config = LINEAR.model_copy(update={"popularity": False})
    learned = learn_ranker(popular, training(shop, split), split, config, rng=np.random.default_rng(0))
    assert learned.model is not None
    assert not {"count", "popular", "popular_rank"} & set(learned.model.names)


# Tables.


def test_a_table_holds_candidates_gains_and_the_first_order() -> None:
    shop = tiny_shop()
    split = time_split(shop, stage="valid")
    split = split.take(np.flatnonzero(split.requests.stop > split.requests.start))
    train = TrainingSet(split.train, shop.items, None, split.until_s)
    model = popular(train, exclude=False)
    facts, groups = fit_rank_facts(train), feature_groups(asked=False)
    n_items = train.log.n_items
    table = gather_ranks(model, facts, split, groups=groups, depth=n_items)
    assert (table.count == n_items).all()  # every item is a candidate, so there is always a right one
    dense = np.zeros((len(split.requests), n_items), np.float32)
    dense[split.truth.request(), split.truth.items] = split.truth.gain
    np.testing.assert_array_equal(table.gain, dense.ravel())
    np.testing.assert_allclose(table.start, model.scores(split.requests).ravel())
    np.testing.assert_allclose(table.ideal, ideal_dcg(split.truth, 10))
    short = gather_ranks(model, facts, split, groups=groups, depth=3)
    right = np.argsort(-model.scores(split.requests), axis=1, kind="stable")[:, :3]
    found = np.take_along_axis(dense, right, axis=1).any(axis=1)
    assert short.count.tolist() == np.where(found, 3, 0).tolist()
    assert 0 < found.sum() < len(found)
    both = joined(short, table)
    assert len(both.count) == 2 * len(split.requests)
    np.testing.assert_array_equal(both.take(np.arange(len(both.count)) < len(short.count)).values, short.values)
    with pytest.raises(ConfigError, match="columns"):
        joined(short, replace(table, names=("other",)))


def test_gains_of_pairs() -> None:
    truth = leave_one_out(shop_of(("u", "a", 0), ("u", "b", 1), ("u", "c", 2)), stage="valid").truth
    assert gains_of(truth, np.array([0, 0]), np.array([1, 2])).tolist() == [1.0, 0.0]
    assert gains_of(truth, np.zeros(0, int), np.zeros(0, int)).tolist() == []


def test_users_are_on_one_side() -> None:
    cluster = np.repeat(np.arange(20), 3)
    decides = some_users(cluster, 0.25, np.random.default_rng(0))
    assert decides.sum() == 15
    assert (decides.reshape(20, 3) == decides[::3, None]).all()
    assert some_users(np.zeros(3, int), 0.01, np.random.default_rng(0)).all()
    folds = deal_users(cluster, 0.25, np.random.default_rng(0))
    assert np.bincount(folds).tolist() == [15, 15, 15, 15]
    assert (folds.reshape(20, 3) == folds[::3, None]).all()
    assert sorted(deal_users(np.arange(7), 0.25, np.random.default_rng(0)).tolist()) == [0, 0, 1, 1, 2, 2, 3]
    assert deal_users(np.zeros(3, int), 0.25, np.random.default_rng(0)).tolist() == [0, 0, 0]


def test_earlier_splits_by_hand() -> None:
    shop = shop_of(
        ("u", "a", 0), ("u", "b", 1), ("u", "c", 2), ("u", "d", 3), ("v", "e", 0), ("v", "f", 1), ("v", "g", 2)
    )
    split = leave_one_out(shop, stage="valid")  # u: ab | c, v: e | f
    train, inner = earlier_split(TrainingSet(split.train, shop.items, None, split.until_s), split)
    assert asked(inner) == {("u", 0): ("a", "b")}  # v has one event left: nothing before it
    assert train.log.item_ids[train.log.item].tolist() == ["a", "e"]
    dates = {"time_split": {"valid_from": "2024-01-07", "test_from": "2024-01-09"}}
    shop = shop_of(*[("u", "abcdefgh"[n], n) for n in range(8)], ("v", "a", 8), ("u", "h", 8.5), protocols=dates)
    split = time_split(shop, stage="valid")
    train, inner = earlier_split(TrainingSet(split.train, shop.items, None, split.until_s), split)
    assert train.until_s < split.until_s
    assert float(train.log.at_s.max()) < train.until_s
    assert (inner.requests.now_s >= train.until_s).all()
    assert inner.requests.log is split.train  # nothing of the validation period is in reach


def test_impressions_make_a_table_of_what_was_shown() -> None:
    shop = planted()
    split = leave_one_out(shop, stage="valid")
    train = training(shop, split)
    requests = split.requests.take(slice(0, 2))
    chosen = np.array([0.0, 1.0, 0.0, 0.0, 2.0], dtype=np.float32)
    page, item = np.array([0, 0, 0, 1, 1]), np.array([3, 5, 30, 2, 39])
    impressions = Impressions(requests, page, item, chosen, np.array([0, 1]))
    model = popular(train, exclude=False)
    groups = feature_groups(asked=False)
    table = impression_table(impressions, model, fit_rank_facts(train), groups=groups, depth=2)
    assert table.count.tolist() == [3, 2]
    assert table.gain.tolist() == chosen.tolist()
    assert table.ideal.tolist() == [1.0, 2.0]


# Words.


def test_judged_queries_teach_and_validation_decides() -> None:
    shop, encoder = tiny_shop(), HashEncoder(dim=24, seed=0)
    vectors = encoder.encode(shop.items["title"].tolist(), "item")
    valid, taught = search_split(shop, stage="valid"), search_split(shop, stage="test")
    train = TrainingSet(valid.train, shop.items, vectors, valid.until_s)

    def fit(data: TrainingSet):
        return fit_recommender(data, weights={"meaning": 1.0}, encoder=encoder)

    config = LINEAR.model_copy(update={"few": 1, "margin": 0.0})
    learned = learn_ranker(fit, train, valid, config, rng=np.random.default_rng(0), answers=taught)
    assert learned.asked
    assert learned.n_requests <= len(valid.requests) + len(taught.requests)
    assert learned.reached["linear"] > learned.first  # words beside hashed vectors
    model = with_ranker(fit(train), train, learned)
    assert (model.second is None, model.second_search is None) == (True, False)
    rerank = search_split(shop, mode="rerank", stage="valid")
    table = gather_ranks(fit(train), fit_rank_facts(train, words=True), rerank, groups=learned.groups, depth=5)
    assert set(table.count.tolist()) <= {0, *np.diff(rerank.truth.indptr).tolist()}  # judged items, wherever they stand
    assert np.isfinite(mean(measure(rank(model, rerank), rerank)["ndcg@10"]))


def test_requests_in_words_have_deeper_candidates_unless_told_otherwise() -> None:
    shop, encoder = tiny_shop(), HashEncoder(dim=24, seed=0)
    vectors = encoder.encode(shop.items["title"].tolist(), "item")
    words, planted_shop = search_split(shop, stage="valid"), planted()
    train = TrainingSet(words.train, shop.items, vectors, words.until_s)
    personal = leave_one_out(planted_shop, stage="valid")

    def deep(depth: int | None) -> list[int]:
        config, rng = LINEAR.model_copy(update={"depth": depth, "few": 1, "default": True}), np.random.default_rng(0)
        asked = learn_ranker(
            lambda data: fit_recommender(data, weights={"meaning": 1.0}, encoder=encoder), train, words, config, rng=rng
        )
        silent = learn_ranker(popular, training(planted_shop, personal), personal, config, rng=rng)
        return [asked.depth, silent.depth]

    assert deep(None) == [300, 100]
    assert deep(30) == [30, 30]


@pytest.mark.slow
def test_trees_win_too_and_are_as_many_as_were_best() -> None:
    pytest.importorskip("lightgbm")
    shop = planted(n_users=300)
    split = leave_one_out(shop, stage="valid")
    config = LINEAR.model_copy(update={"rankers": ("lambdamart",), "options": RankerConfig(trees=60, least_rows=20)})
    learned = learn_ranker(popular, training(shop, split), split, config, rng=np.random.default_rng(0))
    assert learned.name == "lambdamart"
    assert learned.model is not None
    assert 1 <= learned.model.trees <= 60  # type: ignore[attr-defined]


def test_a_table_decides_by_the_requests_it_is_told() -> None:
    shop = planted()
    split = leave_one_out(shop, stage="valid")
    train = training(shop, split)
    groups = feature_groups(asked=False)
    table = gather_ranks(popular(train), fit_rank_facts(train), split, groups=groups, depth=30)
    folds = only_first(20, len(table.count) - 20)
    learned = learn_from_table(table, folds, LINEAR, rng=np.random.default_rng(0), groups=groups, asked=False)
    assert learned.first == pytest.approx(table.ndcg(table.start)[:20].mean())


def test_all_users_decide_in_turn_on_rankers_that_have_not_learned_from_them() -> None:
    table, folds = told_by("own"), np.arange(120) % 4
    given = {"rng": np.random.default_rng(0), "groups": ("parts",), "asked": False}
    turned = learn_from_table(table, folds, LINEAR, **given)
    by_hand = np.zeros(120)
    for fold in range(4):
        model = fit_ranker(table.take(folds != fold), RankerConfig(kind="linear"), rng=np.random.default_rng(0))
        held = table.take(folds == fold)
        by_hand[folds == fold] = held.ndcg(model.scores(held.values))
    assert turned.reached["linear"] == pytest.approx(by_hand.mean(), abs=1e-9)
    assert turned.first == pytest.approx(table.ndcg(table.start).mean())
    once = learn_from_table(table, folds, LINEAR.model_copy(update={"in_turn": 10}), **given)
    assert once.reached["linear"] == pytest.approx(by_hand[folds == 0].mean(), abs=1e-9)
    assert once.n_requests == turned.n_requests


@pytest.mark.parametrize(("folds", "grown"), [(only_first(40, 80), 1), (np.arange(120) % 4, 8)])
def test_the_same_trees_are_not_grown_again_to_be_tried_with_a_weighted_sum(monkeypatch, folds, grown) -> None:
    pytest.importorskip("lightgbm")
    fits, fit, table = [], ranker._fit_trees, told_by("own")
    monkeypatch.setattr(ranker, "_fit_trees", lambda *args, **more: fits.append(fit(*args, **more)) or fits[-1])
    options = RankerConfig(trees=5, least_rows=5)
    config = LINEAR.model_copy(update={"rankers": ("lambdamart", "both"), "options": options})
    given = {"rng": np.random.default_rng(0), "groups": ("parts",), "asked": False}
    learned = learn_from_table(table, folds, config, **given)
    assert len(fits) == grown + 1  # and once for the one that wins
    by_hand = np.full(120, np.nan)
    turns = [fold for fold in np.unique(folds) if fold >= 0]
    for fold, forest in zip(turns, fits[-1 - len(turns) : -1], strict=True):
        model = with_line(forest, table.take(folds != fold), options, rng=given_rng())
        held = table.take(folds == fold)
        by_hand[folds == fold] = held.ndcg(model.scores(held.values))
    assert learned.reached["both"] == pytest.approx(np.nanmean(by_hand), abs=1e-9)


# Parts without a weight.


def told_by(column: str, *, n: int = 120) -> RankTable:
    """Ten candidates a request, whose gain one column gives away and the others know nothing of."""
    rng = np.random.default_rng(5)
    names = ("popular", "popular_rank", "own", "own_rank", "repeat", "repeat_rank", "fused")
    values = rng.normal(size=(10 * n, len(names))).astype(np.float32)
    best = values[:, names.index(column)].reshape(n, 10).argmax(axis=1)
    gain = np.zeros((n, 10), dtype=np.float32)
    gain[np.arange(n), best] = 1.0
    return RankTable(names, values, gain.ravel(), np.full(n, 10), np.ones(n), values[:, -1])


@pytest.mark.parametrize("kind", installed_rankers(asked=True))
def test_a_part_without_a_weight_is_read_where_it_tells_something(kind) -> None:
    options = RankerConfig(trees=40, least_rows=5)
    config = LINEAR.model_copy(update={"rankers": (kind,), "options": options})
    given = {"rng": np.random.default_rng(0), "groups": ("parts", "together"), "asked": False}
    folds = only_first(40, 80)
    learned = learn_from_table(told_by("own"), folds, config, beside=("own", "repeat"), **given)
    assert learned.name == kind
    assert "own" in learned.reads
    assert learned.reached[f"{kind}_all_parts"] > learned.reached[kind] + 0.2
    assert learned.said()[f"ranker_{kind}_all_parts"] == round(learned.reached[f"{kind}_all_parts"], 4)
    other = learn_from_table(told_by("popular"), folds, config, **given)
    assert (other.reads, set(other.reached)) == ((), {kind})


def test_columns_that_are_used() -> None:
    linear = LinearRanker(("a", "b"), np.zeros(2), np.ones(2), np.array([0.0, 2.0]))
    assert used_columns(linear) == {"b"}
    pytest.importorskip("lightgbm")
    table = told_by("own")
    trees = fit_ranker(table, RankerConfig(trees=1, leaves=2, least_rows=5, feature_share=1.0), rng=given_rng())
    assert used_columns(trees) == {"own"}
    unread = np.array(table.values)
    unread[:, [name != "own" for name in table.names]] = np.nan
    np.testing.assert_array_equal(trees.scores(unread), trees.scores(table.values))


def given_rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_without_parts() -> None:
    table = told_by("own")
    few = without_parts(table, ("own", "repeat"))
    assert few.names == ("popular", "popular_rank", "fused")
    np.testing.assert_array_equal(few.values, np.delete(table.values, [2, 3, 4, 5], axis=1))
    assert without_parts(table, ()) is table is without_parts(table, ("bm25",))


def test_the_whole_of_a_shop_reads_the_parts_it_gave_no_weight() -> None:
    """The first stage may rank by one part alone; the ranker finds the others in its table and asks for them."""
    shop = planted()
    split = leave_one_out(shop, stage="valid")
    train = training(shop, split)

    def fit(data: TrainingSet):
        return fit_recommender(data, weights={"popular": 1.0}, exclude_seen=True, also=("transitions", "own"))

    learned = learn_ranker(fit, train, split, LINEAR, rng=np.random.default_rng(0))
    assert set(learned.reached) == {"linear", "linear_all_parts"}
    assert learned.model is not None
    if learned.reads:
        assert {"transitions", "transitions_rank"} <= set(learned.model.names)
    popularity = learn_ranker(popular, train, split, LINEAR, rng=np.random.default_rng(0))
    assert set(popularity.reached) == {"linear"}
