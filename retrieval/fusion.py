"""Fusion: many parts, one score. Scaling parts to a common unit and choosing their weights on validation.

A part is anything that scores the catalogue for a request: a block, BM25, neighbours, popularity. Parts are brought to
one scale request by request (most by their standard deviation over the catalogue: a z-score without its centre, which
cannot change an order) and added with weights: ``score = sum_p weight_p * part_p / scale_p``. Being a plain sum, the
score is its own explanation. Weights come from `choose_weights`; where there is nothing to choose on, from
`recommender.DEFAULT_WEIGHTS`, which beat reciprocal rank fusion in whole-catalogue search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..profiling.blocks import PART_BLOCK

Float = NDArray[np.float32]
FAR = 4.0
"""Standard deviations that a block's score of a strong match lies out."""
CUTS: tuple[int, ...] = (10, 100)
"""Depths at which weights have to do well: the first page, and what later stages choose from."""
CLEAR = 0.01
"""Share by which weights have to be better than others that are less of an accident."""
WEIGHT_STEPS: tuple[float, ...] = (0.0, 0.25, 0.5, 0.7, 1.4, 2.0, 4.0)


def inverse_sd(scores: NDArray[np.floating]) -> Float:
    """One over the standard deviation of each row, 0 where a row is constant (the part knows nothing), (n_requests,).

    >>> inverse_sd(np.array([[0.0, 2.0], [3.0, 3.0]])).tolist()
    [1.0, 0.0]
    """
    sd = scores.std(axis=1, dtype=np.float64)
    return np.where(sd > 1e-12, 1.0 / np.maximum(sd, 1e-12), 0.0).astype(np.float32)


def inverse_scale(part: str, scores: NDArray[np.floating], *, asked: bool = False) -> Float:
    """What a part's scores are multiplied by before weights, request by request, (n_requests,).

    Cosines with a query are left as they are and BM25 is divided by its best score (its spread says more about how rare
    the words are than about the items); everything else is divided by its standard deviation. Where somebody has
    ``asked`` in words, what is known of them must not drown the words: a few own purchases among 100,000 items lie
    hundreds of standard deviations out, so sources are then divided by their best score and blocks by `FAR` deviations,
    which brings all personal parts to the scale of a cosine.
    """
    if part == "meaning":
        return np.ones(len(scores), dtype=np.float32)
    if part == "bm25" or (asked and part not in PART_BLOCK):
        best = scores.max(axis=1, initial=0.0)
        return np.where(best > 0, 1.0 / np.maximum(best, 1e-12), 0.0).astype(np.float32)
    return inverse_sd(scores) / np.float32(FAR if asked else 1.0)


