"""Encoding with a BERT-like checkpoint in plain torch and transformers, without importing sentence-transformers.

Covers checkpoints with a tokenizer, one transformer, a pooling (mean, cls or max) and an optional normalisation, as
described by ``modules.json`` where there is one. Does not cover Dense layers after pooling, images, or training.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .checkpoint import Checkpoint, read_checkpoint, tokenizer_digest, weights_digest
from .errors import EncoderError
from .stamp import EncoderStamp
from .texts import TextKind, clean_texts

_BATCH_TOKENS = {"cpu": 1024, "cuda": 65_536}
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class TransformerEncoder:
    """A checkpoint on disk as an `encoder.Encoder`.

    Exact duplicates are encoded once, texts are sorted by length and batched by tokens, and the order given is kept.
    Results do not depend on the batch beyond rounding (1e-6).

    Args:
        folder: the checkpoint
        name: what to call it in messages and in the stamp
        weights_sha256: sha256 the weights must have, None = any
        max_length: tokens kept of a text, None = what the checkpoint says
        precision: ``fp32`` or ``bf16``
        device: ``auto``, ``cpu`` or ``cuda``
        batch_tokens: tokens in a batch with padding, None = 1,024 on a CPU, 65,536 on a GPU
        threads: CPU threads of torch in this process, None = leave alone

    Raises:
        EncoderError: files are missing or unreadable, the pin does not match, or a module is not covered.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        name: str = "",
        weights_sha256: str | None = None,
        max_length: int | None = None,
        precision: str = "fp32",
        device: str = "auto",
        batch_tokens: int | None = None,
        threads: int | None = None,
    ) -> None:
        folder = Path(folder)
        name = name or folder.name
        if threads is not None:
            torch.set_num_threads(threads)
        self._device = _pick_device(device)
        self._checkpoint = read_checkpoint(folder)
        weights = weights_digest(self._checkpoint.encoder)
        if weights_sha256 not in (None, weights):
            raise EncoderError(
                f"encoder {name!r}: weights_sha256 is pinned to {weights_sha256}, "
                f"but the weights in {folder} have {weights}; get the pinned weights again, "
                "or mend the pin if the change is meant"
            )
        self._model, self._tokenizer = _load(self._checkpoint.encoder, name, _DTYPES[precision], self._device)
        self._max_length = _usable_length(max_length, self._checkpoint, self._model, self._tokenizer)
        self._pad = int(self._tokenizer.pad_token_id or 0)
        self._backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if self._backend is not None:
            self._backend.no_padding()
            self._backend.enable_truncation(self._max_length)
        self._batch_tokens = batch_tokens or _BATCH_TOKENS[self._device.type]
        self.dim = int(self._model.config.hidden_size)
        self.stamp = EncoderStamp(
            weights=weights,
            tokenizer=tokenizer_digest(self._checkpoint.encoder),
            prompts=json.dumps(self._checkpoint.prompts, sort_keys=True) if self._checkpoint.prompts else "",
            pooling=self._checkpoint.pooling,
            max_length=self._max_length,
            precision=precision,
            name=name,
        )

    def encode(self, texts: Sequence[str | None], kind: TextKind = "item") -> NDArray[np.float32]:
        """Vectors of ``texts`` in their order, (n, dim) float32, unit length; zeros for an empty or null text.

        Long texts are cut after ``stamp.max_length`` tokens.

        Raises:
            EncoderError: ``texts`` is one string or holds something that is not text, or ``kind`` is unknown.
        """
        cleaned = clean_texts(texts, kind)
        rows: dict[str, int] = {}
        position = np.array([rows.setdefault(t, len(rows)) if t else -1 for t in cleaned], dtype=np.int64)  # (n,)
        vectors = np.zeros((len(rows) + 1, self.dim), dtype=np.float32)  # last row: zeros for blank texts
        if rows:
            tokens = self._tokens(list(rows), kind)
            for batch in batches([len(t) for t in tokens], self._batch_tokens):
                vectors[batch] = self._forward([tokens[row] for row in batch])
        return vectors[position]

    def _tokens(self, texts: list[str], kind: str) -> list[list[int]]:
        """Token ids of each text with its kind's prompt, special tokens included, cut to the maximum length."""
        prompt = self._checkpoint.prompts.get(kind, "")
        if prompt:
            texts = [prompt + text for text in texts]
        if self._checkpoint.lower:
            texts = [text.lower() for text in texts]
        if self._backend is not None:
            return [encoding.ids for encoding in self._backend.encode_batch_fast(texts)]
        return self._tokenizer(texts, truncation=True, max_length=self._max_length)["input_ids"]

    def _forward(self, tokens: list[list[int]]) -> NDArray[np.float32]:
        """Unit vectors of one batch of token ids, (n_batch, dim)."""
        longest = len(tokens[0])
        ids = torch.tensor([t + [self._pad] * (longest - len(t)) for t in tokens])  # (n_batch, longest)
        mask = None  # no padding, no mask: saves building one
        if len(tokens[-1]) < longest:
            lengths = torch.tensor([len(t) for t in tokens])
            mask = (torch.arange(longest) < lengths[:, None]).long().to(self._device)  # (n_batch, longest)
        with torch.inference_mode():
            hidden = self._model(input_ids=ids.to(self._device), attention_mask=mask).last_hidden_state
            pooled = pool(hidden.float(), mask, self._checkpoint.pooling)  # (n_batch, dim)
            return torch.nn.functional.normalize(pooled).cpu().numpy()


