"""A base with an adapter that cannot be merged, as an engine for encoding: prefix, prompt, bottleneck and parallel.

Covers CPU and GPU in fp32 and bf16, in padded batches through transformers: slower than the packed network that a
merged checkpoint runs in.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from ..encoders.bert import pick_device
from ..encoders.stamp import EncoderStamp
from ..encoders.weights import DTYPES
from .kinds import attach_adapter, load_adapter_state
from .saved import WEIGHTS, SavedAdapter
from .text_model import open_text_model


class AdaptedNetwork:
    """A loaded base with its adapter and tokenizer: a `runtimes.base.Runtime`.

    Args:
        folder: the base
        adapter: read and checked, for these very weights
        stamp: length and precision to use
        device: ``auto``, ``cpu`` or ``cuda``
        threads: CPU threads of torch in this process, None = leave alone

    Raises:
        EncoderError: the base cannot be read, or there is no such device.
    """

    def __init__(
        self, folder: Path, adapter: SavedAdapter, stamp: EncoderStamp, *, device: str, threads: int | None
    ) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self.device = pick_device(device)
        self.workers, self.batch_tokens = 1, 65_536 if self.device == "cuda" else 1024
        model = open_text_model(str(folder), max_length=stamp.max_length)
        attach_adapter(model, adapter.config)
        load_adapter_state(model, load_file(adapter.folder / WEIGHTS))
        self._model = model.requires_grad_(False).eval().to(self.device, DTYPES[stamp.precision])

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included, cut to the stamp's length."""
        return self._model.tokens(texts)

    def start_worker(self) -> None:
        """Nothing to do: batches run one after the other, each on all threads."""

    def end_workers(self) -> None:
        """Nothing to do."""

    def vectors(self, tokens: Sequence[list[int]]) -> NDArray[np.float32]:
        """Unit vectors of one batch of token ids, (n_batch, dim)."""
        longest = max(len(text) for text in tokens)
        with torch.inference_mode():
            return self._model.encode_tokens(tokens, batch_tokens=len(tokens) * longest).float().cpu().numpy()
