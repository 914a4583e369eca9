"""Pseudo-labels: the threshold against a count by hand, the teacher against the fused ranker, what is trusted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_score

from tasteprint.finetune.labelling.label_curve import (
    CurveConfig,
    CurveData,
    best_by_words,
    curve_data,
    curve_table,
    curve_tests,
    learning_curve,
)
from tasteprint.finetune.labelling.pseudo import (
    Catalogue,
    PseudoConfig,
    choose_threshold,
    expected_grade,
    fused_judge,
    pseudo_labels,
    pseudo_links,
    sum_of,
    wilson_low,
)
from tasteprint.finetune.pairs import PairsConfig, shop_examples
from tasteprint.profiling.encoders.encoder import Encoder
from tasteprint.profiling.encoders.hashing import HashEncoder
from tasteprint.profiling.errors import ConfigError, ShopError
from tasteprint.profiling.tables.schema import conform
from tasteprint.profiling.tables.shop import Shop
from tasteprint.profiling.templates import TemplateConfig, item_texts
from tasteprint.retrieval.lexical import index_words

COLOURS = ["red", "blue", "green", "black", "white", "oak", "steel", "brass"]
GOODS = ["lamp", "sofa", "desk", "chair", "shelf", "rug", "bed", "clock"]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return HashEncoder(dim=64)


@pytest.fixture(scope="module")
def shop() -> Shop:
    """64 items, a query each; grade 2 for the item asked for, 1 for its colour, 0 for others."""
    items = pd.DataFrame(
        {"item_id": [f"i{n}" for n in range(64)], "title": [f"{c} {g}" for c in COLOURS for g in GOODS]}
    )
    rows = []
    for n in range(64):
        split = ("train", "valid", "test")[n % 3]
        for other, grade in ((n, 2.0), (n // 8 * 8 + (n + 1) % 8, 1.0), ((n + 9) % 64, 0.0)):
            rows.append((f"the {items['title'][n]} please", f"i{other}", grade, split))
    judged = pd.DataFrame(rows, columns=["query", "item_id", "grade", "split"])
    meta = {"name": "rooms", "grade_gain": "grade", "protocols": {"search": {"relevant_from": 2}}}
    return Shop("rooms", items=conform("items", items), judgements=conform("judgements", judged), meta=meta)


@pytest.fixture(scope="module")
def catalogue(shop: Shop, encoder: Encoder) -> Catalogue:
    texts = item_texts(shop.table("items"))
    return Catalogue(
        shop.table("items"), texts, encoder.encode(texts), lambda queries: encoder.encode(list(queries), "query")
    )


def test_the_threshold_by_hand() -> None:
    score = np.array([9, 8, 7, 6, 5, 5, 4, 3], np.float32)
    relevant = np.array([1, 1, 1, 0, 1, 1, 0, 0], bool)
    config = PseudoConfig(precision=0.5, least_pairs=1)
    found = choose_threshold(score, relevant, config)
    # at 5 and more: 5 of 6, Wilson's lower end .498 misses .5; at 7 and more: 3 of 3, .526
    assert wilson_low(np.array([5, 3]), np.array([6, 3])).round(3).tolist() == [0.498, 0.526]
    assert found is not None
    assert (found.score, found.precision, found.n, found.of) == (7.0, 1.0, 3, 8)
    looser = choose_threshold(score, relevant, PseudoConfig(precision=0.49, least_pairs=1))
    assert looser is not None
    assert (looser.score, looser.n) == (5.0, 6)  # both pairs with score 5, or none
    assert looser.precision == pytest.approx(precision_score(relevant, score >= looser.score))
    tied = choose_threshold(np.array([9, 8, 7, 5, 5], np.float32), np.array([1, 1, 1, 1, 0], bool), config)
    assert tied is not None
    assert (tied.score, tied.n) == (7.0, 3)  # the first pair with 5 cannot be had without the second: 4 of 5 is .44
    assert choose_threshold(score, relevant, PseudoConfig(precision=0.9, least_pairs=1)) is None
    assert choose_threshold(score, relevant, PseudoConfig(precision=0.5, least_pairs=4)) is None


def test_grades_rise_with_the_score() -> None:
    score, grade = np.array([1, 2, 3, 4], np.float32), np.array([0.0, 2.0, 1.0, 3.0])
    assert expected_grade(score, grade, np.array([0, 2, 3, 9], np.float32)).tolist() == [0.0, 1.5, 1.5, 3.0]


def test_the_teacher_is_bm25_over_its_best_plus_weighted_cosine(catalogue: Catalogue) -> None:
    queries = ["the red lamp", "zzz"]
    words = index_words([text.lower() for text in catalogue.texts]).match(queries).toarray()
    cosine = catalogue.embed(queries) @ catalogue.vectors.T
    expected = 1.4 * cosine + words / np.array([[words[0].max()], [1.0]])
    np.testing.assert_allclose(sum_of({"bm25": words, "meaning": cosine}), expected, rtol=1e-5, atol=1e-6)
    query, item = np.array([1, 0, 0]), np.array([3, 0, 63])
    np.testing.assert_allclose(
        fused_judge(catalogue)(queries, query, item), expected[query, item], rtol=1e-5, atol=1e-6
    )


def test_trusted_pairs_become_examples_and_the_others_are_spared(
    shop: Shop, catalogue: Catalogue, tmp_path: Path
) -> None:
    queries = ["a red lamp for us", "a brass clock for us", "the red sofa please", "  "]  # the third is judged: valid
    config = PseudoConfig(precision=0.5, least_pairs=5, depth=4, most=1)
    made = pseudo_labels(shop, queries, catalogue, fused_judge(catalogue), config)
    assert made.table["query"].unique().tolist() == queries[:2]
    assert made.table.groupby("query").size().tolist() == [4, 4]
    kept = made.judgements()
    assert kept[["query", "item_id"]].to_numpy().tolist() == [[queries[0], "i0"], [queries[1], "i63"]]
    assert kept["split"].tolist() == ["train", "train"]
    trusted = made.table[made.table["trusted"]]
    assert (trusted["score"] >= made.threshold.score).all()
    made.table.to_parquet(tmp_path / "pseudo.parquet")
    asked = PairsConfig(sources=("pseudo",), pseudo=str(tmp_path / "pseudo.parquet"))
    examples = shop_examples(shop, asked, rng=np.random.default_rng(0))
    assert [examples.anchors[row] for row in examples.anchor] == queries[:2]
    assert [examples.documents[row] for row in examples.document] == ["red lamp", "brass clock"]
    np.testing.assert_allclose(examples.gain, kept["grade"], rtol=1e-6)
    assert set(examples.source) == {"pseudo"}
    assert not set(zip(examples.spared_anchor, examples.spared_document, strict=True)) & set(
        zip(examples.anchor, examples.document, strict=True)
    )


def test_a_table_that_does_not_fit_is_refused(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(ShopError, match="made by 'tasteprint label pseudo'"):
        shop_examples(shop, PairsConfig(sources=("pseudo",), pseudo=str(tmp_path / "no")), rng=np.random.default_rng(0))
    strange = pd.DataFrame({"query": ["a"], "item_id": ["nothing"], "grade": [3.0], "trusted": [True]})
    with pytest.raises(ShopError, match="'nothing' is not in items"):
        pseudo_links(strange, shop, item_texts(shop.table("items")))


def test_a_teacher_that_knows_nothing_is_not_trusted(shop: Shop, catalogue: Catalogue) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ShopError, match="lower the precision knowingly, or name a better teacher"):
        pseudo_labels(shop, ["red lamp"], catalogue, lambda q, a, b: rng.random(len(a)).astype(np.float32))
    sure = PseudoConfig(precision=0.5, least_pairs=5)
    labels = pseudo_labels(shop, ["zzz"], catalogue, fused_judge(catalogue), sure)
    with pytest.raises(ShopError, match="no candidate reaches the threshold"):
        pseudo_links(labels.table, shop, item_texts(shop.table("items")))


def test_a_shop_is_asked_for_validation_judgements(shop: Shop, catalogue: Catalogue) -> None:
    table = shop.table("judgements")
    bare = Shop("bare", items=shop.items, judgements=table[table["split"] == "train"], meta=shop.meta)
    with pytest.raises(ShopError, match="has none with split 'valid'"):
        pseudo_labels(bare, ["red lamp"], catalogue, fused_judge(catalogue))


@pytest.fixture(scope="module")
def data(shop: Shop, encoder: Encoder) -> CurveData:
    config = CurveConfig(budgets=(3, 6, 12), items=60)
    return curve_data(shop, encoder, config, template=TemplateConfig(), cache=None, rng=np.random.default_rng(0))


def test_a_curve_shares_its_start_and_ends_alike_when_all_is_judged(data: CurveData) -> None:
    n = len(data.queries)
    assert n == 22  # every third of 64
    config = CurveConfig(budgets=(3, 6, n), seeds=2)
    points = learning_curve(data, ["uncertainty", "diversity"], config=config)
    assert [(p.strategy, p.seed, p.n_queries) for p in points][:3] == [
        ("random", 0, 3),
        ("random", 0, 6),
        ("random", 0, n),
    ]
    table = curve_table(points)
    assert table["strategy"].unique().tolist() == ["random", "uncertainty", "diversity"]
    assert (table[table["queries"] == 3]["recall@100 over random"] == 0).all()
    assert table[table["queries"] == n]["judgements"].unique().tolist() == [3.0 * n]
    last = table[table["queries"] == n]["ndcg@10"]
    assert last.max() - last.min() < 1e-6  # the same judgements, whatever the order
    tests = curve_tests(points, metric="ndcg@10")
    assert [row["b"] for row in tests] == ["uncertainty", "diversity"]
    with pytest.raises(ConfigError, match="at most the pool's 22"):
        learning_curve(data, config=CurveConfig(budgets=(3, 100)))
    with pytest.raises(ConfigError, match="strategies: must be among"):
        learning_curve(data, ["luck"], config=config)


def test_the_test_judgements_stay_closed(shop: Shop, data: CurveData, encoder: Encoder) -> None:
    table = shop.table("judgements")
    without = Shop("rooms", items=shop.items, judgements=table[table["split"] != "test"], meta=shop.meta)
    config = CurveConfig(budgets=(3, 6, 12), items=60)
    again = curve_data(without, encoder, config, template=TemplateConfig(), cache=None, rng=np.random.default_rng(0))
    for name in ("queries", "catalogue", "asked", "words"):
        np.testing.assert_array_equal(getattr(again, name), getattr(data, name))
    assert len(data.asked) == 21


def test_best_by_words_against_the_dense_scores() -> None:
    index = index_words(["red lamp", "red red desk", "blue sofa", "lamp"])
    found = best_by_words(index, ["red lamp", "sofa", "zzz"], 3)
    dense = index.match(["red lamp"]).toarray()[0]
    assert found[0].tolist() == np.argsort(-dense, kind="stable")[:3].tolist()
    assert found[1:].tolist() == [[2, -1, -1], [-1, -1, -1]]
