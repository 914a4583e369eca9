"""Interest: a decayed sum of event vectors that can be advanced, merged, updated and unlearned.

``total = sum_i w_i 2^(-(at - t_i)/half_life) x_i`` and ``weight``, the same sum without ``x_i``, at the time ``at``.
Two states advanced to one time add up, so interests are a commutative monoid (`merge`, identity `no_interest`): one
by one equals batch, order is free, logs split and merge, a late event is a merge, forgetting is subtraction.
`interest_set` keeps one state per scene and horizon; `interest_batch` computes whole logs at once. What the vectors are
(text, learned taste) is the caller's choice; reading ratings and kinds into weights is `log`'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Interest:
    """One decayed sum.

    Attributes:
        total: decayed, weighted sum of event vectors, (d,) float64
        weight: decayed sum of the signed event weights
        at_s: time the sums refer to, seconds since 1970 UTC; -inf where nothing was ever observed
        half_life_s: seconds after which an event counts half; inf for events that never age

    Raises:
        ValueError: a part is not finite where it must be, or the half-life is not positive.
    """

    total: NDArray[np.float64]
    weight: float
    at_s: float
    half_life_s: float

    def __post_init__(self) -> None:
        if self.total.ndim != 1 or self.total.dtype != np.float64 or not np.isfinite(self.total).all():
            raise ValueError(f"total must be a finite float64 vector, got {self.total.dtype} {self.total.shape}")
        if not math.isfinite(self.weight):
            raise ValueError(f"weight must be finite, got {self.weight}")
        if not self.half_life_s > 0:
            raise ValueError(f"half_life_s must be positive, got {self.half_life_s}")
        if math.isnan(self.at_s) or self.at_s == math.inf:
            raise ValueError(f"at_s must be a time or -inf for 'never', got {self.at_s}")
        if self.at_s == -math.inf and (self.weight or self.total.any()):
            raise ValueError("at_s may be -inf only where nothing was observed; give the time of the newest event")


def decay(age_s: ArrayLike, half_life_s: float) -> NDArray[np.float64]:
    """What is left of a weight after ``age_s`` >= 0 seconds: ``2^(-age_s / half_life_s)``, in [0, 1].

    >>> decay([0.0, 7.0, 14.0, float("inf")], 7.0).tolist()
    [1.0, 0.5, 0.25, 0.0]

    Raises:
        ValueError: an age is negative; going back in time would overflow.
    """
    age = np.asarray(age_s, dtype=np.float64)
    if (age < 0).any():
        raise ValueError(f"age_s must be >= 0, got {age.min()}; merge a late event instead of advancing backwards")
    if math.isinf(half_life_s):
        return np.where(np.isinf(age), 0.0, 1.0)
    return np.exp2(-age / half_life_s)


def no_interest(dim: int, half_life_s: float) -> Interest:
    """The identity of `merge`: a shopper of whom nothing is known."""
    return Interest(np.zeros(dim), 0.0, -math.inf, half_life_s)


def from_events(vectors: ArrayLike, weights: ArrayLike, at_s: ArrayLike, half_life_s: float) -> Interest:
    """Interest of a batch of events, referred to the time of the newest.

    Args:
        vectors: event vectors, (n_events, d)
        weights: signed weights, (n_events,)
        at_s: times in any order, (n_events,) seconds since 1970 UTC
        half_life_s: seconds after which an event counts half

    >>> state = from_events([[1.0, 0.0], [0.0, 1.0]], [1.0, 1.0], [0.0, 10.0], half_life_s=10.0)
    >>> state.total.tolist(), state.weight
    ([0.5, 1.0], 1.5)
    """
    x = np.atleast_2d(np.asarray(vectors, dtype=np.float64))  # (n_events, d)
    times = np.asarray(at_s, dtype=np.float64)
    if not len(times):
        return no_interest(x.shape[1], half_life_s)
    at = float(times.max())
    now_weights = np.asarray(weights, dtype=np.float64) * decay(at - times, half_life_s)
    return Interest(now_weights @ x, float(now_weights.sum()), at, half_life_s)


def advance(interest: Interest, at_s: float) -> Interest:
    """The same interest as seen at a later time.

    Raises:
        ValueError: ``at_s`` is before the interest's own time.
    """
    if math.isinf(interest.at_s):
        return Interest(interest.total, interest.weight, at_s, interest.half_life_s)
    left = float(decay(at_s - interest.at_s, interest.half_life_s))
    return Interest(interest.total * left, interest.weight * left, at_s, interest.half_life_s)


def merge(first: Interest, second: Interest) -> Interest:
    """Interest of the events of both, referred to the later time; commutative and associative.

    Raises:
        ValueError: the half-lives or the dimensions differ.
    """
    if first.half_life_s != second.half_life_s:
        raise ValueError(f"half-lives must be equal to merge, got {first.half_life_s} and {second.half_life_s}")
    if len(first.total) != len(second.total):
        raise ValueError(f"dimensions must be equal to merge, got {len(first.total)} and {len(second.total)}")
    at = max(first.at_s, second.at_s)
    if math.isinf(at):
        return first
    a, b = advance(first, at), advance(second, at)
    return Interest(a.total + b.total, a.weight + b.weight, at, first.half_life_s)


def observe(interest: Interest, vector: ArrayLike, weight: float, at_s: float) -> Interest:
    """Interest after one more event, which may be late."""
    return merge(interest, from_events(np.asarray(vector)[None], [weight], [at_s], interest.half_life_s))


def forget(interest: Interest, vectors: ArrayLike, weights: ArrayLike, at_s: ArrayLike) -> Interest:
    """Interest as if these events had never been seen; they must have been.

    Exact up to rounding of float64 relative to the largest sum ever held, which is why `mean` takes a prior weight.
    """
    return merge(interest, from_events(vectors, -np.asarray(weights, dtype=np.float64), at_s, interest.half_life_s))


def mean(
    interest: Interest, *, prior: ArrayLike | None = None, prior_weight: float = 1.0, at_s: float | None = None
) -> NDArray[np.float64]:
    """Average event vector, pulled to ``prior`` as if it had been seen with ``prior_weight``, (d,).

    ``(total + prior_weight * prior) / (max(weight, 0) + prior_weight)``: after years of silence it is the prior, and
    negative evidence pushes away from what was disliked without ever dividing by zero. It is in general no unit vector.
    ``at_s`` advances first.

    >>> mean(no_interest(2, 10.0), prior=[0.6, 0.8]).tolist()
    [0.6, 0.8]

    Raises:
        ValueError: ``prior_weight`` is not positive.
    """
    if not prior_weight > 0:
        raise ValueError(f"prior_weight must be positive, got {prior_weight}; it keeps the mean finite")
    state = interest if at_s is None else advance(interest, at_s)
    pulled = state.total if prior is None else state.total + prior_weight * np.asarray(prior, dtype=np.float64)
    return pulled / (max(state.weight, 0.0) + prior_weight)
