"""Polarity of English sentences by rule: opinion words with what negates, strengthens, weakens and contrasts them.

The rules are the common ones of lexicon methods (Taboada et al. 2011; Hutto & Gilbert 2014): a negation turns a
following opinion and weakens it, "very" strengthens, "slightly" weakens, what follows "but" outweighs what precedes it,
"too" plus a neutral measure complains. Strengths are `lexicon`'s; learning from ratings is `reviews`'.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from .lexicon import CONTRASTS, ENGLISH, EXCESS, INTENSIFIERS, NEGATORS, UNREAL, phrase_strength, word_strength

_TOKEN = re.compile(r"\d+(?:\.\d+)?\s*/\s*\d+|[^\W\d_]+(?:['’][^\W\d_]+)*|[.!?;,:\n()]+|\d+|[^\s\w]")
_ENDS = re.compile(r"[.!?;\n]")
_SCORE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(\d+)$")
_NEGATED = -0.7  # a negated opinion is turned and weaker: "not great" is milder than "bad"
_UNREAL = -0.4  # "I hoped it would be soft"
_REACH = 4  # words a negation reaches over
_BEFORE_BUT, _AFTER_BUT = 0.6, 1.3


class Token(NamedTuple):
    """A word or sign of a text, lower case, and where it stands in it."""

    word: str
    start: int
    stop: int


@dataclass(frozen=True)
class Hit:
    """An opinion in a sentence: position of its first word among the tokens, number of words, signed strength."""

    position: int
    length: int
    value: float


def sentences(text: str) -> list[list[Token]]:
    """The text's tokens sentence by sentence; signs that end a sentence are its last token."""
    out: list[list[Token]] = [[]]
    for match in _TOKEN.finditer(text):
        word = match.group().lower().replace("’", "'")
        out[-1].append(Token(word, match.start(), match.end()))
        if _ENDS.search(word) and not _SCORE.match(word):
            out.append([])
    return [sentence for sentence in out if any(token.word[0].isalnum() for token in sentence)]


def opinion_hits(sentence: list[Token]) -> list[Hit]:
    """Opinions of one sentence with negation, strength and contrast applied.

    >>> [round(hit.value, 2) for hit in opinion_hits(sentences("Not good, but very soft!")[0])]
    [-0.46, 1.93]
    """
    words = [token.word for token in sentence]
    raw = _plain_hits(words)
    turned = [Hit(h.position, h.length, h.value * _modifier(words, h.position, h.value > 0)) for h in raw]
    loud = 1.1 if any("!" in word for word in words) else 1.0
    split = [k for k, word in enumerate(words) if word in CONTRASTS and k > 0]
    if not split:
        return [Hit(h.position, h.length, h.value * loud) for h in turned]
    last = split[-1]
    return [
        Hit(h.position, h.length, h.value * loud * (_AFTER_BUT if h.position > last else _BEFORE_BUT)) for h in turned
    ]


def english_share(words: list[str]) -> float:
    """Share of the words that are frequent in English or in the lexicon, in [0, 1]; 0 for no words at all."""
    letters = [word for word in words if word[0].isalpha()]
    if not letters:
        return 0.0
    return sum(word in ENGLISH or word_strength(word) is not None for word in letters) / len(letters)


def _plain_hits(words: list[str]) -> list[Hit]:
    """Opinion words, set phrases and marks out of ten, before their surroundings are looked at."""
    hits, k = [], 0
    while k < len(words):
        phrase = phrase_strength(words, k)
        mark = _SCORE.match(words[k])
        if phrase is not None:
            if phrase[0]:
                hits.append(Hit(k, phrase[1], phrase[0]))
            k += phrase[1]
            continue
        if mark and 0 < float(mark.group(2)) <= 100 and float(mark.group(1)) <= 1.2 * float(mark.group(2)):
            hits.append(Hit(k, 1, 3.0 * (2 * min(float(mark.group(1)) / float(mark.group(2)), 1.0) - 1)))
        elif words[k] in EXCESS and k and words[k - 1] == "too":
            hits.append(Hit(k, 1, -1.5))
        else:
            value = word_strength(words[k])
            strengthens = words[k] in INTENSIFIERS and k + 1 < len(words) and word_strength(words[k + 1]) is not None
            if value is not None and not strengthens:
                hits.append(Hit(k, 1, float(value)))
        k += 1
    return hits


def _modifier(words: list[str], position: int, praise: bool) -> float:
    """What the words before an opinion do to it."""
    factor, turned, unreal = 1.0, False, False
    for k in range(position - 1, max(position - 1 - _REACH - (2 if praise else 0), -1), -1):
        word = words[k]
        if word in CONTRASTS or not word[0].isalnum():
            break
        if word in INTENSIFIERS and position - k <= 2:
            factor *= INTENSIFIERS[word]
        only = k + 1 < len(words) and words[k + 1] == "only"
        if word in NEGATORS and not only and position - k <= _REACH:
            turned = not turned
        unreal |= praise and word in UNREAL
    if unreal and not turned:
        return _UNREAL * factor
    return factor * (_NEGATED if turned else 1.0)
