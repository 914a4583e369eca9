import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasteprint.profiling.intent.units import model_numbers, normalise, sizes, stem, stems, words


def test_words_of_latin_numbers_and_cjk() -> None:
    assert words("L'Oréal Crème 16gb 3/4in 14 Ounces") == ["loreal", "creme", "16", "gb", "3/4", "in", "14", "oz"]
    assert words("护肤品 50ml") == ["护肤", "肤品", "50", "ml"]
    assert words("") == []


@pytest.mark.parametrize(
    ("word", "root"),
    [
        ("lamps", "lamp"),
        ("batteries", "battery"),
        ("dishes", "dish"),
        ("glass", "glass"),
        ("bus", "bus"),
        ("gps", "gps"),
    ],
)
def test_plurals(word: str, root: str) -> None:
    assert stem(word) == root


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("3/4 in. elbow", ["3/4 in"]),
        ("1 1/2 inch pipe", ["1 1/2 in"]),
        ("2' x 4' board", ["2 ft x 4 ft"]),
        ("24x36 window", ["24 x 36"]),
        ("8x16x2 block", ["8 x 16 x 2"]),
        ("80,000 btu heater", ["80000 btu"]),
        ("1,8 m cable", ["1.8 m"]),
        ("milk 2 liters, 6-pack", ["2 l", "6 pack"]),
        ("shirt size XL", ["XL"]),
        ("$5 box", []),
        ("iphone 11", []),
    ],
)
def test_sizes(text: str, found: list[str]) -> None:
    assert sizes(text) == found


@pytest.mark.parametrize("text", ["brother TN-2110", "WSF26C2EXF", "sku 1000-045-993", "part 97686", "gu10 bulb"])
def test_model_numbers(text: str) -> None:
    assert len(model_numbers(text)) == 1


@pytest.mark.parametrize(
    "text", ["16gb card", "24x36", "12oz", "3rd floor", "4k tv", "10000 btu", "2-in-1", "1990s", "lamp"]
)
def test_sizes_and_words_are_no_model_numbers(text: str) -> None:
    assert model_numbers(text) == []


@given(st.text(max_size=80))
def test_any_text_gives_clean_words(text: str) -> None:
    assert all(word and word == normalise(word) for word in words(text))
    assert len(stems(text)) == len(words(text))
    sizes(text)
    model_numbers(text)
