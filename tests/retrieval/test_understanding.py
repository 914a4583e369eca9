"""What queries, rules and spelling do to an engine's answers, and that each is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tasteprint.profiling.encoders.encoder import HashEncoder
from tasteprint.profiling.intent.brands import BrandMatch
from tasteprint.profiling.intent.facets import Facets
from tasteprint.profiling.intent.intent import fit_intent
from tasteprint.profiling.intent.price_wishes import PriceBand
from tasteprint.profiling.intent.types import CategoryShare, Intent
from tasteprint.retrieval.engine import Engine, make_engine
from tasteprint.retrieval.filters import Filters, item_facts
from tasteprint.retrieval.recommender import fit_recommender
from tasteprint.retrieval.rules import RulesConfig
from tasteprint.retrieval.scorer import TrainingSet
from tasteprint.retrieval.understanding import BOOSTS, PART, understand

ENCODER = HashEncoder(dim=24, seed=0)
NOW_S = 2e9


@pytest.fixture(scope="module")
def items(make_items):
    kinds = ("desk lamp", "floor lamp", "garden hose", "steel hammer", "wool blanket")
    titles = [f"{kind} {n}" for n in range(12) for kind in kinds]
    return make_items(
        titles,
        category=[{"d": "home > lamps", "f": "home > lamps", "g": "garden"}.get(t[0], "tools") for t in titles],
        brand=[("Apollo", "Zeus", "Hera")[n % 3] for n in range(len(titles))],
        price=[float(5 + n % 40) for n in range(len(titles))],
    )


@pytest.fixture(scope="module")
def engine(items, make_log) -> Engine:
    rng = np.random.default_rng(0)
    log = make_log([(f"u{n % 6}", int(rng.integers(len(items))), float(n)) for n in range(80)], len(items))
    train = TrainingSet(log, items, ENCODER.encode(items["title"].tolist(), "item"), NOW_S)
    weights = {"meaning": 1.0, "bm25": 0.5, "taste_long": 0.4, "popular": 0.2}
    model = fit_recommender(train, weights=weights, encoder=ENCODER)
    assert train.vectors is not None
    intent = fit_intent(items, train.vectors, rng=rng, encoder=ENCODER)
    return make_engine(model, items, log, kind="flat", intent_model=intent)


def _read(engine: Engine, **what: Any) -> Engine:
    """The engine with an intent model that reads every query as told."""

    class Told:
        facets = engine.intent_model.facets if engine.intent_model else None

        def plain(self, texts: list[str]) -> list[str]:
            return texts

        def infer(self, texts: list[str], vectors: np.ndarray) -> list[Intent]:
            known = {"known": True, "confidence": 0.9, "specificity": 1.0, **what}
            return [Intent(text, vectors[0], **known) for text in texts]

    return replace(engine, intent_model=Told())  # type: ignore[arg-type]


def _scores(engine: Engine, query: str, **options: Any) -> Mapping[str, float]:
    return {i.item_id: i.score for i in engine.search(query, now_s=NOW_S, k=60, **options).items}


def test_a_brand_adds_what_it_should_to_its_items_alone_and_is_told(engine):
    brand = BrandMatch("Zeus", ("Zeus",), "zeus", 0.8)
    asked = _read(engine, facets=Facets(brands=(brand,)))
    plain, boosted = _scores(_read(engine), "lamp"), _scores(asked, "lamp")
    for row, item_id in enumerate(engine.log.item_ids):
        more = BOOSTS["brand"] * 0.8 if engine.facts.brand[row] == "zeus" else 0.0
        assert boosted[item_id] - plain[item_id] == pytest.approx(more, abs=1e-5)
    answer = asked.search("lamp", now_s=NOW_S, k=60)
    assert answer.said == ("Items of the brand Zeus come first where all else is equal.",)
    for item in answer.items:
        told = {reason.part: reason.amount for reason in item.reasons}
        assert (PART in told) == (engine.facts.brand[engine.facts.row_of[item.item_id]] == "zeus")
        assert item.score == pytest.approx(sum(told.values()))


def test_categories_add_their_probability_level_by_level(engine):
    shares = (CategoryShare("home > lamps", 0.5), CategoryShare("garden", 0.25))
    plain, boosted = _scores(_read(engine), "x lamp"), _scores(_read(engine, categories=shares), "x lamp")
    for row, item_id in enumerate(engine.log.item_ids):
        share = {"home > lamps": 0.5, "garden": 0.25}.get(str(engine.facts.category[row]), 0.0)
        assert boosted[item_id] - plain[item_id] == pytest.approx(BOOSTS["category"] * share, abs=1e-5)


@pytest.mark.parametrize("change", [{"known": False}, {}])
def test_what_is_not_known_or_names_nothing_changes_nothing(engine, change):
    facets = Facets(brands=(BrandMatch("Zeus", ("Zeus",), "zeus", 1.0),)) if change else Facets()
    asked = _read(engine, facets=facets, **change)
    assert _scores(asked, "hose") == _scores(_read(engine), "hose")
    assert asked.search("hose", now_s=NOW_S).said == ()


def test_own_weights_are_plain_products_whatever_a_query_names(engine):
    facets = Facets(brands=(BrandMatch("Zeus", ("Zeus",), "zeus", 1.0),), price=PriceBand(max=10.0))
    asked = _read(engine, facets=facets)
    found = asked.search("lamp", now_s=NOW_S, k=60, weights={"meaning": 1.0})
    vector = ENCODER.encode(["lamp"], "query")[0]
    want = engine.recommender.space.items["meaning"] @ vector
    np.testing.assert_allclose([i.score for i in found.items], np.sort(want)[::-1], atol=1e-5)
    assert found.said == ()


def test_a_certain_price_is_a_filter_and_is_told(engine):
    asked = _read(engine, facets=Facets(price=PriceBand(min=10.0, max=20.0, text="10 to 20")))
    answer = asked.search("lamp", now_s=NOW_S, k=60)
    prices = [engine.facts.price[engine.facts.row_of[i.item_id]] for i in answer.items]
    assert prices
    assert all(10.0 <= price <= 20.0 for price in prices)
    assert "Only items at 10 to 20, as the query says." in answer.said
    assert "price_max=20.0" in answer.shortage


def test_a_caller_s_own_price_stands(engine):
    asked = _read(engine, facets=Facets(price=PriceBand(max=6.0)))
    answer = asked.search("lamp", now_s=NOW_S, k=60, filters=Filters(price_min=30.0))
    prices = [engine.facts.price[engine.facts.row_of[i.item_id]] for i in answer.items]
    assert prices
    assert min(prices) >= 30.0


@pytest.mark.parametrize(
    ("price", "currency", "filtered", "boosted"),
    [
        (PriceBand(max=10.0), None, True, False),
        (PriceBand(max=10.0), "EUR", True, False),
        (PriceBand(max=10.0, currency="EUR"), "EUR", True, False),
        (PriceBand(max=10.0, currency="EUR"), None, False, True),  # nobody said what the shop's money is
        (PriceBand(max=10.0, currency="USD"), "EUR", False, False),
        (PriceBand(max=10.0, relative="cheap"), None, False, True),
        (PriceBand(relative="cheap"), None, False, False),
    ],
)
def test_only_a_number_in_the_shop_s_money_is_certain(items, price, currency, filtered, boosted):
    intent = Intent("q", np.zeros(2), facets=Facets(price=price), known=True)
    found = understand(intent, item_facts(items), None, currency=currency)
    assert (found.filters is not None and found.filters.price_max == 10.0) == filtered
    assert (found.boosts is not None) == boosted
    if found.boosts is not None:
        np.testing.assert_allclose(found.boosts, BOOSTS["price"] * (items["price"].to_numpy() <= 10.0), rtol=1e-6)
    assert bool(found.said) == (filtered or boosted)


def test_prices_that_many_items_lack_are_no_filter(make_items):
    facts = item_facts(make_items(["a", "b", "c"], price=[1.0, None, 50.0]))
    found = understand(Intent("q", np.zeros(2), facets=Facets(price=PriceBand(max=10.0)), known=True), facts, None)
    assert found.filters is None
    assert found.boosts is not None
    assert found.boosts.tolist() == pytest.approx([BOOSTS["price"], 0, 0])


def test_a_real_query_with_a_price_is_read_so(engine):
    answer = engine.search("desk lamp under 20", now_s=NOW_S, k=60)
    assert answer.intent is not None
    assert answer.intent.known
    assert 0 < len(answer.items) < 60
    assert all(engine.facts.price[engine.facts.row_of[i.item_id]] <= 20 for i in answer.items)


def test_misspelt_words_are_told(engine):
    answer = engine.search("steel hamer", now_s=NOW_S, k=3, weights={"bm25": 1.0})
    assert all("steel hammer" in item.title for item in answer.items)
    assert "No item says 'hamer'; read as 'hammer'." in answer.said
    together = engine.search("gardenhose", now_s=NOW_S, k=3, weights={"bm25": 1.0})
    assert "No item says 'gardenhose'; read as 'garden hose'." in together.said
    assert engine.search("steel hammer", now_s=NOW_S, k=3, weights={"bm25": 1.0}).said == ()


# --- rules ---------------------------------------------------------------------------------------------------------


def _ruled(*tables: Mapping[str, Any]) -> RulesConfig:
    return RulesConfig.model_validate({"rules": tables})


def _ids(answer: Any) -> list[str]:
    return [item.item_id for item in answer.items]


def test_a_pin_comes_first_from_anywhere_and_says_so(engine):
    plain = _ids(engine.search("desk lamp", now_s=NOW_S, k=60))
    last = plain[-1]
    answer = engine.search("desk lamp", now_s=NOW_S, k=5, rules=_ruled({"rule": "pin", "items": [last], "name": "new"}))
    assert _ids(answer) == [last, *plain[:4]]
    assert answer.items[0].rules == ("Moved from 60 to 1 by the rule 'new'.",)
    assert answer.items[0].sentence.endswith("by the rule 'new'.")
    assert answer.items[0].to_json()["rules"] == list(answer.items[0].rules)
    assert [item.rank for item in answer.items] == [1, 2, 3, 4, 5]
    assert answer.said == ("new: 1 item",)
    assert answer.items[1].rules == ()


def test_pins_obey_filters(engine):
    pin = _ruled({"rule": "pin", "items": ["i00000"]})
    answer = engine.search("lamp", now_s=NOW_S, k=5, filters=Filters(exclude=("i00000",)), rules=pin)
    assert "i00000" not in _ids(answer)


def test_excluded_items_never_show_and_the_page_stays_full(engine):
    answer = engine.search("lamp", now_s=NOW_S, k=10, rules=_ruled({"rule": "exclude", "brand": "zeus"}))
    assert len(answer.items) == 10
    assert all(engine.facts.brand[engine.facts.row_of[i]] != "zeus" for i in _ids(answer))


def test_a_page_stays_full_though_all_that_rules_look_at_is_excluded(make_items, make_log):
    titles = ["desk lamp"] * 130 + ["wool blanket"] * 20
    items = make_items(titles, brand=["Big"] * 130 + ["Small"] * 20)
    train = TrainingSet(make_log([("u", 140, 1.0)], 150), items, ENCODER.encode(titles, "item"), NOW_S)
    big = make_engine(fit_recommender(train, weights={"meaning": 1.0}, encoder=ENCODER), items, train.log)
    answer = big.search("desk lamp", now_s=NOW_S, k=10, rules=_ruled({"rule": "exclude", "brand": "big"}))
    assert {item.title for item in answer.items} == {"wool blanket"}
    assert len(answer.items) == 10


def test_a_cap_holds_on_the_page(engine):
    answer = engine.search("lamp", now_s=NOW_S, k=6, rules=_ruled({"rule": "cap", "by": "brand", "most": 2}))
    brands = [engine.facts.brand[engine.facts.row_of[i]] for i in _ids(answer)]
    assert all(brands.count(brand) <= 2 for brand in set(brands))


def test_an_engine_s_own_rules_hold_and_scores_stay_sums(engine):
    rules = _ruled({"rule": "bury", "category": "home", "queries": ["lamps"]}, {"rule": "exposure", "by": "brand"})
    ruled = replace(engine, rules=rules)
    first = ruled.search("lamp", now_s=NOW_S, k=5)
    assert not any("home" in engine.facts.category[engine.facts.row_of[i]] for i in _ids(first))
    for item in first.items:
        assert item.score == pytest.approx(sum(reason.amount for reason in item.reasons))
    brands = [engine.facts.brand[engine.facts.row_of[i]] for i in _ids(ruled.search("hose", now_s=NOW_S, k=3))]
    assert len(set(brands)) == 3
    without = ruled.search("lamp", now_s=NOW_S, k=5, rules=RulesConfig())
    assert _ids(without) == _ids(engine.search("lamp", now_s=NOW_S, k=5))


def test_rules_and_recommendations(engine):
    rules = _ruled({"rule": "pin", "items": ["i00059"]}, {"rule": "diversity", "amount": 0.5})
    answer = engine.recommend("u1", now_s=NOW_S, k=4, rules=rules, explain=False)
    assert _ids(answer)[0] == "i00059"
    assert answer.items[0].sentence == ""
    assert answer.items[0].rules


def test_a_caller_may_want_the_query_s_price_ignored(engine):
    asked = _read(engine, facets=Facets(price=PriceBand(max=6.0)))
    free = asked.search("lamp", now_s=NOW_S, k=60, filters=Filters(ignore_query_price=True))
    assert len(free.items) == 60
    assert free.said == ()
    assert Filters(ignore_query_price=False).describe() == ""
