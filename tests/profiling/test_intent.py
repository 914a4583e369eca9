import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasteprint.profiling.encoders.hashing import HashEncoder
from tasteprint.profiling.errors import ArtefactError, ConfigError
from tasteprint.profiling.intent.evidence import coherence, concentration
from tasteprint.profiling.intent.intent import (
    CategoryShare,
    Intent,
    IntentConfig,
    IntentModel,
    fit_intent,
    intent_from_state,
)
from tasteprint.profiling.intent.price_wishes import PriceBand
from tasteprint.profiling.intent.stages import STAGES
from tasteprint.profiling.tables.tiny import tiny_shop

ITEMS = tiny_shop().items
ENCODER = HashEncoder(128)
VECTORS = ENCODER.encode(ITEMS["title"].tolist())
MODEL = fit_intent(ITEMS, VECTORS, rng=np.random.default_rng(0), encoder=ENCODER)


def ask(*texts: str, model: IntentModel = MODEL) -> list[Intent]:
    return model.infer(texts, ENCODER.encode(model.plain(texts), "query"))


def test_titles_name_their_own_category_brand_and_are_known() -> None:
    found = ask(*ITEMS["title"])
    right = [intent.categories[0].path == c for intent, c in zip(found, ITEMS["category"], strict=True)]
    assert np.mean(right) > 0.9
    assert np.mean([intent.known for intent in found]) > 0.9
    brand = ITEMS["brand"].dropna().iloc[0]
    assert ask(f"{brand} coffee")[0].facets.brands[0].brand == brand


def test_gibberish_other_languages_and_sentences_are_not_known() -> None:
    for text in ("xqzzk vprt", "红色 杯子", "how do i get to the train station", "мой заказ", "qqqq"):
        intent = ask(text)[0]
        assert not intent.known, text
        assert intent.confidence < 0.5
        assert intent.unknown > 0.5
        assert "Not sure" in intent.explain()


@given(st.lists(st.text(max_size=40), max_size=5))
def test_every_text_gives_a_valid_intent_and_a_batch_equals_its_parts(texts: list[str]) -> None:
    found = ask(*texts)
    assert len(found) == len(texts)
    for text, intent in zip(texts, found, strict=True):
        assert 0.0 <= intent.specificity <= 1.0
        assert 0.0 <= intent.confidence <= 1.0
        shares = [c.probability for c in intent.categories]
        assert sum(shares) <= 1.0 + 1e-6
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) + intent.unknown == pytest.approx(1.0, abs=1e-6)
        assert sum(intent.stages.values()) == pytest.approx(1.0)
        assert intent.stage in STAGES
        alone = ask(text)[0]
        assert json.loads(json.dumps(alone.to_json())) == json.loads(json.dumps(intent.to_json()))


def test_an_empty_query_is_an_empty_intent() -> None:
    for text in ("", "   "):
        intent = ask(text)[0]
        assert (intent.confidence, intent.specificity, intent.categories, intent.known) == (0.0, 0.0, (), False)
        assert intent.unknown == 1.0
        assert "empty" in intent.explain()


def test_more_detail_is_more_specific() -> None:
    title = ITEMS["title"][0]
    one, many = ask(title.split()[-3], title)
    assert many.specificity > one.specificity
    plain, priced, model = ask("coffee", "coffee under 10", "coffee QX-2110")
    assert plain.specificity < priced.specificity < model.specificity


def test_cheap_becomes_a_bound_from_the_catalogues_prices() -> None:
    intent = ask("cheap coffee")[0]
    assert intent.facets.price is not None
    assert intent.facets.price.relative == "cheap"
    assert intent.facets.price.max == pytest.approx(np.nanquantile(ITEMS["price"].astype(float), 1 / 3), abs=0.01)


def test_the_same_seed_gives_the_same_model_and_state_survives() -> None:
    again = fit_intent(ITEMS, VECTORS, rng=np.random.default_rng(0), encoder=ENCODER)
    arrays, meta = MODEL.to_state()
    loaded = intent_from_state(arrays, json.loads(json.dumps(meta)))
    texts = ["cheap coffee", ITEMS["title"][3], "xqzzk", "gift under 20"]
    for other in (again, loaded):
        assert [i.to_json() for i in ask(*texts, model=other)] == [i.to_json() for i in ask(*texts)]
    assert all(isinstance(array, np.ndarray) and array.dtype != object for array in arrays.values())
    with pytest.raises(ArtefactError, match="format 1"):
        intent_from_state(arrays, {**meta, "format": 0})


def test_works_without_encoder_categories_brands_or_prices() -> None:
    bare = ITEMS[["item_id", "title"]]
    model = fit_intent(bare, VECTORS, rng=np.random.default_rng(0))
    assert model.prototypes.source == "clusters"
    intent = ask(ITEMS["title"][0], model=model)[0]
    assert intent.categories
    assert intent.facets.brands == ()
    one = fit_intent(bare.iloc[:1], VECTORS[:1], rng=np.random.default_rng(0))
    assert ask("coffee", model=one)[0].text == "coffee"
    nothing = fit_intent(bare, np.zeros_like(VECTORS), rng=np.random.default_rng(0))
    assert ask("coffee", model=nothing)[0].categories == ()


def test_missing_titles_and_vectors_are_borne() -> None:
    items = ITEMS.copy()
    items.loc[:5, ["brand", "category", "attributes"]] = None
    vectors = VECTORS.copy()
    vectors[:5] = 0.0
    model = fit_intent(items, vectors, rng=np.random.default_rng(0), encoder=ENCODER)
    assert np.isfinite(ask("green tea", model=model)[0].confidence)


