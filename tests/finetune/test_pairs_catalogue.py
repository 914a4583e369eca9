"""Pseudo-queries: what a product is called, how it may be asked for, and that no item that answers is a negative."""

from __future__ import annotations

import doctest
from importlib import import_module

import numpy as np
import pandas as pd
import pytest

from tasteprint.finetune.catalogue_pairs import postings
from tasteprint.finetune.examples import Examples, batch_of
from tasteprint.finetune.pairs import CatalogueConfig, PairsConfig, shop_examples
from tasteprint.finetune.phrases import Phrases, mine_phrases
from tasteprint.finetune.pseudo_queries import draw_query, read_catalogue, slipped
from tasteprint.profiling.intent.units import stems
from tasteprint.profiling.tables.schema import conform
from tasteprint.profiling.tables.shop import Shop
from tasteprint.profiling.tables.tiny import tiny_shop

TITLES = [
    *(f"Acme AX-1{i}0 laptop {15 + i} in. black" for i in range(4)),
    *(f"Bolt B{i}1 laptop 8 GB" for i in range(4)),
    *(f"Acme C{i}2 laptop case, brown" for i in range(4)),
    *(f"Dove D{i}3 laptop case for tablets" for i in range(3)),
    *(f"Dove sleeve E{i}4 for laptops" for i in range(3)),
    *(f"Bolt F{i}5 desk lamp with shade" for i in range(4)),
]
BRANDS = [title.split()[0] for title in TITLES]


def shop() -> Shop:
    attributes = ['{"material": "nylon", "ports": 4}' if "case" in title else None for title in TITLES]
    table = pd.DataFrame(
        {
            "item_id": [f"i{k}" for k in range(len(TITLES))],
            "title": TITLES,
            "brand": BRANDS,
            "attributes": attributes,
            "description": ["A bag for every notebook and laptop you own." if a else None for a in attributes],
        }
    )
    return Shop(name="bags", items=conform("items", table))


def make(config: CatalogueConfig | None = None, of: Shop | None = None) -> Examples:
    config = PairsConfig(sources=("catalogue",), catalogue=config or CatalogueConfig())
    return shop_examples(of or shop(), config, rng=np.random.default_rng(0))


def named(phrases: Phrases) -> dict[str, set[str]]:
    return {text: {TITLES[i] for i in phrases.holding(row)} for row, text in enumerate(phrases.texts)}


@pytest.mark.parametrize(
    "name", ["examples", "losses", "splits", "negatives", "phrases", "behaviour_pairs", "catalogue_pairs"]
)
def test_examples_in_docstrings(name: str) -> None:
    found = doctest.testmod(import_module(f"tasteprint.finetune.{name}"), extraglobs={"np": np})
    assert found.failed == 0
    assert found.attempted > 0 or name == "examples"


def test_a_name_holds_what_is_one() -> None:
    found = named(mine_phrases(TITLES, BRANDS))
    assert found["laptop"] == {t for t in TITLES if t.split()[2:3] == ["laptop"] and "case" not in t}
    assert found["laptop case"] == found["case"] == {t for t in TITLES if "laptop case" in t}
    assert found["desk lamp"] == {t for t in TITLES if "desk lamp" in t}
    assert "tablets" not in found  # what a case is for
    assert "shade" not in found
    assert "black" not in found


def test_both_directions_agree() -> None:
    phrases = mine_phrases(TITLES, BRANDS)
    for item in range(len(TITLES)):
        assert set(phrases.of(item)) == {p for p in range(len(phrases.texts)) if item in phrases.holding(p)}
    rows = {text: row for row, text in enumerate(phrases.texts)}
    assert phrases.headed[rows["laptop"]] == pytest.approx(8 / 18)  # seven cases and three sleeves mention it
    assert phrases.makers[rows["laptop"]] == pytest.approx(2)  # two brands, four each


def test_names_of_few_items_are_left_out() -> None:
    assert "desk lamp" not in mine_phrases(TITLES, BRANDS, least_items=5).texts
    assert mine_phrases([], []).texts == ()


