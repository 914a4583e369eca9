"""Scheduling on a stand-in engine: every row in its place, whatever the windows, batches and threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tasteprint.profiling.encoders.schedule import encode_lists, ordered

TEXTS = [f"{'x' * (n * 7 % 23 + 1)} {n}" for n in range(500)]


class Engine:
    """Vectors that say which text and which batch they come from."""

    device = "cpu"
    batch_tokens = 64

    def __init__(self, workers: int = 1) -> None:
        self.workers, self.started, self.ended = workers, 0, 0
        self.batches: list[int] = []
        self.calls: list[int] = []

    def tokens(self, texts: Sequence[str], /) -> list[list[int]]:
        self.calls.append(len(texts))
        return [[ord(letter) for letter in text] for text in texts]

    def vectors(self, tokens: Sequence[list[int]], /) -> NDArray[np.float32]:
        self.batches.append(len(tokens))
        return np.array([[len(text), sum(text), len(tokens)] for text in tokens], dtype=np.float32)

    def start_worker(self) -> None:
        self.started += 1

    def end_workers(self) -> None:
        self.ended += 1


def run(engine: Engine, lists: Sequence[Sequence[str]], **sizes: int) -> list[NDArray[np.float32]]:
    return list(encode_lists(engine, iter(lists), dim=3, **({"batch_tokens": 128} | sizes)))


@pytest.mark.parametrize("window", [1, 7, 100, 10_000])
@pytest.mark.parametrize("workers", [1, 3])
def test_every_row_in_its_place(window: int, workers: int):
    engine = Engine(workers)
    (vectors,) = run(engine, [TEXTS], window=window)
    assert vectors[:, 0].tolist() == [len(text) for text in TEXTS]
    assert vectors[:, 1].tolist() == [sum(map(ord, text)) for text in TEXTS]
    assert sum(engine.batches) == 500
    assert engine.calls == [min(window, 500 - start) for start in range(0, 500, window)]
    assert (engine.started <= workers, engine.ended) == (True, 1)


def test_lists_in_a_stream_equal_lists_alone():
    lists = [TEXTS[:30], [], TEXTS[30:31], TEXTS[31:], [], TEXTS[:5]]
    together = run(Engine(3), lists, window=50)
    for texts, vectors in zip(lists, together, strict=True):
        (alone,) = run(Engine(1), [texts], window=50)
        np.testing.assert_array_equal(vectors, alone)  # the third column too: the same batches
        assert vectors.shape == (len(texts), 3)


def test_no_lists_no_vectors():
    assert run(Engine(), []) == []


def test_reads_a_few_lists_ahead_not_all():
    read = []

    def lists() -> Iterator[list[str]]:
        for number in range(100):
            read.append(number)
            yield TEXTS[:3]

    stream = encode_lists(Engine(2), lists(), dim=3, batch_tokens=1000)
    next(stream)
    assert len(read) < 15
    stream.close()


def test_an_error_in_a_worker_reaches_the_caller_and_ends():
    class Broken(Engine):
        def vectors(self, tokens: Sequence[list[int]], /) -> NDArray[np.float32]:
            raise ValueError("broken engine")

    engine = Broken(2)
    with pytest.raises(ValueError, match="broken engine"):
        run(engine, [TEXTS])
    assert engine.ended == 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tasteprint-encode")]


def test_order_is_kept_whoever_finishes_first():
    release = threading.Event()

    def slow_first(number: int) -> int:
        if number == 0:
            release.wait(5)
        if number == 1:
            release.set()
        return number

    assert list(ordered(slow_first, range(20), workers=2)) == list(range(20))


def test_tokens_are_counted_batch_by_batch() -> None:
    told: list[int] = []
    lists = [["ab", "c"], [], ["defg"]]
    list(encode_lists(Engine(2), iter(lists), dim=3, batch_tokens=4, count=told.append))
    tokens = Engine(1).tokens(["ab", "c", "defg"])
    assert sum(told) == sum(map(len, tokens))
    assert len(told) >= 2
