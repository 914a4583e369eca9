"""Keeping an engine busy: windows of texts, tokenised while the one before is computed, sorted by length, in batches.

Covers the order of the work and its threads, over one list of texts or a stream of them without a pause in between. The
result depends on the texts and their order alone, not on how many threads there are or which finishes first: batches
are made before anything runs, and each runs on one core.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..runtimes.base import Runtime

WINDOW = 16_384
"""Texts tokenised and sorted together: enough that texts of one length fill batches, a few dozen MB of token ids."""

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class _Batch:
    """Texts that run together.

    Attributes:
        rows: where their vectors go, rows of the list they come from
        tokens: their token ids
        n: texts in that list, given once, with its first batch
        last: whether the list is done with this batch
    """

    rows: list[int]
    tokens: list[list[int]]
    n: int | None
    last: bool


def encode_lists(
    runtime: Runtime,
    lists: Iterable[Sequence[str]],
    *,
    dim: int,
    batch_tokens: int,
    window: int = WINDOW,
    count: Callable[[int], None] | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Unit vectors (n, dim) of each list of texts, in their order, the same as if it were the only one.

    Later lists are read, tokenised and begun while earlier ones are computed; a batch holds ``batch_tokens`` at most,
    or one text. ``count`` is told the tokens of every batch that is done.
    """

    def work(batch: _Batch) -> tuple[_Batch, NDArray[np.float32] | None]:
        return batch, runtime.vectors(batch.tokens) if batch.rows else None

    vectors = np.empty((0, dim), dtype=np.float32)
    made = _batches_of(runtime, lists, batch_tokens, window)
    try:
        for batch, found in ordered(work, made, workers=runtime.workers, start=runtime.start_worker):
            if batch.n is not None:
                vectors = np.empty((batch.n, dim), dtype=np.float32)
            if found is not None:
                vectors[batch.rows] = found
                if count is not None:
                    count(sum(map(len, batch.tokens)))
            if batch.last:
                yield vectors
    finally:
        runtime.end_workers()


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


def _batches_of(runtime: Runtime, lists: Iterable[Sequence[str]], batch_tokens: int, window: int) -> Iterator[_Batch]:
    """The batches of every window of every list, in order; an empty one for a list without texts."""

    def tokenise(piece: tuple[Sequence[str], int, int]) -> tuple[list[list[int]], int, int]:
        texts, start, n = piece
        return runtime.tokens(texts) if texts else [], start, n

    for tokens, start, n in ordered(tokenise, _windows(lists, window), workers=1):
        rows = list(batches([len(text) for text in tokens], batch_tokens)) or [[]]
        for number, batch in enumerate(rows):
            yield _Batch(
                rows=[start + row for row in batch],
                tokens=[tokens[row] for row in batch],
                n=n if start == 0 and number == 0 else None,
                last=start + len(tokens) == n and number == len(rows) - 1,
            )


def _windows(lists: Iterable[Sequence[str]], window: int) -> Iterator[tuple[Sequence[str], int, int]]:
    """Pieces of each list: texts, where they start, and how many the list has."""
    for texts in lists:
        for start in range(0, max(1, len(texts)), window):
            yield texts[start : start + window], start, len(texts)
