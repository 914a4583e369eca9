"""Which queries to judge next: every strategy on pools small enough to do by hand, sheets, and the curve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasteprint.finetune.labelling.active import (
    SHEET,
    STRATEGIES,
    TEMPERATURE,
    Pool,
    choose_queries,
    judging_sheet,
    make_pool,
    read_sheet,
    write_sheet,
)
from tasteprint.finetune.labelling.query_map import Links, MapConfig, fit_map, mapped
from tasteprint.profiling.errors import ConfigError, ShopError


def unit(degrees: list[float]) -> np.ndarray:  # type: ignore[type-arg]
    """Unit vectors of a plane by angle, (n, 2)."""
    turned = np.radians(degrees)
    return np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)


def pool(angles: list[float], scores: list[list[float]] | None = None, **other: object) -> Pool:
    """Queries at some angles; the catalogue is four items a right angle apart."""
    n = len(angles)
    scored = np.array(scores if scores else [[1.0, 0.0]] * n, dtype=np.float32)
    given = {
        "queries": unit(angles), "items": np.tile(np.arange(scored.shape[1]), (n, 1)), "scores": scored,
        "words": np.zeros(n, np.float32), "catalogue": unit([0, 90, 180, 270]), "judged": np.zeros((0, 2), np.float32),
    }  # fmt: skip
    return Pool(**(given | other))  # type: ignore[arg-type]


def order(strategy: str, of: Pool, n: int) -> list[int]:
    return choose_queries(of, n, strategy, np.random.default_rng(0)).tolist()


def test_uncertainty_takes_the_most_even_chances() -> None:
    asked = pool([0, 1, 2], [[0.9, 0.1], [0.5, 0.5], [0.6, 0.5]])
    assert order("uncertainty", asked, 3) == [1, 2, 0]
    np.testing.assert_allclose(asked.chances()[2, 0], 1 / (1 + np.exp(-0.1 / TEMPERATURE)), rtol=1e-5)


def test_disagreement_takes_what_words_find_elsewhere() -> None:
    assert order("disagreement", pool([0, 1, 2], words=np.array([0.5, 1.0, 0.0], np.float32)), 2) == [2, 0]


def test_expected_change_is_the_mean_length_of_the_gradients() -> None:
    even, near, sure = [0.5, 0.5], [0.5, 0.5], [0.9, 0.1]
    items = np.array([[0, 2], [0, 1], [0, 2]])  # opposite, at a right angle, opposite
    # item vectors 2 apart move twice as far as those sqrt(2) apart; a sure query hardly moves
    assert order("expected_change", pool([0, 0, 0], [even, near, sure], items=items), 3) == [0, 1, 2]


def test_diversity_goes_to_the_farthest_from_all_judged_and_chosen() -> None:
    asked = pool([10, 80, 170, 175], judged=unit([0]))
    assert order("diversity", asked, 3) == [3, 1, 0]  # 175 is farthest from 0; 80 from both; 10 from 0 and 80 and 175
    assert order("diversity", pool([0, 10, 90]), 1) == [1]  # nobody judged: the nearest to the mean


def test_typical_takes_the_middle_of_each_crowd_the_largest_first() -> None:
    asked = pool([0, 1, 2, 3, 4, 178, 180, 182])
    assert order("typical", asked, 2) == [2, 6]


def test_badge_takes_the_longest_gradient_and_never_one_that_repeats_it() -> None:
    scores = [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.99, 0.0]]
    asked = pool([0, 0, 90, 45], scores)
    chosen = [choose_queries(asked, 2, "badge", np.random.default_rng(seed)).tolist() for seed in range(200)]
    assert {first for first, _ in chosen} == {0}
    second = np.bincount([second for _, second in chosen], minlength=4)
    assert second[1] == 0  # the same as 0: no distance, no chance
    # 2 is at a right angle and as long: squared distance 2; 3 is so sure that it is next to nothing: 1
    assert second[2] / 200 == pytest.approx(2 / 3, abs=0.1)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_contract_distinct_rows_as_many_as_asked_or_there(strategy: str) -> None:
    rng = np.random.default_rng(3)
    queries, catalogue = (unit(rng.uniform(0, 360, n).tolist()) for n in (30, 12))
    words = rng.integers(-1, 12, (30, 4))
    asked = make_pool(queries, catalogue, words, judged=queries[:0])
    for n in (1, 7, 30, 50):
        chosen = choose_queries(asked, n, strategy, np.random.default_rng(0))
        assert len(set(chosen.tolist())) == len(chosen) == min(n, 30)
        assert chosen.min() >= 0
        assert chosen.max() < 30
        again = choose_queries(asked, n, strategy, np.random.default_rng(0))
        assert chosen.tolist() == again.tolist()


def test_a_pool_holds_the_best_items_and_the_share_that_words_find_too() -> None:
    made = make_pool(unit([10, 100]), unit([0, 90, 180, 270]), np.array([[0, 1], [3, -1]]), judged=unit([0])[:0])
    assert made.items.tolist() == [[0, 1], [1, 2]]
    np.testing.assert_allclose(made.scores[0], np.cos(np.radians([10, 80])), rtol=1e-5)
    assert made.words.tolist() == [1.0, 0.0]


def test_a_sheet_asks_for_both_rankings_in_turn_and_comes_back_filled(tmp_path: Path) -> None:
    items = pd.DataFrame({"item_id": list("abcd"), "title": ["A", "B", "C", "D"]})
    words = np.array([[3, 0], [-1, -1]])
    made = make_pool(unit([10, 100]), unit([0, 90, 180, 270]), words, judged=unit([0])[:0])
    sheet = judging_sheet(["red lamp", "sofa"], made, words, items, depth=3)
    assert list(sheet.columns) == list(SHEET)
    assert sheet[["query", "item_id", "rank", "found_by"]].to_numpy().tolist() == [
        ["red lamp", "a", 1, "meaning"], ["red lamp", "d", 2, "words"], ["red lamp", "b", 3, "meaning"],
        ["sofa", "b", 1, "meaning"], ["sofa", "c", 2, "meaning"],
    ]  # fmt: skip
    for name in ("sheet.csv", "sheet.parquet"):
        write_sheet(sheet, tmp_path / name)
        assert read_sheet(tmp_path / name).empty
        sheet.assign(grade=[2.0, None, 0.0, None, 1.5]).pipe(write_sheet, tmp_path / name)
        read = read_sheet(tmp_path / name)
        assert read.to_numpy().tolist() == [
            ["red lamp", "a", 2.0, "train"], ["red lamp", "b", 0.0, "train"], ["sofa", "c", 1.5, "train"],
        ] or read["item_id"].tolist() == ["a", "b", "c"]  # fmt: skip


def test_mistakes_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="strategy: must be one of random, uncertainty"):
        choose_queries(pool([0]), 1, "luck", np.random.default_rng(0))
    with pytest.raises(ConfigError, match="n: must be at least 1"):
        choose_queries(pool([0]), 0, "random", np.random.default_rng(0))
    (tmp_path / "bad.csv").write_text("query,item_id,grade\nlamp,a,good\n")
    with pytest.raises(ShopError, match="number >= 0, got 'good'"):
        read_sheet(tmp_path / "bad.csv")
    (tmp_path / "short.csv").write_text("query,grade\nlamp,1\n")
    with pytest.raises(ShopError, match="lacks item_id"):
        read_sheet(tmp_path / "short.csv")
    with pytest.raises(ShopError, match="cannot be read"):
        read_sheet(tmp_path / "none.csv")


def test_a_map_learns_a_turn_and_nothing_teaches_nothing() -> None:
    rng = np.random.default_rng(0)
    angles = rng.uniform(0, 360, 80)
    queries, items = unit(angles.tolist()), unit((angles + 60).tolist())  # every query means what lies 60 degrees on
    rows = np.arange(80)
    links = Links(rows, rows, np.ones(80, np.float32))
    config = MapConfig(steps=300, lr=0.02, pull=0.0)
    learned = fit_map(queries, items, links.of(rows[:60]), config, rng=np.random.default_rng(0))
    before, after = ((made * items).sum(1)[60:].mean() for made in (queries, mapped(queries, learned)))
    assert before == pytest.approx(0.5, abs=1e-5)
    assert after > 0.98
    none = Links(rows[:2], rows[:2], np.zeros(2, np.float32))
    assert not fit_map(queries, items, none, rng=np.random.default_rng(0)).any()
    with pytest.raises(ConfigError, match="align them"):
        fit_map(queries[:5], items, links, rng=np.random.default_rng(0))
