"""Encoders: text in, unit vectors out. The protocol, its configuration, and opening one by name.

The implementations are `hashing.HashEncoder` (for tests) and `transformer.TransformerEncoder` (any BERT-like
checkpoint), the latter imported only when asked for. Training encoders is the finetune room's work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from .checkpoint import DEFAULT_ENCODER, checkpoint_folder
from .errors import EncoderError
from .hashing import HashEncoder
from .stamp import EncoderStamp
from .texts import TEXT_KINDS, TextKind, clean_texts

__all__ = [
    "PINS",
    "TEXT_KINDS",
    "Encoder",
    "EncoderConfig",
    "EncoderStamp",
    "HashEncoder",
    "TextKind",
    "checkpoint_folder",
    "clean_texts",
    "open_encoder",
]

PINS: Mapping[str, str] = {
    DEFAULT_ENCODER: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}
"""Weights sha256 that an encoder of this name must have unless the configuration pins another."""


STATIC = "static:"
"""What the name of a static encoder's folder follows."""


@runtime_checkable
class Encoder(Protocol):
    """What every encoder offers."""

    dim: int
    stamp: EncoderStamp

    def encode(self, texts: Sequence[str | None], kind: TextKind = "item") -> NDArray[np.float32]:
        """Vectors of ``texts`` in their order, (n, dim) float32.

        Rows have unit length; an empty, blank or null text gets the zero vector (a missing block is zeros).

        Raises:
            EncoderError: ``texts`` is one string or holds something that is not text, or ``kind`` is unknown.
        """
        ...


class EncoderConfig(BaseModel):
    """Which encoder, and how it runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(
        default=DEFAULT_ENCODER,
        min_length=1,
        description="installed package with get_model_path(), folder of a checkpoint, hub name, static:FOLDER, or "
        "hash:DIM for tests",
    )
    weights_sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="sha256 the weights must have; null = the known one of a known name",
    )
    max_length: int | None = Field(
        default=None, ge=4, le=8192, description="tokens kept of a text; null = what the checkpoint says"
    )
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32", description="arithmetic; bf16 is faster where the processor has it, much slower elsewhere"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto = the GPU if there is one")
    batch_tokens: int | None = Field(
        default=None, ge=64, description="tokens in a batch, padding included; null = 1,024 on a CPU, 65,536 on a GPU"
    )
    threads: int | None = Field(
        default=None, ge=1, le=1024, description="CPU threads of torch, process-wide; null = leave alone"
    )


def open_encoder(config: EncoderConfig | None = None) -> Encoder:
    """The encoder a configuration names; the default one without a configuration.

    A name is looked for as ``hash`` or ``hash:DIM``, ``static:FOLDER`` (see `static`), then a folder, then an installed
    package, then on the model hub.

    Raises:
        EncoderError: nothing of that name can be found or read, or its weights are not the pinned ones.

    >>> open_encoder(EncoderConfig(name="hash:32")).dim
    32
    """
    config = EncoderConfig() if config is None else config
    hashed = re.fullmatch(r"hash(?::(\d{1,6}))?", config.name)
    if hashed:
        return _open_hash(config, int(hashed[1] or 64))
    if config.name.startswith(STATIC):
        from .static import open_static

        return open_static(config.name.removeprefix(STATIC), name=config.name, weights_sha256=config.weights_sha256)
    folder = checkpoint_folder(config.name)
    from .transformer import TransformerEncoder

    return TransformerEncoder(
        folder,
        name=config.name,
        weights_sha256=config.weights_sha256 or PINS.get(config.name),
        max_length=config.max_length,
        precision=config.precision,
        device=config.device,
        batch_tokens=config.batch_tokens,
        threads=config.threads,
    )


def _open_hash(config: EncoderConfig, dim: int) -> HashEncoder:
    """The hash encoder, its pin checked like any other's."""
    encoder = HashEncoder(dim=dim)
    if config.weights_sha256 not in (None, encoder.stamp.weights):
        raise EncoderError(
            f"encoder {config.name!r}: weights_sha256 is pinned to {config.weights_sha256}, "
            f"but its weights have {encoder.stamp.weights}; mend the pin or take it out"
        )
    return encoder
