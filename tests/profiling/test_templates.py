"""Item, query and review texts: by hand, and the rule that keeps codes out."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from tasteprint.profiling.templates import TemplateConfig, item_texts, query_text, readable_attributes, review_text

LAMP = {
    "item_id": "i1",
    "title": "Lumo desk lamp",
    "brand": "Lumo",
    "category": "Home > Lighting > Desk lamp",
    "description": "A bright lamp\n for the desk.",
    "attributes": json.dumps(
        {
            "colour": "Red",
            "ledCount": 12,
            "weight_kg": 1.5,
            "dimmable": True,
            "wireless": "no",
            "tags": ["office", "study", "Lighting"],
            "maker_id": "4373",
            "attr_ids": ["160", "433"],
            "barcode": "4006381333931",
            "manual": "https://example.org/a.pdf",
            "sizes": {"w": 1},
        }
    ),
}
EMPTY = {"item_id": "i2", "title": "", **dict.fromkeys(["brand", "category", "description", "attributes"])}


def text_of(item: dict, **changes: object) -> str:
    return item_texts(pd.DataFrame([item]), TemplateConfig(**changes))[0]  # type: ignore[arg-type]


FIELDS = ("title", "brand", "category", "description", "attributes")


def test_whole_item_by_hand():
    assert text_of(LAMP, fields=FIELDS, labels="attributes", separator=". ", skip_repeated=True, max_attributes=16) == (
        "Lumo desk lamp. Home, Lighting. A bright lamp for the desk. colour: Red. led count: 12. weight kg: 1.5. "
        "dimmable. tags: office, study"
    )


def test_every_knob_by_hand():
    short = {"fields": ("brand", "title"), "skip_repeated": False}
    assert text_of(LAMP, **short, labels="all", separator=" | ") == "brand: Lumo | title: Lumo desk lamp"
    assert text_of(LAMP, fields=("category",), category="leaf_first") == "Desk lamp, Lighting, Home"
    assert text_of(LAMP, fields=("category",), category="leaf") == "Desk lamp"
    assert text_of(LAMP, fields=("description",), max_words=2) == "A bright"
    assert text_of(LAMP, fields=("attributes",), max_attributes=2, separator=", ") == "colour: Red, led count: 12"
    assert text_of(LAMP, fields=("attributes",), labels="none") == "Red. dimmable. office, study, Lighting"
    assert text_of(LAMP, fields=("attributes",), max_attributes=0) == ""


@pytest.mark.parametrize("labels", ["none", "attributes", "all"])
def test_nothing_to_say(labels: str):
    assert text_of(EMPTY, labels=labels) == ""
    nulls = {**EMPTY, "title": "Lamp", "brand": np.nan, "category": pd.NA, "description": "  ", "attributes": "{}"}
    assert text_of(nulls, labels=labels).endswith("Lamp")


def test_repeats_are_whole_words():
    item = {**EMPTY, "title": "Stirred tea", "attributes": json.dumps({"colour": "red", "kind": "Tea"})}
    assert text_of(item, fields=("title", "attributes"), labels="attributes") == "Stirred tea. colour: red"


def test_rows_keep_their_order_and_columns_may_be_absent():
    items = pd.DataFrame({"title": ["a", None, "c"]}, index=[7, 7, 3])
    assert item_texts(items) == ["a", "", "c"]
    assert item_texts(items.iloc[:0]) == []


@pytest.mark.parametrize("attributes", [None, "", "not json", "[1, 2]", '"text"', 7, float("nan")])
def test_attributes_that_are_no_object(attributes: object):
    assert readable_attributes(attributes) == {}


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("manufacturer_id", "1045", False),
        ("attrIds", ["a1", "b2"], False),
        ("class id", 7, False),
        ("codes", ["160", "433"], False),
        ("levels", ["1", "2"], False),
        ("gtin", 4006381333931, False),
        ("anything", "20200131123456", False),
        ("picture", "https://example.org/1.jpg", False),
        ("colour", "unknown", False),
        ("wifi", False, False),
        ("wifi", "No", False),
        ("idea", "two in one", True),
        ("page yield", 32000, True),
        ("voltage", "100-240", True),
        ("sizes", ["40", "M"], True),
        ("colour id", "dark red", True),
        ("wifi", "yes", True),
        ("名称", "红色", True),
    ],
)
def test_codes_stay_out_and_words_stay_in(name: str, value: object, kept: bool):
    assert bool(readable_attributes(json.dumps({name: value}))) == kept


def test_numbers_read_well():
    assert readable_attributes('{"a": 2.0, "b": 1234567.0, "c": 0.25, "d": 32000}') == {
        "a": ["2"], "b": ["1234567"], "c": ["0.25"], "d": ["32000"],
    }  # fmt: skip


def test_template_text_names_the_template():
    assert TemplateConfig().text == TemplateConfig().text
    assert TemplateConfig(fields=("title",)).text != TemplateConfig().text
    assert TemplateConfig.model_validate_json(TemplateConfig(max_attributes=3).text) == TemplateConfig(max_attributes=3)


@pytest.mark.parametrize(
    "wrong", [{"fields": ()}, {"fields": ("title", "title")}, {"fields": ("name",)}, {"label": "x"}]
)
def test_config_refuses(wrong: dict):
    with pytest.raises(ValidationError):
        TemplateConfig(**wrong)


def test_queries_and_reviews():
    assert query_text(None) == ""
    assert query_text("a\n b ") == "a b"
    assert review_text(None, "Lamp") == "Lamp"
    assert review_text("Dim", None) == "Dim"


@pytest.mark.data
def test_real_catalogues_read_well(shop_path):
    items = pd.read_parquet(shop_path("complete_journey") / "items.parquet").head(3000)
    texts = item_texts(items)
    assert all(texts)
    assert not any("manufacturer" in text for text in texts)
    assert len(set(texts)) < len(texts)
