"""From text to the words that are searched by, the same way for items and queries.

The language is read off the text itself, run by run: Latin words lose their plural ending, Chinese, Japanese and Korean
runs become pairs of characters (items also single ones, so that a query of one character finds them). Sizes are brought
to one spelling: ``18"``, ``18 inch`` and ``18in`` are the same words, ``12x12`` and ``12 in. x 12 in.`` share theirs.
Stemming beyond plurals is left out: Porter's second stemmer found no more (`docs/search.md`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from ...profiling.intent.units import UNITS, stem
from ...profiling.intent.units import words as unit_words

PARTICLES = frozenset(
    ["for", "with", "without", "in", "of", "by", "to", "from", "on", "and", "or", "at", "w", "as", "per"]
)
"""English words after which a name goes on about something else than what the thing is."""

_INCHES = re.compile(r"(?<=\d)\s*(?:''|\"|”|″|“)")
_FEET = re.compile(r"(?<=\d)\s*(?:'|’|′)(?![a-z])", re.I)
_TIMES = re.compile(r"(?<=\d)\s*[x×]\s*(?=\.?\d)", re.I)
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_SHORT_UNITS = frozenset(UNITS.values())
_YES = frozenset(("yes", "true", "y"))
_NO = frozenset(("no", "false", "n", ""))


def plain_words(text: str) -> list[str]:
    """Words as written, normalised, numbers and units apart, in order; the ``x`` between two sizes is dropped.

    >>> plain_words('Ceramic tile 12x12"'), plain_words("Tile, 12 in. x 12 in."), plain_words("3/4-inch valves")
    (['ceramic', 'tile', '12', '12', 'in'], ['tile', '12', 'in', '12', 'in'], ['3/4', 'in', 'valves'])
    """
    text = _FEET.sub(" ft ", _INCHES.sub(" in ", text))
    found = unit_words(_TIMES.sub(" ", text))
    if "x" not in found:
        return found
    return [word for place, word in enumerate(found) if word != "x" or not _between_sizes(found, place)]


def terms(text: str) -> list[str]:
    """The words that a query searches by.

    >>> terms("3/4 in. Ball Valves"), terms("台灯")
    (['3/4', 'in', 'ball', 'valve'], ['台灯'])
    """
    return [stem(word) for word in plain_words(text)]


def item_terms(words: Sequence[str]) -> list[str]:
    """The words that an item with these plain words is found by: single characters of Chinese and such runs too.

    >>> item_terms(["ball", "valves"]), item_terms(["台灯"])
    (['ball', 'valve'], ['台灯', '台', '灯'])
    """
    found = [stem(word) for word in words]
    beyond = [word for word in found if not word.isascii() and len(word) > 1 and _CJK.search(word)]
    return found + [c for word in beyond for c in word if _CJK.fullmatch(c)] if beyond else found


def field_texts(items: pd.DataFrame, field: str) -> list[str]:
    """One column of each item as text, null as nothing; ``attributes`` as their values, and the names of what it has.

    >>> items = pd.DataFrame({"attributes": ['{"colour": "black", "wireless": "yes", "radio": "no"}', None]})
    >>> field_texts(items, "attributes")
    ['black ; wireless', '']
    """
    if field not in items:
        return [""] * len(items)
    values = items[field].fillna("").astype(str).tolist()
    return [_attribute_text(value) for value in values] if field == "attributes" else values


def _between_sizes(found: Sequence[str], place: int) -> bool:
    """Whether the word at ``place`` stands between two sizes."""
    if not 0 < place < len(found) - 1:
        return False
    before, after = found[place - 1], found[place + 1]
    return after[0].isdigit() and (before[0].isdigit() or before in _SHORT_UNITS)


def _attribute_text(raw: str) -> str:
    """The values of an attribute object; of yes and no the name where it is yes."""
    try:
        table = json.loads(raw) if raw else {}
    except ValueError:
        return ""
    parts = []
    for name, value in table.items() if isinstance(table, dict) else ():
        parts += [_value_text(str(name), one) for one in (value if isinstance(value, list) else [value])]
    return " ; ".join(part for part in parts if part)


def _value_text(name: str, value: Any) -> str:
    said = str(value).strip()
    if isinstance(value, bool) or said.lower() in _YES | _NO:
        return name.replace("_", " ") if said.lower() in _YES else ""
    return said if isinstance(value, str | int | float) else ""


def head_noun(words: Sequence[str]) -> str:
    """The last word before the first particle that has a word before it; "" without words.

    >>> head_noun(["shower", "faucet", "kit", "in", "chrome"]), head_noun(["brass", "valve"]), head_noun([])
    ('kit', 'valve', '')
    """
    head = ""
    for word in words:
        if word in PARTICLES and head:
            break
        if word[0].isalpha() and len(word) > 1:
            head = word
    return head or (words[-1] if len(words) else "")
