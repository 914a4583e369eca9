"""Encoders: text in, unit vectors out. The protocol, its configuration, and opening one by name.

The implementations are `hashing.HashEncoder` (for tests) and `transformer.TransformerEncoder` (any BERT-like
checkpoint), the latter imported only when asked for. Training encoders is the finetune room's work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..errors import EncoderError
from ..texts import TEXT_KINDS, TextKind, clean_texts
from .checkpoint import DEFAULT_ENCODER, checkpoint_folder
from .hashing import HashEncoder
from .stamp import EncoderStamp

if TYPE_CHECKING:
    from ..runtimes.quantise import QuantiseConfig
    from .transformer import TransformerEncoder

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
    "prepare_encoder",
]

PINS: Mapping[str, str] = {
    DEFAULT_ENCODER: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}
"""Weights sha256 that an encoder of this name must have unless the configuration pins another."""


STATIC = "static:"
"""What the name of a static encoder's folder follows."""

_HASH = re.compile(r"hash(?::(\d{1,6}))?")


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
    adapter: str | None = Field(
        default=None, min_length=1, description="folder of an adapter trained on that checkpoint; null = none"
    )
    weights_sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="sha256 the weights must have; null = the known one of a known name",
    )
    max_length: int | None = Field(
        default=None, ge=4, le=8192, description="tokens kept of a text; null = what the checkpoint says"
    )
    precision: Literal["auto", "fp32", "bf16", "int8"] = Field(
        default="fp32",
        description="arithmetic; auto = the fastest lossless one here (bf16 on a GPU or a processor that has it, else "
        "fp32); int8 is faster, not lossless, and has to be prepared on the shop's texts",
    )
    runtime: Literal["auto", "torch", "openvino", "onnx"] = Field(
        default="auto", description="engine; auto = torch, for int8 the faster one of the others on this processor"
    )
    prepared: str | None = Field(
        default=None,
        min_length=1,
        description="folder of exported and quantised networks; int8 needs it, others open sooner with it",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto = the GPU if there is one")
    batch_tokens: int | None = Field(
        default=None,
        ge=64,
        description="tokens in a batch, padding included; null = 512 or 1,024 on a CPU, 65,536 on a GPU",
    )
    threads: int | None = Field(
        default=None, ge=1, le=1024, description="CPU threads of torch, process-wide; null = leave alone"
    )


def open_encoder(config: EncoderConfig | None = None) -> Encoder:
    """The encoder a configuration names; the default one without a configuration.

    A name is looked for as ``hash`` or ``hash:DIM``, ``static:FOLDER`` (see `static`), then a folder, then an installed
    package, then on the model hub.

    Raises:
        EncoderError: nothing of that name can be found or read, its weights are not the pinned ones, or the adapter is
            corrupted, does nothing, or is for other weights.

    >>> open_encoder(EncoderConfig(name="hash:32")).dim
    32
    """
    config = EncoderConfig() if config is None else config
    hashed = _HASH.fullmatch(config.name)
    if config.adapter is not None and (hashed or config.name.startswith(STATIC)):
        raise EncoderError(
            f"encoder {config.name!r}: adapter must be null for it, got {config.adapter!r}; leave it out"
        )
    if hashed:
        return _open_hash(config, int(hashed[1] or 64))
    if config.name.startswith(STATIC):
        from .static import open_static

        return open_static(config.name.removeprefix(STATIC), name=config.name, weights_sha256=config.weights_sha256)
    return _open_transformer(config)


def prepare_encoder(
    config: EncoderConfig | None,
    texts: Sequence[str | None],
    folder: str | Path,
    *,
    quantise: QuantiseConfig | None = None,
) -> Encoder:
    """The encoder a configuration names, its exported or quantised network kept under ``folder``.

    int8 is calibrated on a seeded sample of ``texts`` (`runtimes.prepared.calibration_texts`). What is kept there is
    used again while the checkpoint, the sample and the configuration are the same, and can be opened later without the
    texts through ``EncoderConfig.prepared``. An encoder that needs no such network is just opened.

    Args:
        config: which encoder; None = the default one
        texts: the shop's texts, as they will be encoded
        folder: made if absent; holds one network a precision and engine
        quantise: how int8 is made, None = the defaults

    Raises:
        EncoderError: as `open_encoder`, or there is no text to calibrate int8 on.
        ArtefactError: ``folder`` cannot be written.
    """
    config = EncoderConfig() if config is None else config
    if not _exported(config):
        return open_encoder(config)
    from ..runtimes.prepared import prepare_model
    from ..runtimes.quantise import QuantiseConfig

    bare = _open_transformer(config.model_copy(update={"prepared": None}))
    stamp = prepare_model(bare.checkpoint, bare.stamp, texts, folder, quantise or QuantiseConfig())
    kept = {"prepared": str(folder), "precision": stamp.precision, "runtime": stamp.runtime}
    return open_encoder(config.model_copy(update=kept))


def _exported(config: EncoderConfig) -> bool:
    """Whether the encoder runs in an engine that needs an exported network."""
    if config.name.startswith(STATIC) or _HASH.fullmatch(config.name):
        return False
    from ..runtimes.choose import choose

    return choose(config.precision, config.runtime, config.device).runtime != "torch"


def _engine(config: EncoderConfig) -> tuple[str, str]:
    """Precision and engine that a configuration means here; what is prepared decides before what would be faster."""
    from ..runtimes.choose import choose, published

    kept = published(config.prepared, config.precision) if config.prepared else ()
    if config.runtime != "auto":
        kept = tuple(name for name in kept if name == config.runtime)
    if config.precision == "int8" and len(kept) == 1:  # saves looking at the processor, which imports torch
        return config.precision, kept[0]
    choice = choose(config.precision, config.runtime, config.device)
    return choice.precision, kept[0] if kept and choice.runtime not in (*kept, "torch") else choice.runtime


def _open_transformer(config: EncoderConfig) -> TransformerEncoder:
    """A checkpoint's encoder in the precision and the engine that the configuration means here."""
    from .transformer import TransformerEncoder

    folder = checkpoint_folder(config.name)
    precision, runtime = _engine(config)
    return TransformerEncoder(
        folder,
        name=config.name,
        weights_sha256=config.weights_sha256 or PINS.get(config.name),
        max_length=config.max_length,
        precision=precision,
        runtime=runtime,
        adapter=config.adapter,
        prepared=config.prepared,
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
