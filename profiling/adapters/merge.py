"""An adapted model written as an ordinary checkpoint: the adapter's change inside the weights, nothing else different.

Covers the kinds that can be merged, with the tokenizer, pooling and prompts of the base. What comes out is opened by
every runtime here, by transformers and by sentence-transformers.
"""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import EncoderError
from .kinds import ADAPTERS
from .text_model import TextModel

_SMALL = {".json", ".txt", ".model"}
_INDEX = ".index.json"  # says which file of several holds a weight; the merged checkpoint has one file
_MODULES = (("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize"))


def merged_transformer(model: TextModel) -> nn.Module:
    """A copy of the network on the CPU with the adapter inside its weights, shaped as the base's; for any device.

    Raises:
        EncoderError: the model's kind of adapter cannot be merged.
    """
    kind = "full" if model.adapter is None else model.adapter.kind
    if not ADAPTERS[kind].mergeable:
        able = ", ".join(name for name, spec in ADAPTERS.items() if spec.mergeable)
        raise EncoderError(
            f"adapter: kinds that can be merged are {able}, got {kind}; it runs with the base in torch: "
            "leave it so, or train another kind"
        )
    whole: Any = copy.deepcopy(model).cpu().eval()
    plain = whole.tuner[0].merge_and_unload() if whole.tuner else whole.transformer
    if whole.pooler[0] is not None:
        plain.pooler = whole.pooler[0]
    return plain


def write_merged(model: TextModel, folder: str | Path) -> Path:
    """Write a merged checkpoint into ``folder``, which must not exist; returns it.

    Its configuration and tokenizer are copies of the base's; what pools and normalises is written out where the base
    leaves it unsaid.

    Raises:
        EncoderError: ``folder`` exists, or the model's kind of adapter cannot be merged.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    if folder.exists():
        raise EncoderError(f"merged checkpoint: {folder} exists; name a new folder")
    state = merged_transformer(model).state_dict()
    inner = model.checkpoint.encoder.relative_to(model.folder)
    for file in _about(model):
        target = folder / file.relative_to(model.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in state.items()}
    save_file(tensors, folder / inner / "model.safetensors", {"format": "pt"})
    if not (folder / "modules.json").is_file():
        _write_modules(folder, model)
    return folder


def _about(model: TextModel) -> list[Path]:
    """The base's files that are not weights: of its folder, of the network's and of each module's."""
    modules = model.folder / "modules.json"
    says = json.loads(modules.read_text(encoding="utf-8")) if modules.is_file() else []
    folders = {model.folder, model.checkpoint.encoder, *(model.folder / module.get("path", "") for module in says)}
    return sorted(
        file
        for folder in folders
        if folder.is_dir()
        for file in folder.iterdir()
        if file.is_file() and file.suffix in _SMALL and not file.name.endswith(_INDEX)
    )


def _write_modules(folder: Path, model: TextModel) -> None:
    """Say in sentence-transformers' files how vectors are pooled and that they have unit length."""
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{name}"}
        for at, (name, path) in enumerate(_MODULES)
    ]
    (folder / "modules.json").write_text(json.dumps(modules, indent=1))
    for _, path in _MODULES[1:]:
        (folder / path).mkdir(exist_ok=True)
    how = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens"}
    pooling = {f"pooling_mode_{name}": kind == model.checkpoint.pooling for kind, name in how.items()}
    said = {"word_embedding_dimension": model.dim} | pooling
    (folder / _MODULES[1][1] / "config.json").write_text(json.dumps(said, indent=1))
    (folder / _MODULES[2][1] / "config.json").write_text("{}")
