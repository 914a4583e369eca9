"""The stage a shopper is at: looking up a known item, browsing, exploring, comparing, or asking for help.

Covers a small additive model of documented signals whose sum goes through a softmax; nothing is trained. A signal word
that the catalogue itself uses often ("gift wrap", "repair kit") counts less, as it is then probably a product.
English cues; other languages still get the signals that need no words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .units import stem, words

Stage = Literal["look_up", "browse", "explore", "compare", "get_help"]
STAGES: tuple[Stage, ...] = ("look_up", "browse", "explore", "compare", "get_help")

PRIOR: Mapping[Stage, float] = {"look_up": -1.0, "browse": 1.0, "explore": -0.5, "compare": -1.5, "get_help": -2.0}
"""Log-odds before any signal: most shop queries browse."""

_OPENER = re.compile(
    r"^\W*(?:how|what(?:'?s)?|why|where(?:'?s)?|when|who|whom|can|could|may|do|does|did|is|are|am|was|will|would"
    r"|should|please|tell me|help|i|i'?m|i'?ve|i'?d|my|there(?:'?s)?|let'?s|hi|hello|hey|thanks?)\b",
    re.I,
)
_PERSON = re.compile(r"\b(?:i|i'?m|i'?ve|i'?d|me|my|mine|we|our|you|your)\b", re.I)
_HELP_STRONG = re.compile(
    r"\b(?:refunds?|cancel(?:led|lation)?|track(?:ing)? (?:my|an?|the)|my (?:order|account|card|parcel|package|payment)"
    r"|order status|customer (?:service|support)|return (?:policy|an?|my|the)|opening hours|password|invoice"
    r"|complain(?:t)?|not working|doesn'?t work|won'?t|contact us|phone number|delivery (?:time|cost|date)"
    r"|shipping (?:time|cost|fee)|how (?:to|do|can|long|much))\b",
    re.I,
)
_HELP_WEAK = re.compile(
    r"\b(?:returns?|exchange|warranty|deliver(?:y|ed)?|shipping|install(?:ation|ing)?|repair|fix|broken|manual"
    r"|instructions?|assemble|store|account|payment|help|support)\b",
    re.I,
)
_COMPARE = re.compile(
    r"\b(?:vs\.?|versus|compar(?:e|ed|ing|ison)|difference between|better than|which (?:is|one|are)"
    r"|alternatives? (?:to|for)|instead of)\b",
    re.I,
)
_BEST = re.compile(r"\b(?:best|top[ -]?\d*[ -]?rated|top \d+|highest rated|recommended|reviews?|ratings?)\b", re.I)
_EXPLORE = re.compile(
    r"\b(?:gifts?|presents?|ideas?|inspirations?|something|anything|stuff|things?|new arrivals|what'?s new|trending"
    r"|popular|bestsellers?|deals|surprise"
    r"|for (?:him|her|mum|mom|dad|men|women|kids|boys|girls|grandma|friends?|my \w+)|\d+ year old)\b",
    re.I,
)


@dataclass(frozen=True)
class StageEvidence:
    """What the stage is read from beside the words; shares and scores in [0, 1].

    Attributes:
        n_words: words in the query
        n_models: model numbers or codes in it
        n_facets: brands, attribute values and sizes in it
        duplicate: overlap with the closest item's words
        together: share of the query's information that one item holds
        matches: items that hold that share
        concentration: how concentrated the category distribution is
        confidence: that it is about this catalogue at all
    """

    n_words: int
    n_models: int
    n_facets: int
    duplicate: float
    together: float
    matches: int
    concentration: float
    confidence: float


def stage_probabilities(
    text: str, evidence: StageEvidence, share: Callable[[str], float]
) -> tuple[dict[Stage, float], list[str]]:
    """P(stage) of one query, summing to 1, and the signals found.

    Args:
        text: the query
        evidence: see `StageEvidence`
        share: share of the catalogue's items whose text holds a stem, in [0, 1]

    >>> quiet = StageEvidence(2, 0, 0, 0.3, 1.0, 40, 0.8, 0.9)
    >>> found, why = stage_probabilities("desk lamp vs floor lamp", quiet, lambda w: 0.0)
    >>> max(found, key=found.get), why
    ('compare', ['compares: "vs"'])
    """
    score = dict(PRIOR)
    why: list[str] = []
    _from_words(text, score, why, share)
    _from_evidence(evidence, score, why)
    raised = np.exp(np.asarray([score[s] for s in STAGES]))
    return dict(zip(STAGES, (raised / raised.sum()).tolist(), strict=True)), why


def _from_words(text: str, score: dict[Stage, float], why: list[str], share: Callable[[str], float]) -> None:
    """Add what signal words say to ``score`` and ``why``."""
    signals: tuple[tuple[re.Pattern[str], Stage, float, str], ...] = (
        (_HELP_STRONG, "get_help", 4.5, "asks for help"),
        (_HELP_WEAK, "get_help", 1.5, "help word"),
        (_COMPARE, "compare", 4.5, "compares"),
        (_BEST, "compare", 4.0, "asks for the best"),
        (_EXPLORE, "explore", 2.5, "open-ended"),
    )
    for pattern, stage, weight, name in signals:
        match = pattern.search(text)
        if match:
            common = max((share(stem(w)) for w in words(match[0])), default=0.0)
            score[stage] += weight / (1.0 + 200.0 * common)
            why.append(f'{name}: "{match[0].lower()}"')
    if "?" in text:
        score["get_help"] += 1.5
        why.append("is a question")
    opener = _OPENER.match(text)
    if opener and len(text.split()) > 2:
        score["get_help"] += 2.0
        why.append(f'sentence: "{opener[0].strip().lower()} ..."')
    if _PERSON.search(text):
        score["get_help"] += 1.5
        why.append("speaks in the first or second person")


def _from_evidence(evidence: StageEvidence, score: dict[Stage, float], why: list[str]) -> None:
    """Add what the catalogue says to ``score`` and ``why``."""
    if evidence.n_models:
        score["look_up"] += 3.0
        why.append("names a model number")
    if evidence.duplicate >= 0.8 and evidence.n_words >= 3:
        score["look_up"] += 8.0 * (evidence.duplicate - 0.55)
        why.append("nearly an item's title")
    elif evidence.n_words >= 4 and evidence.together >= 0.9 and evidence.matches <= 3:
        score["look_up"] += 1.5
        why.append(f"fits {evidence.matches} item{'s' if evidence.matches > 1 else ''} only")
    doubt = 1.0 - evidence.confidence
    score["browse"] -= 2.0 * doubt
    score["look_up"] -= doubt
    score["explore"] -= 1.5 * doubt
    score["get_help"] += doubt * (evidence.n_words >= 4)
    score["browse"] += 1.5 * evidence.concentration * evidence.confidence + 0.3 * min(evidence.n_facets, 3)
    score["explore"] += 1.5 * (1.0 - evidence.concentration)
    if evidence.n_words >= 7 and evidence.together < 0.5:
        score["get_help"] += 1.0
        why.append("a long text no item resembles")
