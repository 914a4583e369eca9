"""A checkpoint of the BERT family as tensors that can be cut and fitted: reading, running differentiably, writing.

Covers what `profiling.families` lists. What comes out is a plain checkpoint folder: the packed runtime, OpenVINO, ONNX
and int8 open it like any other, and so does transformers, unless heads were taken out: its configurations cannot say
that heads do not fill the width. What to cut is `prune`'s work, fitting is `distil_encoder`'s. Imports torch.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from ...profiling.encoders.bert import pool
from ...profiling.encoders.checkpoint import Checkpoint, checkpoint_folder, read_checkpoint
from ...profiling.encoders.families import FAMILIES, Family
from ...profiling.encoders.stamp import EncoderStamp
from ...profiling.encoders.tokens import Tokens
from ...profiling.encoders.weights import Weights, plain_name, read_weights, relative_bias
from ...profiling.errors import EncoderError
from ...profiling.runtimes.padding import padded

Layer = dict[str, torch.Tensor]
Tap = Callable[[int, str, torch.Tensor], torch.Tensor]
"""Told the layer, the map (``out`` or ``down``) and what enters it, (n, length, n_in); what it returns goes in."""

_MASKED = -10_000.0
_CONFIG_NAMES = {
    "layers": ("num_hidden_layers", "n_layers"),
    "heads": ("num_attention_heads", "n_heads"),
    "units": ("intermediate_size", "hidden_dim"),
}
_PARTS = ("weight", "bias")
_WHOLE = ("out", "up", "down", "norm1", "norm2")


@dataclass(frozen=True, eq=False)
class Slim:
    """A network on the CPU in float32.

    Attributes:
        folder: the checkpoint it was read from: its tokenizer, pooling and embeddings stay
        checkpoint: what that says
        weights: its tensors; layers may be fewer or smaller than the checkpoint's
        max_length: tokens kept of a text
    """

    folder: Path
    checkpoint: Checkpoint
    weights: Weights
    max_length: int

    @property
    def n_layers(self) -> int:
        """How many layers."""
        return len(self.weights.layers)

    @property
    def heads(self) -> int:
        """Attention heads in each layer."""
        return self.weights.shape.heads

    @property
    def head_size(self) -> int:
        """Width of a head."""
        return self.weights.layers[0]["out.weight"].shape[1] // self.heads

    @property
    def units(self) -> int:
        """Units of each layer's feed-forward part."""
        return self.weights.layers[0]["up.weight"].shape[0]

    def with_layers(self, layers: Sequence[Layer], *, heads: int | None = None) -> Slim:
        """The same network with other layers."""
        shape = replace(self.weights.shape, layers=len(layers), heads=heads or self.heads)
        return replace(self, weights=replace(self.weights, layers=tuple(layers), shape=shape))

    def n_parameters(self) -> int:
        """Numbers in the network, embeddings included, a head on top of it not."""
        weights = self.weights
        around = weights.words.numel() + weights.positions.numel() + sum(part.numel() for part in weights.norm)
        return around + sum(tensor.numel() for layer in weights.layers for tensor in layer.values())


def read_slim(name: str, *, max_length: int | None = None) -> Slim:
    """The network of a package, a checkpoint folder or a hub name.

    Raises:
        EncoderError: there is none, it cannot be read, or it is not of the BERT family.
    """
    folder = checkpoint_folder(name)
    checkpoint = read_checkpoint(folder)
    if checkpoint.shape is None:
        raise EncoderError(
            f"encoder {name!r} must be of the BERT family ({', '.join(FAMILIES)}) with model.safetensors and "
            "tokenizer.json to be made smaller; name another checkpoint"
        )
    weights = read_weights(checkpoint, EncoderStamp(weights="", name=name), device="cpu", dtype=torch.float32)
    length = min(max_length or checkpoint.max_length, checkpoint.positions)
    return Slim(folder, checkpoint, weights, length)


def slim_tokens(slim: Slim, texts: Sequence[str], kind: str = "item") -> list[list[int]]:
    """Token ids of texts as the encoder would cut them, the prompt of ``kind`` before each."""
    stamp = EncoderStamp(weights="", max_length=slim.max_length)
    prompt = slim.checkpoint.prompts.get(kind, "")
    return Tokens(slim.checkpoint, stamp)([prompt + text for text in texts]) if texts else []


def forward(slim: Slim, tokens: Sequence[list[int]], *, tap: Tap | None = None) -> torch.Tensor:
    """Unit vectors of one batch of token ids, (n, dim), differentiable in the layers' tensors.

    Args:
        slim: the network
        tokens: at least one text; texts of one length waste nothing
        tap: sees, and may change, what enters ``out`` and ``down`` of each layer
    """
    ids, there = (torch.from_numpy(part) for part in padded(tokens))  # (n, length)
    weights = slim.weights
    hidden = functional.embedding(ids, weights.words) + weights.positions[: ids.shape[1]]
    hidden = functional.layer_norm(hidden, hidden.shape[-1:], *weights.norm, weights.shape.norm_eps)
    bias = (1 - there)[:, None, None, :] * _MASKED  # (n, 1, 1, length)
    if weights.relative is not None:
        bias = bias + relative_bias(weights.relative, ids.shape[1])
    for number, layer in enumerate(weights.layers):
        seen = _attend(hidden, layer, weights.shape.heads, bias)  # (n, length, heads * head_size)
        seen = seen if tap is None else tap(number, "out", seen)
        hidden = _norm(hidden + _linear(seen, layer, "out"), layer, "norm1", weights.shape.norm_eps)
        wide = functional.gelu(_linear(hidden, layer, "up"))  # (n, length, units)
        wide = wide if tap is None else tap(number, "down", wide)
        hidden = _norm(hidden + _linear(wide, layer, "down"), layer, "norm2", weights.shape.norm_eps)
    return functional.normalize(pool(hidden, there, slim.checkpoint.pooling))


