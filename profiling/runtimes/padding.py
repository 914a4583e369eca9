"""Batches as the exported networks take them: padded ids and a mask, in numpy, without torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def padded(tokens: Sequence[list[int]]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Ids (n, longest) and mask (n, longest), 1 at tokens and 0 at padding.

    >>> padded([[5, 6], [7]])[1].tolist()
    [[1.0, 1.0], [1.0, 0.0]]
    """
    longest = max(len(text) for text in tokens)
    ids = np.zeros((len(tokens), longest), dtype=np.int64)
    mask = np.zeros((len(tokens), longest), dtype=np.float32)
    for row, text in enumerate(tokens):
        ids[row, : len(text)] = text
        mask[row, : len(text)] = 1
    return ids, mask
