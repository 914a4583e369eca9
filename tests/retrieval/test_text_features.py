"""Word features against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tasteprint.retrieval.second_stage.text_features import (
    TEXT_FEATURES,
    fit_item_words,
    head_noun,
    read_query,
    text_values,
)

TITLES = [
    "Acme 3/4 in. Brass Ball Valve",
    "Brass Valve Cap for Garden Hose",
    "Acme Garden Hose 50 ft. Green",
    "1/2 in. Ball Valve, Brass",
    "",
]


@pytest.fixture(scope="module")
def known(make_items):
    items = make_items(
        TITLES,
        brand=["Acme", None, "Acme", "Bolt", None],
        category=["Plumbing > Valves", "Plumbing > Valves", "Garden", "Plumbing > Valves", None],
        attributes=['{"material": "brass"}', None, '{"colour": "green"}', None, None],
        description=["A valve for water", None, None, None, "brass thing"],
    )
    return fit_item_words(items)


def values(known, query: str) -> dict[str, np.ndarray]:
    found = text_values(read_query(query, known), known, np.arange(len(TITLES)))
    return dict(zip(TEXT_FEATURES, found.T, strict=True))


def test_words_weights_and_phrases(known) -> None:
    told = values(known, "brass ball valves")
    assert told["title_words"].tolist() == pytest.approx([1, 2 / 3, 0, 1, 0])
    idf = {word: float(known.idf[known.vocabulary[word]]) for word in ("brass", "ball", "valve")}
    having = {"brass": 4, "ball": 2, "valve": 3}  # items with the word in any field
    assert idf == pytest.approx({word: np.log(1 + 5 / (1 + n)) for word, n in having.items()}, rel=1e-6)
    assert told["title_idf"][1] == pytest.approx((idf["brass"] + idf["valve"]) / sum(idf.values()))
    assert told["title_missing"][1] == pytest.approx(idf["ball"])
    assert told["title_missing"][0] == 0.0
    assert told["title_pairs"].tolist() == pytest.approx([1, 0, 0, 0.5, 0])
    assert told["title_phrase"].tolist() == [1, 0, 0, 0, 0]
    assert told["anywhere_idf"][4] == pytest.approx(idf["brass"] / sum(idf.values()))
    assert told["query_words"].tolist() == [3] * 5
    assert told["title_length"][4] == 0


def test_heads(known) -> None:
    told = values(known, "hose for garden")
    assert told["head_in_title"].tolist() == [0, 1, 1, 0, 0]
    assert head_noun(["valve", "cap", "for", "hose"]) == "cap"
    assert values(known, "valve cap")["head_is_head"].tolist() == [0, 1, 0, 0, 0]
    assert values(known, "cap brass")["head_is_asked"].tolist()[1] == 1


def test_sizes_and_numbers(known) -> None:
    told = values(known, "3/4 in valve")
    assert told["sizes"].tolist() == [1, 0, 0, 0, 0]
    assert told["size_conflict"].tolist() == [0, 0, 0, 1, 0]  # half an inch was not asked for; feet are another unit
    assert told["numbers"].tolist() == [1, 0, 0, 0, 0]
    assert values(known, "5/8 in valve")["size_conflict"].tolist() == [1, 0, 0, 1, 0]
    assert np.isnan(values(known, "valve")["sizes"]).all()


def test_brand_near_and_unknown_words(known) -> None:
    told = values(known, "acme gardenerings zzz")
    assert told["brand"][[0, 2]].tolist() == [1, 1]
    assert np.isnan(told["brand"][1])
    assert told["title_near"][1] > told["title_idf"][1] == 0.0
    assert told["query_unknown"][0] == pytest.approx(2 / 3)


def test_bm25_against_its_formula(known) -> None:
    told = values(known, "garden hose")
    length = np.array([6, 6, 6, 5, 0])
    assert told["title_length"].tolist() == length.tolist()
    held = 1.2 * (1 - 0.5 + 0.5 * length / length.mean())
    expected = np.array([0, 1, 1, 0, 0]) * 2.2 / (1 + held) / 2.2
    np.testing.assert_allclose(told["title_bm25"], expected, rtol=1e-5)


@pytest.mark.parametrize("query", ["", "!!!", "黄铜 阀门", "for the"])
def test_odd_queries(known, query) -> None:
    found = text_values(read_query(query, known), known, np.arange(5))
    assert found.shape == (5, len(TEXT_FEATURES))
    assert not np.isinf(found).any()
    assert text_values(read_query("brass", known), known, np.zeros(0, dtype=np.int64)).shape == (0, len(TEXT_FEATURES))


def test_a_slip_is_read_as_what_it_stands_for(known) -> None:
    np.testing.assert_array_equal(
        text_values(read_query("brss vlave", known), known, np.arange(len(TITLES))),
        text_values(read_query("brass valve", known), known, np.arange(len(TITLES))),
    )
    strange = read_query("xylophone valve", known)
    assert (strange.word < 0).tolist() == [True, False]


def test_spelling_knows_how_common_words_are(known) -> None:
    counts = known.spelling.count_of
    assert (counts["brass"], counts["valve"], counts["acme"]) == (4, 3, 2)
