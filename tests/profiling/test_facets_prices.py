import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasteprint.profiling.intent.price_wishes import PriceBand, amount, parse_price


@pytest.mark.parametrize(
    ("text", "low", "high", "currency", "rest"),
    [
        ("headphones under 50", None, 50, None, "headphones"),
        ("under 50 headphones", None, 50, None, "headphones"),
        ("between 20 and 30 dollars", 20, 30, "USD", ""),
        ("<$15 mouse", None, 15, "USD", "mouse"),
        ("50-100 euro bag", 50, 100, "EUR", "bag"),
        ("$20-$30", 20, 30, "USD", ""),
        ("$20 to 30", 20, 30, "USD", ""),
        ("laptop under $1,500", None, 1500, "USD", "laptop"),
        ("laptop below $1.5k", None, 1500, "USD", "laptop"),
        ("1.299,99 € or less", None, 1299.99, "EUR", ""),
        ("over $100", 100, None, "USD", ""),
        ("$100 and up tv", 100, None, "USD", "tv"),
        ("at least 30 euros", 30, None, "EUR", ""),
        ("around 50 dollars", 40, 60, "USD", ""),
        ("gift 10 usd", 8, 12, "USD", "gift"),
        ("over 20 and under 50", 20, 50, None, "and"),
        ("handy unter 200", None, 200, None, "handy"),
        ("hotte moins de 80 euros", None, 80, "EUR", "hotte"),
        ("手机 1000元以下", None, 1000, "CNY", "手机"),
        ("gift for 10 year old under 20", None, 20, None, "gift for 10 year old"),
        ("budget of 100", None, 100, None, ""),
        ("price 50-80", 50, 80, None, ""),
    ],
)
def test_reads_bounds(text: str, low: float | None, high: float | None, currency: str | None, rest: str) -> None:
    band, left = parse_price(text)
    assert band is not None
    assert (band.min, band.max) == (
        None if low is None else pytest.approx(low),
        None if high is None else pytest.approx(high),
    )
    assert (band.currency, band.relative, left) == (currency, None, rest)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "3/4 in",
            "under 6 ft ladder",
            "under 18 in",
            "less than 3 inches",
            "up to 55 inch tv",
            "between 20 and 30 inches",
        ),
        *(
            "under 2x4",
            "30x80 slab",
            "under 50%",
            "12-14 grab bar",
            "max 250",
            "under 5 lb",
            "under 50 pounds",
            "under 1.5m",
        ),
        *(
            "toys under 12 years",
            "at least 20 watts",
            "for 3 people",
            "over the range microwave",
            "under sink",
            "10000 btu",
        ),
        *("iphone 11", "3m command 17600B", "1/2 price", "from 5 to 10", "under 6' ladder", "", "50 cent"),
    ],
)
def test_sizes_counts_and_models_are_no_prices(text: str) -> None:
    assert parse_price(text) == (None, text)


@pytest.mark.parametrize(
    ("text", "relative"),
    [
        ("cheap pans", "cheap"),
        ("affordable lamp", "cheap"),
        ("low-cost desk", "cheap"),
        ("not too expensive shoes", "cheap"),
        ("便宜 手机", "cheap"),
        ("luxury shower", "premium"),
        ("not cheap watch", "premium"),
        ("high end speakers", "premium"),
        ("top of the line grill", "premium"),
    ],
)
def test_relative_wishes(text: str, relative: str) -> None:
    band, _ = parse_price(text)
    assert band is not None
    assert (band.relative, band.min, band.max) == (relative, None, None)


def test_a_bound_beside_a_relative_word_keeps_both() -> None:
    band, rest = parse_price("cheap under 30 gifts")
    assert band == PriceBand(max=30.0, relative="cheap", text="under 30, cheap")
    assert rest == "gifts"


def test_a_shop_without_prices_needs_money_to_be_named() -> None:
    assert parse_price("drill under 50", bare=False)[0] is None
    assert parse_price("drill under $50", bare=False)[0] == PriceBand(max=50.0, currency="USD", text="under $50")


def test_pounds_are_money_only_where_the_shop_says_so() -> None:
    assert parse_price("under 50 pounds")[0] is None
    assert parse_price("under 50 pounds", currency="GBP")[0] == PriceBand(
        max=50.0, currency="GBP", text="under 50 pounds"
    )


@given(st.integers(1, 999_999), st.integers(0, 99))
def test_amounts_survive_both_ways_of_writing(whole: int, cents: int) -> None:
    value = whole + cents / 100
    english = f"{value:,.2f}"
    european = english.translate(str.maketrans(",.", ".,"))
    assert amount(english) == pytest.approx(value)
    assert amount(european) == pytest.approx(value)
    band, rest = parse_price(f"lamp under ${english}")
    assert band is not None
    assert (band.max, rest) == (pytest.approx(value), "lamp")


@given(st.text(max_size=60))
def test_any_text_is_parsed_to_sane_bounds(text: str) -> None:
    band, rest = parse_price(text)
    if band is None:
        assert rest == text
    else:
        assert band.min is None or band.max is None or band.min <= band.max