def pool(hidden: torch.Tensor, mask: torch.Tensor | None, pooling: str) -> torch.Tensor:
    """One vector a text from its token vectors.

    Args:
        hidden: token vectors, (n, length, dim)
        mask: 1 at tokens and 0 at padding, (n, length), None where nothing is padded
        pooling: ``mean``, ``cls`` (the first token) or ``max``

    Returns:
        (n, dim), not normalised.
    """
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "max":
        return (hidden if mask is None else hidden.masked_fill(mask[:, :, None] == 0, -torch.inf)).amax(dim=1)
    if mask is None:
        return hidden.mean(dim=1)
    weights = mask[:, :, None].to(hidden.dtype)  # (n, length, 1)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


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


def _load(folder: Path, name: str, dtype: torch.dtype, device: torch.device) -> tuple[Any, Any]:
    """Model ready for inference, and its tokenizer."""
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
        raise EncoderError(
            f"encoder {name!r}: {folder} cannot be read ({error}); copy the checkpoint there again"
        ) from error
    finally:
        if bars:
            logging.enable_progress_bar()
    absent = sorted(key for key in loaded["missing_keys"] if not key.startswith("pooler."))
    if absent:  # transformers fills them with random numbers and goes on
        raise EncoderError(
            f"encoder {name!r}: {folder} lacks {len(absent)} of the model's weights ({absent[0]}, ...); copy it again"
        )
    return model.eval().requires_grad_(False).to(device), tokenizer


def _usable_length(asked: int | None, checkpoint: Checkpoint, model: Any, tokenizer: Any) -> int:
    """Tokens kept of a text: what was asked or the checkpoint says, never more than the model has positions for."""
    positions = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    first = getattr(positions, "padding_idx", None)  # RoBERTa and its kin count positions from the padding id on
    room = int(getattr(model.config, "max_position_embeddings", 512)) - (0 if first is None else first + 1)
    room = min(int(tokenizer.model_max_length), room)
    return min(asked or checkpoint.max_length or room, room)


def _pick_device(device: str) -> torch.device:
    """The torch device of ``auto``, ``cpu`` or ``cuda``."""
    if device == "cuda" and not torch.cuda.is_available():
        raise EncoderError(
            "device is cuda, but torch sees no GPU; use device auto or cpu, or install a CUDA build of torch"
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)
