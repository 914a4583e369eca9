"""Aspects: what a reviewer praises or complains about, and in which words.

An aspect is a noun-like word near an opinion. Noun-like words are a short general list plus the words of the shop's own
reviews that mostly follow "the", "my", "its"...; some opinions name their aspect themselves ("overpriced": price). No
parser is used, so who did what to whom is not understood.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..readable import STOP_WORDS, singular
from .lexicon import CONTRASTS, ENGLISH, EXCESS, INTENSIFIERS, NEGATORS, word_strength
from .polarity import Hit, Token, opinion_hits

_GENERAL = """
fit size sizing colour color fabric material quality price cost value delivery shipping packaging package service
support battery screen display sound camera speaker taste flavour flavor smell scent texture design style look length
sleeve neckline neck waist hem zipper pocket button lining cut print pattern shape comfort weight strap sole heel
instruction manual app software performance story plot gameplay graphic control music soundtrack level character
multiplayer server community update interface menu voice acting dialogue combat mission map cable charger keyboard lid
handle box bottle lens motor blade seat mattress pillow cushion room staff stitching seam collar shoulder bust
thickness warranty
"""
_SAME_AS = {
    "size": "sizing",
    "colour": "color",
    "price": "cost",
    "delivery": "shipping",
    "taste": "flavor flavour",
    "graphics": "graphic",
    "controls": "control",
    "packaging": "package",
    "instructions": "instruction",
}
_IMPLIED_BY = {
    "price": "overpriced expensive pricey affordable costly bargain steal overprice",
    "comfort": "comfortable comfy uncomfortable itchy scratchy cozy cosy",
    "size": "baggy boxy roomy oversized",
    "quality": "flimsy sturdy durable cheaply shoddy junk",
    "taste": "delicious tasty yummy bland inedible",
    "stability": "crash crashes crashed crashing buggy glitchy glitches bugs bug unstable freezes",
    "performance": "laggy lag lags",
    "fit": "fits fit flattering unflattering",
}
_PHRASE_IMPLIES = {"true to size": "size", "runs small": "size", "ran small": "size", "runs large": "size"}
_PHRASE_IMPLIES |= {"runs big": "size", "see through": "fabric", "well made": "quality", "pay to win": "price"}
_POINTING = "the my its their his her this these your our"
_FOLLOWING = """
is was are were and or of in on at for with that which to it i has had have looks seems feels could would as but so
"""
_TOO_GENERAL = """
thing way time day one person people lot bit item product review reason picture photo store year week month wife
husband friend daughter son mom rest end start part kind sort point fact site website online order purchase money side
only same first last other next whole right left most more back front top bottom few two three own dollar hour minute
game dress idea future past opinion second third sale mind heart chance choice decision effort amount number name
reviewer black white red blue green grey gray pink orange purple yellow brown navy beige gold silver ivory who what
when which pro con edit moment situation case world life
"""
_SAME = {word: aspect for aspect, words in _SAME_AS.items() for word in words.split()}
_IMPLIES = {word: aspect for aspect, words in _IMPLIED_BY.items() for word in words.split()}
_DETERMINERS = frozenset(_POINTING.split())
_FOLLOWERS = frozenset(_FOLLOWING.split())
_NOT_ASPECTS = frozenset(_TOO_GENERAL.split())
_REACH = 8
_AFTER_COMMA, _AFTER_CONTRAST = 3, 6
_BREAK = re.compile(r"[,:;()]")


@dataclass(frozen=True)
class AspectOpinion:
    """What is said about one aspect.

    Attributes:
        aspect: its name, singular
        polarity: from -1 (complaint) to 1 (praise)
        quote: the words it was read from
    """

    aspect: str
    polarity: float
    quote: str


def general_aspects() -> frozenset[str]:
    """Aspects that make sense in most shops."""
    return frozenset(_GENERAL.split())


def fit_aspects(
    token_texts: Iterable[Sequence[Sequence[Token]]], *, least_uses: int = 15, most_share: float = 0.25
) -> frozenset[str]:
    """Noun-like words of a shop's reviews, with the general ones.

    A word is noun-like where a determiner precedes at least a fifth of its uses and no other content word follows most.
    Words in more than ``most_share`` of the reviews name the product itself, words used less than ``least_uses`` times
    are chance.
    """
    uses: Counter[str] = Counter()
    named: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    n = 0
    for text in token_texts:
        n += 1
        seen = set()
        for sentence in text:
            before = ""
            for token, after in zip(sentence, [*sentence[1:], None], strict=True):
                word = singular(token.word)
                if _may_be_aspect(token.word):
                    uses[word] += 1
                    seen.add(word)
                    named[word] += before in _DETERMINERS
                    ends[word] += after is None or not after.word.isalpha() or after.word in _FOLLOWERS
                before = token.word
        for word in seen:
            named[f" {word}"] += 1  # reviews with the word, under a key no word has
    found = {
        word
        for word, count in uses.items()
        if count >= least_uses
        and named[word] >= 0.2 * count
        and ends[word] >= 0.6 * count
        and named[f" {word}"] <= most_share * n
    }
    return general_aspects() | found


def aspect_opinions(text: str, sentences: Sequence[list[Token]], aspects: frozenset[str]) -> list[AspectOpinion]:
    """What a text says of these aspects, in order of mention; several opinions of one aspect are summed."""
    said: dict[str, list[tuple[float, str]]] = {}
    for sentence in sentences:
        places = [(k, singular(t.word)) for k, t in enumerate(sentence) if singular(t.word) in aspects]
        for hit in opinion_hits(sentence):
            found = _aspect_of(hit, sentence, places)
            if found is not None:
                where, name = found
                said.setdefault(_SAME.get(name, name), []).append((hit.value, _quote(text, sentence, hit, where)))
    return [_summed(name, opinions) for name, opinions in said.items()]


def _summed(name: str, opinions: list[tuple[float, str]]) -> AspectOpinion:
    """All that was said of an aspect, with the quote that says it most strongly."""
    total = sum(value for value, _ in opinions)
    quote = max(opinions, key=lambda opinion: opinion[0] * (1 if total >= 0 else -1))[1]
    return AspectOpinion(name, total / (total**2 + 4) ** 0.5, quote)


def _aspect_of(hit: Hit, sentence: list[Token], places: list[tuple[int, str]]) -> tuple[int, str] | None:
    """Position and name of the aspect an opinion is about: implied by its word, or the nearest in reach."""
    words = " ".join(token.word for token in sentence[hit.position : hit.position + hit.length])
    implied = _PHRASE_IMPLIES.get(words) or _IMPLIES.get(words)
    if implied is not None:
        return hit.position, implied
    near = [(_distance(hit, place, sentence), place, name) for place, name in places]
    near = [entry for entry in near if entry[0] <= _REACH]
    return min(near)[1:] if near else None


def _distance(hit: Hit, place: int, sentence: list[Token]) -> int:
    """Words between an opinion and an aspect, more across a comma or a contrast; 0 for the aspect's own word."""
    last = hit.position + hit.length - 1
    if hit.position <= place <= last:
        return 0
    between = sentence[last + 1 : place] if place > last else sentence[place + 1 : hit.position]
    steps = len(between) + 1
    steps += _AFTER_COMMA * sum(bool(_BREAK.search(token.word)) for token in between)
    steps += _AFTER_CONTRAST * sum(token.word in CONTRASTS or token.word == "and" for token in between)
    return steps


def _quote(text: str, sentence: list[Token], hit: Hit, place: int, *, longest: int = 90) -> str:
    """The clauses that hold the opinion and its aspect, as written."""
    first, last = min(hit.position, place), max(hit.position + hit.length - 1, place)
    while first > 0 and not (_BREAK.search(sentence[first - 1].word) or sentence[first - 1].word in CONTRASTS):
        first -= 1
    while last + 1 < len(sentence) and not (
        re.search(r"[,:;().!?\n]", sentence[last + 1].word) or sentence[last + 1].word in CONTRASTS
    ):
        last += 1
    quote = " ".join(text[sentence[first].start : sentence[last].stop].split())
    return quote if len(quote) <= longest else quote[:longest].rsplit(" ", 1)[0] + "..."


def _may_be_aspect(word: str) -> bool:
    """Whether a word is neither an opinion nor a function word nor too general to name a part."""
    if len(word) < 3 or not word.isalpha() or word in ENGLISH or word in STOP_WORDS or word in EXCESS:
        return False
    if word in NEGATORS or word in INTENSIFIERS or word in CONTRASTS or singular(word) in _NOT_ASPECTS:
        return False
    return word_strength(word) is None and not word.endswith(("ing", "ly"))
