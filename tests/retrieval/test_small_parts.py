"""Diversity, filters' facts, sentences and the nouns of an answer."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tasteprint.profiling.errors import ArtefactError, UnknownIdError
from tasteprint.retrieval.diversity import mmr
from tasteprint.retrieval.explanation import sentence
from tasteprint.retrieval.filters import Filters, allowed_items, item_facts
from tasteprint.retrieval.ranking import Answer, Ranking, Reason, Recommendation, past_events
from tasteprint.retrieval.state import source_from_state, source_state


def greedy(scores: np.ndarray, vectors: np.ndarray, k: int, diversity: float) -> list[int]:
    """The definition, word by word."""
    relevance = (scores - scores.min()) / np.ptp(scores)
    chosen: list[int] = []
    while len(chosen) < min(k, len(scores)):
        best = max(
            (n for n in range(len(scores)) if n not in chosen),
            key=lambda n: (
                (1 - diversity) * relevance[n]
                - diversity * max([0.0, *(float(vectors[n] @ vectors[c]) for c in chosen)]),
                -n,
            ),
        )
        chosen.append(best)
    return chosen


@pytest.mark.parametrize("diversity", [0.0, 0.3, 0.8, 1.0])
def test_mmr_equals_its_definition(diversity: float) -> None:
    rng = np.random.default_rng(0)
    scores, vectors = rng.random(25), rng.standard_normal((25, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert mmr(scores, vectors, 10, diversity=diversity).tolist() == greedy(scores, vectors, 10, diversity)
    if diversity == 0:
        assert mmr(scores, vectors, 25, diversity=0).tolist() == np.argsort(-scores).tolist()


def test_mmr_of_little() -> None:
    assert mmr(np.zeros(0), np.zeros((0, 3)), 5, diversity=0.5).tolist() == []
    assert mmr(np.ones(3), np.zeros((3, 2)), 9, diversity=0.5).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="diversity must lie in"):
        mmr(np.ones(3), np.eye(3), 2, diversity=2.0)


def test_no_filter_is_no_mask(make_items) -> None:
    facts = item_facts(make_items(["a", "b"]))
    assert allowed_items(None, facts, np.zeros(0, np.int64)) is None
    assert allowed_items(Filters(), facts, np.zeros(0, np.int64)) is None
    mask = allowed_items(Filters(exclude=("i00000",)), facts, np.array([1]))
    assert mask is not None
    assert mask.tolist() == [False, False]


def test_categories_begin_at_whole_names(make_items) -> None:
    items = make_items(["a", "b", "c", "d"], category=["Garden", "Garden > Tools", "Gardening", None])
    mask = allowed_items(Filters(category="Garden"), item_facts(items), np.zeros(0, np.int64))
    assert mask is not None
    assert mask.tolist() == [True, True, False, False]


def test_items_without_facts_pass_no_condition_on_them(make_items) -> None:
    facts = item_facts(make_items(["a", "b"], brand=[None, None], price=[None, None], category=[None, None]))
    for filters in (Filters(brand="x"), Filters(price_min=0), Filters(price_max=1e9), Filters(category="x")):
        mask = allowed_items(filters, facts, np.zeros(0, np.int64))
        assert mask is not None
        assert not mask.any()
    assert allowed_items(Filters(in_stock=True), facts, np.zeros(0, np.int64)) is None
    with pytest.raises(UnknownIdError, match="catalogue of 2 items"):
        facts.row("i00009")


def test_prices_are_inclusive(make_items) -> None:
    facts = item_facts(make_items(list("abcd"), price=[1.0, 2.0, 3.0, None]))
    mask = allowed_items(Filters(price_min=2.0, price_max=3.0), facts, np.zeros(0, np.int64))
    assert mask is not None
    assert mask.tolist() == [False, True, True, False]


def test_conditions_in_words() -> None:
    assert Filters().describe() == ""
    assert Filters(price_min=0.0, exclude_bought=True).describe() == "price_min=0.0, exclude_bought=True"


def test_sentences() -> None:
    titles = {"w": "Red Wine", "h": "Hose"}
    liked = (Reason("taste_long", 3.0, (("h", 2.0), ("w", 1.0))), Reason("popular", 1.0), Reason("behaviour", -5.0))
    assert sentence("w", liked, titles, "") == "Is like Hose and other things you like (75%); is popular here (25%)."
    twice = (Reason("popular", 2.0), Reason("transitions", 1.0, (("h", 1.0),)), Reason("own", 1.0, (("w", 1.0),)))
    assert sentence("w", twice, titles, "") == (
        "Is popular here (50%); often follows Hose (25%); is something you chose before (25%)."
    )
    same = (Reason("taste_long", 2.0, (("w", 2.0),)), Reason("own", 2.0, (("w", 1.0),)))
    assert sentence("w", same, titles, "") == "Is something you chose before (100%)."
    asked = (Reason("meaning", 0.95), Reason("popular", 0.05))
    assert sentence("w", asked, titles, 'a {b} "c"') == 'Means what "a {b} "c"" asks for (95%).'
    assert sentence("w", (), titles, "") == "Nothing known speaks for this item; it fills the list."
    words = (Reason("taste_long", 5.0, (("h", 1.0),)), Reason("words", 4.0), Reason("bm25", 3.0))
    assert sentence("w", words, titles, "q").startswith('Has the words of "q" (58%); is like Hose')
    against = (Reason("transitions", 1.0, (("h", -1.0), ("w", 2.0))),)
    assert "Hose" not in sentence("w", against, titles, "")  # an event that speaks against an item is no reason for it


def test_rankings_refuse_what_is_no_ranking() -> None:
    ids = np.array(["a", "b"], dtype=object)
    assert len(Ranking(ids, np.array([2.0, 2.0], np.float32))) == 2
    with pytest.raises(ValueError, match="aligned"):
        Ranking(ids, np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="repeat"):
        Ranking(np.array(["a", "a"], dtype=object), np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="must not increase"):
        Ranking(ids, np.array([1.0, 2.0], np.float32))


def test_near_ties_swapped_by_a_rounding_are_still_a_ranking() -> None:
    items = [Recommendation(str(n), "t", score, n + 1, (), "") for n, score in enumerate((1.0, 1.0 + 1e-6, 0.5))]
    assert Answer(tuple(items), None, "", True).ranking().scores.tolist() == [1.0, 1.0, 0.5]


def test_answers_are_json() -> None:
    item = Recommendation("a", "A", 1.23456, 1, (Reason("own", 1.23456, (("b", 1.23456),)),), "Because.")
    said = json.loads(json.dumps(Answer((item,), None, "few", True).to_json()))
    assert said["items"][0]["reasons"] == [
        {"part": "own", "amount": 1.2346, "events": [{"item_id": "b", "amount": 1.2346}]}
    ]
    assert (said["shortage"], said["intent"], said["exact"]) == ("few", None, True)


def test_states_of_unknown_sources_are_refused() -> None:
    class Strange:
        def scores(self, requests: object) -> np.ndarray:
            return np.zeros((1, 1), np.float32)

    with pytest.raises(ArtefactError, match="Strange cannot be saved"):
        source_state(Strange())
    with pytest.raises(ArtefactError, match="'strange' is not known"):
        source_from_state({}, {"type": "strange"})


def test_past_events_are_told_in_order_whether_one_looks_at_few_or_all() -> None:
    rng = np.random.default_rng(0)
    table = np.round(rng.normal(size=(40, 3)), 1)  # ties and zeros among them
    rows = np.sort(rng.permutation(60)[:40])
    ids = np.array([f"i{row}" for row in range(60)], dtype=object)
    for told, again, amounts in zip(past_events(ids, rows, table), past_events(ids, rows, table), table.T, strict=True):
        order = sorted((e for e in range(40) if amounts[e]), key=lambda e: (-abs(amounts[e]), rows[e]))
        expected = tuple((f"i{rows[e]}", float(amounts[e])) for e in order)
        assert (told[0], told[:3], told[7], told[:8], told[9], told[-1], told[2:30]) == (
            (expected[0], expected[:3], expected[7], expected[:8], expected[9], expected[-1], expected[2:30])
        )
        assert tuple(told) == tuple(again) == expected
        assert len(told) == len(expected)
        assert told
    few = past_events(ids, rows[:3], np.array([[0.0], [-2.0], [1.0]]))[0]
    assert tuple(few) == ((f"i{rows[1]}", -2.0), (f"i{rows[2]}", 1.0))
    assert few[:5] == tuple(few)
    assert not past_events(ids, rows[:0], np.zeros((0, 1)))[0]
    assert not past_events(ids, rows[:2], np.zeros((2, 1)))[0]
