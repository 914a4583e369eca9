"""A seeded encoder without weights: hashed words and word pairs, projected at random.

Texts that share words get similar vectors, the same on every machine and in every process, in microseconds. It stands
in for a real encoder in tests and dry runs; it knows no synonyms and no language, so it is no encoder for a shop.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..errors import EncoderError
from ..texts import TextKind, clean_texts
from .stamp import EncoderStamp

_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORDS = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_PAIR_WEIGHT = 0.5


class HashEncoder:
    """Bag of hashed words and word pairs under a random sign projection.

    Each feature is a vector of signs read from SHAKE-128 of the feature, so inner products are kept in expectation
    (Achlioptas, Database-friendly random projections, 2003). Scripts without spaces are read by character.

    Args:
        dim: length of the vectors, 8 to 4,096
        seed: another seed is another, incomparable encoder

    Raises:
        EncoderError: ``dim`` is out of range.

    >>> lamp, lamps, sofa = HashEncoder().encode(["red desk lamp", "blue desk lamp", "leather sofa"])
    >>> bool(lamp @ lamps > lamp @ sofa)
    True
    """

    def __init__(self, dim: int = 64, seed: int = 0) -> None:
        if not 8 <= dim <= 4096:
            raise EncoderError(f"dim of the hash encoder must be 8 to 4096, got {dim}; write for example hash:64")
        self.dim = dim
        self._seed = f"tasteprint hash encoder 1\0{seed}\0".encode()
        self.stamp = EncoderStamp(
            weights=hashlib.sha256(self._seed + str(dim).encode()).hexdigest(), pooling="sum", name=f"hash:{dim}"
        )
        self._signs: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str | None], kind: TextKind = "item") -> NDArray[np.float32]:
        """Vectors of ``texts``, (n, dim) float32, unit length; the zero vector for an empty or null text.

        ``kind`` is checked and changes nothing: queries and items share words.

        Raises:
            EncoderError: ``texts`` is one string or holds something that is not text, or ``kind`` is unknown.
        """
        cleaned = clean_texts(texts, kind)
        vectors = np.zeros((len(cleaned), self.dim), dtype=np.float32)  # (n, dim)
        for row, text in enumerate(cleaned):
            if text:
                vectors[row] = self._vector(text)
        return vectors

    def _vector(self, text: str) -> NDArray[np.float32]:
        """Unit vector of a text that is not empty."""
        words = _WORDS.findall(text.casefold()) or list(text.replace(" ", ""))
        total = np.zeros(self.dim, dtype=np.float32)
        for word in words:
            total += self._sign(word)
        for pair in pairwise(words):
            total += _PAIR_WEIGHT * self._sign("\0".join(pair))
        if not total.any():  # opposite signs of two words can cancel in few dimensions
            total = self._sign(f"\0whole\0{text}")
        return total / np.linalg.norm(total)

    def _sign(self, feature: str) -> NDArray[np.float32]:
        """Signs of one feature, (dim,), remembered."""
        found = self._signs.get(feature)
        if found is None:
            bits = hashlib.shake_128(self._seed + feature.encode()).digest((self.dim + 7) // 8)
            found = np.unpackbits(np.frombuffer(bits, dtype=np.uint8))[: self.dim].astype(np.float32) * 2 - 1
            self._signs[feature] = found
        return found
