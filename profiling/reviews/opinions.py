"""A shop's own opinion words, learned from its ratings, on top of the rules of `polarity`.

Words and pairs of words that high-rated reviews have more often than low-rated ones get a weight by log-odds with a
Dirichlet prior (Monroe, Colaresi & Quinn 2008); the rule score and the learned score are then weighed by a two-feature
logistic fit with balanced classes. Without ratings the rules alone decide, in English; with enough of them any language
written with spaces works.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from .lexicon import NEGATORS
from .polarity import Token, english_share, opinion_hits, sentences


class OpinionConfig(BaseModel):
    """When a shop's own words are learned and how far they are trusted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    least_reviews: int = Field(default=50, ge=1, description="reviews of each side needed before words are learned")
    least_uses: int = Field(default=5, ge=1, description="reviews a word must be in")
    prior_uses: float = Field(default=2.0, gt=0, description="uses behind the prior of each word's log-odds")
    english: float = Field(
        default=0.15, ge=0, le=1, description="share of known words below which a text is no English"
    )
    rounds: int = Field(default=25, ge=1, description="Newton steps of the logistic fit")


@dataclass(frozen=True, eq=False)
class OpinionModel:
    """How to read the opinion in a review.

    Attributes:
        words: learned log-odds of words and pairs (joined by a space); negated words start with ``not_``
        bias, rule_weight, word_weight: logit of a positive review = bias + rule_weight x rules + word_weight x words
        config: thresholds
    """

    words: Mapping[str, float] = field(default_factory=dict)
    bias: float = 0.0
    rule_weight: float = 2.2
    word_weight: float = 0.0
    config: OpinionConfig = field(default_factory=OpinionConfig)


@dataclass(frozen=True)
class Reading:
    """A text as read once: its sentences, its rule score, how many opinions it holds and its share of English."""

    sentences: list[list[Token]]
    rules: float
    hits: int
    english: float


def read(text: str | None) -> Reading:
    """Split a text and score it by rule: sum of opinion strengths over (their number + 2), about -2 to 2."""
    parts = sentences(text) if text else []
    values = [hit.value for sentence in parts for hit in opinion_hits(sentence)]
    english = english_share([token.word for sentence in parts for token in sentence])
    return Reading(parts, sum(values) / (len(values) + 2), len(values), english)


def polarity_of(reading: Reading, model: OpinionModel) -> tuple[float, float]:
    """Polarity in [-1, 1] and confidence in [0, 1]; (nan, 0.0) where the model does not know.

    Polarity is ``2 P(positive) - 1``. Confidence grows with the number of opinions found, ``n / (n + 2)``, and shrinks
    with words of no known language.
    """
    learned, known = _learned_score(reading, model)
    english = reading.english >= model.config.english
    hits = reading.hits if english else 0
    evidence = max(hits, known)
    if not evidence:
        return float("nan"), 0.0
    rules = reading.rules if english else 0.0
    logit = model.bias + model.rule_weight * rules + model.word_weight * learned
    certainty = evidence / (evidence + 2)
    if not model.words:
        certainty *= min(1.0, reading.english / 0.3)
    return float(np.tanh(logit / 2)), certainty


def fit_opinions(
    texts: Sequence[str | None], signs: NDArray[np.floating], *, config: OpinionConfig | None = None
) -> OpinionModel:
    """Learn a shop's opinion words from rated reviews.

    Args:
        texts: review texts, (n_reviews,)
        signs: signed ratings as `log.rating_weight` gives them, (n_reviews,): > 0 is high, < 0 is low; NaN is left out
        config: thresholds

    Returns:
        the model; the plain rules where either side has too few reviews
    """
    config = config or OpinionConfig()
    rated = [
        (text, sign > 0) for text, sign in zip(texts, signs, strict=True) if text and np.isfinite(sign) and sign != 0
    ]
    high = np.asarray([positive for _, positive in rated], dtype=bool)
    if min(high.sum(), (~high).sum()) < config.least_reviews:
        return OpinionModel(config=config)
    readings = [read(text) for text, _ in rated]
    features = [_features(reading) for reading in readings]
    words = _log_odds(features, high, config)
    rules = np.asarray([r.rules if r.english >= config.english else 0.0 for r in readings])
    # Each review is scored without its own words, so the learned score is not trusted more than it deserves.
    learned = np.asarray([_held_out(f, words, bool(positive)) for f, positive in zip(features, high, strict=True)])
    bias, rule_weight, word_weight = _logistic(np.stack([rules, learned], axis=1), high, config.rounds)
    weights = {word: odds for word, (odds, _, _) in words.items()}
    return OpinionModel(weights, bias, max(rule_weight, 0.0), max(word_weight, 0.0), config)


