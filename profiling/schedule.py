"""Keeping an engine busy: windows of texts, tokenised while the one before is computed, sorted by length, in batches.

Covers the order of the work and its threads. The result depends on the texts and their order alone, not on how many
threads there are or which finishes first: batches are made before anything runs, and each runs on one core.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .runtimes.base import Runtime

WINDOW = 16_384
"""Texts tokenised and sorted together: enough that texts of one length fill batches, a few dozen MB of token ids."""

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def encode_texts(
    runtime: Runtime, texts: Sequence[str], *, dim: int, batch_tokens: int, window: int = WINDOW
) -> NDArray[np.float32]:
    """Unit vectors of ``texts``, (n, dim), in their order; a batch holds ``batch_tokens`` at most, or one text."""
    vectors = np.empty((len(texts), dim), dtype=np.float32)
    windows = [texts[start : start + window] for start in range(0, len(texts), window)]
    tokenised = map(runtime.tokens, windows) if len(windows) == 1 else ordered(runtime.tokens, windows, workers=1)
    made = _batches_of(tokenised, batch_tokens, window)
    for rows, found in _compute(runtime, made):
        vectors[rows] = found
    return vectors


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Positions in batches, longest first, so that rows x longest is at most ``batch_tokens`` (one row at least).

    >>> list(batches([2, 9, 3, 3], 10))
    [[1], [2, 3, 0]]
    """
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda r: -lengths[r]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def ordered(
    function: Callable[[_In], _Out], items: Iterable[_In], *, workers: int, start: Callable[[], None] | None = None
) -> Iterator[_Out]:
    """``function`` of every item, in their order, computed by ``workers`` threads a few items ahead of the reader.

    >>> list(ordered(abs, [-2, 1, -3], workers=2))
    [2, 1, 3]
    """
    waiting: deque[Future[_Out]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="tasteprint-encode", initializer=start)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _batches_of(
    tokenised: Iterable[list[list[int]]], batch_tokens: int, window: int
) -> Iterator[tuple[list[int], list[list[int]]]]:
    """Rows and token ids of each batch of each window."""
    for number, tokens in enumerate(tokenised):
        for batch in batches([len(text) for text in tokens], batch_tokens):
            yield [number * window + row for row in batch], [tokens[row] for row in batch]


def _compute(
    runtime: Runtime, made: Iterator[tuple[list[int], list[list[int]]]]
) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
    """Rows and vectors of each batch, every batch on one core."""

    def work(batch: tuple[list[int], list[list[int]]]) -> tuple[list[int], NDArray[np.float32]]:
        return batch[0], runtime.vectors(batch[1])

    try:
        yield from ordered(work, made, workers=runtime.workers, start=runtime.start_worker)
    finally:
        runtime.end_workers()
