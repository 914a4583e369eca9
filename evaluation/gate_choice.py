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

SLOPES: tuple[float, ...] = (-0.5, -0.2, 0.2, 0.5)
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
    halves = [_Sums.of(_some(sample, rows), weights) for rows in (first, ~first)]
    tried = _climb(halves[0], _taken(found, first), known[first], start)
    if not tried.slopes:
        return nothing
    moved = halves[1].ndcg(tried.factors_of(_taken(found, ~first), known=known[~first]))
    test = clustered_t(moved - halves[1].ndcg({}), cluster[~first])
    if not test.low > 0:
        return ChosenGate(None, test)
    return ChosenGate(_climb(_Sums.of(sample, weights), found, known, start), test)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Weighted parts summed within each group that a gate moves, each (n_requests, n_candidates), and all the rest."""

    groups: Mapping[str, NDArray[np.float32]]
    rest: NDArray[np.float32]
    sample: Candidates

    @staticmethod
    def of(sample: Candidates, weights: Mapping[str, float]) -> _Sums:
        rest = np.where(sample.allowed, np.float32(0), np.float32(-np.inf))
        groups: dict[str, NDArray[np.float32]] = {}
        group_of = {part: group for group, parts in GROUPS.items() for part in parts}
        for place, part in enumerate(sample.parts):
            if weight := weights.get(part, 0.0):
                share = np.float32(weight) * sample.values[place]
                if part in group_of:
                    groups[group_of[part]] = groups.get(group_of[part], np.float32(0)) + share
                else:
                    rest = rest + share
        return _Sums(groups, rest, sample)

    def ndcg(self, factors: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float64]:
        """NDCG@10 of each request under its own weights, (n_requests,); ``factors`` by part, as a gate gives them."""
        total = self.rest
        for group, share in self.groups.items():
            factor = factors.get(GROUPS[group][0])
            total = total + (share if factor is None else share * factor[:, None])
        k = min(10, total.shape[1])
        top = np.argpartition(-total, k - 1, axis=1)[:, :k]
        top = np.take_along_axis(top, np.argsort(-np.take_along_axis(total, top, 1), axis=1, kind="stable"), 1)
        gain = np.where(
            np.take_along_axis(self.sample.allowed, top, 1), np.take_along_axis(self.sample.gain, top, 1), 0
        )
        dcg = (gain / np.log2(np.arange(2, k + 2))).sum(axis=1)
        return np.asarray(dcg / np.maximum(self.sample.ideal, 1e-12), dtype=np.float64)


def _climb(sums: _Sums, found: Mapping[str, NDArray[np.float64]], known: NDArray[np.bool_], gate: Gate) -> Gate:
    """Slopes one after the other, each at its best of `SLOPES`; those that add nothing stay out."""
    best = float(sums.ndcg({}).mean())
    for group in sums.groups:
        for fact in FACTS:
            for slope in SLOPES:
                tried = replace(gate, slopes={**gate.slopes, group: {**gate.slopes.get(group, {}), fact: slope}})
                reached = float(sums.ndcg(tried.factors_of(found, known=known)).mean())
                if reached > best + LEAST_GAIN:
                    gate, best = tried, reached
    return gate


def _some(sample: Candidates, rows: NDArray[np.bool_]) -> Candidates:
    """The candidates of some requests."""
    return Candidates(sample.parts, sample.values[:, rows], sample.gain[rows], sample.allowed[rows], sample.ideal[rows])


def _taken(found: Mapping[str, NDArray[np.float64]], rows: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    return {name: values[rows] for name, values in found.items()}
