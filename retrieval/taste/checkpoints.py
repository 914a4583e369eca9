"""Checkpoints of a taste training run: tensors and JSON values in one safetensors file that is whole or not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ...profiling.errors import ArtefactError
from ...profiling.files import write_whole

_META = "run"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Where a run stands after an epoch.

    Attributes:
        digest: what is trained on what, from which seed
        tensors: weights, averages and the optimiser's memory, by name
        values: objective after each epoch so far; NaN where there is none
        seconds: training time so far
    """

    digest: str
    tensors: Mapping[str, Tensor]
    values: tuple[float, ...]
    seconds: float


def write_checkpoint(file: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint in ``file``, whose folder is made if absent."""
    from safetensors.torch import save

    file.parent.mkdir(parents=True, exist_ok=True)
    said = {name: getattr(checkpoint, name) for name in ("digest", "values", "seconds")}
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}
    write_whole(file, save(tensors, metadata={_META: json.dumps(said)}), tag=file.name)


def read_checkpoint(file: Path, digest: str) -> Checkpoint:
    """The checkpoint in ``file``.

    Raises:
        ArtefactError: it cannot be read, or belongs to a run with another digest.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as stored:
            said: dict[str, Any] = json.loads((stored.metadata() or {})[_META])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ArtefactError(f"taste checkpoint {file}: cannot be read ({error}); remove it to begin anew") from error
    if said["digest"] != digest:
        raise ArtefactError(
            f"taste checkpoint {file}: made with other options, data or seed; choose another folder or remove it"
        )
    return Checkpoint(digest, tensors, tuple(said["values"]), said["seconds"])
