"""Price wishes in a query: "under 50", "between 20 and 30 dollars", "<$15", "50-100 euro", "cheap".

Covers English cues and the commonest German, French, Spanish and Chinese ones, money signs and names, thousands and
decimal marks. A number with a unit of size or count ("3/4 in", "under 6 ft", "4 players") is never a price.
It does not convert currencies: the band says which money was named.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .units import COUNTED, UNITS

Relative = Literal["cheap", "premium"]

_SIGNS = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "CNY", "￥": "CNY", "₹": "INR", "元": "CNY", "块": "CNY"}
_NAMES = {
    **dict.fromkeys(("usd", "dollar", "dollars", "buck", "bucks"), "USD"),
    **dict.fromkeys(("eur", "euro", "euros"), "EUR"),
    **dict.fromkeys(("gbp", "quid", "pound sterling", "pounds sterling"), "GBP"),
    **dict.fromkeys(("yuan", "rmb", "cny"), "CNY"),
    **dict.fromkeys(("rupees", "rupee", "inr"), "INR"),
}
_POUNDS = ("pound", "pounds")
_NAME = "|".join(sorted((*_NAMES, *_POUNDS), key=len, reverse=True))
_NUMBER = r"(?P<number#>\d{1,3}(?:[,. ]\d{3})+(?:[.,]\d{1,2})?(?!\d)|\d+(?:[.,]\d{1,2})?(?!\d))"
_AMOUNT = rf"(?:(?P<sign#>[$€£¥￥₹])\s*)?{_NUMBER}(?P<kilo#>k\b)?(?:\s*(?P<name#>[€£元块]|\$(?!\s*\d)|(?:{_NAME})\b))?"
"""One amount of money; ``#`` stands for its number in the pattern."""
_NOT_MONEY = (
    rf"(?!\s*-?\s*(?:{'|'.join(sorted({*UNITS, *COUNTED} - set(_POUNDS), key=len, reverse=True))})\b)"
    r"(?!\d)(?![.,]\d)(?!\s*[\"”″%°/×*+])(?!\s*'(?!s))(?!\s*x\s*\d)(?!-?[a-z]{1,3}\d)(?!\s*-\s*\d)(?![a-jl-z])"
)
_STRONG_MAX = (
    "under|below|less than|cheaper than|lower than|no more than|not more than|at most|not over|not exceeding"
    "|beneath|<=|<|≤|budget(?: of| is|:)?|unter|weniger als|moins de|menos de|max(?:imum)? price(?: of)?"
)
_WEAK_MAX = "up ?to|max(?:imum)?(?: of)?|within|bis(?: zu)?|hasta|jusqu'?a"
_STRONG_MIN = "over|above|more than|higher than|>=|>|≥|über|plus de|más de|mas de"
_WEAK_MIN = "from|at least|min(?:imum)?(?: of)?|starting (?:at|from)|ab"
_AFTER_MAX = r"or less|or under|or below|and under|and below|max(?:imum)?\b|tops\b|以下|以内|之内"
_AFTER_MIN = r"or more|or over|or above|and up|and above|以上"
_NEAR = r"around|about|approx(?:imately|\.)?|roughly|circa|ca\.?|~|priced at|price|costs?|for|at"
_BETWEEN = r"between|zwischen|entre|price[ds]?(?: range)?"
_CHEAP = re.compile(
    r"\b(?:not (?:too |very )?expensive|cheap(?:er|est|ly)?|inexpensive|affordable|low(?:er|est)?[ -](?:cost|priced?)"
    r"|bargains?|budget|economical|günstige?[rsn]?|billige?[rsn]?|pas cher|bon marché|barat[oa]s?)\b|便宜|实惠",
    re.I,
)
_PREMIUM = re.compile(
    r"\b(?:not cheap|premium|luxur(?:y|ious)|high[ -]end|top[ -]of[ -]the[ -](?:line|range)|upscale|expensive"
    r"|luxus|luxe|lujo|teure?[rsn]?)\b|高端|高档|奢侈",
    re.I,
)


@dataclass(frozen=True)
class PriceBand:
    """What a shopper is willing to pay.

    Attributes:
        min, max: bounds in the money named (the shop's own where none is named), None = open
        relative: "cheap" or "premium" where the wish is relative to the catalogue
        currency: three-letter code where the query names its money, else None
        text: the words it was read from
    """

    min: float | None = None
    max: float | None = None
    relative: Relative | None = None
    currency: str | None = None
    text: str = ""

    def __str__(self) -> str:
        low, high = (None if b is None else f"{b:,.2f}".removesuffix(".00") for b in (self.min, self.max))
        bounds = f"{low} to {high}" if low and high else f"up to {high}" if high else f"from {low}" if low else ""
        money = f" {self.currency}" if bounds and self.currency else ""
        return f"{self.relative} ({bounds}{money})" if self.relative and bounds else (self.relative or bounds + money)


