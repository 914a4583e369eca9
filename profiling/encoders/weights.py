"""A checkpoint's weights, read from safetensors into the one form that every runtime of the family uses.

Covers old and new names, heads around the encoder, query, key and value side by side, and token types and position
offsets folded into one table. Importing this module imports torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from ..errors import EncoderError
from .checkpoint import Checkpoint
from .families import FAMILIES, Family, Shape
from .stamp import EncoderStamp
from .tokens import unreadable

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
LINEARS = ("qkv", "out", "up", "down")
"""The linear maps of a layer, in the order they are applied."""

_PARTS = ("weight", "bias")
_BUCKETS = 32  # of the relative bias: MPNet's code fixes both
_FARTHEST = 128


@dataclass(frozen=True, eq=False)
class Weights:
    """A network of the family.

    Attributes:
        words: one row a token id, (n_words, dim)
        positions: one row a position of a text, the first token type added, (n_positions, dim)
        norm: weight and bias of the embeddings' layer normalisation, each (dim,)
        layers: of each layer ``qkv``, ``out``, ``up``, ``down``, ``norm1``, ``norm2``, each ``.weight`` and ``.bias``
        relative: attention bias by the key's distance from its query, (heads, 2 n_positions - 1), distance 0 in the
            middle; None without one
        shape: layers, heads and so on
    """

    words: torch.Tensor
    positions: torch.Tensor
    norm: tuple[torch.Tensor, torch.Tensor]
    layers: tuple[dict[str, torch.Tensor], ...]
    relative: torch.Tensor | None
    shape: Shape


def read_weights(checkpoint: Checkpoint, stamp: EncoderStamp, *, device: str, dtype: torch.dtype) -> Weights:
    """The weights of a checkpoint of the family, on ``device`` in ``dtype``.

    Raises:
        EncoderError: they cannot be read or are not complete.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if checkpoint.shape is None:
        raise EncoderError(f"encoder {stamp.name!r}: {checkpoint.encoder} is not of the BERT family; use runtime torch")
    shape, family = checkpoint.shape, FAMILIES[checkpoint.shape.family]
    try:
        read = load_file(checkpoint.encoder / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise unreadable(stamp, checkpoint, error) from error
    found = {plain_name(k, family): v.to(device, dtype) for k, v in read.items() if v.is_floating_point()}
    try:
        return _arrange(found, shape, family)
    except KeyError as error:
        raise EncoderError(
            f"encoder {stamp.name!r}: {checkpoint.encoder} lacks the weight {error.args[0]}; copy it there again"
        ) from error


def _arrange(found: dict[str, torch.Tensor], shape: Shape, family: Family) -> Weights:
    """Weights under today's names in the common form; KeyError where one is absent."""
    positions = found["embeddings.position_embeddings.weight"][shape.offset :]  # (n_positions, dim)
    if family.types:
        positions = positions + found[family.types][0]  # every token is of the first type
    return Weights(
        words=found["embeddings.word_embeddings.weight"],
        positions=positions,
        norm=(found["embeddings.LayerNorm.weight"], found["embeddings.LayerNorm.bias"]),
        layers=tuple(_layer(found, family, family.layer.format(n=n)) for n in range(shape.layers)),
        relative=_by_distance(found[family.relative], len(positions)) if family.relative else None,
        shape=shape,
    )


def _layer(found: dict[str, torch.Tensor], family: Family, layer: str) -> dict[str, torch.Tensor]:
    """Weights of one layer, query, key and value side by side."""
    three = (family.query, family.key, family.value)
    names = {"out": family.out, "norm1": family.norm1, "up": family.up, "down": family.down, "norm2": family.norm2}
    made = {f"{short}.{part}": found[f"{layer}{name}.{part}"] for short, name in names.items() for part in _PARTS}
    return made | {f"qkv.{part}": torch.cat([found[f"{layer}{name}.{part}"] for name in three]) for part in _PARTS}


def _by_distance(table: torch.Tensor, n_positions: int) -> torch.Tensor:
    """The relative bias (buckets, heads) spread over all distances, (heads, 2 n_positions - 1).

    Source: MPNet (Song et al., 2020), which took the buckets from T5 (Raffel et al., 2020): half of them for each
    direction, half of these exact, the others growing with the logarithm.
    """
    distance = torch.arange(-(n_positions - 1), n_positions, device=table.device)  # key's position less query's
    half = _BUCKETS // 2
    exact, far = half // 2, distance.abs()
    grown = torch.log(far.clamp(min=1).float() / exact) / math.log(_FARTHEST / exact) * (half - exact)
    bucket = torch.where(far < exact, far, (exact + grown.long()).clamp(max=half - 1)) + half * (distance > 0)
    return functional.embedding(bucket, table).T.contiguous()


def relative_bias(relative: torch.Tensor, length: int) -> torch.Tensor:
    """The attention bias of a text of ``length`` tokens, (heads, length, length), from `Weights.relative`."""
    at = torch.arange(length, device=relative.device)
    return relative[:, at - at[:, None] + relative.shape[1] // 2]


def plain_name(name: str, family: Family) -> str:
    """Name of a weight as written today, from any age and any head around the encoder."""
    for prefix in family.prefixes:
        name = name.removeprefix(prefix)
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
