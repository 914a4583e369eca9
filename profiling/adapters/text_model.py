"""A BERT-family transformer with pooling and an adapter, differentiable: tokens in, unit vectors out.

Covers opening a checkpoint for training, batches sorted by length, gradient checkpointing and use under
DistributedDataParallel. Encoding a shop's texts is the encoders' work (`encoder`), which is faster without gradients.
Importing this module imports torch and transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint as recompute

from ..encoders.bert import pool
from ..encoders.checkpoint import Checkpoint, checkpoint_folder, read_checkpoint
from ..encoders.families import FAMILIES, Family
from ..encoders.network import load_pretrained
from ..encoders.schedule import batches
from ..errors import EncoderError
from ..texts import TextKind
from .kinds import AdapterConfig, attach_adapter

_BATCH_TOKENS = {"cpu": 1024, "cuda": 16_384}
_SHORTEST = 4
_ADAPTED = ("query", "key", "value", "out", "up", "down")


class TextModel(nn.Module):
    """A transformer with pooling and, once one is attached, an adapter. Opened by `open_text_model`.

    Attributes:
        folder: where the checkpoint is
        transformer: the network as transformers has it, without its unused pooler
        tokenizer: the checkpoint's own
        checkpoint: what its files say
        family: where its network keeps what
        name: what the user called it
        adapter: the configuration of the attached adapter, None without one
        prompt: module that gives virtual tokens' embeddings, None but for prompt tuning
        dim: length of the vectors
        max_length: tokens kept of a text
    """

    prompt: nn.Module | None

    def __init__(
        self,
        transformer: nn.Module,
        tokenizer: Any,
        *,
        folder: Path,
        checkpoint: Checkpoint,
        name: str,
        max_length: int,
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.tokenizer = tokenizer
        self.folder, self.checkpoint, self.name, self.max_length = folder, checkpoint, name, max_length
        self.family = _family(transformer, name)
        self.dim = checkpoint.dim
        self.adapter: AdapterConfig | None = None
        self.prompt = None
        self.tuner: tuple[Any, ...] = ()  # peft's own object, outside of the modules: they are in the transformer
        self.pooler = (getattr(transformer, "pooler", None),)  # never used, so never trained; kept for saving
        if self.pooler[0] is not None:
            transformer.pooler = None  # type: ignore[assignment]
        self._pad = int(tokenizer.pad_token_id or 0)
        self._backend = getattr(tokenizer, "backend_tokenizer", None)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def layers(self) -> list[nn.Module]:
        """The network's layers."""
        return list(self.transformer.get_submodule(self.family.layer.partition(".{n}")[0]).children())

    def map_names(self, which: Sequence[str] = _ADAPTED, *, first_layer: int = 0) -> list[str]:
        """Full names in `transformer` of linear maps of all layers from ``first_layer`` on.

        Args:
            which: among ``query``, ``key``, ``value``, ``out``, ``up`` and ``down``
            first_layer: layers below are left out

        Raises:
            EncoderError: there is no such layer.
        """
        n = len(self.layers)
        if first_layer >= n:
            raise EncoderError(f"adapter: first_layer must be below the network's {n} layers, got {first_layer}")
        return [
            self.family.layer.format(n=layer) + getattr(self.family, short)
            for layer in range(first_layer, n)
            for short in which
        ]

    def tokens(self, texts: Sequence[str], kind: TextKind | None = None) -> list[list[int]]:
        """Token ids of each text, special tokens included, cut to the length the model keeps.

        With ``kind`` the checkpoint's prompt for it goes before each text.
        """
        before = self.checkpoint.prompts.get(kind, "") if kind else ""
        texts = [before + text for text in texts]
        texts = [text.lower() for text in texts] if self.checkpoint.lower else texts
        if self._backend is not None:
            self._backend.no_padding()
            self._backend.enable_truncation(self.max_length)
            return [encoding.ids for encoding in self._backend.encode_batch_fast(texts)]
        return self.tokenizer(texts, truncation=True, max_length=self.max_length)["input_ids"]

    def forward(
        self, input_ids: torch.Tensor | Sequence[list[int]], attention_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Unit vectors, (b, dim) float32.

        Args:
            input_ids: token ids (b, t), padded; or a list of token ids of any lengths, which then go through
                `encode_tokens`: the one call that DistributedDataParallel needs
            attention_mask: 1 at tokens and 0 at padding, (b, t); None = nothing is padded
        """
        if not isinstance(input_ids, torch.Tensor):
            return self.encode_tokens(input_ids)
        mask = attention_mask
        if self.prompt is None:
            hidden = self.transformer(input_ids=input_ids, attention_mask=mask).last_hidden_state
        else:
            hidden = self._after_prompt(input_ids, mask)
        return functional.normalize(pool(hidden.float(), mask, self.checkpoint.pooling))

    def encode_tokens(self, tokens: Sequence[list[int]], *, batch_tokens: int | None = None) -> torch.Tensor:
        """Unit vectors of token ids, (n, dim), in their order, differentiable where gradients are on.

        Texts are sorted by length and go through the network ``batch_tokens`` at a time, padding included; None = 1,024
        on a CPU, 16,384 on a GPU.
        """
        order, parts = [], []
        budget = batch_tokens or _BATCH_TOKENS[self.device.type]
        for rows in batches([len(text) for text in tokens], budget):
            ids, mask = padded([tokens[row] for row in rows], self._pad, self.device)
            parts.append(self.forward(ids, mask))
            order.extend(rows)
        if not parts:
            return torch.zeros(0, self.dim, device=self.device)
        back = torch.empty(len(order), dtype=torch.int64)
        back[torch.tensor(order)] = torch.arange(len(order))
        return torch.cat(parts)[back.to(self.device)]

    def _after_prompt(self, ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Token vectors of the text alone, (b, t, dim), behind virtual tokens that every token attends to."""
        if self.prompt is None:
            raise EncoderError("the model has no virtual tokens; attach a prompt adapter first")
        words = self.transformer.get_input_embeddings()(ids)  # type: ignore[operator]
        virtual = self.prompt()[None].expand(len(ids), -1, -1).to(words.dtype)  # (b, v, dim)
        n = virtual.shape[1]
        if mask is not None:
            mask = torch.cat([mask.new_ones(len(ids), n), mask], dim=1)  # (b, v + t)
        out = self.transformer(inputs_embeds=torch.cat([virtual, words], dim=1), attention_mask=mask)
        return out.last_hidden_state[:, n:]


def open_text_model(
    name: str,
    adapter: AdapterConfig | None = None,
    *,
    seed: int = 0,
    dropout: float | None = None,
    max_length: int | None = None,
    checkpointing: bool = False,
) -> TextModel:
    """A checkpoint ready for training, on the CPU in float32, in training mode.

    Args:
        name: package, folder or hub name, as `checkpoint_folder` takes it
        adapter: what is attached and alone trained; None = nothing is attached and every parameter is trained
        seed: draws the adapter's first values
        dropout: of the network, in [0, 1); None = what the checkpoint says
        max_length: tokens kept of a text, None = what the checkpoint says
        checkpointing: compute each layer again in the backward pass instead of keeping what it needs: less memory, a
            third more time

    Raises:
        EncoderError: the checkpoint cannot be found or read or is not of the BERT family, or ``dropout`` or
            ``max_length`` is out of range.
    """
    if dropout is not None and not 0 <= dropout < 1:
        raise EncoderError(f"dropout must be in [0, 1), got {dropout}; leave it out for the checkpoint's own")
    if max_length is not None and max_length < _SHORTEST:
        raise EncoderError(f"max_length must be at least {_SHORTEST}, got {max_length}; leave it out to keep all")
    folder = checkpoint_folder(name)
    checkpoint = read_checkpoint(folder)
    transformer, tokenizer = load_pretrained(checkpoint.encoder, name, torch.float32)
    length = min(max_length or checkpoint.max_length, checkpoint.positions)
    model = TextModel(transformer, tokenizer, folder=folder, checkpoint=checkpoint, name=name, max_length=length)
    if dropout is not None:
        _set_dropout(transformer, dropout)
    if adapter is None:
        model.requires_grad_(True)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            attach_adapter(model, adapter)
    if checkpointing:
        for layer in model.layers:
            layer.forward = partial(_recomputed, layer.forward)  # type: ignore[method-assign]
    return model.train()


def padded(
    tokens: Sequence[list[int]], pad: int, device: torch.device | str = "cpu"
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Token ids as one matrix (b, t) int64 and its mask (b, t), None where nothing is padded."""
    longest = max(len(text) for text in tokens)
    ids = torch.tensor([text + [pad] * (longest - len(text)) for text in tokens])
    lengths = torch.tensor([len(text) for text in tokens])
    mask = None if int(lengths.min()) == longest else (torch.arange(longest) < lengths[:, None]).long()
    return ids.to(device), None if mask is None else mask.to(device)


def _family(transformer: nn.Module, name: str) -> Family:
    """The family of a network."""
    config: Any = transformer.config
    if config.model_type not in FAMILIES:
        raise EncoderError(
            f"encoder {name!r}: adapters know the networks {', '.join(FAMILIES)}, got {config.model_type}; "
            "choose a checkpoint of one of them"
        )
    return FAMILIES[config.model_type]


def _set_dropout(module: nn.Module, dropout: float) -> None:
    """Set every dropout of a network; the configuration it is saved with stays."""
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = dropout


def _recomputed(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A layer whose inner results are computed again in the backward pass."""
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return recompute(forward, *args, use_reentrant=False, **kwargs)
