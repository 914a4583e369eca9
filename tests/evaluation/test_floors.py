"""Floors that others measured on the real shops, reproduced: see SOURCE.md of each shop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tasteprint.evaluation.harness import evaluate
from tasteprint.evaluation.protocol import Options, make_split
from tasteprint.evaluation.rank import measure, rank
from tasteprint.profiling.tables.shop import read_shop
from tasteprint.retrieval.scorer import TrainingSet
from tasteprint.retrieval.sources.popularity import PopularModel, fit_popular
from tasteprint.retrieval.sources.repeats import OwnMostBoughtModel

pytestmark = pytest.mark.data


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "fit_on", "recall", "ndcg"),
    [
        ("popular", "train", 0.0114, 0.0054),
        ("popular", "train+valid", 0.0137, 0.0061),
        ("item-knn", "train", 0.0644, 0.0387),
        ("item-knn", "train+valid", 0.0725, 0.0439),
        ("transitions", "train", 0.0858, 0.0542),
    ],
)
def test_beauty_leave_one_out(shop_path, method: str, fit_on: str, recall: float, ndcg: float) -> None:
    options = Options(fit_on=fit_on)
    found = evaluate(read_shop(shop_path("amazon_beauty")), "leave_one_out", [method], options=options).runs[method]
    assert found.metrics["recall@10"] == pytest.approx(recall, abs=0.001)
    assert found.metrics["ndcg@10"] == pytest.approx(ndcg, abs=0.001)


@pytest.mark.parametrize(
    ("name", "popular", "own"),
    [
        ("online_retail", 0.0778, 0.3321),
        pytest.param("complete_journey", 0.1691, 0.3957, marks=pytest.mark.slow),
    ],
)
def test_all_items_of_the_test_period(shop_path, name: str, popular: float, own: float) -> None:
    """The floors count distinct buyers for popularity, and only shoppers with a history."""
    shop = read_shop(shop_path(name))
    split = make_split(shop, "time_split", Options(window="period"))
    buyers = (
        np.unique(split.train.user().astype(np.int64) * split.train.n_items + split.train.item) % split.train.n_items
    )
    counts = np.bincount(buyers, minlength=split.train.n_items).astype(np.float32)
    for model, floor in (
        (PopularModel(counts), popular),
        (OwnMostBoughtModel(0.5 * counts / (counts.max() + 1)), own),
    ):
        ndcg = measure(rank(model, split), split)["ndcg@10"]
        assert ndcg[split.slices["known"]].mean() == pytest.approx(floor, abs=0.0005)


def test_steam_reviews_alone_reproduce_the_period_floor(shop_path) -> None:
    """That floor counts reviews of either sign, and ranks what a user reviewed before."""
    split = make_split(read_shop(shop_path("steam")), "time_split", Options(window="period", exclude_seen=False))
    log = replace(split.train, weight=np.ones_like(split.train.weight))
    model = fit_popular(TrainingSet(log, None, None, split.until_s))
    known = split.slices["known"]
    assert known.sum() == 1560
    assert measure(rank(model, split), split)["ndcg@10"][known].mean() == pytest.approx(0.1026, abs=0.0005)


@pytest.mark.parametrize(
    ("name", "protocol", "ndcg", "recall"),
    [
        ("chorus_icecat", "search_full", 0.6983, 0.847),
        ("chorus_icecat", "search_rerank", 0.8094, 1.0),
        pytest.param("home_depot", "search_full", 0.3347, 0.6909, marks=pytest.mark.slow),
        pytest.param("home_depot", "search_rerank", 0.9062, 1.0, marks=pytest.mark.slow),
    ],
)
def test_bm25(shop_path, name: str, protocol: str, ndcg: float, recall: float) -> None:
    found = evaluate(read_shop(shop_path(name)), protocol, ["bm25"]).runs["bm25"].metrics
    assert found["ndcg@10"] == pytest.approx(ndcg, abs=0.002)
    assert found["recall@100"] == pytest.approx(recall, abs=0.002)
