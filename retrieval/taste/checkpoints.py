"""Checkpoints of taste trainings: tensors and JSON values in one safetensors file that is whole or not there.

Also which trainings' checkpoints stay where many are kept side by side; what names them is their owner's.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ...profiling.errors import ArtefactError
from ...profiling.files import write_whole

_META = "run"
_OURS = re.compile("[0-9a-f]{16}")

KEPT = 24
"""Trainings whose checkpoints stay; one of 92,000 items takes 230 MB."""


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
    """The checkpoint in ``file``, which counts as used now.

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
    with suppress(OSError):  # a folder that may only be read
        file.touch()
    return Checkpoint(digest, tensors, tuple(said["values"]), said["seconds"])


def prune_checkpoints(folder: Path, *, keep: int = KEPT) -> tuple[str, ...]:
    """Remove the checkpoints of trainings but the ``keep`` used last, and say which.

    Args:
        folder: holds a folder for each training, named by 16 hex digits; everything else in it stays
        keep: how many stay

    A training that is under way was used last, and would write its next checkpoint into a folder that it makes anew.
    """
    if not folder.is_dir():
        return ()
    used = {}
    for one in folder.iterdir():
        if _OURS.fullmatch(one.name) and one.is_dir() and not one.is_symlink():
            with suppress(OSError):  # another process is pruning too
                used[one.name] = max(file.stat().st_mtime_ns for file in (one, *one.iterdir()))
    gone = sorted(used, key=lambda name: (-used[name], name))[keep:]
    for name in gone:
        shutil.rmtree(folder / name, ignore_errors=True)
    return tuple(gone)
