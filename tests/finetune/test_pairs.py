"""Pairs from judgements, clicks, reviews and baskets, against figures worked out by hand."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from tasteprint.finetune.behaviour_pairs import propensity_weights, tempered
from tasteprint.finetune.examples import Examples
from tasteprint.finetune.leaks import check_leaks
from tasteprint.finetune.pairs import PAIR_SOURCES, PairsConfig, SourceParts, available, shop_examples
from tasteprint.finetune.streams import rows_of, to_stream
from tasteprint.profiling.errors import ConfigError, ShopError
from tasteprint.profiling.tables.schema import conform
from tasteprint.profiling.tables.shop import Shop
from tasteprint.profiling.tables.tiny import tiny_shop

RNG_SEED = 7


def make(shop: Shop, **options: object) -> Examples:
    return shop_examples(shop, PairsConfig.model_validate(options), rng=np.random.default_rng(RNG_SEED))


def weights(examples: Examples) -> dict[tuple[str, str], float]:
    return {
        (examples.anchors[a], examples.documents[d]): float(w)
        for a, d, w in zip(examples.anchor, examples.document, examples.weight, strict=True)
    }


def shop_of(events: list[dict[str, object]], **meta: object) -> Shop:
    items = conform("items", pd.DataFrame({"item_id": list("abcd"), "title": ["Lamp", "Pan", "Pot", "Hose"]}))
    defaults = {"user_id": "u", "kind": "click", "at": "2024-01-01", "item_id": "a"}
    rows = [{**defaults, "seq": i, **event} for i, event in enumerate(events)]
    table = pd.DataFrame(rows)
    table["at"] = pd.to_datetime(table["at"]).astype("datetime64[us]")
    return Shop(name="four", items=items, events=conform("events", table), meta=meta)


def test_judged_have_the_shops_gain() -> None:
    shop = tiny_shop()
    examples = make(shop, sources=("judged",))
    table = shop.table("judgements")
    train = table[table["split"] == "train"]
    assert len(examples) == train["query"].nunique()
    assert examples.n_links == len(train.drop_duplicates(["query", "item_id"]))
    assert set(make(shop, sources=("judged",), split="valid").anchors).isdisjoint(examples.anchors)


def test_clicks_weigh_by_kind_and_rank() -> None:
    shop = shop_of(
        [
            {"query": "light", "position": 1},  # .2
            {"query": "light", "position": 4, "kind": "cart"},  # .5 x 4
            {"query": "light", "item_id": "b", "position": 50, "kind": "purchase"},  # 1 x 10, clipped
            {"query": "light", "item_id": "c", "kind": "impression"},  # says nothing
            {"query": "light", "item_id": "c", "kind": "purchase", "quantity": -1.0},  # brought back
            {"query": "light", "item_id": "c", "kind": "review", "rating": 1.0},  # disliked
        ],
        rating_scale="1-5",
    )
    found = weights(make(shop, sources=("queries",)))
    assert set(found) == {("light", "Lamp"), ("light", "Pan")}
    assert found["light", "Pan"] / found["light", "Lamp"] == pytest.approx(10 / 2.2, rel=1e-6)
    plain = weights(make(shop, sources=("queries",), propensity=0.0))
    assert plain["light", "Pan"] / plain["light", "Lamp"] == pytest.approx(1 / 0.7, rel=1e-6)


def test_propensities_estimate_relevance_without_bias() -> None:
    """Clicks at rank r with chance relevance / r: weighed by the inverse chance, the ranks come out alike."""
    rng = np.random.default_rng(0)
    rank = rng.integers(1, 6, 200_000)
    clicked = rng.random(len(rank)) < 0.4 / rank
    weighed = propensity_weights(rank.astype(float), clip=10) * clicked
    for r in range(1, 6):
        assert weighed[rank == r].mean() == pytest.approx(0.4, abs=0.02)
    assert tempered(np.zeros(0, dtype=int), np.zeros(0)).tolist() == []


def test_nothing_after_the_cut_is_read() -> None:
    shop = shop_of(
        [
            {"query": "light", "at": "2024-01-01"},
            {"query": "light", "item_id": "b", "at": "2024-02-01"},
            {"query": "late", "item_id": "c", "at": "2024-03-01"},
        ]
    )
    cut = datetime(2024, 2, 1)  # a time without a zone is UTC
    examples = make(shop, sources=("queries",), until=cut)
    assert set(weights(examples)) == {("light", "Lamp")}
    check_leaks(examples, shop, until=cut)
    with pytest.raises(ConfigError, match="leak"):
        check_leaks(make(shop, sources=("queries",)), shop, until=cut)


def test_items_in_the_same_baskets() -> None:
    baskets = {"s1": "ab", "s2": "ab", "s3": "ac", "s4": "ac", "s5": "ad", "s6": "bc"}
    shop = shop_of(
        [
            {"kind": "purchase", "item_id": item, "session_id": session}
            for session, items in baskets.items()
            for item in items
        ]
    )
    found = weights(make(shop, sources=("together",)))
    assert set(found) == {("Lamp", "Pan"), ("Pan", "Lamp"), ("Lamp", "Pot"), ("Pot", "Lamp")}  # two baskets or more
    all_of_it = weights(make(shop, sources=("together",), least_together=1))
    # a is in 5 baskets, b in 3, d in 1: 2 / sqrt(5 x 3) against 1 / sqrt(5 x 1)
    assert all_of_it["Lamp", "Pan"] / all_of_it["Lamp", "Hose"] == pytest.approx(2 / 3**0.5, rel=1e-6)
    raw = weights(make(shop, sources=("together",), least_together=1, popularity_power=0.0))
    assert raw["Lamp", "Pan"] / raw["Lamp", "Hose"] == pytest.approx(2, rel=1e-6)
    examples = make(shop, sources=("together",))
    own = {
        (examples.anchors[a], examples.documents[d])
        for a, d in zip(examples.spared_anchor, examples.spared_document, strict=True)
    }
    assert own == {(text, text) for text in ("Lamp", "Pan", "Pot")}


def test_without_sessions_a_basket_is_a_visit() -> None:
    times = ["2024-01-01 10:00", "2024-01-01 11:00", "2024-01-09 00:00", "2024-01-09 05:00"]
    shop = shop_of([{"kind": "purchase", "item_id": item, "at": at} for item, at in zip("abcd", times, strict=True)])
    found = weights(make(shop, sources=("together",), least_together=1))
    assert set(found) == {("Lamp", "Pan"), ("Pan", "Lamp"), ("Pot", "Hose"), ("Hose", "Pot")}


def test_queries_that_share_clicks() -> None:
    clicks = [("light", "a"), ("lamp", "a"), ("light", "b"), ("lamp", "b"), ("cook", "b"), ("water", "d")]
    shop = shop_of([{"query": query, "item_id": item} for query, item in clicks])
    assert set(weights(make(shop, sources=("shared",)))) == {("light", "lamp"), ("lamp", "light")}
    wide = weights(make(shop, sources=("shared",), least_together=1))
    assert ("cook", "lamp") in wide
    assert not any("water" in pair for pair in wide)


def test_reviews_of_liked_items() -> None:
    shop = shop_of(
        [
            {"kind": "review", "text": "Shines very bright indeed", "rating": 5.0},
            {"kind": "review", "item_id": "b", "text": "Burns all the food", "rating": 1.0},
            {"kind": "review", "item_id": "b", "text": "ok", "rating": 5.0},
            {"kind": "review", "item_id": "c", "text": " ".join(["word"] * 99)},
        ],
        rating_scale="1-5",
    )
    examples = make(shop, sources=("reviews",), max_review_words=9)
    assert set(weights(examples)) == {("Shines very bright indeed", "Lamp"), (" ".join(["word"] * 9), "Pot")}


def test_auto_takes_the_most_direct_there_is() -> None:
    shop = tiny_shop()
    assert set(make(shop).source) == {"judged"}
    assert set(make(Shop(name="asked", items=shop.items, events=shop.events)).source) == {"queries", "shared"}
    silent = shop.table("events")
    silent = silent[silent["query"].isna()]
    assert set(make(Shop(name="silent", items=shop.items, events=silent)).source) == {"catalogue", "reviews"}
    assert available(shop, PairsConfig()) == tuple(name for name in PAIR_SOURCES if name != "pseudo")
    items = Shop(name="items", items=shop.items)
    assert available(items, PairsConfig()) == ("catalogue",)
    assert set(make(items).source) == {"catalogue"}
    assert available(Shop(name="events", events=shop.events), PairsConfig()) == ()
    with pytest.raises(ConfigError, match="'queries' needs events of items that a query led to"):
        make(items, sources=("queries",))
    with pytest.raises(ConfigError, match="among judged, queries, catalogue"):
        make(items, sources=("clicks",))
    with pytest.raises(ShopError, match="nothing to learn from"):
        make(Shop(name="none"))


def test_no_source_leaks_and_near_duplicates_share_a_group() -> None:
    shop = tiny_shop()
    examples = make(shop, sources=available(shop, PairsConfig()))
    check_leaks(examples, shop)
    twins = [i for i, text in enumerate(examples.anchors) if text == examples.anchors[0]]
    assert len(set(examples.group[twins].tolist())) == 1
    assert make(shop, sources=available(shop, PairsConfig())).anchors == examples.anchors


def test_a_stream_of_sources_holds_the_same_rows() -> None:
    shop, config = tiny_shop(), PairsConfig()
    seed = int(np.random.default_rng(RNG_SEED).integers(2**63))
    streamed = [{**row, "group": 0} for row in to_stream(SourceParts(shop, config, None, seed))]
    assert streamed == [{**row, "group": 0} for row in rows_of(make(shop))]


def test_a_source_gives_so_many_anchors_at_most() -> None:
    examples = make(tiny_shop(), most_anchors=5)
    assert np.unique(examples.source, return_counts=True)[1].max() == 5


def test_an_unknown_item_is_refused() -> None:
    shop = shop_of([{"query": "light", "item_id": "z"}])
    with pytest.raises(ShopError, match="item_id 'z' is not in items"):
        make(shop, sources=("queries",))
