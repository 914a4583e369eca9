"""Any network that transformers can load: tokens in, unit vectors out. The BERT family has a faster way in `bert`.

Importing this module imports torch, so `transformer` does it late. It never imports sentence-transformers, which takes
seconds.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import EncoderError
from .bert import pick_device, pool
from .checkpoint import Checkpoint
from .stamp import EncoderStamp
from .weights import DTYPES


class Network:
    """A loaded checkpoint with its tokenizer: a `runtimes.base.Runtime`.

    Args:
        checkpoint: what is loaded
        stamp: pooling, length and precision to use
        device: ``auto``, ``cpu`` or ``cuda``
        threads: CPU threads of torch in this process, None = leave alone

    Raises:
        EncoderError: the weights or the tokenizer cannot be read or are not complete, or there is no such device.
    """

    def __init__(self, checkpoint: Checkpoint, stamp: EncoderStamp, *, device: str, threads: int | None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self.device = pick_device(device)
        self.workers, self.batch_tokens = 1, 65_536 if self.device == "cuda" else 1024
        self._stamp, self._lower = stamp, checkpoint.lower
        model, self._tokenizer = load_pretrained(checkpoint.encoder, stamp.name, DTYPES[stamp.precision])
        self._model = model.to(self.device)
        self._pad = int(self._tokenizer.pad_token_id or 0)
        self._backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if self._backend is not None:
            self._backend.no_padding()
            self._backend.enable_truncation(stamp.max_length)

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included, cut to the stamp's length."""
        texts = [text.lower() for text in texts] if self._lower else list(texts)
        if self._backend is not None:
            return [encoding.ids for encoding in self._backend.encode_batch_fast(texts)]
        return self._tokenizer(texts, truncation=True, max_length=self._stamp.max_length)["input_ids"]

    def start_worker(self) -> None:
        """Nothing to do: batches run one after the other, each on all threads."""

    def end_workers(self) -> None:
        """Nothing to do."""

    def vectors(self, tokens: Sequence[list[int]]) -> NDArray[np.float32]:
        """Unit vectors of one batch of token ids, (n_batch, dim)."""
        lengths = torch.tensor([len(t) for t in tokens])  # (n_batch,)
        longest = int(lengths.max())
        ids = torch.tensor([t + [self._pad] * (longest - len(t)) for t in tokens])  # (n_batch, longest)
        mask = None  # no padding, no mask: saves building one
        if int(lengths.min()) < longest:
            mask = (torch.arange(longest) < lengths[:, None]).long().to(self.device)  # (n_batch, longest)
        with torch.inference_mode():
            hidden = self._model(input_ids=ids.to(self.device), attention_mask=mask).last_hidden_state
            pooled = pool(hidden.float(), mask, self._stamp.pooling)  # (n_batch, dim)
            return torch.nn.functional.normalize(pooled).cpu().numpy()


def load_pretrained(folder: Path, name: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """A checkpoint's network, frozen and ready for inference, and its tokenizer, as transformers has them.

    Raises:
        EncoderError: they cannot be read or are not complete.
    """
    from safetensors import SafetensorError
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model, loaded = AutoModel.from_pretrained(
                folder, local_files_only=True, dtype=dtype, output_loading_info=True
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise EncoderError(f"encoder {name!r}: {folder} cannot be read ({error}); copy it there again") from error
    finally:
        if bars:
            logging.enable_progress_bar()
    absent = sorted(key for key in loaded["missing_keys"] if not key.startswith("pooler."))
    if absent:  # transformers fills them with random numbers and goes on
        raise EncoderError(
            f"encoder {name!r}: {folder} lacks {len(absent)} of the model's weights ({absent[0]}, ...); copy it again"
        )
    return model.eval().requires_grad_(False), tokenizer