def reciprocal_rank(scores: NDArray[np.floating], *, k: int = 60) -> Float:
    """``1 / (k + rank)`` of each item in its row's order, 0 where the part says nothing for it, (n_requests, n_items).

    Equal scores share the best of their ranks. Summed over parts this is reciprocal rank fusion, which needs no scales.
    Source: Cormack, Clarke and Buettcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning
    methods", SIGIR 2009.

    >>> reciprocal_rank(np.array([[0.2, 0.9, 0.2, 0.0]]), k=1).round(3).tolist()
    [[0.333, 0.5, 0.333, 0.0]]
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    ordered = np.take_along_axis(scores, order, axis=1)
    first = np.ones(scores.shape, dtype=bool)  # of its equals
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    place = np.where(first, np.arange(1, scores.shape[1] + 1), 0)
    share = 1.0 / (k + np.maximum.accumulate(place, axis=1))
    out = np.empty(scores.shape, dtype=np.float32)
    np.put_along_axis(out, order, np.where(ordered > 0, share, 0.0).astype(np.float32), axis=1)
    out[inverse_sd(scores) == 0] = 0.0
    return out


@dataclass(frozen=True, eq=False)
class Candidates:
    """The best items of each part for a sample of requests, for choosing weights.

    Attributes:
        parts: names of the parts
        values: scaled part scores, (n_parts, n_requests, n_candidates)
        gain: gain of each candidate, 0 where irrelevant, (n_requests, n_candidates)
        allowed: false for padding and for items that may not be shown, (n_requests, n_candidates)
        ideal: best possible DCG@10 of each request over the whole catalogue, (n_requests,)
    """

    parts: tuple[str, ...]
    values: Float
    gain: Float
    allowed: NDArray[np.bool_]
    ideal: Float

    def ndcg(self, weights: Sequence[float]) -> float:
        """Mean NDCG@10 of the candidates ordered by the weighted sum of the parts."""
        return self.reached(self.fused(weights), cuts=(10,))

    def fused(self, weights: Sequence[float]) -> Float:
        """The weighted sum of the parts, (n_requests, n_candidates)."""
        return np.tensordot(np.asarray(weights, dtype=np.float32), self.values, axes=1)

    def reached(self, fused: Float, *, cuts: Sequence[int] = CUTS) -> float:
        """DCG over the best possible DCG@10 of the candidates ordered by ``fused``, mean over requests and ``cuts``.

        ``fused`` is (n_requests, n_candidates); at the cut 10 this is NDCG@10.
        """
        fused = np.where(self.allowed, fused, -np.inf)
        k = min(max(cuts), fused.shape[1])
        top = np.argpartition(-fused, k - 1, axis=1)[:, :k]
        top = np.take_along_axis(top, np.argsort(-np.take_along_axis(fused, top, 1), axis=1, kind="stable"), 1)
        gain = np.where(np.take_along_axis(self.allowed, top, 1), np.take_along_axis(self.gain, top, 1), 0.0)
        dcg = np.cumsum(gain / np.log2(np.arange(2, k + 2)), axis=1)[:, [min(cut, k) - 1 for cut in cuts]]
        return float(np.mean(dcg / np.maximum(self.ideal, 1e-12)[:, None]))


def merge_candidates(batches: Sequence[Candidates]) -> Candidates:
    """One set of candidates from several batches of requests."""
    width = max(batch.gain.shape[1] for batch in batches)

    def wide(rows: NDArray, axis: int) -> NDArray:
        pad = [(0, 0)] * rows.ndim
        pad[axis] = (0, width - rows.shape[axis])
        return np.pad(rows, pad)

    return Candidates(
        parts=batches[0].parts,
        values=np.concatenate([wide(batch.values, 2) for batch in batches], axis=1),
        gain=np.concatenate([wide(batch.gain, 1) for batch in batches]),
        allowed=np.concatenate([wide(batch.allowed, 1) for batch in batches]),
        ideal=np.concatenate([batch.ideal for batch in batches]),
    )


def candidates(
    scores: Mapping[str, Float], gain: Float, ideal: Float, *, allowed: NDArray[np.bool_] | None = None, n: int = 150
) -> Candidates:
    """The union of each part's ``n`` best items, with scaled scores.

    Args:
        scores: part -> raw scores, (n_requests, n_items)
        gain: gain of every item, (n_requests, n_items)
        ideal: best possible DCG, (n_requests,)
        allowed: items that may be shown, (n_requests, n_items); None for all
    """
    n_requests, n_items = gain.shape
    chosen = np.zeros((n_requests, n_items), dtype=bool)
    scaled = {}
    for name, raw in scores.items():
        part = raw * inverse_scale(name, raw)[:, None]
        scaled[name] = part
        shown = part if allowed is None else np.where(allowed, part, -np.inf)
        best = np.argpartition(-shown, min(n, n_items) - 1, axis=1)[:, :n]
        np.put_along_axis(chosen, best, True, axis=1)
    if allowed is not None:
        chosen &= allowed
    width = max(int(chosen.sum(axis=1).max(initial=0)), 1)
    row, column = np.nonzero(chosen)
    place = np.arange(len(row)) - np.searchsorted(row, row)
    values = np.zeros((len(scores), n_requests, width), dtype=np.float32)
    for position, part in enumerate(scaled.values()):
        values[position, row, place] = part[row, column]
    kept_gain = np.zeros((n_requests, width), dtype=np.float32)
    kept_gain[row, place] = gain[row, column]
    real = np.zeros((n_requests, width), dtype=bool)
    real[row, place] = True
    return Candidates(tuple(scores), values, kept_gain, real, ideal)


def choose_weights(
    sample: Candidates, *, start: Mapping[str, float] | None = None, rounds: int = 4, least_gain: float = 1e-5
) -> tuple[dict[str, float], float]:
    """Coordinate ascent on `Candidates.reached`: each weight in turn is scaled, or dropped, until nothing helps.

    Without ``start`` it climbs from `likely_weights`, and from the best single part, which the others join: one part at
    a time finds no way where two only help together. The second end counts only if it is higher by `CLEAR`, for it is
    more often an accident of the sample. Weights are >= 0.

    Returns:
        weight of each part, and what they reach on the sample
    """
    n_parts = len(sample.parts)
    if start is None:
        single = [sample.reached(sample.values[part]) for part in range(n_parts)]
        starts = [likely_weights(sample), np.eye(n_parts)[int(np.argmax(single))]]
    else:
        starts = [np.array([start.get(name, 0.0) for name in sample.parts])]
    ends = [_climb(sample, first, rounds=rounds, least_gain=least_gain) for first in starts if first.any()]
    weights, best = ends[-1] if ends[-1][1] > ends[0][1] * (1 + CLEAR) else ends[0]
    return dict(zip(sample.parts, (float(w) for w in weights), strict=True)), best


def likely_weights(sample: Candidates, *, l2: float = 1e-3) -> NDArray[np.float64]:
    """Weights >= 0 under which a softmax over each request's candidates makes its right items likeliest, (n_parts,).

    A convex problem, so it has one answer wherever it starts; the largest weight is brought to 1. Source: ListNet's
    top-one loss with the gains as target (Cao et al., "Learning to rank", ICML 2007, eq. 5).
    """
    from scipy.optimize import minimize

    gain = np.where(sample.allowed, sample.gain, 0.0)
    right = gain.sum(axis=1) > 0
    values, allowed = sample.values[:, right], sample.allowed[right]
    n_parts, n = values.shape[:2]
    if not n:
        return np.zeros(n_parts)
    target = (gain[right] / gain[right].sum(axis=1, keepdims=True)).astype(np.float32)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        fused = np.where(allowed, np.tensordot(weights.astype(np.float32), values, axes=1), -np.inf)
        fused -= fused.max(axis=1, keepdims=True)
        share = np.exp(fused)
        total = share.sum(axis=1, keepdims=True)
        missed = -float((target * np.where(allowed, fused - np.log(total), 0.0)).sum(dtype=np.float64)) / n
        slope = np.tensordot(values, share / total - target, axes=([1, 2], [0, 1])).astype(np.float64) / n
        return missed + l2 * float(weights @ weights), slope + 2 * l2 * weights

    found = minimize(loss, np.zeros(n_parts), jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * n_parts)
    weights = np.where(found.x > 1e-3 * found.x.max(initial=0.0), found.x, 0.0)
    return weights / max(float(weights.max(initial=0.0)), 1e-12)


def _climb(
    sample: Candidates, weights: NDArray[np.float64], *, rounds: int, least_gain: float
) -> tuple[NDArray[np.float64], float]:
    """Weights that no change of a single one improves by ``least_gain``, and what they reach."""
    weights, best = weights.copy(), sample.reached(sample.fused(weights.tolist()))
    for _ in range(rounds):
        before = best
        for part in range(len(weights)):
            tried = [0.1, 0.3, 1.0] if weights[part] == 0 else [weights[part] * step for step in WEIGHT_STEPS]
            rest = weights.copy()
            rest[part] = 0.0
            others = np.tensordot(rest.astype(np.float32), sample.values, axes=1)  # (n_requests, n_candidates)
            for value in tried:
                if value == 0.0 and not rest.any():
                    continue  # nothing would be left to rank by
                reached = sample.reached(others + np.float32(value) * sample.values[part])
                if reached > best + least_gain:
                    weights[part], best = value, reached
        if best - before < 10 * least_gain:
            break
    return weights, best