def test_wrong_shapes_say_what_is_wanted() -> None:
    with pytest.raises(ConfigError, match=r"item_vectors must be \(42, d\)"):
        fit_intent(ITEMS, VECTORS[:3], rng=np.random.default_rng(0))
    with pytest.raises(ConfigError, match=r"vectors must be \(1, 128\)"):
        MODEL.infer(["tea"], np.zeros((1, 64), np.float32))
    with pytest.raises(ConfigError, match="at least one item"):
        fit_intent(ITEMS.iloc[:0], VECTORS[:0], rng=np.random.default_rng(0))


def test_override_sets_parts_and_leaves_the_rest() -> None:
    intent = ask("tea")[0]
    price = PriceBand(max=9.0)
    new = intent.override(category="Food > Coffee", brand="Vesta", price=price, stage="compare", specificity=0.1)
    assert new.categories == (CategoryShare("Food > Coffee", 1.0),)
    assert [b.brand for b in new.facets.brands] == ["Vesta"]
    assert (new.facets.price, new.stage, new.specificity, new.known) == (price, "compare", 0.1, True)
    assert new.confidence == intent.confidence
    assert new.overridden == ("category", "brand", "price", "stage", "specificity")
    assert intent.overridden == ()
    assert intent.override().to_json() == intent.to_json()
    two = intent.override(category={"a": 0.2, "b": 0.5})
    assert [c.path for c in two.categories] == ["b", "a"]
    assert two.unknown == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"specificity": 1.5}, "specificity must lie in"),
        ({"confidence": -0.1}, "confidence must lie in"),
        ({"category": {"a": 0.9, "b": 0.9}}, "sum to at most 1"),
        ({"stage": "buy"}, "stage must be one of"),
    ],
)
def test_wrong_overrides_are_refused(wrong: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        ask("tea")[0].override(**wrong)


def test_category_is_the_deepest_level_that_is_likely() -> None:
    intent = Intent("x", np.zeros(1)).override(category={"a > b": 0.4, "a > c": 0.3, "d": 0.2})
    assert intent.levels == (CategoryShare("a", pytest.approx(0.7)), CategoryShare("a > b", 0.4))
    assert intent.category() == CategoryShare("a", pytest.approx(0.7))
    assert intent.category(0.35) == CategoryShare("a > b", 0.4)
    assert intent.category(0.9) is None
    assert intent.unknown == pytest.approx(0.1)


def test_levels_collect_all_categories_beneath() -> None:
    for intent in ask("green tea", "coffee", "lamp"):
        full = MODEL.infer([intent.text], intent.vector[None])[0]
        root, leaf = full.levels
        everything = replace_top(MODEL, 100).infer([intent.text], intent.vector[None])[0]
        want = sum(c.probability for c in everything.categories if c.path.startswith(root.path))
        assert root.probability == pytest.approx(want, abs=1e-3)
        assert leaf.path.startswith(root.path)


def replace_top(model: IntentModel, n: int) -> IntentModel:
    return dataclasses.replace(model, config=model.config.model_copy(update={"top_categories": n}))


def test_explanation_names_the_parts() -> None:
    said = dataclasses.replace(ask("Vesta green tea under 10")[0], known=True).explain()
    assert "Vesta" in said
    assert "up to 10" in said
    assert said.endswith(".")


def test_coherence_and_concentration_by_hand() -> None:
    anchors = np.asarray([[1, 0], [0, 1], [1, 0]], dtype=np.float32)
    assert coherence(anchors, np.asarray([[0, 2], [0, 1]])) == pytest.approx([1.0, 0.0])
    assert coherence(anchors, np.asarray([[0, 1, 2]])) == pytest.approx([1 / 3])
    share = np.asarray([[0.5, 0.5, 0.0, 0.0]], dtype=np.float32)
    assert concentration(share) == pytest.approx([1 - np.log(2) / np.log(4)], abs=1e-5)
    assert concentration(np.ones((2, 1), np.float32)).tolist() == [0.0, 0.0]


def test_config_rejects_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="extra"):
        IntentConfig(colour="red")


def test_command_on_a_shop(tmp_path, capsys) -> None:
    import typer
    from typer.testing import CliRunner

    from tasteprint.commands.intent import intent
    from tasteprint.profiling.tables.shop import write_shop

    write_shop(tiny_shop(), tmp_path / "shop")
    app = typer.Typer()
    app.command()(intent)
    args = ["green tea under 10", "--shop", str(tmp_path / "shop"), "--encoder", "hash:64"]
    found = json.loads(CliRunner().invoke(app, [*args, "--json"]).stdout)
    assert found["facets"]["price"]["max"] == 10.0
    assert found["categories"][0]["path"] == "Food > Tea"
    both = CliRunner().invoke(app, ["tea", *args, "--json"])
    assert len(json.loads(both.stdout)) == 2
    shown = CliRunner().invoke(app, args)
    assert shown.exit_code == 0
    assert "Food > Tea" in shown.stdout
    assert isinstance(CliRunner().invoke(app, ["tea"]).exception, ConfigError)


def test_a_table_without_known_columns_is_enough() -> None:
    items = pd.DataFrame({"title": ["red lamp", "blue lamp", "red sofa"]})
    model = fit_intent(items, ENCODER.encode(items["title"].tolist()), rng=np.random.default_rng(0), encoder=ENCODER)
    assert 0.0 <= ask("lamp", model=model)[0].confidence <= 1.0
