"""The cache of query vectors: what it remembers, what it forgets, and what threads see."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from tasteprint.profiling.encoders.encoder import Encoder, HashEncoder
from tasteprint.profiling.encoders.query_cache import CacheCount, CachedEncoder, QueryCacheConfig, cached_queries
from tasteprint.profiling.errors import EncoderError
from tasteprint.profiling.texts import TextKind


class Noisy:
    """An encoder whose every answer differs in the last bits, and that keeps a list of what it was asked."""

    def __init__(self) -> None:
        self._base = HashEncoder(dim=16)
        self.dim, self.stamp = self._base.dim, self._base.stamp
        self.asked: list[list[str | None]] = []
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str | None], kind: TextKind = "item") -> NDArray[np.float32]:
        with self._lock:
            self.asked.append(list(texts))
            call = len(self.asked)
        return self._base.encode(texts, kind) * np.float32(1 + call * 1e-6)


def test_it_is_an_encoder_with_the_same_stamp() -> None:
    base = HashEncoder(dim=16)
    cached = cached_queries(base)
    assert isinstance(cached, Encoder)
    assert (cached.dim, cached.stamp) == (16, base.stamp)
    texts = ["tea", None, "  tea ", "", "red lamp"]
    for _ in range(2):
        np.testing.assert_array_equal(cached.encode(texts, "query"), base.encode(texts, "query"))
    assert cached.encode([], "query").shape == (0, 16)


def test_size_zero_is_no_cache() -> None:
    base = HashEncoder()
    assert cached_queries(base, QueryCacheConfig(size=0)) is base
    with pytest.raises(ValidationError):
        QueryCacheConfig(size=-1)


def test_a_hit_asks_nothing_and_has_the_same_bytes() -> None:
    base = Noisy()
    cached = CachedEncoder(base, 8)
    first = cached.encode(["tea", "lamp"], "query")
    again = cached.encode(["lamp", "sofa", " tea ", "tea"], "query")
    assert base.asked == [["tea", "lamp"], ["sofa"]]
    assert again[[2, 0]].tobytes() == first.tobytes()
    assert again[3].tobytes() == again[2].tobytes()
    assert cached.count() == CacheCount(hits=2, misses=3, size=3)


def test_the_caller_cannot_change_what_is_remembered() -> None:
    base = Noisy()
    cached = CachedEncoder(base, 8)
    first = cached.encode(["tea"], "query")
    kept = first.copy()
    first[:] = 7
    second = cached.encode(["tea"], "query")
    np.testing.assert_array_equal(second, kept)
    second[:] = 7
    np.testing.assert_array_equal(cached.encode(["tea"], "query"), kept)


@pytest.mark.parametrize("kind", ["item", "review"])
def test_other_kinds_pass_through(kind: TextKind) -> None:
    base = Noisy()
    cached = CachedEncoder(base, 8)
    cached.encode(["tea"], "query")
    cached.encode(["tea"], kind)
    cached.encode(["tea"], kind)
    assert len(base.asked) == 3
    assert cached.count().size == 1


def test_the_least_recently_used_goes_first() -> None:
    base = Noisy()
    cached = CachedEncoder(base, 2)
    for text in ("a", "b", "a", "c"):  # b was used longest ago
        cached.encode([text], "query")
    cached.encode(["a"], "query")
    assert base.asked == [["a"], ["b"], ["c"]]
    cached.encode(["b"], "query")
    assert base.asked[-1] == ["b"]
    assert cached.count().size == 2


def test_a_call_larger_than_the_cache() -> None:
    base = Noisy()
    cached = CachedEncoder(base, 2)
    vectors = cached.encode(list("abcde"), "query")
    np.testing.assert_allclose(vectors, HashEncoder(dim=16).encode(list("abcde")), rtol=1e-5)
    cached.encode(["d", "e"], "query")
    assert len(base.asked) == 1
    assert cached.count().size == 2


def test_mistakes_are_the_encoders_own() -> None:
    cached = CachedEncoder(HashEncoder(), 2)
    with pytest.raises(EncoderError, match="one string"):
        cached.encode("tea", "query")
    with pytest.raises(EncoderError, match="got 'title'"):
        cached.encode(["tea"], "title")  # type: ignore[arg-type]


def test_threads_get_equal_bytes_for_one_query() -> None:
    """Two threads miss the same text at the same moment; both must get the one vector that is kept."""
    base = Noisy()
    waiting = threading.Barrier(2, timeout=10)
    plain = base.encode

    def together(texts: Sequence[str | None], kind: TextKind = "item") -> NDArray[np.float32]:
        vectors = plain(texts, kind)
        waiting.wait()
        return vectors

    base.encode = together  # type: ignore[method-assign]
    cached = CachedEncoder(base, 4)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: cached.encode(["tea"], "query").tobytes(), range(2)))
    assert len(base.asked) == 2
    assert both[0] == both[1] == cached.encode(["tea"], "query").tobytes()


def test_many_threads_many_queries() -> None:
    base = HashEncoder(dim=16)
    cached = CachedEncoder(base, 20)
    words = [f"word{n}" for n in range(50)]
    expected = base.encode(words)

    def ask(seed: int) -> int:
        rng = np.random.default_rng(seed)
        wrong = 0
        for _ in range(60):
            rows = rng.integers(0, len(words), rng.integers(1, 6))
            wrong += not np.array_equal(cached.encode([words[row] for row in rows], "query"), expected[rows])
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(16))) == 0
    assert cached.count().size == 20
