"""Names that people can read, from the shouting and abbreviated names of catalogues.

Sentence case for ALL CAPS, the words of an own label, and abbreviations spelled out where the shop's own vocabulary has
exactly one likely word for them ("DRNKS" where other names say "drinks"). No dictionary of any shop is inside.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_OWN_LABEL = {"private", "private label", "own label", "own brand", "store brand", "house brand", "no brand"}
_VOWELS = set("aeiouy")
_KEEP_CAPS = 3  # TV, USB, PVC stay as they are

_NOT_TELLING = """
a an and any are as at be by for from has in into is it its no not of on or per set so than that the their this to up
was with without non mult multi w x de la le et und der die das pack packs pk pcs piece pieces ct oz lb lbs kg g mg ml l
ltr cm mm m ft in inch inches yd doz dozen pair pairs count new all other others misc assorted asst various only large
small medium single mini big size
"""
STOP_WORDS: frozenset[str] = frozenset(_NOT_TELLING.split())
"""Words that never make a tag by themselves: function words, pack sizes, units."""


def words_of(text: str) -> list[str]:
    """Lower-case words of a title in order; ``""`` marks a number or sign that separates phrases.

    >>> words_of("Tea towel, 2 PACK")
    ['tea', 'towel', '', 'pack']
    """
    found: list[str] = []
    end = 0
    for match in _WORD.finditer(text):
        if found and text[end : match.start()].strip(" -&"):
            found.append("")
        found.append(match.group().lower().replace("’", "'"))
        end = match.end()
    return found


def singular(word: str) -> str:
    """A crude key under which plurals meet: ``towels`` and ``towel``, ``boxes`` and ``box``, ``berries`` and ``berry``.

    >>> [singular(w) for w in ("towels", "boxes", "berries", "glass", "us")]
    ['towel', 'box', 'berry', 'glass', 'us']
    """
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("xes", "ches", "shes", "sses", "zes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def abbreviations(names: Iterable[str], *, least: int = 2) -> dict[str, str]:
    """Abbreviated words in these names and the one word of the names each most likely stands for.

    An abbreviation has at least four letters, hardly a vowel for its length, and its letters occur in order in the long
    word, which starts and ends alike, has more vowels and is found ``least`` times or more. Where two long words
    compete the more frequent must be twice as frequent, or the abbreviation stays.

    >>> abbreviations(["Soft drinks", "Drinks", "SOFT DRNKS"])
    {'drnks': 'drinks'}
    """
    counts = Counter(word for name in names for word in words_of(name) if word)
    by_ends: dict[str, list[str]] = {}
    for word, n in counts.items():
        if n >= least and word.isascii():
            by_ends.setdefault(word[0] + word[-1], []).append(word)
    found = {}
    for word in counts:
        if not _looks_abbreviated(word) or _is_plural(word, counts):
            continue
        fits = [w for w in by_ends.get(word[0] + word[-1], []) if _stands_for(word, w)]
        fits.sort(key=lambda w: (-counts[w], w))
        if fits and (len(fits) == 1 or counts[fits[0]] >= 2 * counts[fits[1]]):
            found[word] = fits[0]
    return found


def readable_name(name: str, spelled: Mapping[str, str] | None = None) -> str:
    """A catalogue name in sentence case, abbreviations spelled out, "A/B/C" as "A, B & C".

    >>> readable_name("SFT DRNKS/JUICES/TEA", {"drnks": "drinks"})
    'Sft drinks, juices & tea'
    >>> readable_name("Ice Cream Topping")
    'Ice Cream Topping'
    """
    letters = [c for c in name if c.isalpha()]
    tidy = re.sub(r"\([^)]*$", "", " ".join(name.split()))  # names cut off inside brackets
    tidy = re.sub(r"\b[wW]/\s*", "with ", tidy)
    parts = [part for part in re.split(r"\s*/\s*", tidy.strip(" /,-:(")) if part]
    tidy = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} & {parts[-1]}" if parts else ""
    shouting = bool(letters) and sum(c.isupper() for c in letters) > 0.8 * len(letters)
    if shouting and len(letters) > _KEEP_CAPS:
        tidy = tidy.lower()
    if spelled:
        tidy = _WORD.sub(lambda match: spelled.get(match.group().lower(), match.group()), tidy)
    return tidy[:1].upper() + tidy[1:]


def readable_brand(brand: str) -> str:
    """A brand's name; "own label" where the catalogue only says that it is the shop's own.

    >>> readable_brand("Private"), readable_brand("ACME")
    ('own label', 'ACME')
    """
    return "own label" if brand.strip().lower() in _OWN_LABEL else " ".join(brand.split())


def _vowel_share(word: str) -> float:
    """Share of vowels among the letters of a word; 1 for scripts without them, so they are never abbreviations."""
    if not word.isascii():
        return 1.0
    return sum(letter in _VOWELS for letter in word) / len(word)


def _looks_abbreviated(word: str) -> bool:
    """At least four letters and hardly a vowel among them."""
    return len(word) >= 4 and _vowel_share(word) < (0.25 if len(word) >= 8 else 0.2)


def _is_plural(word: str, counts: Mapping[str, int]) -> bool:
    """Whether it is the plural of a word with a vowel that the names have: "plants", but not "drnks"."""
    one = singular(word)
    return one != word and one in counts and _vowel_share(one) > 0


def _stands_for(short: str, long: str) -> bool:
    """Whether ``short`` can be ``long`` with some letters, vowels among them, left out."""
    rest = iter(long)
    more_vowels = sum(c in _VOWELS for c in long) > sum(c in _VOWELS for c in short)
    return more_vowels and len(short) < len(long) <= len(short) + 4 and all(letter in rest for letter in short)
