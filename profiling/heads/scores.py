"""How familiar a text is to a head: scores that are high for texts like those it was trained on, low for all others.

Covers the scores in one table and the share of held-out sentences that score lower, which is what a head abstains by.
Choosing a score is training's work (`finetune.head_calibrate`), on held-out sentences alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Seen:
    """What a score looks at, for n texts and k classes.

    Attributes:
        logits: before any temperature, (n, k)
        outside: logit of being out of scope where that was trained as a class of its own, else None, (n,)
        vectors: as the encoder gave them, or None for a head of words alone, (n, d)
        means: unit mean vector of each class, (k, d), or None
        spread: standard deviations of ``outside`` (``energy`` without it) and ``likeness`` over held-out sentences
    """

    logits: Floats
    outside: Floats | None = None
    vectors: Floats | None = None
    means: Floats | None = None
    spread: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class OutScore:
    """A score.

    Attributes:
        score: familiarity of each text, (n,)
        needs: fields of `Seen` that must not be None
        about: what it is, in a few words
        source: where it is from
    """

    score: Callable[[Seen], NDArray[np.floating]]
    needs: tuple[str, ...]
    about: str
    source: str


def log_sum_exp(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    """log of the sum of exp over the last axis, (n, k) -> (n,)."""
    most = logits.max(axis=1)
    return most + np.log(np.exp(logits - most[:, None]).sum(axis=1))


def softmax(logits: Floats) -> Floats:
    """Probabilities of rows of logits, (n, k)."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _likeness(seen: Seen) -> Floats:
    """Largest cosine to the mean of a class; zero vectors are like nothing."""
    if seen.vectors is None or seen.means is None:
        return np.zeros(len(seen.logits), dtype=np.float32)
    length = np.linalg.norm(seen.vectors, axis=1, keepdims=True)
    return ((seen.vectors / np.maximum(length, 1e-12)) @ seen.means.T).max(axis=1)


def _against_outside(seen: Seen) -> NDArray[np.floating]:
    """Log-odds of any class against being out of scope."""
    return log_sum_exp(seen.logits) - (0.0 if seen.outside is None else seen.outside)


OUT_SCORES: Mapping[str, OutScore] = {
    "confidence": OutScore(
        lambda seen: softmax(seen.logits).max(axis=1),
        (),
        "probability of the likeliest class",
        "Hendrycks and Gimpel 2017",
    ),
    "max_logit": OutScore(lambda seen: seen.logits.max(axis=1), (), "largest logit", "Hendrycks et al. 2022"),
    "energy": OutScore(lambda seen: log_sum_exp(seen.logits), (), "log of the summed odds", "Liu et al. 2020, eq. 4"),
    "likeness": OutScore(
        _likeness, ("vectors", "means"), "largest cosine to a class's mean vector", "Snell et al. 2017, as a distance"
    ),
    "outside": OutScore(
        _against_outside, ("outside",), "log-odds against a class of out-of-scope examples", "Larson et al. 2019"
    ),
    "sum": OutScore(
        lambda seen: _against_outside(seen) / seen.spread[0] + _likeness(seen) / seen.spread[1],
        ("vectors", "means"),
        "energy and likeness together, against the out-of-scope class where there is one",
        "here",
    ),
}
"""Scores by name; only those whose needs a head meets can be chosen for it."""


def spread_of(seen: Seen) -> tuple[float, float]:
    """What `Seen.spread` is for these in-scope sentences; 1 where there is none."""
    if len(seen.logits) < 2:
        return 1.0, 1.0
    both = _against_outside(seen).std(), _likeness(seen).std()
    return tuple(float(value) if value > 1e-9 else 1.0 for value in both)  # type: ignore[return-value]


def usable_scores(seen: Seen) -> tuple[str, ...]:
    """Names of the scores that can be computed from what there is.

    >>> usable_scores(Seen(np.zeros((1, 2), np.float32)))
    ('confidence', 'max_logit', 'energy')
    """
    return tuple(name for name, one in OUT_SCORES.items() if all(getattr(seen, n) is not None for n in one.needs))


def familiarity(score: Floats, usual: Floats) -> NDArray[np.float64]:
    """Share of held-out in-scope sentences that score lower or the same, in (0, 1], (n,).

    Args:
        score: of the texts asked about, (n,)
        usual: of held-out in-scope sentences, ascending, (m,)

    It is the conformal p-value of "in scope": for a sentence exchangeable with the held-out ones, P(value <= a) <= a,
    whatever the score (Bates et al. 2023, eq. 3). So abstaining below a = 0.02 turns away two in-scope sentences in a
    hundred at most, in expectation.

    >>> familiarity(np.array([0.0, 2.5]), np.array([1.0, 2.0, 3.0])).tolist()
    [0.25, 0.75]
    """
    return (1 + np.searchsorted(usual, score, side="right")) / (1 + len(usual))
