"""Search by words: fields, spelling, sizes, languages; oracles are a formula written out, rapidfuzz and plain BM25."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tasteprint.profiling.intent.units import stem
from tasteprint.retrieval.lexical import (
    LexicalConfig,
    LexicalModel,
    Spelling,
    fit_lexical,
    fit_spelling,
    index_words,
)
from tasteprint.retrieval.lexical.analysis import field_texts, plain_words, terms
from tasteprint.retrieval.lexical.fielded import extended, index_items
from tasteprint.retrieval.lexical.stored import lexical_from_state, lexical_state
from tasteprint.retrieval.scorer import TrainingSet
from tasteprint.retrieval.state import source_from_state, source_state

PLAIN = LexicalConfig(fields={"title": 1.0}, readings=0, joined_weight=0.0)


@pytest.fixture
def shop(make_items):
    return make_items(
        ["Brass ball valve 3/4 in.", "Steel ball", "Rain bird sprinkler", "Tile 12 in. x 12 in.", "台灯 LED", ""],
        brand=["Apollo", "Apollo", "Rainbird", None, None, None],
        description=["valve valve valve", None, "waters the lawn", "for the bath", "小夜灯", None],
    )


def _first(model: LexicalModel, query: str) -> int | None:
    scores = model.match([query]).toarray()[0]
    return int(np.argmax(scores)) if scores.max() > 0 else None


@pytest.mark.parametrize(
    "spelled",
    [
        "3/4 in valve",
        '3/4" valve',
        "3/4-inch valve",
        "3/4 inches valve",
        "3/4in valve",
        "3/4'' valve",
        "3/4 Inch valves",
    ],
)
def test_a_size_is_the_same_however_it_is_written(spelled):
    assert sorted(terms(spelled)) == ["3/4", "in", "valve"]


@pytest.mark.parametrize("spelled", ["12x12 in", "12 x 12 in", "12×12 in", '12 x 12"', "12 X 12 in."])
def test_dimensions_share_their_numbers(spelled):
    assert terms(spelled) == ["12", "12", "in"]


def test_letters_x_that_are_no_times_stay():
    assert plain_words("x ray 2") == ["x", "ray", "2"]
    assert plain_words("xbox x 360 one x") == ["xbox", "x", "360", "one", "x"]
    assert plain_words("6' x 8' rug") == ["6", "ft", "8", "ft", "rug"]


def test_a_single_chinese_character_finds_the_words_it_is_in(shop):
    model = index_items(shop)
    assert _first(model, "灯") == 4
    assert _first(model, "台灯") == 4
    assert _first(model, "夜灯") == 4  # in the description
    assert _first(model, "花") is None


def test_attributes_are_their_values_and_the_names_of_what_is_there(make_items):
    values = {
        "colour": ["black", "red"],
        "wireless": True,
        "usb_hub": "yes",
        "radio": "no",
        "watts": 40,
        "odd": {"a": 1},
    }
    items = make_items(["a", "b", "c"], attributes=[json.dumps(values), None, None])
    assert field_texts(items, "attributes") == ["black ; red ; wireless ; usb hub ; 40", "", ""]
    assert field_texts(items, "no such column") == ["", "", ""]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), k1=st.floats(0, 3), b=st.floats(0, 1))
def test_scores_are_the_formula_written_out(seed, k1, b):
    rng = np.random.default_rng(seed)
    import pandas as pd

    vocabulary = [f"word{n}" for n in range(8)]

    def text() -> str:
        return " ".join(rng.choice(vocabulary, size=int(rng.integers(0, 6))))

    items = pd.DataFrame({"title": [text() for _ in range(6)], "brand": [text() for _ in range(6)]})
    weight = {"title": 2.0, "brand": 1.0}
    model = index_items(items, LexicalConfig(fields=weight, k1=k1, k1_alone=k1, b=b, readings=0, joined_weight=0))
    counts = {name: [Counter(t.split()) for t in items[name]] for name in weight}
    usual = {n: (sum(map(Counter.total, c)) / max(sum(1 for x in c if x), 1)) for n, c in counts.items()}
    query = text()
    found = model.match([query]).toarray()[0]
    for row in range(6):
        want = 0.0
        for word in query.split():
            held = sum(any(counts[n][i][word] for n in weight) for i in range(6))
            idf = np.log(1 + (6 - held + 0.5) / (held + 0.5))
            t = sum(
                w / 2.0 * counts[n][row][word] / max(1 - b + b * counts[n][row].total() / max(usual[n], 1e-9), 1e-9)
                for n, w in weight.items()
            )
            want += idf * t / (k1 + t) if t else 0.0
        assert found[row] == pytest.approx(want, rel=1e-5, abs=1e-6)


def test_one_field_is_plain_bm25(make_items):
    titles = ["red wine", "red red hose pipe", "hose", "garden hose pipe red"]
    usual = PLAIN.model_copy(update={"k1": 1.2, "k1_alone": 1.2, "b": 0.75})
    ours = index_items(make_items(titles), usual).match(["red hose", "pipe"]).toarray()
    theirs = index_words(titles, k1=1.2, b=0.75).match(["red hose", "pipe"]).toarray()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_a_query_of_one_word_has_its_own_k1(shop, make_log, make_requests):
    log = make_log([("u", 0, 1.0)], len(shop))
    texts = ["valve", "ball valve", "台灯", "vlave", "nothingatall", "", "ballvalve", "台灯 LED"]
    alone = {"valve", "台灯", "vlave"}
    model = index_items(shop, LexicalConfig(k1=0.3, k1_alone=1.2))
    low, high = (index_items(shop, LexicalConfig(k1=k1, k1_alone=k1)) for k1 in (0.3, 1.2))
    found = model.match(texts).toarray()
    want = np.stack([(high if text in alone else low).match([text]).toarray()[0] for text in texts])
    np.testing.assert_allclose(found, want, rtol=1e-5)
    assert (np.abs(high.match(["valve"]) - low.match(["valve"])).max()) > 0.1  # the difference is there to be seen
    for place, text in enumerate(texts):
        np.testing.assert_array_equal(model.match([text]).toarray()[0], found[place])
        np.testing.assert_allclose(model.scores(make_requests(log, [text]))[0], found[place], rtol=1e-6)


def test_slips_are_seldom_in_the_first_letter():
    known = Spelling(("cable", "habla"), np.array([5, 3]))  # one edit each; the commoner one begins otherwise
    assert [word for word, _ in known.readings("hable")] == ["habla", "cable"]
    assert Spelling(("cable", "habla"), np.array([90, 3])).readings("hable")[0][0] == "cable"


def test_a_title_counts_more_than_a_description(shop):
    model = index_items(shop, LexicalConfig(fields={"title": 1.0, "description": 0.1}, b=0.0))
    scores = model.match(["lawn sprinkler"]).toarray()[0]
    assert scores[2] == scores.max()
    title_only = index_items(shop, LexicalConfig(fields={"title": 1.0}))
    assert title_only.match(["lawn"]).nnz == 0


@pytest.mark.parametrize(
    ("query", "row"),
    [("vlave", 0), ("sprnikler", 2), ("sprinklr", 2), ("ballvalve", 0), ("rainbird", 2), ("rain bird", 2), ("stel", 1)],
)
def test_slips_and_joined_words_find_what_was_meant(make_items, query, row):
    titles = [f"{t} {n}" for n in range(3) for t in ("brass ball valve", "steel rod", "rain bird sprinkler")]
    model = index_items(make_items(titles))
    assert _first(model, query) == {0: 0, 1: 1, 2: 2}[row]


def test_words_apart_find_the_one_word_of_the_catalogue(make_items):
    model = index_items(make_items(["rainbird head", "rain coat", "bird house"]))
    found = model.match(["rain bird"]).toarray()[0]
    assert found[0] > 0
    assert index_items(make_items(["rainbird head"]), PLAIN).match(["rain bird"]).nnz == 0


def test_known_words_numbers_and_model_numbers_are_left_alone(shop):
    model = index_items(shop)
    assert [(a.term, a.weight, a.said) for a in model.read("steel TN2110 ab")] == [
        ("steel", 1.0, ""),
        ("tn2110", 1.0, ""),
        ("ab", 1.0, ""),
    ]
    read = model.read("sprinklr")
    assert [(a.term, a.said) for a in read] == [("sprinkler", "sprinklr")]
    assert 0 < read[0].weight <= model.config.reading_weight


def test_the_weight_of_a_reading_weighs_its_score(shop):
    model = index_items(shop)
    right, slip = model.match(["sprinkler", "sprinklr"]).toarray()
    np.testing.assert_allclose(slip, right * model.config.reading_weight, rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    word=st.text("abcd", min_size=4, max_size=10), known=st.sets(st.text("abcd", min_size=3, max_size=10), max_size=30)
)
def test_readings_are_all_words_within_reach_best_first(word, known):
    from rapidfuzz.distance import OSA

    known = sorted(known)
    count = np.arange(1, len(known) + 1)
    allowed = 1 if len(word) <= 4 else 2 if len(word) <= 8 else 3
    want = {}
    for other, n in zip(known, count.tolist(), strict=True):
        edits = OSA.distance(word, other)
        if 0 < edits <= allowed:
            want[other] = np.log1p(n) - 3 * edits - (other[0] != word[0])
    found = Spelling(tuple(known), count).readings(word, most=100)
    assert {w for w, _ in found} == set(want)
    assert all(a[1] >= b[1] - 1e-12 for a, b in pairwise(found))
    top = max(want.values(), default=0.0)
    for other, share in found:
        assert share == pytest.approx(np.exp(want[other] - top))


def test_parts_are_the_pair_whose_rarer_word_is_commonest():
    known = Spelling(("car", "pet", "carpet", "carp", "ets"), np.array([5, 4, 9, 50, 1]))
    assert known.parts("carpet") == ("car", "pet")
    assert known.parts("carpets") is None  # "ets" is too rare, "pets" unknown
    assert known.parts("cat") is None


def test_spelling_counts_items_not_mentions():
    known = fit_spelling([["lamp", "lamp", "12"], ["lamp", "ab", "灯灯灯灯"]])
    assert known.words == ("lamp",)
    assert known.count.tolist() == [2]


@pytest.mark.parametrize("titles", [[""], ["", "  "], ["?"]])
def test_a_catalogue_without_words_has_no_scores(make_items, titles):
    model = index_items(make_items(titles))
    assert model.match(["red lamp", ""]).toarray().tolist() == [[0.0] * len(titles)] * 2


def test_requests_without_words_score_nothing(make_log, make_requests, shop):
    log = make_log([("u", 0, 1.0)], len(shop))
    model = fit_lexical(TrainingSet(log, shop, None, 2e9))
    assert not model.scores(make_requests(log)).any()
    asked = make_requests(log, ["ball"])
    np.testing.assert_array_equal(model.scores(asked), model.match(["ball"]).toarray())


def test_saved_and_opened_answers_alike(shop):
    model = index_items(shop)
    arrays, meta = lexical_state(model)
    again = lexical_from_state(arrays, json.loads(json.dumps(meta)))
    source = source_from_state(*_through_json(*source_state(model)))
    queries = ["sprinklr", "3/4 valve", "灯", "rain bird"]
    for other in (again, source):
        np.testing.assert_array_equal(other.match(queries).toarray(), model.match(queries).toarray())
        longer, plain = (extended(one, shop.iloc[:2], np.array([6, 7]), 8) for one in (other, model))
        np.testing.assert_array_equal(longer.match(queries).toarray(), plain.match(queries).toarray())
    assert again.config == model.config


def _through_json(arrays: dict[str, Any], meta: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    return arrays, json.loads(json.dumps(meta))


def test_more_items_are_found_and_replaced_ones_are_no_more_what_they_were(make_items, shop):
    model = index_items(shop)
    more = make_items(["Steel pipe wrench", "Copper sprinkler zyx"])
    after = extended(model, more, np.array([1, 6]), 7)
    assert after.weights.shape[1] == 7
    assert after.match(["ball"]).toarray()[0].nonzero()[0].tolist() == [0]
    assert after.match(["wrench"]).toarray()[0].nonzero()[0].tolist() == [1]
    assert after.match(["zyx"]).toarray()[0].nonzero()[0].tolist() == [6]
    assert after.idf[after.vocabulary["zyx"]] == model.idf.max() > model.idf.min()  # as rare as any word
    same = after.match(["valve"]).toarray()[0, :6]
    np.testing.assert_array_equal(same, model.match(["valve"]).toarray()[0])
    assert model.weights.shape[1] == 6


def test_replacing_items_by_themselves_changes_nothing(shop):
    model = index_items(shop)
    same = extended(model, shop, np.arange(len(shop)), len(shop))
    queries = ["ball valve", "lawn", "12x12 tile"]
    np.testing.assert_allclose(same.match(queries).toarray(), model.match(queries).toarray(), rtol=1e-6)


@pytest.mark.parametrize(
    "wrong", [{"k1": -1}, {"b": 2}, {"readings": -1}, {"reading_weight": 0}, {"fields": {"title": 0}}]
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        LexicalConfig(**wrong)


def test_plural_and_singular_are_one_word():
    assert terms("Valves batteries") == [stem("valve"), "battery"]


def test_a_unit_without_a_number_is_found_as_items_write_it(make_items):
    model = index_items(make_items(["Whole milk 1 gal", "Whole milk 1 qt", "galon hat"]))
    assert _first(model, "milk gallon") == 0
    assert model.slips("milk gallon") == ()
