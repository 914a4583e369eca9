"""The best items of every part for a sample of requests, which part found which, and what all parts say of them.

With these at hand a pipeline of any of the parts can be chosen and measured without scoring the catalogue again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..profiling.log import Requests
from ..retrieval.fusion import Candidates, inverse_scale
from ..retrieval.recommender import Recommender
from ..retrieval.scorer import Scorer
from ..retrieval.second_stage.pool import best_items
from .metrics import ideal_dcg
from .sampled import allowed_rows, gain_rows
from .splits import Split

Float = NDArray[np.float32]
Double = NDArray[np.float64]
Bools = NDArray[np.bool_]

_CELLS = 2e7  # scores of all parts that are held at once


@dataclass(frozen=True, eq=False)
class Gathered:
    """The best items of every part for a sample of requests, with what all parts say of them.

    Attributes:
        parts: names of the parts
        requests: who asks
        cluster: requests with one number are not independent, (n_requests,)
        item: item row of each candidate, ascending, (n_requests, width)
        values: scaled part scores, (n_parts, n_requests, width)
        best: whether a candidate is among the part's best, (n_parts, n_requests, width)
        gain: gain of each candidate, (n_requests, width)
        ideal: best possible DCG@10 over the whole catalogue, (n_requests,)
    """

    parts: tuple[str, ...]
    requests: Requests
    cluster: NDArray[np.int64]
    item: NDArray[np.int64]
    values: Float
    best: Bools
    gain: Float
    ideal: Double

    def candidates(self, parts: Sequence[str], rows: Bools) -> Candidates:
        """Candidates of the requests where ``rows`` (n_requests,) is true, as these parts alone would find them."""
        used = [self.parts.index(name) for name in parts]
        return Candidates(
            parts=tuple(parts),
            values=self.values[used][:, rows],
            gain=self.gain[rows],
            allowed=np.any(self.best[used][:, rows], axis=0),
            ideal=self.ideal[rows].astype(np.float32),
        )


def gather_parts(
    model: Recommender, sample: Split, *, extra: Mapping[str, Scorer] | None = None, n: int = 100
) -> Gathered:
    """The best ``n`` items of each part of ``model`` and each scorer of ``extra`` for the requests of ``sample``."""
    asked = bool(sample.requests.texts)
    n_items = sample.train.n_items
    parts = [name for name, _ in model.part_scores(sample.requests.take(slice(0, 1)))] + list(extra or {})
    step = max(1, int(_CELLS / (len(parts) * max(n_items, 1))))
    batches = []
    for first in range(0, len(sample.requests), step):
        rows = np.arange(first, min(first + step, len(sample.requests)))
        requests = sample.requests.take(rows)
        scores = dict(model.part_scores(requests))
        scores |= {name: scorer.scores(requests) for name, scorer in (extra or {}).items()}
        scaled = {name: scores[name] * inverse_scale(name, scores[name], asked=asked)[:, None] for name in parts}
        batches.append(_best_of(scaled, gain_rows(sample, rows, n_items), allowed_rows(sample, requests, rows), n=n))
    width = max(batch[0].shape[1] for batch in batches)
    item, values, best, gain = (
        np.concatenate(kind, axis=-2) for kind in zip(*(_wide(batch, width) for batch in batches), strict=True)
    )
    ideal = ideal_dcg(sample.truth, 10)
    return Gathered(tuple(parts), sample.requests, sample.cluster, item, values, best, gain, ideal)


def _best_of(
    scaled: Mapping[str, Float], gain: Float, allowed: Bools | None, *, n: int
) -> tuple[NDArray[np.int64], Float, Bools, Float]:
    """Items, values, whose best they are and gains of one batch; see `Gathered`."""
    shape = gain.shape
    chosen = np.zeros((len(scaled), *shape), dtype=bool)
    for number, part in enumerate(scaled.values()):
        request, item = best_items(part if allowed is None else np.where(allowed, part, -np.inf), n)
        chosen[number, request, item] = True
    row, column = np.nonzero(chosen.any(axis=0))
    place = np.arange(len(row)) - np.searchsorted(row, row)
    width = int(place.max(initial=0)) + 1
    item = np.zeros((shape[0], width), dtype=np.int64)
    kept = np.zeros((shape[0], width), dtype=np.float32)
    values = np.zeros((len(scaled), shape[0], width), dtype=np.float32)
    best = np.zeros((len(scaled), shape[0], width), dtype=bool)
    item[row, place], kept[row, place] = column, gain[row, column]
    for number, part in enumerate(scaled.values()):
        values[number, row, place], best[number, row, place] = part[row, column], chosen[number, row, column]
    return item, values, best, kept


def _wide(batch: tuple[NDArray, ...], width: int) -> tuple[NDArray, ...]:
    """The arrays with their last axis filled up to ``width``."""
    return tuple(np.pad(a, [(0, 0)] * (a.ndim - 1) + [(0, width - a.shape[-1])]) for a in batch)


def alone(found: Gathered) -> dict[str, float]:
    """NDCG@10 of each part by itself."""
    every = np.ones(len(found.requests), dtype=bool)
    return {name: found.candidates((name,), every).ndcg([1.0]) for name in found.parts}
