"""Words, sizes and model numbers as shops write them: the text arithmetic below intent.

Covers normalising, tokenising (Latin words, decimals, fractions, CJK bigrams), light plural stripping, sizes with
units ("3/4 in", "24x36", "1.8m") and model-number-like words ("TN-2110"). Money is in `price_wishes`; meaning is the
encoder's.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

UNITS: dict[str, str] = {
    **dict.fromkeys(("in", "inch", "inches"), "in"),
    **dict.fromkeys(("ft", "foot", "feet"), "ft"),
    **dict.fromkeys(("yd", "yard", "yards"), "yd"),
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), "mm"),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), "cm"),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), "m"),
    **dict.fromkeys(("kg", "kilo", "kilos", "kilogram", "kilograms"), "kg"),
    **dict.fromkeys(("g", "gram", "grams", "gr"), "g"),
    **dict.fromkeys(("mg",), "mg"),
    **dict.fromkeys(("lb", "lbs", "pound", "pounds"), "lb"),
    **dict.fromkeys(("oz", "ounce", "ounces"), "oz"),
    **dict.fromkeys(("gal", "gallon", "gallons"), "gal"),
    **dict.fromkeys(("qt", "quart", "quarts"), "qt"),
    **dict.fromkeys(("pt", "pint", "pints"), "pt"),
    **dict.fromkeys(("ml", "milliliter", "milliliters"), "ml"),
    **dict.fromkeys(("cl",), "cl"),
    **dict.fromkeys(("l", "liter", "liters", "litre", "litres", "ltr"), "l"),
    **dict.fromkeys(("w", "watt", "watts"), "w"),
    **dict.fromkeys(("kw",), "kw"),
    **dict.fromkeys(("v", "volt", "volts"), "v"),
    **dict.fromkeys(("a", "amp", "amps"), "a"),
    **dict.fromkeys(("mah",), "mah"),
    **dict.fromkeys(("hz",), "hz"),
    **dict.fromkeys(("mhz",), "mhz"),
    **dict.fromkeys(("ghz",), "ghz"),
    **dict.fromkeys(("kb",), "kb"),
    **dict.fromkeys(("mb",), "mb"),
    **dict.fromkeys(("gb", "gigabyte", "gigabytes"), "gb"),
    **dict.fromkeys(("tb", "terabyte", "terabytes"), "tb"),
    **dict.fromkeys(("btu", "btus"), "btu"),
    **dict.fromkeys(("psi",), "psi"),
    **dict.fromkeys(("hp", "horsepower"), "hp"),
    **dict.fromkeys(("rpm",), "rpm"),
    **dict.fromkeys(("cfm",), "cfm"),
    **dict.fromkeys(("lumen", "lumens", "lm"), "lm"),
    **dict.fromkeys(("degree", "degrees"), "deg"),
    **dict.fromkeys(("gauge", "ga"), "gauge"),
    **dict.fromkeys(("ct", "count"), "ct"),
    **dict.fromkeys(("pk", "pack", "packs"), "pack"),
    **dict.fromkeys(("pc", "pcs", "piece", "pieces"), "pcs"),
}
"""Every spelling of a unit -> its short form."""

_COUNTED = """
person persons people player players adult adults kid kids child children seat seats year years yr yrs month months week
weeks day days hour hours hr hrs minute minutes min mins second seconds sec page pages sheet sheets item items ply tier
shelf light lights bulb bulbs pair pairs set sets sq square cubic cu awg grit port ports pin pins pixel pixels dpi mp
megapixel megapixels calories cal percent
"""
COUNTED: tuple[str, ...] = tuple(_COUNTED.split())
"""Nouns after a number that say it counts something, so it is no price."""

_UNIT = "|".join(sorted(UNITS, key=len, reverse=True))
_NUMBER = r"(?:\d+[\s-]+\d+/\d+|\d+/\d+|\d{1,3}(?:,\d{3})+|\d+(?:[.,]\d+)?|\.\d+)"
_MARK = r"(?:''|\"|'|”|″|’|′)"
_SIZE = re.compile(rf"(?<![\w$€£¥./])({_NUMBER})\s*-?\s*(?:({_UNIT})\b\.?|({_MARK}))", re.I)
_DIMENSION = rf"{_NUMBER}\s*(?:(?:{_UNIT})\b\.?|{_MARK})?"
_DIMENSIONS = re.compile(rf"(?<![\w$€£¥./])({_DIMENSION}(?:\s*[x×]\s*{_DIMENSION}){{1,2}})(?!\w)", re.I)
_WORN = re.compile(r"\bsize\s+([a-z]{1,3}|\d{1,2}(?:\.5)?)\b|\b(xs|xl|xxl|xxxl|2xl|3xl|4xl)\b", re.I)
_WORD = re.compile(r"\d+(?:[.,/]\d+)+|[^\W_]+")
_JOINED = re.compile(rf"(\d+(?:\.\d+)?)({_UNIT})", re.I)
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_CHUNK = re.compile(r"[^\s,;()]+")
_MODEL = re.compile(r"(?=.*\d.*\d)(?=.*[a-z])[a-z0-9]+(?:[-/.][a-z0-9]+)*")
_CODE = re.compile(r"\d{5,}(?<!000)|\d{2,}(?:-[a-z0-9]+){2,}|\d{3,}-\d{3,}")
_LONG_UNIT = "|".join(sorted((unit for unit in UNITS if len(unit) > 1), key=len, reverse=True))
_NOT_MODEL = re.compile(
    rf"\d+(?:[./-]\d+)*-?(?:{_UNIT}|st|nd|rd|th|s|k|d|p|x|cu|sq)|[a-z]{{0,6}}\d+(?:[./-]\d+)*-?(?:{_LONG_UNIT})"
    r"|\d+(?:[./]\d+)?[a-z]*(?:x\d+(?:[./]\d+)?[a-z]*)+|\d+in\d+|\d+-in-\d+|.*[a-z]+in?to\d.*|\d+\.\d+[a-z]+"
)
_APOSTROPHES = str.maketrans("", "", "'`")


def normalise(text: str) -> str:
    """Case-folded text with accents, apostrophes and full-width forms resolved.

    >>> normalise("L'Oréal  ＰＲＯ")
    'loreal  pro'
    """
    if text.isascii():  # most texts: nothing to fold but case
        return text.lower().translate(_APOSTROPHES)
    folded = unicodedata.normalize("NFKD", text).casefold()
    return "".join(c for c in folded if not unicodedata.combining(c) and c not in "'’`®™©")


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A word without its English plural ending; other words unchanged.

    >>> [stem(w) for w in ("batteries", "boxes", "lamps", "glass", "usb", "gas")]
    ['battery', 'box', 'lamp', 'glass', 'usb', 'gas']
    """
    if len(word) < 4 or not word.isascii() or not word.isalpha() or word[-1] != "s":
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    return word if word.endswith(("ss", "us", "is")) else word[:-1]


