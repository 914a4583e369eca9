"""A small cache of query vectors: shoppers ask the same few thousand things again and again.

Covers queries only, in memory, for one process, least recently used first out, safe under threads. Items and reviews
pass through; their vectors are cached on disk by `embeddings`.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..texts import TextKind, clean_texts
from .encoder import Encoder
from .stamp import EncoderStamp

_KEY_BYTES = 16


class QueryCacheConfig(BaseModel):
    """How many query vectors are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(
        default=4096,
        ge=0,
        le=10_000_000,
        description="query vectors kept in memory, 1.6 KB each at 384 dimensions; 0 = none",
    )


@dataclass(frozen=True)
class CacheCount:
    """What a cache did so far.

    Attributes:
        hits: texts whose vector was known
        misses: texts whose vector was not
        size: vectors kept now
    """

    hits: int
    misses: int
    size: int


def cached_queries(encoder: Encoder, config: QueryCacheConfig | None = None) -> Encoder:
    """``encoder`` with its query vectors remembered; ``encoder`` itself where the size is 0.

    >>> from tasteprint.profiling.encoders.hashing import HashEncoder
    >>> cached_queries(HashEncoder(), QueryCacheConfig(size=2)).dim
    64
    """
    config = QueryCacheConfig() if config is None else config
    return CachedEncoder(encoder, config.size) if config.size else encoder


class CachedEncoder:
    """An `encoder.Encoder` that remembers the vectors of the queries asked last.

    A repeated query gets the very bytes it got before, even when threads asked for it at the same moment, until it is
    forgotten. What is returned is the caller's own to change. Texts are kept as hashes, so long ones take no room.

    Args:
        encoder: makes the vectors; its stamp and size are passed through
        size: vectors kept, 1 or more
    """

    def __init__(self, encoder: Encoder, size: int) -> None:
        self._encoder, self._size = encoder, size
        self.dim: int = encoder.dim
        self.stamp: EncoderStamp = encoder.stamp
        self._kept: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()  # oldest use first
        self._lock = threading.Lock()
        self._hits = self._misses = 0

    def encode(self, texts: Sequence[str | None], kind: TextKind = "item") -> NDArray[np.float32]:
        """Vectors of ``texts`` in their order, (n, dim) float32, unit length; zeros for an empty or null text.

        Raises:
            EncoderError: ``texts`` is one string or holds something that is not text, ``kind`` is unknown, or the
                encoder cannot be loaded.
        """
        if kind != "query":
            return self._encoder.encode(texts, kind)
        cleaned = clean_texts(texts, kind)
        keys = {text: _key(text) for text in cleaned}
        found = self._recall(keys)
        missing = [text for text in keys if text not in found]
        if missing:  # outside the lock: others are served meanwhile
            made = self._encoder.encode(missing, kind)  # (n_missing, dim)
            found |= self._keep({text: (keys[text], made[row]) for row, text in enumerate(missing)})
        vectors = np.empty((len(cleaned), self.dim), dtype=np.float32)  # (n, dim)
        for row, text in enumerate(cleaned):
            vectors[row] = found[text]
        return vectors

    def count(self) -> CacheCount:
        """Hits and misses so far; a text twice in one call counts once."""
        with self._lock:
            return CacheCount(self._hits, self._misses, len(self._kept))

    def _recall(self, keys: dict[str, bytes]) -> dict[str, NDArray[np.float32]]:
        """Vectors known of the texts in ``keys``, now the most recently used."""
        found = {}
        with self._lock:
            for text, key in keys.items():
                vector = self._kept.get(key)
                if vector is not None:
                    self._kept.move_to_end(key)
                    found[text] = vector
            self._hits += len(found)
            self._misses += len(keys) - len(found)
        return found

    def _keep(self, made: dict[str, tuple[bytes, NDArray[np.float32]]]) -> dict[str, NDArray[np.float32]]:
        """Remember new vectors; of one that another thread kept first, that thread's."""
        kept = {}
        with self._lock:
            for text, (key, vector) in made.items():
                kept[text] = self._kept.setdefault(key, vector.copy())  # a row would keep its whole batch alive
                self._kept.move_to_end(key)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return kept


def _key(text: str) -> bytes:
    """Hash of a text, 16 bytes."""
    return hashlib.blake2b(text.encode(), digest_size=_KEY_BYTES).digest()