def vectors_of(slim: Slim, tokens: Sequence[list[int]], *, batch: int = 32) -> torch.Tensor:
    """Unit vectors of many texts in their order, (n, dim), without gradients; sorted by length inside."""
    order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
    found = torch.empty(len(tokens), slim.weights.words.shape[1])
    with torch.no_grad():
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            found[rows] = forward(slim, [tokens[row] for row in rows])
    return found


def write_slim(slim: Slim, folder: str | Path, *, about: Mapping[str, Any] | None = None) -> Path:
    """Write a checkpoint folder; tokenizer, pooling and embeddings are those of the checkpoint it came from.

    Args:
        slim: the network
        folder: new or empty
        about: how it was made, JSON values, kept as ``smaller.json``

    Raises:
        EncoderError: ``folder`` holds something, or cannot be written.
    """
    folder = Path(folder)
    check_new_folder(folder)
    try:
        _copy_around(slim, folder)
        _write_weights(slim, folder)
        says = {"from": str(slim.folder.name), "layers": slim.n_layers, "heads": slim.heads, "units": slim.units}
        (folder / "smaller.json").write_text(json.dumps(says | dict(about or {}), indent=1))
    except OSError as error:
        raise EncoderError(f"folder {folder} cannot be written ({error}); free space or name another") from error
    return folder


def check_new_folder(folder: str | Path) -> None:
    """Refuse a folder that holds something, before minutes of work.

    Raises:
        EncoderError: it does.
    """
    if Path(folder).exists() and any(Path(folder).iterdir()):
        raise EncoderError(f"folder {folder} holds something; name a new folder or empty it")


def _attend(hidden: torch.Tensor, layer: Layer, heads: int, bias: torch.Tensor) -> torch.Tensor:
    """What attention sees, heads side by side, (n, length, heads * head_size)."""
    n, length, _ = hidden.shape
    mixed = _linear(hidden, layer, "qkv").view(n, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
    seen = functional.scaled_dot_product_attention(mixed[0], mixed[1], mixed[2], attn_mask=bias)
    return seen.transpose(1, 2).reshape(n, length, -1)


def _linear(given: torch.Tensor, layer: Layer, name: str) -> torch.Tensor:
    return functional.linear(given, layer[f"{name}.weight"], layer[f"{name}.bias"])


def _norm(given: torch.Tensor, layer: Layer, name: str, eps: float) -> torch.Tensor:
    return functional.layer_norm(given, given.shape[-1:], layer[f"{name}.weight"], layer[f"{name}.bias"], eps)


def _copy_around(slim: Slim, folder: Path) -> None:
    """Everything but the weights, the configuration's sizes changed."""
    source, inner = slim.folder, slim.checkpoint.encoder.relative_to(slim.folder)
    skipped = shutil.ignore_patterns(
        "README.md", "*.safetensors", "*.safetensors.index.json", "*.bin", "*.onnx", "openvino*", "onnx"
    )
    shutil.copytree(source, folder, ignore=skipped, dirs_exist_ok=True)
    path = folder / inner / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for attribute, names in _CONFIG_NAMES.items():
        said = next((name for name in names if name in config), names[0])
        config[said] = {"layers": slim.n_layers, "heads": slim.heads, "units": slim.units}[attribute]
    if slim.head_size * slim.heads != slim.checkpoint.dim:
        config["attention_head_size"] = slim.head_size
    path.write_text(json.dumps(config, indent=1), encoding="utf-8")


def _write_weights(slim: Slim, folder: Path) -> None:
    """The tensors under the family's names; those outside the layers as they were."""
    from safetensors.torch import load_file, save_file

    family = FAMILIES[slim.weights.shape.family]
    inner = slim.checkpoint.encoder.relative_to(slim.folder)
    start = family.layer.split("{n}")[0]  # "encoder.layer."
    kept, dtype = {}, torch.float32
    for name, tensor in load_file(slim.checkpoint.encoder / "model.safetensors").items():
        plain = plain_name(name, family)
        if plain.startswith(start):
            dtype = tensor.dtype
        elif tensor.is_floating_point() and plain.startswith(("embeddings.", "encoder.", "pooler.")):
            kept[plain] = tensor
    for number, layer in enumerate(slim.weights.layers):
        kept |= {name: tensor.to(dtype) for name, tensor in _named(layer, family, number).items()}
    (folder / inner).mkdir(parents=True, exist_ok=True)
    made = {name: tensor.detach().clone().contiguous() for name, tensor in kept.items()}
    save_file(made, folder / inner / "model.safetensors", {"format": "pt"})


def _named(layer: Layer, family: Family, number: int) -> dict[str, torch.Tensor]:
    """A layer's tensors under the family's names, query, key and value apart."""
    prefix = family.layer.format(n=number)
    names = {part: getattr(family, part) for part in _WHOLE}
    made = {f"{prefix}{name}.{kind}": layer[f"{part}.{kind}"] for part, name in names.items() for kind in _PARTS}
    for kind in _PARTS:
        query, key, value = layer[f"qkv.{kind}"].chunk(3)
        three = {family.query: query, family.key: key, family.value: value}
        made |= {f"{prefix}{name}.{kind}": tensor for name, tensor in three.items()}
    return made