def words(text: str) -> list[str]:
    """Normalised words in order: decimals and fractions whole, number and unit apart, CJK runs as bigrams.

    >>> words("StarTech.com 1.8m cable, 3/4in")
    ['startech', 'com', '1.8', 'm', 'cable', '3/4', 'in']
    """
    found: list[str] = []
    for word in _WORD.findall(normalise(text)):
        joined = _JOINED.fullmatch(word)
        if joined:
            found.extend(joined.groups())
        elif not word.isascii() and _CJK.search(word):
            found.extend(_cjk(word))
        else:
            found.append(word)
    return _rejoin(found)


def stems(text: str) -> list[str]:
    """`words` without plural endings: what catalogue and query are compared by."""
    return [stem(word) for word in words(text)]


def sizes(text: str) -> list[str]:
    """Sizes with their units in short form, dimensions first.

    >>> sizes("3/4 in. elbow"), sizes("2' x 4' board"), sizes("cable 1,8 m"), sizes("shirt size XL"), sizes("$5 box")
    (['3/4 in'], ['2 ft x 4 ft'], ['1.8 m'], ['XL'], [])
    """
    found: list[str] = []
    rest = text
    for match in _DIMENSIONS.finditer(text):
        found.append(" x ".join(_short(part) for part in re.split(r"\s*[x×]\s*", match[1], flags=re.I)))
        rest = rest.replace(match[0], " ", 1)
    found += [_short(match[0]) for match in _SIZE.finditer(rest)]
    found += [(match[1] or match[2]).upper() for match in _WORN.finditer(rest)]
    return list(dict.fromkeys(found))


def model_numbers(text: str) -> list[str]:
    """Words that look like model numbers or product codes, as written; sizes and dimensions are not.

    >>> model_numbers("brother TN-2110 toner"), model_numbers("16gb 24x36 12oz 3rd 4k tv")
    (['TN-2110'], [])
    """
    found = []
    for chunk in _CHUNK.findall(text):
        plain = normalise(chunk).strip(".-/\"'")
        mixed = len(plain) >= 4 and _MODEL.fullmatch(plain) and not _NOT_MODEL.fullmatch(plain)
        if mixed or _CODE.fullmatch(plain):
            found.append(chunk.strip(".-/\"'"))
    return found


def _cjk(word: str) -> list[str]:
    """A word with CJK runs: the runs as overlapping bigrams, the rest as it is."""
    found: list[str] = []
    last = 0
    for run in _CJK.finditer(word):
        if run.start() > last:
            found.append(word[last : run.start()])
        found.extend([run[0]] if len(run[0]) == 1 else [run[0][i : i + 2] for i in range(len(run[0]) - 1)])
        last = run.end()
    return [*found, word[last:]] if last < len(word) else found


def _rejoin(found: list[str]) -> list[str]:
    """Unit spellings after a number in short form, so "14 ounces" and "14oz" are the same words."""
    return [
        UNITS[word] if i and word in UNITS and len(word) > 1 and found[i - 1][0].isdigit() else word
        for i, word in enumerate(found)
    ]


def _short(size: str) -> str:
    """One size in short form: ``1,8 metres`` -> ``1.8 m``, ``2'`` -> ``2 ft``."""
    text = re.sub(r"(\d)[\s-]+(\d+/\d+)", r"\1 \2", _decimal(size.strip().lower()))
    match = re.fullmatch(rf"({_NUMBER})\s*-?\s*(.*?)\.?", text)
    if not match:
        return text
    mark = {"'": "ft", "’": "ft", "′": "ft", "": ""}.get(match[2])
    unit = mark if mark is not None else UNITS.get(match[2], "in")
    return f"{match[1]} {unit}".strip()


def _decimal(text: str) -> str:
    """Thousands commas dropped, a decimal comma turned into a point."""
    return re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text).replace(",", ".")
