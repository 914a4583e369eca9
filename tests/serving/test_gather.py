"""Gathering: everyone gets their own answer, alone at once, together under load; queries and events use it so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tasteprint.profiling.encoders.hashing import HashEncoder
from tasteprint.profiling.encoders.query_cache import QueryCacheConfig, cached_queries
from tasteprint.profiling.errors import EncoderError
from tasteprint.serving.gather import Gather, GatherCount
from tasteprint.serving.store import Appended, StoredEvent, StoreError, open_store
from tasteprint.serving.together import TogetherEncoder


class Held:
    """Work whose first run waits until it is let go, so that others gather behind it."""

    def __init__(self, work: Callable[[list[Any]], list[Any]]) -> None:
        self.work, self.let, self.began = work, threading.Event(), threading.Event()
        self.groups: list[list[Any]] = []

    def __call__(self, asked: list[Any]) -> list[Any]:
        self.groups.append(list(asked))
        self.began.set()
        assert self.let.wait(30)
        return self.work(asked)


def behind(gather: Gather[Any, Any], held: Held, first: Any, others: Sequence[Any]) -> list[Any]:
    """Answers (or errors) where all others ask while the first is being worked for."""

    def ask(one: Any) -> Any:
        try:
            return gather(one)
        except ValueError as error:
            return error

    with ThreadPoolExecutor(1 + len(others)) as pool:
        found = [pool.submit(ask, first)]
        assert held.began.wait(30)
        for n, other in enumerate(others, start=1):
            found.append(pool.submit(ask, other))
            while len(gather._waiting) < n:
                time.sleep(0.001)
        held.let.set()
        return [future.result(30) for future in found]


def doubled(asked: list[int]) -> list[int]:
    if -1 in asked:
        raise ValueError("no")
    return [2 * n for n in asked]


def test_alone_is_done_at_once_by_the_caller_s_own_thread() -> None:
    ran: list[int] = []

    def work(asked: list[int]) -> list[int]:
        ran.append(threading.get_ident())
        return asked

    gather = Gather(work, most=4)
    assert [gather(n) for n in range(3)] == [0, 1, 2]
    assert set(ran) == {threading.get_ident()}
    assert gather.count() == GatherCount(3, 3)


def test_those_who_wait_are_done_together() -> None:
    held = Held(doubled)
    gather: Gather[int, int] = Gather(held, most=3)
    assert behind(gather, held, 0, [1, 2, 3, 4, 5]) == [0, 2, 4, 6, 8, 10]
    assert held.groups == [[0], [1, 2, 3], [4, 5]]
    assert gather.count() == GatherCount(3, 6)


def test_what_one_counts_can_be_said() -> None:
    held = Held(lambda asked: [len(one) for one in asked])
    gather: Gather[str, int] = Gather(held, most=4, size=len)
    assert behind(gather, held, "a", ["far too long", "bb", "cc", "d"]) == [1, 12, 2, 2, 1]
    assert held.groups == [["a"], ["far too long"], ["bb", "cc"], ["d"]]


def test_nobody_fails_for_another_s_sake() -> None:
    held = Held(doubled)
    gather: Gather[int, int] = Gather(held, most=10)
    one, two, wrong, three = behind(gather, held, 1, [2, -1, 3])
    assert (one, two, three) == (2, 4, 6)
    assert isinstance(wrong, ValueError)
    with pytest.raises(ValueError, match="no"):
        gather(-1)
    assert gather(4) == 8  # and it goes on


def test_many_threads_each_get_their_own() -> None:
    running = 0
    lock = threading.Lock()

    def work(asked: list[int]) -> list[int]:
        nonlocal running
        with lock:
            running += 1
            assert running == 1  # one piece of work at a time
        time.sleep(0.0005)
        with lock:
            running -= 1
        return [n * n for n in asked]

    gather = Gather(work, most=5)
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(gather, range(400))) == [n * n for n in range(400)]
    count = gather.count()
    assert count.asked == 400
    assert 400 / 5 <= count.runs < 400


class Recorded(HashEncoder):
    """The hash encoder, the first of whose runs waits."""

    def __init__(self) -> None:
        super().__init__(dim=16)
        self.held = Held(lambda asked: list(HashEncoder.encode(self, asked, "query")))

    def encode(self, texts: Sequence[str | None], kind: Any = "item") -> NDArray[np.float32]:
        if kind != "query":
            return super().encode(texts, kind)
        if isinstance(texts, str) or not all(text is None or isinstance(text, str) for text in texts):
            raise EncoderError("texts")
        return np.asarray(self.held(list(texts)), dtype=np.float32)


def test_queries_are_embedded_together_and_are_their_own() -> None:
    encoder = Recorded()
    together = TogetherEncoder(encoder, most=8)
    asked = [("red lamp",), ("blue lamp", "tea", ""), (None,), ("a hose",)]
    found = behind(together._gather, encoder.held, asked[0], asked[1:])
    assert [len(group) for group in encoder.held.groups] == [1, 5]
    for texts, vectors in zip(asked, found, strict=True):
        np.testing.assert_array_equal(vectors, HashEncoder(dim=16).encode(list(texts), "query"))
        assert vectors.base is None  # does not keep the others alive
    assert together.gathered() == GatherCount(2, 4)
    np.testing.assert_array_equal(together.encode(["x"], "item"), HashEncoder(dim=16).encode(["x"]))
    assert (together.dim, together.stamp) == (encoder.dim, encoder.stamp)
    with pytest.raises(EncoderError):
        together.encode("one string", "query")


def test_known_queries_never_wait() -> None:
    encoder = Recorded()
    cached = cached_queries(TogetherEncoder(encoder, most=8), QueryCacheConfig(size=10))
    encoder.held.let.set()
    first = cached.encode(["tea"], "query")
    encoder.held.let.clear()  # now the encoder would wait for ever
    np.testing.assert_array_equal(cached.encode(["tea"], "query"), first)


def test_events_of_many_requests_are_one_transaction(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store.sqlite"))
    held = Held(store.append_all)
    gather: Gather[list[StoredEvent], Appended] = Gather(held, most=100, size=len)
    same = StoredEvent("ann", "same", 0, 0, "view")
    batches = [[StoredEvent("ann", f"k{n}", n, 0, "view", "lamp"), same] for n in range(5)]
    assert behind(gather, held, batches[0], batches[1:]) == [Appended(2, 0)] + [Appended(1, 1)] * 4
    assert len(held.groups) == 2
    assert store.state("ann").version == 2  # two transactions
    assert len(store.events("ann")) == 6
    store.close()
    with pytest.raises(StoreError, match="closed"):
        gather(batches[0])
