"""Rank the catalogue for every request of a split, in batches, and score the rankings.

The only place where a fitted method meets a split: what may be ranked (seen items, judged items) is decided here
from the split's own fields, the same for every method.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..profiling.errors import ConfigError
from ..retrieval.scorer import Scorer
from .metrics import METRICS, Float, coverage, gini, look_up, novelty, parse_key
from .ranking import TopK, exclude, seen, top_k
from .splits import Split

EVENT_KEYS = ("ndcg@10", "recall@10", "recall@100", "mrr@10", "map@10", "hit@10")
SEARCH_KEYS = (*EVENT_KEYS, "judged@10", "condensed_ndcg@10")
SLICE_KEYS = ("ndcg@10", "recall@10", "recall@100", "mrr@10")
SHOWN = 10
"""Ranks that count for coverage, novelty and Gini."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Ranked:
    """The best items of every request, and of only its judged items where a protocol asks for that.

    Attributes:
        best: ranked items, as deep as the metrics reach
        condensed: the same scores over judged items only, or None
    """

    best: TopK
    condensed: TopK | None


def metric_keys(split: Split) -> tuple[str, ...]:
    """Metrics of a split's protocol; ``condensed_`` keys read rankings without their unjudged items."""
    if not split.requests.texts:
        return EVENT_KEYS
    return SEARCH_KEYS if not split.judged_only else EVENT_KEYS


def rank(scorer: Scorer, split: Split, *, batch: int = 256, progress: Progress | None = None) -> Ranked:
    """Rank for all requests of ``split``.

    Raises:
        ConfigError: the scorer answers with the wrong shape or with NaN.
    """
    keys = metric_keys(split)
    depth = max(parse_key(key.removeprefix("condensed_"))[1] for key in keys)
    condense = any(key.startswith("condensed_") for key in keys)
    n, best, condensed = len(split.requests), [], []
    for first in range(0, n, batch):
        rows = np.arange(first, min(first + batch, n))
        scores = _scores(scorer, split, rows)
        if split.judged_only or condense:
            judged = _judged(scores, split, rows)
            condensed.append(top_k(judged, depth))
        best.append(condensed[-1] if split.judged_only else top_k(_allowed(scores, split, rows), depth))
        if progress is not None:
            progress(int(rows[-1]) + 1, n)
    return Ranked(_stacked(best, depth), _stacked(condensed, depth) if condense else None)


def measure(ranked: Ranked, split: Split) -> dict[str, Float]:
    """Every metric of the protocol for every request, (n_requests,); NaN where a request has no value."""
    found = look_up(ranked.best.items, ranked.best.valid, split.truth)
    values = {}
    for key in metric_keys(split):
        name, k = parse_key(key.removeprefix("condensed_"))
        if key.startswith("condensed_") and ranked.condensed is not None:
            values[key] = METRICS[name](
                look_up(ranked.condensed.items, ranked.condensed.valid, split.truth), split.truth, k
            )
        else:
            values[key] = METRICS[name](found, split.truth, k)
    return values


def slice_means(values: dict[str, Float], ranked: Ranked, split: Split) -> dict[str, dict[str, float]]:
    """Means of the main metrics in each slice that has requests, with their number ``n``."""
    out = {}
    for name, inside in split.slices.items():
        if inside.any():
            out[name] = {"n": int(inside.sum())} | {key: mean(values[key][inside]) for key in SLICE_KEYS}
    for name, counted in split.target_slices.items():
        truth = split.truth.only(counted)
        asked = truth.count() > 0
        if asked.any():
            found = look_up(ranked.best.items, ranked.best.valid, truth)
            parsed = {key: parse_key(key) for key in SLICE_KEYS}
            part = {key: METRICS[m](found, truth, k)[asked] for key, (m, k) in parsed.items()}
            out[name] = {"n": int(asked.sum())} | {key: mean(value) for key, value in part.items()}
    return out


def catalogue_means(ranked: Ranked, split: Split) -> dict[str, float]:
    """Coverage, novelty (bits) and Gini index of the first ten ranks."""
    items, valid = ranked.best.items[:, :SHOWN], ranked.best.valid[:, :SHOWN]
    counts = np.bincount(split.train.item, minlength=split.train.n_items)
    return {
        f"coverage@{SHOWN}": coverage(items, valid, split.train.n_items),
        f"novelty@{SHOWN}": novelty(items, valid, counts),
        f"gini@{SHOWN}": gini(items, valid, split.train.n_items),
    }


def mean(values: Float) -> float:
    """Mean over the requests that have a value; NaN where none has."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _scores(scorer: Scorer, split: Split, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    scores = scorer.scores(split.requests.take(rows))
    expected = (len(rows), split.requests.log.n_items)
    if scores.shape != expected:
        raise ConfigError(f"scores: a method must answer with shape {expected}, got {scores.shape}")
    return scores


def _allowed(scores: NDArray[np.float32], split: Split, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Scores with ``-inf`` at items of the history where the split leaves them out."""
    if not split.exclude_seen:
        return scores
    return exclude(scores, *seen(split.requests.take(rows), split.seen_kinds))


def _judged(scores: NDArray[np.float32], split: Split, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Scores with ``-inf`` at items that nobody judged for the request."""
    truth = split.truth.take(rows)
    request = truth.request()
    out = np.full(scores.shape, -np.inf, dtype=np.float32)
    out[request, truth.items] = scores[request, truth.items]
    return out


def _stacked(parts: list[TopK], depth: int) -> TopK:
    if not parts:
        return TopK(np.zeros((0, depth), np.int32), np.zeros((0, depth), np.float32), np.zeros((0, depth), bool))
    return TopK(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("items", "scores", "valid")))
