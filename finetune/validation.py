"""A retrieval metric on held-out anchors, cheap enough to look at during training.

Ranks a fixed sample of documents for a fixed sample of anchors. The figures choose between checkpoints; they are not
comparable with an evaluation over the whole catalogue, which is `evaluation`'s work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..evaluation.metrics import METRICS, Relevance, look_up, relevance
from ..evaluation.rank import mean
from ..evaluation.ranking import top_k
from ..profiling.errors import ConfigError
from .examples import Examples, take
from .train_config import ValidationConfig

DEPTH = 20
"""Ranks that recall looks at; the sample of documents is much smaller than a catalogue."""


@dataclass(frozen=True, eq=False)
class Held:
    """Held-out anchors and the documents ranked for them.

    Attributes:
        anchors, documents: texts
        source: key of `pairs.PAIR_SOURCES` of each anchor
        truth: gains of the documents for each anchor
        graded: whether some anchor has linked documents of different gain, so that their order can be right or wrong
    """

    anchors: tuple[str, ...]
    documents: tuple[str, ...]
    source: tuple[str, ...]
    truth: Relevance
    graded: bool


def held_out(examples: Examples, others: Sequence[str], config: ValidationConfig, *, rng: np.random.Generator) -> Held:
    """A sample of held-out anchors, their documents, and others beside them to be told apart.

    Args:
        examples: held-out anchors with their links
        others: texts of the catalogue
        config: how many of each
        rng: draws both

    Raises:
        ConfigError: no anchor has a document with a gain.
    """
    asked = np.unique(examples.anchor[examples.gain > 0])
    if not len(asked):
        raise ConfigError("validation: no held-out anchor has a document with a gain; give more examples")
    chosen = np.sort(rng.permutation(asked)[: config.anchors])
    some = take(examples, chosen)
    own = set(some.documents)
    rest = [text for text in dict.fromkeys(others) if text and text not in own]
    more = rng.permutation(len(rest))[: max(0, config.documents - len(own))]
    truth = relevance(
        some.anchor.astype(np.int64), some.document.astype(np.int64), len(some), gain=some.gain, relevant=some.gain > 0
    )
    low, high = np.full(len(some), np.inf), np.full(len(some), -np.inf)
    np.minimum.at(low, some.anchor, some.gain)
    np.maximum.at(high, some.anchor, some.gain)
    documents = (*some.documents, *(rest[i] for i in more))
    return Held(some.anchors, documents, tuple(map(str, some.source)), truth, bool((high > low).any()))


def measure(held: Held, anchors: NDArray[np.float32], documents: NDArray[np.float32]) -> dict[str, float]:
    """``ndcg@10``, ``recall@20``, ``rerank_ndcg@10`` where graded, and ``score``, their mean; means over anchors."""
    scores = anchors @ documents.T  # (n_anchors, n_documents)
    found = top_k(scores, DEPTH)
    places = look_up(found.items, found.valid, held.truth)
    values = {
        "ndcg@10": mean(METRICS["ndcg"](places, held.truth, 10)),
        f"recall@{DEPTH}": mean(METRICS["recall"](places, held.truth, DEPTH)),
    }
    if held.graded:
        linked = np.full_like(scores, -np.inf)
        rows = held.truth.request()
        linked[rows, held.truth.items] = scores[rows, held.truth.items]
        own = top_k(linked, 10)
        values["rerank_ndcg@10"] = mean(METRICS["ndcg"](look_up(own.items, own.valid, held.truth), held.truth, 10))
    return values | {"score": float(np.mean(list(values.values())))}
