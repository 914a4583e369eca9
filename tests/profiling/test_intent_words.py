import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasteprint.profiling.catalogue_words import (
    deletions,
    fit_words,
    item_words,
    one_slip,
    overlap,
    words_from_state,
    words_state,
)
from tasteprint.profiling.intent.units import stems

TITLES = ["red desk lamp", "blue desk lamps", "desk", "leather sofa red", "garden hose 5 m", ""]
INDEX = fit_words(TITLES)


def test_frequencies_and_idf_by_hand() -> None:
    assert INDEX.frequency("desk") == 3
    assert INDEX.holding("lamp").tolist() == [0, 1]
    assert INDEX.idf[INDEX.vocabulary["desk"]] == pytest.approx(np.log(7 / 3.5))
    assert INDEX.mass[2] == pytest.approx(np.log(7 / 3.5))
    assert INDEX.frequency("absent") == 0


@given(st.lists(st.sampled_from(["red", "blue", "desk", "lamp", "sofa", "hose", "zzz"]), max_size=6))
def test_evidence_equals_a_loop_over_items(asked: list[str]) -> None:
    found = INDEX.evidence(asked)
    said = set(asked)
    weight = {w: float(INDEX.idf[INDEX.vocabulary[w]]) if w in INDEX.vocabulary else INDEX.rare for w in said}
    held = [sum(weight[w] for w in said & set(stems(t)) if w in INDEX.vocabulary) for t in TITLES]
    total = sum(weight.values())
    assert found.n_words == len(said)
    if not any(held):
        assert (found.known, found.together, found.matches) == (0.0, 0.0, 0)
        return
    assert found.known == pytest.approx(sum(weight[w] for w in said if w in INDEX.vocabulary) / total, rel=1e-5)
    assert found.together == pytest.approx(max(held) / total, rel=1e-5)
    assert found.matches == sum(h >= max(held) - 1e-4 for h in held)
    f1 = max(2 * h / (total + m) for h, m in zip(held, INDEX.mass.tolist(), strict=True))
    assert found.duplicate == pytest.approx(f1, rel=1e-5)


def test_leaving_an_item_out_equals_an_index_without_it() -> None:
    """What only item 3 holds counts as unknown; what others hold too is found there."""
    left = INDEX.evidence(["leather", "red"], without=3)
    red = float(INDEX.idf[INDEX.vocabulary["red"]])
    leather = float(INDEX.idf[INDEX.vocabulary["leather"]])
    assert left.known == pytest.approx(red / (red + leather), rel=1e-5)
    assert left.together == pytest.approx(left.known)
    assert left.duplicate < 1.0
    assert INDEX.evidence(["sofa"], without=3).known == 0.0


def test_an_items_own_title_is_its_duplicate() -> None:
    assert INDEX.evidence(stems("red desk lamp")).duplicate == pytest.approx(1.0)


def test_slips_are_mended_to_the_commonest_known_word() -> None:
    index = fit_words(["leather sofa", "leather chair", "garden hose", "garden chair", "weather map", "weather app"])
    assert index.mended(["lether", "gadren", "chair", "xqzvbn", "hoes"]) == [
        "leather",
        "garden",
        "chair",
        "xqzvbn",
        "hoes",
    ]


@given(st.text("abc", min_size=1, max_size=6), st.text("abc", min_size=1, max_size=6))
def test_one_slip_equals_brute_force(a: str, b: str) -> None:
    swaps = {a[:i] + a[i + 1] + a[i] + a[i + 2 :] for i in range(len(a) - 1)}
    changed = {a[:i] + c + a[i + 1 :] for i in range(len(a)) for c in "abc"}
    longer = {a[:i] + c + a[i:] for i in range(len(a) + 1) for c in "abc"}
    shorter = {a[:i] + a[i + 1 :] for i in range(len(a))}
    assert one_slip(a, b) == (b in (swaps | changed | longer | shorter) - {a})
    if one_slip(a, b):
        assert set(deletions(a)) & set(deletions(b))


def test_letters_tell_words_from_noise() -> None:
    index = fit_words(["lamp table chair window ladder hammer garden leather"] * 3)
    assert index.spelling("hammers") > index.spelling("mrhmxea") + 1.0
    assert index.spelling("123") == index.usual
    assert index.evidence(["спутник"]).spelling == -6.0
    assert np.allclose(np.exp(index.letters).sum(axis=2), 1.0, atol=1e-4)


def test_turned_round_counts_equal_brute_force() -> None:
    inside = item_words(INDEX)
    rows = np.asarray([0, 3, 5])
    counts = inside.counts(rows, len(INDEX.vocabulary))
    for word, row in INDEX.vocabulary.items():
        assert counts[row] == sum(word in stems(TITLES[i]) for i in rows.tolist())


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_overlap_is_set_intersection(a: set[int], b: set[int]) -> None:
    assert overlap(np.asarray(sorted(a), np.int32), np.asarray(sorted(b), np.int32)) == len(a & b)


def test_state_survives_json() -> None:
    arrays, vocabulary = words_state(INDEX)
    again = words_from_state(arrays, json.loads(json.dumps(vocabulary)))
    for text in ("red desk lamp", "lether sofa", "zzz"):
        assert again.evidence(again.mended(stems(text))) == INDEX.evidence(INDEX.mended(stems(text)))


def test_an_empty_catalogue_and_query() -> None:
    assert fit_words([]).evidence(["lamp"]).known == 0.0
    assert INDEX.evidence([]).n_words == 0
