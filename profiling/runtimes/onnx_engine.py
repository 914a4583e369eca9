"""A network exported to ONNX, run by ONNX Runtime on the CPU: a `base.Runtime`.

One session has all threads for one batch at a time (a query), the other one thread a batch (a catalogue); each is
opened when it is first needed.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..encoders.tokens import Tokens
from .padding import padded

_ERRORS_ONLY = 3


class OnnxRuntime:
    """A loaded network with its tokenizer.

    Args:
        file: ``model.onnx``
        tokens: the tokenizer
        threads: CPU threads
    """

    device = "cpu"
    batch_tokens = 512

    def __init__(self, file: Path, tokens: Tokens, *, threads: int) -> None:
        self.tokens, self.workers = tokens, threads
        self._model = file.read_bytes()  # the file may be replaced before the second session is opened
        self._here = threading.local()
        self._lock = threading.Lock()

    def start_worker(self) -> None:
        """Make the calling thread run its batches on one core."""
        self._here.worker = True

    def end_workers(self) -> None:
        """Nothing to do."""

    def vectors(self, tokens: Sequence[list[int]]) -> NDArray[np.float32]:
        """Unit vectors of one batch of token ids, (n_batch, dim)."""
        ids, mask = padded(tokens)
        with self._lock:  # two workers must not open two sessions
            session = self._many if getattr(self._here, "worker", False) else self._one
        found: NDArray[np.float32] = session.run(None, {"ids": ids, "mask": mask})[0]
        return found

    @cached_property
    def _one(self) -> Any:
        """For one batch at a time."""
        return self._session(self.workers)

    @cached_property
    def _many(self) -> Any:
        """For a batch a thread."""
        return self._session(1)

    def _session(self, threads: int) -> Any:
        """The network, each batch on so many threads."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = _ERRORS_ONLY
        return onnxruntime.InferenceSession(self._model, options, providers=["CPUExecutionProvider"])
