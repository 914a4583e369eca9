import json
import math

import pytest

from tasteprint.profiling.catalogue_words import fit_words
from tasteprint.profiling.intent.brands import brand_names, brands_from_state, brands_state, fit_brands

CATALOGUE = [
    *[("Apple", f"phone {kind} case") for kind in ("x", "y", "z", "pro")],
    *[("Apple", f"tablet {size} charger") for size in ("small", "large")],
    *[(maker, f"apple juice {size}") for maker in ("Fruity", "Pressed") for size in ("1 l", "2 l", "organic")],
    *[("Black & Decker", f"cordless drill {n}") for n in range(4)],
    *[("StarTech.com", f"usb cable {n}") for n in range(4)],
    *[("Kensington", f"lock {n}") for n in range(4)],
    ("KOEI TECMO GAMES CO., LTD.", "sword game"),
    (None, "plain thing"),
]
WORDS = fit_words([text for _, text in CATALOGUE])
INDEX = fit_brands([brand for brand, _ in CATALOGUE], WORDS)


@pytest.mark.parametrize(
    ("query", "brand"),
    [
        ("black+decker drill", "Black & Decker"),
        ("BLACK and DECKER", "Black & Decker"),
        ("blackdecker", "Black & Decker"),
        ("startech cable", "StarTech.com"),
        ("Star-Tech.com usb", "StarTech.com"),
        ("kensingtn lock", "Kensington"),
        ("kesnington lock", "Kensington"),
        ("koei tecmo games", "KOEI TECMO GAMES CO., LTD."),
        ("apple tablet", "Apple"),
        ("fruity juice", "Fruity"),
    ],
)
def test_finds_the_brand(query: str, brand: str) -> None:
    assert [match.brand for match in INDEX.find(query, WORDS)] == [brand]


@pytest.mark.parametrize("query", ["usb cable", "apple juice", "fruit", "lock", "", "decker", "plain thing"])
def test_names_no_brand(query: str) -> None:
    assert INDEX.find(query, WORDS) == []


def test_the_words_beside_settle_an_ambiguous_brand() -> None:
    """6 items of the brand against 6 with the word: even odds alone, context moves them either way."""
    alone, juice, tablet = (
        INDEX.find(q, WORDS, at_least=0.0)[0].probability for q in ("apple", "apple juice", "apple tablet")
    )
    assert alone == pytest.approx(6.5 / (6.5 + 6.1))
    assert juice < 0.2 < 0.8 < tablet


def test_two_brands_left_to_right() -> None:
    found = INDEX.find("kensington lock for startech cable", WORDS)
    assert [match.brand for match in found] == ["Kensington", "StarTech.com"]


def test_a_label_on_most_items_is_no_brand() -> None:
    index = fit_brands(["National"] * 9 + ["Rare"], fit_words(["bread"] * 10))
    assert [m.brand for m in index.find("national rare bread", fit_words(["bread"] * 10))] == ["Rare"]


def test_a_known_word_is_no_slip() -> None:
    words = fit_words(["kensingtons palace", "kensington lock"])
    assert fit_brands([None, "Kensingtom"], words).find("kensington lock", words) == []


def test_state_survives_json() -> None:
    again = brands_from_state(json.loads(json.dumps(brands_state(INDEX))))
    for query in ("kensingtn lock", "apple juice", "black+decker", "koei tecmo games"):
        assert again.find(query, WORDS, at_least=0.0) == INDEX.find(query, WORDS, at_least=0.0)


def test_names_of_lists_and_suffixes() -> None:
    assert brand_names("Relic,Feral (Mac)") == ["relic feral", "relic", "feral"]
    assert brand_names("LLC") == []
    assert all(math.isfinite(name.log_odds) for name in INDEX.names.values())