def parse_price(text: str, *, bare: bool = True, currency: str | None = None) -> tuple[PriceBand | None, str]:
    """The price wish in ``text`` and the text without its words.

    Args:
        text: a query
        bare: read numbers without money after a clear cue ("under 50"); False for a shop without prices
        currency: the shop's own; "GBP" makes "pounds" money rather than weight

    >>> parse_price("headphones under 50")
    (PriceBand(min=None, max=50.0, relative=None, currency=None, text='under 50'), 'headphones')
    >>> str(parse_price("between 20 and 30 dollars mouse")[0]), str(parse_price("<$15")[0])
    ('20 to 30 USD', 'up to 15 USD')
    >>> parse_price("3/4 in elbow under 6 ft")
    (None, '3/4 in elbow under 6 ft')
    """
    rest, used = text, []
    low, high, money = -math.inf, math.inf, None
    for pattern, read, needs_money in _RULES:
        for match in list(pattern.finditer(rest)):
            named = _money(match, currency)
            if named is False or (named is None and (needs_money or not bare)):
                continue
            bounds = read(match)
            if not bounds[0] <= bounds[1]:
                continue
            low, high = max(low, bounds[0]), min(high, bounds[1])
            money = money or (named if isinstance(named, str) else None)
            used.append(match[0].strip())
            rest = rest.replace(match[0], " ", 1)
    relative, rest = _relative(rest, used)
    if not used:
        return None, text
    if low > high:
        low = -math.inf
    band = PriceBand(
        min=None if low == -math.inf else low,
        max=None if high == math.inf else high,
        relative=relative,
        currency=money,
        text=", ".join(used),
    )
    return band, " ".join(rest.split())


def amount(number: str, *, kilo: bool = False) -> float:
    """A written number as a float; the last mark is decimal unless exactly three digits follow it.

    >>> [amount(n) for n in ("1,299.99", "1.299,99", "49,9", "1,000", "0.500")]
    [1299.99, 1299.99, 49.9, 1000.0, 0.5]
    """
    text = number.replace(" ", "")
    mark = max(text.rfind("."), text.rfind(","))
    if mark >= 0 and (len(text) - mark - 1 != 3 or text.startswith("0")):
        text = re.sub(r"[.,]", "", text[:mark]) + "." + text[mark + 1 :]
    else:
        text = re.sub(r"[.,]", "", text)
    return float(text) * (1000.0 if kilo else 1.0)


def _money(match: re.Match[str], currency: str | None) -> str | bool | None:
    """The money a match names; None where it names none, False where its "pounds" are weight."""
    groups = match.groupdict()
    for key in ("sign1", "name1", "sign2", "name2"):
        named = (groups.get(key) or "").lower()
        if named in _POUNDS:
            return "GBP" if currency == "GBP" else False
        if named:
            return _SIGNS.get(named) or _NAMES[named]
    return None


def _number(match: re.Match[str], n: int = 1) -> float:
    """The n-th amount of a match."""
    return amount(match[f"number{n}"], kilo=bool(match[f"kilo{n}"]))


def _relative(text: str, used: list[str]) -> tuple[Relative | None, str]:
    """ "cheap" or "premium" where a word says so, and the text without it; ``used`` gains the word."""
    for kind, pattern in (("cheap", _CHEAP), ("premium", _PREMIUM)):
        match = pattern.search(text)
        negated = match and re.search(r"\bnot (?:too |very )?$", text[: match.start()], re.I)
        if match and not negated:
            used.append(match[0])
            return ("cheap" if kind == "cheap" else "premium"), text.replace(match[0], " ", 1)
    return None, text


def _compile(pattern: str) -> re.Pattern[str]:
    """A rule's pattern, its amounts numbered in order."""
    for n in "12":
        pattern = pattern.replace(f"AMOUNT{n}", (_AMOUNT + _NOT_MONEY).replace("#", n))
    return re.compile(pattern, re.I)


def _near(match: re.Match[str]) -> tuple[float, float]:
    """A fifth either side of the amount."""
    return 0.8 * _number(match), 1.2 * _number(match)


def _between(match: re.Match[str]) -> tuple[float, float]:
    """From the first amount to the second."""
    return _number(match), _number(match, 2)


def _up_to(match: re.Match[str]) -> tuple[float, float]:
    """Everything not above the amount."""
    return -math.inf, _number(match)


def _at_least(match: re.Match[str]) -> tuple[float, float]:
    """Everything not below the amount."""
    return _number(match), math.inf


_FIRST = _AMOUNT.replace("#", "1")
_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], tuple[float, float]], bool], ...] = (
    (_compile(rf"\b(?:{_BETWEEN})\s+{_FIRST}\s*(?:and|und|y|et|-|–|to)\s*AMOUNT2"), _between, False),
    (_compile(rf"\b(?:from|von|de)\s+{_FIRST}\s*(?:to|bis|a|-|–)\s*AMOUNT2"), _between, True),
    (_compile(rf"(?<![\w./-]){_FIRST}\s*(?:-|–|to|bis|~)\s*AMOUNT2"), _between, True),
    (_compile(rf"(?:(?<!\w)(?:{_STRONG_MAX}))\s*AMOUNT1"), _up_to, False),
    (_compile(rf"(?:(?<!\w)(?:{_STRONG_MIN}))\s*AMOUNT1"), _at_least, False),
    (_compile(rf"(?:(?<!\w)(?:{_WEAK_MAX}))\s*AMOUNT1"), _up_to, True),
    (_compile(rf"(?:(?<!\w)(?:{_WEAK_MIN}))\s*AMOUNT1"), _at_least, True),
    (_compile(rf"(?<![\w./-])AMOUNT1\s*(?:{_AFTER_MAX})"), _up_to, False),
    (_compile(rf"(?<![\w./-])AMOUNT1\s*(?:{_AFTER_MIN})"), _at_least, True),
    (_compile(rf"(?:(?<!\w)(?:{_NEAR})\s*)?(?<![\w./-])AMOUNT1"), _near, True),
)
"""(pattern, how to read its bounds, whether it counts only with money named), tried in order."""
