"""Networks of the BERT family in plain torch, without padding and without importing transformers.

Covers what `families` lists, in one safetensors file with a ``tokenizer.json``, in fp32 and bf16, on CPU and GPU.
Everything else goes through `network`, which is also the oracle of the tests.

All tokens of a batch pass through the linear maps as one matrix. Attention looks at runs of texts of one length at a
time, or, on a GPU in bf16 where torch has it, at all texts in one call of variable-length flash attention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, groupby
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ..errors import EncoderError
from .checkpoint import Checkpoint
from .stamp import EncoderStamp
from .tokens import Tokens
from .weights import DTYPES, read_weights, relative_bias

Run = tuple[int, int, int]
"""First token, number of texts and their length, of a run of texts of one length."""

_BATCH_TOKENS = {"cpu": 1024, "cuda": 65_536}
_FLASH_HEAD = 256  # widest head that flash attention takes


class BertNetwork:
    """A loaded network of the family with its tokenizer: a `runtimes.base.Runtime`.

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
        # on a GPU one batch is prepared while another runs; on a CPU every core has a batch of its own
        self.batch_tokens = _BATCH_TOKENS[self.device]
        self.workers = 2 if self.device == "cuda" else torch.get_num_threads()
        self._stamp, self._norm_eps = stamp, checkpoint.shape.norm_eps if checkpoint.shape else 0.0
        self.tokens = Tokens(checkpoint, stamp)
        self._weights = read_weights(checkpoint, stamp, device=self.device, dtype=DTYPES[stamp.precision])
        self._heads = self._weights.shape.heads
        out = self._weights.layers[0]["out.weight"]  # as wide as all heads, which may be fewer than fill the stream
        self._varlen = _flash(out, self._heads) if self._weights.relative is None else None

    def start_worker(self) -> None:
        """Make the calling thread run its batches on one core; the other workers have the others."""
        if self.device == "cpu":
            torch.set_num_threads(1)

    def end_workers(self) -> None:
        """Threads that start later take over the number set last: make it the caller's again."""
        torch.set_num_threads(torch.get_num_threads())

    def vectors(self, tokens: Sequence[list[int]]) -> NDArray[np.float32]:
        """Unit vectors of one batch of token ids, (n_batch, dim); texts of one length should stand together."""
        lengths = [len(text) for text in tokens]
        runs = list(_runs(lengths))
        ids = np.fromiter(chain.from_iterable(tokens), dtype=np.int32, count=sum(lengths))  # (n_tokens,)
        at = np.concatenate([np.tile(np.arange(length, dtype=np.int32), n) for _, n, length in runs])  # (n_tokens,)
        with torch.inference_mode():
            attend = self._attention(runs, lengths)
            hidden = self._embed(self._there(ids), self._there(at))
            for layer in self._weights.layers:
                hidden = self._layer(hidden, layer, attend)  # (n_tokens, dim)
            return self._back(functional.normalize(self._pool(hidden, runs, lengths)))

    def _embed(self, ids: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        """What enters the first layer, (n_tokens, dim), of token ids and positions, both (n_tokens,)."""
        weights = self._weights
        summed = functional.embedding(ids, weights.words) + functional.embedding(at, weights.positions)
        return self._normalise(summed, *weights.norm)

    def _layer(
        self, hidden: torch.Tensor, layer: dict[str, torch.Tensor], attend: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """One encoder layer over packed tokens, (n_tokens, dim) to the same.

        Sums and the activation are written over what they read: new matrices would cost a tenth of the time.
        """
        mixed = functional.linear(hidden, layer["qkv.weight"], layer["qkv.bias"])  # (n_tokens, 3 dim)
        attended = functional.linear(attend(mixed), layer["out.weight"], layer["out.bias"])
        hidden = self._normalise(attended.add_(hidden), layer["norm1.weight"], layer["norm1.bias"])
        wide = torch.ops.aten.gelu_(functional.linear(hidden, layer["up.weight"], layer["up.bias"]))
        narrow = functional.linear(wide, layer["down.weight"], layer["down.bias"])
        return self._normalise(narrow.add_(hidden), layer["norm2.weight"], layer["norm2.bias"])

    def _attention(self, runs: list[Run], lengths: list[int]) -> Callable[[torch.Tensor], torch.Tensor]:
        """Attention of one batch: query, key and value side by side (n_tokens, 3 dim) to (n_tokens, dim)."""
        if self._varlen is not None:
            ends = self._there(np.cumsum([0, *lengths], dtype=np.int32))  # (n_batch + 1,)
            return lambda mixed: self._attend_flash(mixed, ends, max(lengths))
        relative = self._weights.relative
        biases = [None if relative is None else relative_bias(relative, length) for _, _, length in runs]
        return lambda mixed: self._attend_runs(mixed, runs, biases)

    def _attend_runs(self, mixed: torch.Tensor, runs: list[Run], biases: list[torch.Tensor | None]) -> torch.Tensor:
        """Attention over runs of texts of one length, each with its relative bias or None."""
        attended = mixed.new_empty(len(mixed), mixed.shape[1] // 3)  # (n_tokens, dim)
        for (start, n, length), bias in zip(runs, biases, strict=True):
            stop = start + n * length
            split = mixed[start:stop].view(n, length, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
            # each of the three: (n, heads, length, d)
            seen = functional.scaled_dot_product_attention(split[0], split[1], split[2], attn_mask=bias)
            attended[start:stop] = seen.transpose(1, 2).reshape(n * length, -1)
        return attended

    def _attend_flash(self, mixed: torch.Tensor, ends: torch.Tensor, longest: int) -> torch.Tensor:
        """Attention over all texts in one call; ``ends`` (n_batch + 1,) says where each text starts."""
        if self._varlen is None:
            raise EncoderError("variable-length attention is not available; use device cpu")
        split = mixed.view(len(mixed), 3, self._heads, -1)  # (n_tokens, 3, heads, d)
        seen = self._varlen(split[:, 0], split[:, 1], split[:, 2], ends, ends, longest, longest)
        return seen.reshape(len(mixed), -1)

    def _pool(self, hidden: torch.Tensor, runs: list[Run], lengths: list[int]) -> torch.Tensor:
        """One vector a text, (n_batch, dim) float32, from packed token vectors (n_tokens, dim)."""
        how = self._stamp.pooling
        if self.device == "cuda" and how != "cls":  # one call, however many lengths there are
            return pool_packed(hidden, self._there(np.array(lengths, dtype=np.int32)), how)
        parts = [hidden[start : start + n * length].view(n, length, -1) for start, n, length in runs]
        return torch.cat([pool(part.float(), None, how) for part in parts])

    def _normalise(self, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Layer normalisation of the last axis."""
        return functional.layer_norm(hidden, hidden.shape[-1:], weight, bias, self._norm_eps)

    def _there(self, numbers: NDArray[np.int32]) -> torch.Tensor:
        """Numbers on the device; to a GPU through pinned memory, so that nobody waits."""
        tensor = torch.from_numpy(numbers)
        return tensor if self.device == "cpu" else tensor.pin_memory().to(self.device, non_blocking=True)

    def _back(self, vectors: torch.Tensor) -> NDArray[np.float32]:
        """Vectors in the memory of the CPU; the wait for a GPU lets other threads run."""
        if self.device == "cpu":
            return vectors.numpy()
        here = torch.empty(vectors.shape, dtype=vectors.dtype, pin_memory=True)
        here.copy_(vectors, non_blocking=True)
        done = torch.cuda.Event(blocking=True)
        done.record()
        done.synchronize()
        return here.numpy()


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


def pool_packed(hidden: torch.Tensor, lengths: torch.Tensor, pooling: str) -> torch.Tensor:
    """One vector a text, (n, dim) float32, by ``mean`` or ``max`` from packed token vectors (n_tokens, dim).

    ``lengths`` (n,) are on the device of ``hidden`` and add up to n_tokens; that is not checked, for the check would
    wait for the GPU.
    """
    return torch.segment_reduce(hidden.float(), pooling, lengths=lengths, axis=0, unsafe=True)


def pick_device(device: str) -> str:
    """``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``.

    Raises:
        EncoderError: a GPU is asked for, and torch sees none.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise EncoderError("device is cuda, but torch sees no GPU; use auto or cpu, or install a CUDA build of torch")
    return device


def _flash(out: torch.Tensor, heads: int) -> Callable[..., torch.Tensor] | None:
    """torch's variable-length attention, None where it is absent or does not take such tensors.

    It needs a GPU of compute capability 8 or newer, half precision, and a head width that is a multiple of 8.
    """
    head = out.shape[1] // heads
    if out.device.type != "cuda" or out.dtype != torch.bfloat16 or head % 8 or head > _FLASH_HEAD:
        return None
    if torch.cuda.get_device_capability(out.device) < (8, 0):
        return None
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:  # torch older than 2.10
        return None
    return cast(Callable[..., torch.Tensor], varlen_attn)


def _runs(lengths: Sequence[int]) -> Iterator[Run]:
    """The runs of equal lengths.

    >>> list(_runs([2, 2, 1]))
    [(0, 2, 2), (4, 1, 1)]
    """
    start = 0
    for length, group in groupby(lengths):
        n = sum(1 for _ in group)
        yield start, n, length
        start += n * length
