"""Validation requests as candidates: the best items of each part with their gains, which weights are chosen among.

Also what one scorer reaches alone. What may be ranked is read from the split, as in `rank`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..profiling.log import Requests
from ..retrieval.fusion import Candidates, candidates, merge_candidates
from ..retrieval.recommender import Recommender
from ..retrieval.scorer import Scorer
from .metrics import ideal_dcg, look_up
from .ranking import seen, top_k
from .splits import Split

_BATCH = 128


def gather(model: Recommender, sample: Split, *, n: int) -> Candidates:
    """The best ``n`` items of each part of ``model`` for every request of ``sample``, with their gains."""
    ideal = ideal_dcg(sample.truth, 10).astype(np.float32)
    batches = []
    for first in range(0, len(sample.requests), _BATCH):
        rows = np.arange(first, min(first + _BATCH, len(sample.requests)))
        requests = sample.requests.take(rows)
        scores = dict(model.part_scores(requests))
        gain = gain_rows(sample, rows, requests.log.n_items)
        allowed = allowed_rows(sample, requests, rows)
        batches.append(candidates(scores, gain, ideal[rows], allowed=allowed, n=n))
    return merge_candidates(batches)


def single_ndcg(scorer: Scorer, sample: Split) -> float:
    """NDCG@10 of one scorer alone; a request without a right item counts 0."""
    ideal = ideal_dcg(sample.truth, 10)
    gained = np.zeros(len(sample.requests))
    for first in range(0, len(sample.requests), _BATCH):
        rows = np.arange(first, min(first + _BATCH, len(sample.requests)))
        requests = sample.requests.take(rows)
        scores, allowed = scorer.scores(requests), allowed_rows(sample, requests, rows)
        best = top_k(scores if allowed is None else np.where(allowed, scores, np.float32(-np.inf)), 10)
        gain = look_up(best.items, best.valid, sample.truth.take(rows)).gain
        gained[rows] = gain @ (1.0 / np.log2(np.arange(2, gain.shape[1] + 2)))
    return float(np.mean(gained / np.maximum(ideal, 1e-12)))


def gain_rows(sample: Split, rows: NDArray[np.int64], n_items: int) -> NDArray[np.float32]:
    """Gain of every item for the requests at ``rows``, (len(rows), n_items)."""
    truth = sample.truth.take(rows)
    gain = np.zeros((len(rows), n_items), dtype=np.float32)
    gain[truth.request(), truth.items] = truth.gain
    return gain


def allowed_rows(sample: Split, requests: Requests, rows: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """Items that may be ranked for ``requests``, those at ``rows``, (len(rows), n_items); None where all may."""
    if sample.judged_only:
        truth = sample.truth.take(rows)
        allowed = np.zeros((len(rows), requests.log.n_items), dtype=bool)
        allowed[truth.request(), truth.items] = True
        return allowed
    if not sample.exclude_seen:
        return None
    allowed = np.ones((len(rows), requests.log.n_items), dtype=bool)
    allowed[seen(requests, sample.seen_kinds)] = False
    return allowed
