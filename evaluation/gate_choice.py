"""A gate chosen on validation: slopes climbed on half of the shoppers, kept only if they win on the other half.

Facts of a history move weights only as far as data says so. The rule that keeps a gate is a paired test over shoppers
who had no part in choosing it; then all of them choose its slopes anew. Candidates are `sampled`'s work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..profiling.log import Requests
from ..retrieval.fusion import Candidates
from ..retrieval.gate import FACTS, GROUPS, Gate, facts, gate_scales
from .significance import Paired, clustered_t

SLOPES: tuple[float, ...] = (-0.6, -0.3, -0.15, 0.0, 0.15, 0.3, 0.6)
LEAST_REQUESTS = 200
"""Requests with a history below which nothing is tried."""
LEAST_GAIN = 1e-4
"""NDCG@10 that a slope has to add where it is chosen."""


@dataclass(frozen=True, eq=False)
class ChosenGate:
    """What the choice found.

    Attributes:
        gate: the one to use, or None where it did not win
        test: paired difference in NDCG@10 to fixed weights on shoppers who had no part in choosing; n = 0: not tried
    """

    gate: Gate | None
    test: Paired


def choose_gate(
    sample: Candidates,
    weights: Mapping[str, float],
    requests: Requests,
    cluster: NDArray[np.int64],
    *,
    rng: np.random.Generator,
) -> ChosenGate:
    """Try a gate on validation requests.

    Args:
        sample: candidates of ``requests``, row by row
        weights: the fixed weights that it moves
        requests: who asks, for the facts
        cluster: shopper of each request, (n_requests,)
        rng: deals the shoppers to the halves
    """
    nothing = ChosenGate(None, Paired(float("nan"), float("nan"), float("nan"), float("nan"), 0, 0))
    known = requests.stop > requests.start
    if known.sum() < LEAST_REQUESTS:
        return nothing
    found = facts(requests)
    centre, spread = gate_scales(found, known)
    shoppers = np.unique(cluster)
    first = np.isin(cluster, shoppers[rng.random(len(shoppers)) < 0.5])
    start = Gate({}, centre, spread)
    tried = _climb(_some(sample, first), weights, _taken(found, first), known[first], start)
    if not tried.slopes:
        return nothing
    other = _some(sample, ~first)
    fixed = _each(other, _fused(other, weights, {}))
    moved = _each(other, _fused(other, weights, tried.factors_of(_taken(found, ~first), known=known[~first])))
    test = clustered_t(moved - fixed, cluster[~first])
    if not test.low > 0:
        return ChosenGate(None, test)
    return ChosenGate(_climb(sample, weights, found, known, start), test)


def _climb(
    sample: Candidates,
    weights: Mapping[str, float],
    found: Mapping[str, NDArray[np.float64]],
    known: NDArray[np.bool_],
    gate: Gate,
) -> Gate:
    """Slopes one after the other, each at its best of `SLOPES`; those that add nothing stay out."""
    best = float(_each(sample, _fused(sample, weights, {})).mean())
    for group in GROUPS:
        if not any(weights.get(part) for part in GROUPS[group] if part in sample.parts):
            continue
        for fact in FACTS:
            for slope in SLOPES:
                tried = _with_slope(gate, group, fact, slope)
                factors = tried.factors_of(found, known=known)
                reached = float(_each(sample, _fused(sample, weights, factors)).mean())
                if reached > best + LEAST_GAIN:
                    gate, best = tried, reached
    return gate


def _with_slope(gate: Gate, group: str, fact: str, slope: float) -> Gate:
    by_fact = {**gate.slopes.get(group, {}), fact: slope}
    kept = {name: value for name, value in by_fact.items() if value}
    others = {name: values for name, values in gate.slopes.items() if name != group}
    return replace(gate, slopes=others | ({group: kept} if kept else {}))


def _fused(
    sample: Candidates, weights: Mapping[str, float], factors: Mapping[str, NDArray[np.float32]]
) -> NDArray[np.float32]:
    """The weighted sum of the parts, each request with its own weights, (n_requests, n_candidates)."""
    total = np.zeros_like(sample.gain)
    for place, part in enumerate(sample.parts):
        if weight := weights.get(part, 0.0):
            scale = np.float32(weight) * factors.get(part, np.ones(len(total), dtype=np.float32))
            total += sample.values[place] * scale[:, None]
    return total


def _each(sample: Candidates, fused: NDArray[np.float32]) -> NDArray[np.float64]:
    """NDCG@10 of each request, (n_requests,)."""
    shown = np.where(sample.allowed, fused, -np.inf)
    k = min(10, shown.shape[1])
    top = np.argpartition(-shown, k - 1, axis=1)[:, :k]
    top = np.take_along_axis(top, np.argsort(-np.take_along_axis(shown, top, 1), axis=1, kind="stable"), 1)
    gain = np.where(np.take_along_axis(sample.allowed, top, 1), np.take_along_axis(sample.gain, top, 1), 0.0)
    dcg = (gain / np.log2(np.arange(2, k + 2))).sum(axis=1)
    return np.asarray(dcg / np.maximum(sample.ideal, 1e-12), dtype=np.float64)


def _some(sample: Candidates, rows: NDArray[np.bool_]) -> Candidates:
    """The candidates of some requests."""
    return Candidates(sample.parts, sample.values[:, rows], sample.gain[rows], sample.allowed[rows], sample.ideal[rows])


def _taken(found: Mapping[str, NDArray[np.float64]], rows: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    return {name: values[rows] for name, values in found.items()}
