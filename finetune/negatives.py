"""Documents that do not answer an anchor: from the batch, at random, from the project's own index, or judged so.

Covers finding them before a training and the correction for drawing frequent documents too often. A hard negative may
be an unlabelled positive: candidates that are linked, spared, read like a positive or score too near to one are never
used. Scoring and vectors are the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..profiling.errors import ConfigError
from ..retrieval.index import build_index
from .examples import Examples
from .splits import near_duplicates

Vectors = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Unit rows of the anchors (n_anchors, d) and of the documents (n_documents, d)."""

Found = tuple[NDArray[np.int32], NDArray[np.bool_]]
"""Document rows (n_anchors, n) and which of them are real; the others are 0 and must not be used."""


class NegativesConfig(BaseModel):
    """Which documents an anchor is told apart from, beside those of its batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["in_batch", "uniform", "hard", "judged"] = Field(
        default="in_batch", description="key of NEGATIVES; the batch's own documents always count too"
    )
    n: int = Field(default=2, ge=1, le=1000, description="further documents for an anchor")
    log_q: bool = Field(default=False, description="correct for frequent documents being in batches more often")
    depth: int = Field(default=100, ge=1, le=100_000, description="hard: nearest documents looked at")
    pool: int = Field(default=20, ge=1, le=100_000, description="hard: n are drawn from so many hardest ones left")
    margin: float = Field(
        default=0.05, ge=-2, le=2, description="hard: cosine a candidate must stay below the mean of the positives"
    )


def find_negatives(
    examples: Examples, config: NegativesConfig, *, vectors: Vectors | None = None, rng: np.random.Generator
) -> Found | None:
    """Further documents for each anchor, or None where the batch's own are all.

    Args:
        examples: anchors, documents and links
        config: kind and sizes
        vectors: needed by ``hard``
        rng: draws

    Raises:
        ConfigError: ``hard`` without vectors, or vectors that do not fit the examples.
    """
    if config.kind == "in_batch":
        return None
    return NEGATIVES[config.kind](examples, config, vectors, rng)


def uniform_negatives(
    examples: Examples, config: NegativesConfig, vectors: Vectors | None, rng: np.random.Generator
) -> Found:
    """Documents drawn evenly, those linked to the anchor or spared for it left out."""
    n_anchors, n_documents = len(examples), len(examples.documents)
    drawn = rng.integers(n_documents, size=(n_anchors, config.n)) if n_documents else np.zeros((n_anchors, config.n))
    bad = np.isin(np.arange(n_anchors)[:, None] * n_documents + drawn, _taboo(examples, linked=True))
    return np.where(bad, 0, drawn).astype(np.int32), ~bad & (n_documents > 0)


def judged_negatives(
    examples: Examples, config: NegativesConfig, vectors: Vectors | None, rng: np.random.Generator
) -> Found:
    """Documents judged irrelevant for the anchor: links without gain, drawn evenly; some anchors have none."""
    bad = np.flatnonzero(examples.gain == 0)
    of = examples.anchor[bad]
    order = np.lexsort((rng.random(len(bad)), of))
    place = np.arange(len(bad)) - np.searchsorted(of, of)  # of is ascending, so it is its own sorted order
    rows, real = _empty(len(examples), config.n)
    keep = place < config.n
    rows[of[keep], place[keep]] = examples.document[bad[order]][keep]
    real[of[keep], place[keep]] = True
    return rows, real


def hard_negatives(
    examples: Examples, config: NegativesConfig, vectors: Vectors | None, rng: np.random.Generator
) -> Found:
    """Documents near the anchor that are not too near: drawn from the hardest that pass `keeps`.

    Moreira et al. (2024), NV-Retriever, section 3.1 (TopK-MarginPos), with the mean of the positives as the bar.
    """
    if vectors is None or (len(vectors[0]), len(vectors[1])) != (len(examples), len(examples.documents)):
        got = "none" if vectors is None else f"{len(vectors[0])} and {len(vectors[1])} rows"
        raise ConfigError(f"hard negatives need vectors of all anchors and documents, got {got}; encode them first")
    rows, real = _empty(len(examples), config.n)
    if not len(examples.documents):
        return rows, real
    index = build_index(vectors[1], kind="flat")
    texts = near_duplicates(examples.documents)
    starts, taboo = examples.starts(), _taboo(examples, linked=False)
    for anchor in range(len(examples)):
        mine = slice(starts[anchor], starts[anchor + 1])
        good = examples.document[mine][examples.gain[mine] > 0]
        if not len(good):
            continue
        found, scores = index.search(vectors[0][anchor], min(config.depth, len(examples.documents)))
        near = vectors[1][good] @ vectors[0][anchor]  # (n_positives,)
        kept = keeps(found, scores, good, near, texts=texts, margin=config.margin)
        kept &= ~np.isin(anchor * len(examples.documents) + found, taboo)
        pool = found[kept][: config.pool]
        some = pool if len(pool) <= config.n else rng.choice(pool, config.n, replace=False)
        rows[anchor, : len(some)], real[anchor, : len(some)] = some, True
    return rows, real


def keeps(
    candidates: NDArray[np.integer],
    scores: NDArray[np.floating],
    positives: NDArray[np.integer],
    positive_scores: NDArray[np.floating],
    *,
    texts: NDArray[np.integer],
    margin: float,
) -> NDArray[np.bool_]:
    """Which candidates are safe to call negatives, (n_candidates,).

    Left out are positives, near duplicates of a positive's text, and what scores above the positives' mean less
    ``margin``.

    Args:
        candidates: document rows
        scores: their cosines with the anchor
        positives: document rows
        positive_scores: their cosines with the anchor
        texts: group of near-duplicate texts of every document
        margin: see above

    >>> few = keeps(np.array([0, 1, 2, 3]), np.array([.9, .8, .7, .4]), np.array([0]), np.array([.9]),
    ...             texts=np.array([0, 0, 2, 3]), margin=.3)
    >>> few.tolist()  # the positive, its twin, one too near, one that is safe
    [False, False, False, True]
    """
    safe = scores <= float(np.mean(positive_scores)) - margin
    return safe & ~np.isin(texts[candidates], texts[positives])


def log_frequency(examples: Examples) -> NDArray[np.float32]:
    """Log of each document's share of all links: how likely it is to be in a batch, up to a constant, (n_documents,).

    What Yi et al. (2019, Sampling-bias-corrected neural modeling, section 4) estimate from a stream is counted here.
    """
    count = np.bincount(examples.document, minlength=len(examples.documents))
    return np.log(np.maximum(count, 1) / max(count.sum(), 1)).astype(np.float32)


NEGATIVES: Mapping[str, Callable[[Examples, NegativesConfig, Vectors | None, np.random.Generator], Found]] = {
    "in_batch": lambda examples, config, vectors, rng: _empty(len(examples), 0),
    "uniform": uniform_negatives,
    "hard": hard_negatives,
    "judged": judged_negatives,
}
"""Name in `NegativesConfig.kind` -> how further documents are found."""


def _empty(n_anchors: int, n: int) -> Found:
    """No documents yet."""
    return np.zeros((n_anchors, n), dtype=np.int32), np.zeros((n_anchors, n), dtype=bool)


def _taboo(examples: Examples, *, linked: bool) -> NDArray[np.int64]:
    """anchor x n_documents + document of pairs that are no negatives: spared, with a gain for the anchor or one of its
    near duplicates, and with ``linked`` also those without gain."""
    n = len(examples.documents)
    pairs = [examples.spared_anchor.astype(np.int64) * n + examples.spared_document]
    use = np.ones(examples.n_links, dtype=bool) if linked else examples.gain > 0
    pairs.append(examples.anchor[use].astype(np.int64) * n + examples.document[use])
    pairs.append(_of_kin(examples))
    return np.unique(np.concatenate(pairs))


def _of_kin(examples: Examples) -> NDArray[np.int64]:
    """Pairs of each anchor with what its near duplicates are linked to with a gain."""
    n, good = len(examples.documents), examples.gain > 0
    size = np.bincount(examples.group)
    shared = size[examples.group] > 1  # (n_anchors,)
    links = np.flatnonzero(good & shared[examples.anchor])
    by_group: dict[int, list[int]] = {}
    for row in np.flatnonzero(shared).tolist():
        by_group.setdefault(int(examples.group[row]), []).append(row)
    pairs = [
        np.asarray(by_group[int(examples.group[a])], dtype=np.int64) * n + d
        for a, d in zip(examples.anchor[links].tolist(), examples.document[links].tolist(), strict=True)
    ]
    return np.concatenate(pairs) if pairs else np.zeros(0, dtype=np.int64)
