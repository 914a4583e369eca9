"""Leaving parts out on a planted shop: what matters is seen to matter, and nobody's value was chosen on their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tasteprint.evaluation.ablation import Bench, Measured, measure_rows
from tasteprint.evaluation.ablation_rows import Row, rows_of
from tasteprint.evaluation.baselines.chance import fit_random
from tasteprint.evaluation.dealt import some_users
from tasteprint.evaluation.gathered import alone, gather_parts
from tasteprint.evaluation.rank import mean, measure, rank
from tasteprint.evaluation.rank_learning import RankLearningConfig
from tasteprint.evaluation.sampled import single_ndcg
from tasteprint.evaluation.splits import leave_one_out, time_split
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.retrieval.fusion import choose_weights
from tasteprint.retrieval.recommender import fit_recommender
from tasteprint.retrieval.second_stage.facts import fit_rank_facts
from tasteprint.retrieval.sources.popularity import fit_popular

from .test_rank_learning import planted, training

PARTS = ("popular", "transitions")
PLAIN = RankLearningConfig(rankers=(), default=False)


@pytest.fixture(scope="module")
def bench() -> Bench:
    """Every shopper walks through the catalogue item after item: transitions know it, popularity does not."""
    shop = planted()
    split = leave_one_out(shop, stage="valid")
    train = training(shop, split)
    model = fit_recommender(train, weights=dict.fromkeys(PARTS, 1.0), exclude_seen=split.exclude_seen)
    found = gather_parts(model, split, extra={"popular again": fit_popular(train)}, n=5)
    return Bench(found, fit_rank_facts(train, ties="sequence"), model.text_rows)


def measure_row(bench: Bench, row: Row) -> Measured:
    return next(measure_rows(bench, [row]))


def test_what_rows_share_changes_nothing(bench: Bench) -> None:
    config = RankLearningConfig(rankers=("linear",), default=False, few=5)
    rows = rows_of(PARTS, instead={"popular again": None}, asked=False, ranking=config)
    for row, found in zip(rows, measure_rows(bench, rows), strict=True):
        assert (found.ndcg == measure_row(bench, row).ndcg).all()


def test_the_part_that_knows_is_missed_and_the_other_is_not(bench: Bench) -> None:
    rows = {row.name: row for row in rows_of(PARTS, instead={}, asked=False, ranking=PLAIN)}
    reached = {name: measure_row(bench, rows[name]).ndcg.mean() for name in rows}
    assert reached["everything"] > reached["without transitions"] + 0.3
    assert reached["without popular"] == pytest.approx(reached["everything"], abs=0.05)
    assert reached["with the gate"] == reached["everything"]


def test_a_ranker_makes_up_for_a_part(bench: Bench) -> None:
    """What follows what is among the ranker's features too, as far as candidates are found."""
    row = Row("popular alone", ("popular",), RankLearningConfig(rankers=("linear",), default=False, few=5))
    wide = replace(bench, found=replace(bench.found, best=np.ones_like(bench.found.best)))
    found, without = measure_row(wide, row), measure_row(wide, replace(row, dropped=("pairs",)))
    assert found.rankers == ("linear", "linear")
    assert found.ndcg.mean() > without.ndcg.mean() + 0.2


def test_halves_choose_without_themselves(bench: Bench) -> None:
    """Where one half's answers are taken away, that half chooses otherwise and the other chooses the same."""
    row = Row("everything", PARTS, PLAIN)
    before = measure_row(bench, row)
    first = some_users(bench.found.cluster, 0.5, np.random.default_rng(bench.seed))
    gain = np.where(first[:, None], bench.found.gain, np.float32(0))
    after = measure_row(replace(bench, found=replace(bench.found, gain=gain)), row)
    assert after.weights[0] == before.weights[0]
    assert after.weights[1] != before.weights[1]
    assert not after.ndcg[~first].any()


def test_candidates_of_some_parts_are_their_own_best(bench: Bench) -> None:
    found = bench.found
    every = np.ones(len(found.requests), dtype=bool)
    sample = found.candidates(("popular",), every)
    assert (sample.allowed.sum(axis=1) == 5).all()
    assert sample.parts == ("popular",)
    weights, _ = choose_weights(sample)
    assert weights["popular"] > 0


def test_a_part_alone_is_what_a_whole_ranking_gives() -> None:
    """Of scores without equals, whose order would be nobody's."""
    shop = tiny_shop()
    split = time_split(shop, stage="valid")
    train = training(shop, split)
    model = fit_recommender(train, weights={"popular": 1.0}, exclude_seen=split.exclude_seen)
    chance = fit_random(train, rng=np.random.default_rng(3))
    found = gather_parts(model, split, extra={"chance": chance}, n=10)
    whole = mean(measure(rank(chance, split), split)["ndcg@10"])
    assert alone(found)["chance"] == pytest.approx(whole, abs=1e-6)
    assert single_ndcg(chance, split) == pytest.approx(whole, abs=1e-9)


def test_lines_leave_out_what_they_say() -> None:
    parts = ("popular", "recent_popular", "own")
    rows = rows_of(parts, instead={"more": None, "other own": "own"}, asked=False, ranking=RankLearningConfig())
    by_name = {row.name: row for row in rows}
    assert len(by_name) == len(rows)
    assert by_name["everything"].parts == parts
    assert by_name["without popular and recent_popular"].parts == ("own",)
    assert by_name["with more too"].parts == (*parts, "more")
    assert by_name["other own in place of own"].parts == ("popular", "recent_popular", "other own")
    assert by_name["without the ranker"].ranking.rankers == ()
    assert by_name["ranker without pairs"].dropped == ("pairs",)
    assert by_name["with the gate"].gate
    assert all(row.name != "with the gate" for row in rows_of(("bm25",), instead={}, asked=True, ranking=PLAIN))
