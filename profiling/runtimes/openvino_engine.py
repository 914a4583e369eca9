"""A network exported for OpenVINO, on the CPU: a `base.Runtime`.

One compiled model has all threads for one batch at a time (a query), the other one thread a batch (a catalogue); each
is compiled when it is first needed. Shapes are dynamic: a new one costs a few milliseconds once, so those of queries
are met before the first query is.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..encoders.tokens import Tokens
from .padding import padded

_QUERY_LENGTHS = range(3, 17)
_HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoRuntime:
    """A loaded network with its tokenizer.

    Args:
        file: ``model.xml``
        tokens: the tokenizer
        precision: ``fp32``, ``bf16``, or ``int8``, where what is not int8 has the processor's fastest format
        threads: CPU threads
    """

    device = "cpu"
    batch_tokens = 512

    def __init__(self, file: Path, tokens: Tokens, *, precision: str, threads: int) -> None:
        import openvino

        self.tokens, self.workers = tokens, threads
        self._core = openvino.Core()
        self._model = self._core.read_model(file)
        self._hint = {"INFERENCE_PRECISION_HINT": _HINTS[precision]} if precision in _HINTS else {}
        self._here = threading.local()
        self._idle: dict[bool, deque[Any]] = {True: deque(), False: deque()}
        self._lock = threading.Lock()

    def start_worker(self) -> None:
        """Make the calling thread run its batches on one core."""
        self._here.worker = True

    def end_workers(self) -> None:
        """Nothing to do."""

    def vectors(self, tokens: Sequence[list[int]]) -> NDArray[np.float32]:
        """Unit vectors of one batch of token ids, (n_batch, dim)."""
        worker = getattr(self._here, "worker", False)
        idle = self._idle[worker]
        try:
            request = idle.pop()
        except IndexError:
            with self._lock:  # two workers must not compile two models
                request = (self._many if worker else self._one).create_infer_request()
        try:
            found: NDArray[np.float32] = request.infer(padded(tokens), share_inputs=True)[0]
        finally:
            idle.append(request)
        return found

    @cached_property
    def _one(self) -> Any:
        """For one batch at a time, warm for queries."""
        compiled = self._compiled(streams=1)
        request = compiled.create_infer_request()
        for length in _QUERY_LENGTHS:
            request.infer(padded([[0] * length]))
        return compiled

    @cached_property
    def _many(self) -> Any:
        """For a batch a thread."""
        return self._compiled(streams=self.workers)

    def _compiled(self, *, streams: int) -> Any:
        """The model, its threads shared by so many batches at a time."""
        settings: dict[str, object] = {"INFERENCE_NUM_THREADS": self.workers, "NUM_STREAMS": streams}
        settings["ENABLE_CPU_PINNING"] = False  # two processes on a machine would be pinned to the same cores
        return self._core.compile_model(self._model, "CPU", settings | self._hint)
