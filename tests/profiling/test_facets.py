import json

import numpy as np
import pandas as pd
import pytest

from tasteprint.profiling.catalogue_words import fit_words
from tasteprint.profiling.intent.attribute_values import attribute_table, company
from tasteprint.profiling.intent.facets import FacetConfig, facets_from_state, fit_facets, word_texts
from tasteprint.profiling.tables.tiny import tiny_shop


def catalogue() -> pd.DataFrame:
    rows = []
    for i in range(6):
        rows.append((f"toner cartridge {i}", "Inkwell", {"printing_colour": "Black", "weight": 3, "original": "yes"}))
        rows.append((f"phone case {i}", "Shellco", {"product_colour": "black", "series": f"free text {i}"}))
        rows.append((f"mouse {i}", None, {"connection": ["Wireless", "USB-C"]}))
        rows.append((f"usb hub desk {i}", None, {"mount": "Desk"} if i == 0 else {}))
    frame = pd.DataFrame(rows, columns=["title", "brand", "attributes"])
    frame["attributes"] = [json.dumps(a) for a in frame["attributes"]]
    return frame.assign(category=None, price=np.linspace(1, 24, len(frame)))


ITEMS = catalogue()
WORDS = fit_words(word_texts(ITEMS))
MODEL = fit_facets(ITEMS, known=WORDS)


def attributes(query: str) -> list[tuple[str, str]]:
    return [(match.name, match.value) for match in MODEL.parse(query, WORDS).attributes]


def test_the_words_beside_choose_among_attributes_with_one_value() -> None:
    assert attributes("black toner") == [("printing_colour", "Black")]
    assert attributes("black phone case") == [("product_colour", "black")]


def test_lists_and_hyphens_are_read() -> None:
    assert attributes("wireless usb c mouse") == [("connection", "Wireless"), ("connection", "USB-C")]


def test_rare_values_flags_numbers_and_free_text_are_not_attributes() -> None:
    assert attributes("desk") == []
    assert attributes("yes 3 free text") == []


def test_all_parts_of_one_query() -> None:
    facets = MODEL.parse("black inkwell toner TN-2110 1.8m under 20", WORDS)
    assert [b.brand for b in facets.brands] == ["Inkwell"]
    assert facets.price is not None
    assert facets.price.max == 20.0
    assert [(a.name, a.value) for a in facets.attributes] == [("printing_colour", "Black"), ("size", "1.8 m")]
    assert facets.models == ("TN-2110",)
    assert facets.rest == "black inkwell toner TN-2110 1.8m"
    assert set(facets.to_json()) == {"brands", "price", "attributes", "models"}


def test_a_model_number_holds_no_attribute() -> None:
    assert attributes("desk USB-C400 mouse") == []


def test_company_is_the_log_ratio_to_chance() -> None:
    """Items 0-3 of 8; the word is on 4 of all items: 2 are expected, 4 seen -> log(4.5 / 2.5)."""
    words = fit_words(["red"] * 4 + ["blue"] * 4)
    items = np.arange(4, dtype=np.int32)
    assert company(items, ["red"], words) == pytest.approx(np.log(4.5 / 2.5))
    assert company(items, ["blue"], words) == pytest.approx(-1.5)  # log(.5 / 2.5) = -1.61, held at -1.5
    assert company(items, ["green"], words) == 0.0


def test_unreadable_attributes_are_absent() -> None:
    frame = pd.DataFrame({"attributes": [None, "no json", "[1]", '{"a": {"b": 1}}', '{"a": "x y"}']})
    assert attribute_table(frame) == {"a": [(4, "x y")]}


def test_state_survives_json() -> None:
    arrays, meta = MODEL.to_state()
    again = facets_from_state(arrays, json.loads(json.dumps(meta)))
    for query in ("black toner", "wireless mouse under 5", "inkwel toner", "black phone case"):
        assert again.parse(query, WORDS) == MODEL.parse(query, WORDS)


def test_a_shop_with_titles_only() -> None:
    items = pd.DataFrame({"title": ["red lamp", "blue lamp", ""]})
    words = fit_words(word_texts(items))
    facets = fit_facets(items, known=words).parse("red lamp under 20", words)
    assert (facets.brands, facets.price) == ((), None)
    assert [(a.name, a.value) for a in facets.attributes] == [("colour", "red")]


def test_brands_of_the_tiny_shop_are_all_found() -> None:
    items = tiny_shop().items
    words = fit_words(word_texts(items))
    model = fit_facets(items, FacetConfig(), known=words)
    for brand in items["brand"].dropna().unique():
        assert [b.brand for b in model.parse(f"{brand.upper()} lamp", words).brands] == [brand]


@pytest.mark.data
def test_brands_in_real_queries(shop_path) -> None:
    from tasteprint.profiling.tables.shop import read_shop

    shop = read_shop(shop_path("chorus_icecat"), tables=["items", "judgements"])
    items = shop.table("items")
    words = fit_words(word_texts(items))
    model = fit_facets(items, known=words)
    by_name = {brand.lower(): brand for brand in items["brand"].dropna().unique()}
    for query in sorted(set(shop.table("judgements")["query"])):
        meant = [by_name[word] for word in query.lower().split() if word in by_name]
        assert [b.brand for b in model.parse(query, words).brands] == meant