def _features(reading: Reading) -> set[str]:
    """Words, negated words and neighbouring pairs of a text."""
    found: set[str] = set()
    for sentence in reading.sentences:
        negated, before = 0, ""
        for token in sentence:
            if not token.word[0].isalnum():
                negated, before = (negated, "") if token.word[0] in "'\"" else (0, "")
                continue
            word = f"not_{token.word}" if negated else token.word
            found.add(word)
            if before:
                found.add(f"{before} {token.word}")
            before = token.word
            negated = 3 if token.word in NEGATORS else max(negated - 1, 0)
    return found


def _log_odds(
    features: list[set[str]], high: NDArray[np.bool_], config: OpinionConfig
) -> dict[str, tuple[float, float, float]]:
    """Log-odds of each frequent word in high against low reviews: of all, without one low, without one high review."""
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for found, positive in zip(features, high, strict=True):
        counts[bool(positive)].update(found)
    n_low, n_high = int((~high).sum()), int(high.sum())
    out = {}
    for word in sorted(counts[0].keys() | counts[1].keys()):
        low, high_uses = counts[0][word], counts[1][word]
        if low + high_uses >= config.least_uses:
            out[word] = (
                _odds(low, high_uses, n_low, n_high, config.prior_uses),
                _odds(max(low - 1, 0), high_uses, n_low - 1, n_high, config.prior_uses),
                _odds(low, max(high_uses - 1, 0), n_low, n_high - 1, config.prior_uses),
            )
    return out


def _odds(low_uses: int, high_uses: int, n_low: int, n_high: int, prior_uses: float) -> float:
    """Log of the word's rate in high over its rate in low reviews, both pulled to its overall rate."""
    uses = low_uses + high_uses
    if not uses:
        return 0.0
    prior_reviews = prior_uses * (n_low + n_high) / uses
    return math.log((high_uses + prior_uses) / (n_high + prior_reviews)) - math.log(
        (low_uses + prior_uses) / (n_low + prior_reviews)
    )


def _learned_score(reading: Reading, model: OpinionModel) -> tuple[float, int]:
    """Sum of learned log-odds over the root of their number, and how many words were known."""
    values = [model.words[word] for word in _features(reading) if word in model.words] if model.words else []
    return (sum(values) / math.sqrt(len(values)) if values else 0.0), len(values)


def _held_out(found: set[str], words: Mapping[str, tuple[float, float, float]], positive: bool) -> float:
    """`_learned_score` of a training review by the words' odds without this review."""
    values = [words[word][2 if positive else 1] for word in found if word in words]
    return sum(values) / math.sqrt(len(values)) if values else 0.0


def _logistic(x: NDArray[np.float64], y: NDArray[np.bool_], rounds: int) -> tuple[float, float, float]:
    """Bias and two weights of a ridge logistic regression with both classes weighing the same, by Newton steps."""
    z = np.concatenate([np.ones((len(x), 1)), x], axis=1)
    weight = np.where(y, 0.5 / y.mean(), 0.5 / (~y).mean())
    beta, ridge = np.zeros(3), np.diag([1e-6, 1.0, 1.0])
    for _ in range(rounds):
        p = 1 / (1 + np.exp(-np.clip(z @ beta, -30, 30)))
        gradient = z.T @ (weight * (y - p)) - ridge @ beta
        beta = beta + np.linalg.solve(z.T @ ((weight * p * (1 - p))[:, None] * z) + ridge, gradient)
    return float(beta[0]), float(beta[1]), float(beta[2])
