"""A cross-encoder as the teacher of a fine-tuning run: scores of the pairs it is worth asking, as they come up.

Asked are each anchor's linked documents and its own negatives (its neighbours, where these are mined); every pair is
read once. What the scores are used for is `losses`' work: margin_mse, distil and guide_margin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ...retrieval.second_stage.cross_encoder import Pair
from ..examples import Examples
from ..material import Teacher
from ..negatives import Found

Scores = Callable[[Sequence[Pair]], NDArray[np.float32]]
"""Pairs to logits."""


def cross_teacher(examples: Examples, scores: Scores, negatives: Found | None) -> Teacher:
    """Scores (n, m) of anchors and documents, NaN for pairs that are not asked.

    Args:
        examples: anchors, documents and links
        scores: of a cross-encoder
        negatives: further documents of each anchor and which of them are real, None = none
    """
    n_documents = max(len(examples.documents), 1)
    asked = [examples.anchor.astype(np.int64) * n_documents + examples.document]
    if negatives is not None:
        found, real = negatives
        of, _ = np.nonzero(real)
        asked.append(of * n_documents + found[real])
    keys = np.unique(np.concatenate(asked))
    known = np.full(len(keys), np.nan, dtype=np.float32)  # filled as pairs come up; never changes what is answered

    def teacher(anchors: NDArray[np.int32], documents: NDArray[np.int32]) -> NDArray[np.float32]:
        wanted = anchors.astype(np.int64)[:, None] * n_documents + documents  # (n, m)
        slot = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
        inside = keys[slot] == wanted if len(keys) else np.zeros(wanted.shape, dtype=bool)
        new = np.unique(slot[inside])
        new = new[np.isnan(known[new])]
        rows = zip((keys[new] // n_documents).tolist(), (keys[new] % n_documents).tolist(), strict=True)
        if len(new):
            known[new] = scores([(examples.anchors[a], examples.documents[d]) for a, d in rows])
        return np.where(inside, known[slot] if len(keys) else np.float32(np.nan), np.float32(np.nan))

    return teacher
