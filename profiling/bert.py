"""BERT in plain torch, without padding and without importing transformers: faster to load and faster to run.

Covers checkpoints that are BERT as published (Devlin et al., 2019), in one safetensors file, with a ``tokenizer.json``.
Everything else goes through `network`, which is also the oracle of the tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from .checkpoint import Checkpoint
from .errors import EncoderError
from .stamp import EncoderStamp

_PARTS = ("weight", "bias")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class BertNetwork:
    """A loaded BERT with its tokenizer.

    Args:
        checkpoint: what is loaded
        stamp: pooling, length and precision to use
        device: ``auto``, ``cpu`` or ``cuda``
        threads: CPU threads of torch in this process, None = leave alone

    Raises:
        EncoderError: the weights or the tokenizer cannot be read or are not complete, or there is no such device.
    """

    def __init__(self, checkpoint: Checkpoint, stamp: EncoderStamp, *, device: str, threads: int | None) -> None:
        from tokenizers import Tokenizer

        if threads is not None:
            torch.set_num_threads(threads)
        self.device = pick_device(device)
        self._stamp, self._checkpoint = stamp, checkpoint
        try:
            self._tokenizer = Tokenizer.from_file(str(checkpoint.encoder / "tokenizer.json"))
        except Exception as error:
            raise _unreadable(stamp, checkpoint, error) from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(stamp.max_length)
        self._load()

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included, cut to the stamp's length."""
        texts = [text.lower() for text in texts] if self._checkpoint.lower else list(texts)
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts)]

    def vectors(self, tokens: Sequence[list[int]]) -> NDArray[np.float32]:
        """Unit vectors of one batch of token ids, (n_batch, dim); texts of one length should stand together.

        All tokens of the batch pass through the layers as one matrix; only attention looks at texts of one length at a
        time, so nothing is padded.
        """
        runs = list(_runs(tokens))
        ids = torch.tensor([token for text in tokens for token in text], device=self.device)  # (n_tokens,)
        positions = torch.tensor([p for text in tokens for p in range(len(text))], device=self.device)
        with torch.inference_mode():
            hidden = self._normalise(self._words[ids] + self._positions[positions], self._embedding_norm)
            for layer in self._layers:
                hidden = self._layer(hidden, layer, runs)  # (n_tokens, dim)
            pooled = [
                pool(hidden[start : start + n * length].view(n, length, -1).float(), None, self._stamp.pooling)
                for start, n, length in runs
            ]
            return functional.normalize(torch.cat(pooled)).cpu().numpy()

    def _layer(
        self, hidden: torch.Tensor, layer: dict[str, torch.Tensor], runs: list[tuple[int, int, int]]
    ) -> torch.Tensor:
        """One encoder layer over packed tokens, (n_tokens, dim) to the same."""
        mixed = functional.linear(hidden, layer["qkv.weight"], layer["qkv.bias"])  # (n_tokens, 3 dim)
        attended = torch.empty_like(hidden)
        for start, n, length in runs:
            stop = start + n * length
            split = (
                mixed[start:stop].view(n, length, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
            )  # (3, n, heads, length, d)
            seen = functional.scaled_dot_product_attention(split[0], split[1], split[2])
            attended[start:stop] = seen.transpose(1, 2).reshape(n * length, -1)
        attended = functional.linear(attended, layer["out.weight"], layer["out.bias"])
        hidden = self._normalise(hidden + attended, (layer["norm1.weight"], layer["norm1.bias"]))
        wide = functional.gelu(functional.linear(hidden, layer["up.weight"], layer["up.bias"]))
        narrow = functional.linear(wide, layer["down.weight"], layer["down.bias"])
        return self._normalise(hidden + narrow, (layer["norm2.weight"], layer["norm2.bias"]))

    def _normalise(self, hidden: torch.Tensor, norm: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Layer normalisation of the last axis."""
        return functional.layer_norm(hidden, hidden.shape[-1:], norm[0], norm[1], self._checkpoint.norm_eps)

    def _load(self) -> None:
        """Read the weights into the shapes the layers use."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            read = load_file(self._checkpoint.encoder / "model.safetensors")
        except (OSError, ValueError, SafetensorError) as error:
            raise _unreadable(self._stamp, self._checkpoint, error) from error
        weights = {
            _today(name): tensor.to(self.device, DTYPES[self._stamp.precision])
            for name, tensor in read.items()
            if tensor.is_floating_point()
        }
        try:
            self._words = weights["embeddings.word_embeddings.weight"]  # (n_words, dim)
            self._positions = (
                weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
            )  # (n_positions, dim): every token is of the first type
            self._embedding_norm = (weights["embeddings.LayerNorm.weight"], weights["embeddings.LayerNorm.bias"])
            self._layers = [_layer_weights(weights, f"encoder.layer.{n}.") for n in range(self._checkpoint.layers)]
        except KeyError as error:
            raise EncoderError(
                f"encoder {self._stamp.name!r}: {self._checkpoint.encoder} lacks the weight {error.args[0]}; "
                "copy it there again"
            ) from error
        self._heads = self._checkpoint.heads


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


def pick_device(device: str) -> str:
    """``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise EncoderError("device is cuda, but torch sees no GPU; use auto or cpu, or install a CUDA build of torch")
    return device


def _layer_weights(weights: dict[str, torch.Tensor], layer: str) -> dict[str, torch.Tensor]:
    """Weights of one layer, query, key and value side by side."""
    names = {
        "out": "attention.output.dense", "norm1": "attention.output.LayerNorm", "up": "intermediate.dense",
        "down": "output.dense", "norm2": "output.LayerNorm",
    }  # fmt: skip
    found = {f"{short}.{part}": weights[f"{layer}{name}.{part}"] for short, name in names.items() for part in _PARTS}
    for part in _PARTS:
        three = [weights[f"{layer}attention.self.{name}.{part}"] for name in ("query", "key", "value")]
        found[f"qkv.{part}"] = torch.cat(three)
    return found


def _today(name: str) -> str:
    """Name of a weight as written today, from any age and any head around the encoder."""
    name = name.removeprefix("bert.")
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _runs(tokens: Sequence[list[int]]) -> Iterator[tuple[int, int, int]]:
    """First token, number of texts and their length, of each run of texts of one length.

    >>> list(_runs([[1, 2], [3, 4], [5]]))
    [(0, 2, 2), (4, 1, 1)]
    """
    start = 0
    for length, group in groupby(len(text) for text in tokens):
        n = sum(1 for _ in group)
        yield start, n, length
        start += n * length


def _unreadable(stamp: EncoderStamp, checkpoint: Checkpoint, error: Exception) -> EncoderError:
    """A file of the checkpoint that cannot be read."""
    return EncoderError(f"encoder {stamp.name!r}: {checkpoint.encoder} cannot be read ({error}); copy it there again")
