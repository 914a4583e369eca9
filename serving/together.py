"""Queries of requests that run at the same moment, embedded in one go.

Goes under a cache of query vectors, so that only queries nobody asked before come here. A vector may differ in its last
bits from the one made alone, as batches of any encoder do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..profiling.encoders.encoder import Encoder
from ..profiling.encoders.stamp import EncoderStamp
from ..profiling.texts import TextKind
from .gather import Gather, GatherCount

Vectors = NDArray[np.float32]


class TogetherEncoder:
    """An `encoder.Encoder` whose queries are embedded together while others are being embedded; items pass through.

    Args:
        encoder: makes the vectors; its stamp and size are passed through
        most: texts embedded together at most, >= 1
    """

    def __init__(self, encoder: Encoder, *, most: int) -> None:
        self._encoder = encoder
        self.dim: int = encoder.dim
        self.stamp: EncoderStamp = encoder.stamp
        self._gather: Gather[tuple[str | None, ...], Vectors] = Gather(self._together, most=most, size=len)

    def encode(self, texts: Sequence[str | None], kind: TextKind = "item") -> Vectors:
        """Vectors of ``texts`` in their order, (n, dim) float32, unit length; zeros for an empty or null text.

        Raises:
            EncoderError: as the encoder's own.
        """
        if kind != "query" or isinstance(texts, str):
            return self._encoder.encode(texts, kind)
        return self._gather(tuple(texts))

    def gathered(self) -> GatherCount:
        """How often the encoder ran, and for how many requests."""
        return self._gather.count()

    def _together(self, asked: list[tuple[str | None, ...]]) -> list[Vectors]:
        """The vectors of each request's texts."""
        made = self._encoder.encode([text for texts in asked for text in texts], "query")  # (n_texts, dim)
        stops = np.cumsum([len(texts) for texts in asked])
        return [np.array(part) for part in np.split(made, stops[:-1])]  # a view would keep the whole batch alive
