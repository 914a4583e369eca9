"""Near duplicates against brute force, splits that keep them together, and planted leaks that must be told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from tasteprint.finetune.examples import Examples, link, merge
from tasteprint.finetune.leaks import LeakError, check_leaks, later_queries
from tasteprint.finetune.pairs import PairsConfig, shop_examples
from tasteprint.finetune.splits import SIMILAR, grouped, near_duplicates, split_groups, without_near
from tasteprint.profiling.errors import ConfigError
from tasteprint.profiling.intent.units import stems
from tasteprint.profiling.tables.shop import Shop


def brute_force(texts: list[str], similar: float) -> list[frozenset[int]]:
    """Groups by comparing all pairs of trigram sets, numbers equal."""

    def parts(text: str) -> tuple[frozenset[str], tuple[str, ...], str, tuple[str, ...]]:
        key = tuple(sorted(stems(text)))
        grams = frozenset(f" {w} "[i : i + 3] for w in key for i in range(len(w)))
        return grams, tuple(w for w in key if any(c.isdigit() for c in w)), "".join(stems(text)), key

    read = [parts(text) for text in texts]
    group = [{i} for i in range(len(texts))]
    for i, (grams, numbers, joined, key) in enumerate(read):
        for j in range(i):
            other = read[j]
            near = len(grams & other[0]) >= similar * len(grams | other[0]) - 1e-9 and bool(grams)
            if key == other[3] or joined == other[2] or (near and numbers == other[1]):
                whole = group[i] | group[j]
                for k in whole:
                    group[k] = whole
    return [frozenset(members) for members in group]


@pytest.mark.parametrize("similar", [0.5, SIMILAR, 0.9, 1.0])
def test_groups_equal_those_of_all_pairs(similar: float) -> None:
    rng = np.random.default_rng(2)
    words = ["lamp", "lamps", "desk", "dask", "floor", "flour", "40", "60", "led", "bulb", "light", "lights", "w"]
    texts = [" ".join(rng.choice(words, rng.integers(1, 5))) for _ in range(150)] + ["", "", "desklamp"]
    found = near_duplicates(texts, similar=similar)
    assert [frozenset(np.flatnonzero(found == g).tolist()) for g in found] == brute_force(texts, similar)


def test_what_counts_as_near() -> None:
    group = near_duplicates(
        ["Shower faucets", "faucet  shower", "shower fauscet", "shower-faucet!", "showerfaucet", "shower curtain"]
    )
    assert group.tolist() == [0, 0, 0, 0, 0, 1]
    assert len(set(near_duplicates(["galaxy s9 case", "galaxy s8 case", "galaxy case"]).tolist())) == 3
    with pytest.raises(ConfigError, match="similar"):
        near_duplicates(["a"], similar=0)


def asked(texts: list[str], source: str = "judged") -> Examples:
    rows = np.arange(len(texts))
    return link(texts, [f"item {i}" for i in rows], (rows, rows), source=source)


def test_near_duplicates_stay_on_one_side() -> None:
    texts = [f"{kind} lamp{plural}" for kind in ("desk", "floor", "wall", "garden", "night") for plural in ("", "s")]
    examples = grouped(asked(texts))
    for seed in range(5):
        kept, held = split_groups(examples, 0.3, rng=np.random.default_rng(seed))
        assert sorted(kept.anchors + held.anchors) == sorted(texts)
        assert not {t.removesuffix("s") for t in kept.anchors} & {t.removesuffix("s") for t in held.anchors}
        assert 2 <= len(held) <= 6
    with pytest.raises(ConfigError, match="share"):
        split_groups(examples, 1.0, rng=np.random.default_rng(0))
    with pytest.raises(ConfigError, match="1 groups"):
        split_groups(grouped(asked(["a lamp", "a lamps"])), 0.5, rng=np.random.default_rng(0))


@pytest.fixture
def shop() -> Shop:
    rows = [("desk lamp", "1", 3, "train"), ("frying pan", "2", 2, "valid"), ("garden hose", "3", 1, None)]
    return Shop(
        name="three",
        items=_items(["Lamp A", "Pan B. Steel", "Hose C"]),
        judgements=pd.DataFrame(rows, columns=["query", "item_id", "grade", "split"]).astype({"grade": float}),
    )


def _items(titles: list[str]) -> pd.DataFrame:
    columns = ["item_id", "title", "description", "brand", "category", "price", "created_at", "image_url", "attributes"]
    table = pd.DataFrame({name: pd.Series([None] * len(titles), dtype=object) for name in columns})
    return table.assign(item_id=[str(i + 1) for i in range(len(titles))], title=titles)


def test_a_clean_shop_passes(shop: Shop) -> None:
    examples = shop_examples(shop, PairsConfig(sources=("judged",)), rng=np.random.default_rng(0))
    assert examples.anchors == ("desk lamp",)
    assert later_queries(shop) == ["frying pan", "garden hose"]  # without a split counts as test
    check_leaks(examples, shop)
    check_leaks(asked(["frying pan"]), shop, split="valid")


@pytest.mark.parametrize(
    ("text", "source", "message"),
    [
        ("Garden Hose", "judged", "1 of a later split's queries .'garden hose'."),
        ("garden hoses", "queries", "near duplicates of 1 of a later split's queries .'garden hoses'."),
        ("frying pann", "shared", "near duplicates"),
    ],
)
def test_test_queries_are_told(shop: Shop, text: str, source: str, message: str) -> None:
    with pytest.raises(LeakError, match=message):
        check_leaks(asked(["desk lamp", text], source), shop)
    check_leaks(asked([text], "catalogue"), shop)  # made from the catalogue: no judgement was read


def test_queries_as_documents_are_told(shop: Shop) -> None:
    examples = link(["desk lamp"], ["garden hoses"], (np.array([0]), np.array([0])), source="shared")
    with pytest.raises(LeakError, match="garden hoses"):
        check_leaks(examples, shop)
    assert len(without_near(examples, later_queries(shop))) == 0


def test_judged_pairs_are_told(shop: Shop) -> None:
    examples = link(["frying pan"], ["Pan B. Steel. brand: X"], (np.array([0]), np.array([0])), source="queries")
    with pytest.raises(LeakError, match="1 judged pairs of a later split"):
        check_leaks(examples, shop)


def test_later_events_are_told(shop: Shop) -> None:
    cut = datetime(2024, 5, 1, tzinfo=UTC)
    examples = asked(["desk lamp", "wall lamp"])
    examples = replace(examples, at_s=np.array([cut.timestamp() - 1, np.nan]))
    check_leaks(examples, shop, until=cut)
    late = replace(examples, at_s=np.array([cut.timestamp(), np.nan]))
    with pytest.raises(LeakError, match="1 links rest on events at or after 2024-05-01"):
        check_leaks(late, shop, until=cut.replace(tzinfo=None))


def test_held_out_anchors_are_told(shop: Shop) -> None:
    with pytest.raises(LeakError, match="near duplicates of 1 held-out anchors"):
        check_leaks(asked(["wall lamps"], "catalogue"), shop, held=asked(["wall lamp"]))


def test_near_anchors_can_be_dropped() -> None:
    examples = merge([asked(["desk lamps", "garden hose"]), asked(["wall lamp"], "queries")])
    assert without_near(examples, ["desk lamp", "wall clock"]).anchors == ("garden hose", "wall lamp")
    assert without_near(examples, []) is examples


@pytest.mark.slow
def test_hundred_thousand_queries_take_seconds() -> None:
    import time

    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(rng.choice(letters, rng.integers(3, 9))) for _ in range(8000)]
    weights = 1 / np.arange(1, len(words) + 1)
    drawn = rng.choice(len(words), size=(100_000, 3), p=weights / weights.sum())
    texts = [" ".join(words[i] for i in row) for row in drawn]
    began = time.process_time()
    near_duplicates(texts)
    assert time.process_time() - began < 60