def test_queries_are_short_lower_case_and_of_every_kind() -> None:
    catalogue = read_catalogue(shop().table("items"), CatalogueConfig())
    rng = np.random.default_rng(0)
    drawn = [draw_query(catalogue, i % len(TITLES), CatalogueConfig(), rng) for i in range(600)]
    assert None not in drawn
    kinds = {query.kind for query in drawn if query}
    assert kinds == {"type", "brand_type", "value_type", "brand", "model", "words", "title"}
    for query in drawn:
        assert query is not None
        if query.kind != "title":
            assert query.text == query.text.lower()
            assert 1 <= len(query.text.split()) <= 7
    texts = {query.text for query in drawn if query}
    assert {"laptop", "laptop case", "acme laptop", "desk lamp"} <= texts
    assert texts & {"nylon laptop case", "laptop case nylon"}  # an attribute's value
    assert texts & {"ax-100", "acme ax-100"}


def test_shares_choose_the_kinds() -> None:
    only = make(CatalogueConfig(shares={"brand_type": 1.0}, slips=0))
    assert {anchor.split()[0] for anchor in only.anchors} == {"acme", "bolt", "dove"}


def test_no_item_that_holds_the_query_is_ever_a_negative() -> None:
    """The invariant of this source, on batches with every document against every anchor."""
    for of in (shop(), tiny_shop()):
        examples = make(CatalogueConfig(slips=0), of)
        words = {text: set(stems(text)) for text in examples.documents}
        for start in range(0, len(examples), 40):
            batch = batch_of(examples, np.arange(start, min(start + 40, len(examples))))
            negative = (batch.gain == 0) & ~batch.spared
            for i, j in zip(*np.nonzero(negative), strict=True):
                asked = set(stems(examples.anchors[batch.anchor[i]]))
                assert not asked <= words[examples.documents[batch.document[j]]]


def test_what_is_one_gains_more_than_what_mentions_it() -> None:
    examples = make(CatalogueConfig(slips=0, mention_gain=0.2, positives=3, mentions=2))
    gains = {
        (examples.anchors[a], examples.documents[d].split(".")[0]): float(g)
        for a, d, g in zip(examples.anchor, examples.document, examples.gain, strict=True)
    }
    asked = {text: gain for (query, text), gain in gains.items() if query == "laptop"}
    assert {gain for text, gain in asked.items() if "case" in text or "sleeve" in text} == {np.float32(0.2)}
    assert {gain for text, gain in asked.items() if "case" not in text and "sleeve" not in text} == {1.0}
    counts = np.diff(examples.starts())
    assert counts.max() <= 3 + 2 + 1


def test_near_misses_lack_one_word() -> None:
    examples = make(CatalogueConfig(slips=0, misses=2))
    missed = np.flatnonzero(examples.gain == 0)
    assert len(missed) > 20
    for row in missed:
        asked = set(stems(examples.anchors[examples.anchor[row]]))
        assert len(asked - set(stems(examples.documents[examples.document[row]]))) == 1
    assert (make(CatalogueConfig(misses=0)).gain > 0).all()


def test_queries_drawn_often_are_tempered() -> None:
    once = make(CatalogueConfig(per_item=20, temper=0.0, slips=0))
    assert len(set(once.anchors)) == len(once.anchors)
    often = make(CatalogueConfig(per_item=20, temper=1.0, slips=0, shares={"type": 1.0}))
    some = make(CatalogueConfig(per_item=20, temper=0.5, slips=0, shares={"type": 1.0}))
    count = sum(anchor == "laptop" for anchor in some.anchors)
    assert count == int(np.ceil(sum(anchor == "laptop" for anchor in often.anchors) ** 0.5))
    assert count > 5


def test_titles_are_anchors_of_the_rest() -> None:
    examples = make(CatalogueConfig(shares={"title": 1.0}))
    assert set(examples.anchors) == {title for title in TITLES if "case" in title}  # others say no more
    assert all("nylon" in text and "laptop case" not in text for text in examples.documents)


def test_large_catalogues_are_sampled() -> None:
    assert len(make(CatalogueConfig(most=5, temper=1.0))) <= 5


def test_helpers() -> None:
    rows = postings([{"a", "b"}, {"b"}])
    assert {word: list(found) for word, found in rows.items()} == {"a": [0], "b": [0, 1]}
    rng = np.random.default_rng(0)
    assert slipped("tv 4k", rng) == "tv 4k"
    assert slipped("desk lampshade", rng) != "desk lampshade"
