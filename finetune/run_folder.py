"""The files of a training run, whatever is trained: settings, plan, curve and outcome, written whole.

Layout of a run::

    RUN/config.json      effective settings
    RUN/plan.json        what it starts from: base, data digest, steps, parameters, versions
    RUN/checkpoints/     the newest and the best state, enough to go on bit by bit
    RUN/curve.csv        one row a log line: loss, rate, validation figures
    RUN/result.json      figures before and after; its presence says the run is done
    RUN/report.html      the curves

What is trained is `run`'s and `cross_encoder.run`'s work.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from pydantic import BaseModel
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..evaluation.harness import Progress
from ..evaluation.versions import versions
from ..profiling.encoders.stamp import EncoderStamp
from ..profiling.errors import ConfigError
from ..profiling.files import write_whole
from .curves import curves_page

if TYPE_CHECKING:
    from .prepare import Prepared

_Settings = TypeVar("_Settings", bound=BaseModel)


class RunSettings(Protocol):
    """Settings of a run of any kind."""

    def arm(self) -> str:
        """Digest of all settings but seed and shop."""
        ...

    def model_dump_json(self, *, indent: int | None = None) -> str:
        """As JSON."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What a run gave.

    Attributes:
        folder: of the run
        base, tuned: validation figures before and after
        best_step, steps: where the best state was, and how many steps were made
        trained, parameters: how many parameters were trained, of how many
        adapter: digest of what was saved
        seconds: of training, in this process since it started or resumed
    """

    folder: str
    base: Mapping[str, float]
    tuned: Mapping[str, float]
    best_step: int
    steps: int
    trained: int
    parameters: int
    adapter: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def read_outcome(folder: str | Path) -> Outcome:
    """The outcome of a finished run.

    Raises:
        ConfigError: the folder holds no finished run.
    """
    path = Path(folder) / "result.json"
    try:
        return Outcome(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"run {folder}: {path.name} cannot be read ({error}); name the folder of a finished run"
        ) from error


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Write the result, which says that the run is done, and the page of its curves."""
    write_json(folder / "result.json", outcome.to_dict())
    (folder / "report.html").write_text(curves_page(folder.name, read_curve(folder), outcome.to_dict()), "utf-8")


def read_settings(folder: str | Path, kind: type[_Settings]) -> _Settings:
    """The effective settings of a run.

    Raises:
        ConfigError: the folder holds no run of that kind.
    """
    path = Path(folder) / "config.json"
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"run {folder}: {path.name} cannot be read ({error}); name the folder of a run") from error


def read_curve(folder: str | Path) -> list[dict[str, float]]:
    """Rows of a run's curve; a column that a row has no value in is absent from it."""
    path = Path(folder) / "curve.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def plan_of(prepared: Prepared, config: RunSettings, base: EncoderStamp, steps: int) -> dict[str, Any]:
    """What a run starts from."""
    return {
        "arm": config.arm(),
        "base": base.to_dict(),
        "data": prepared.data_digest,
        "anchors": len(prepared.train),
        "links": prepared.train.n_links,
        "documents": len(prepared.train.documents),
        "sources": {str(k): int(v) for k, v in zip(*np.unique(prepared.train.source, return_counts=True), strict=True)},
        "held_out": "validation judgements" if prepared.judged else "a share of the anchors",
        "held_out_anchors": len(prepared.held.anchors),
        "steps": steps,
        "versions": dict(versions()),
    }


def claim(folder: Path, config: _Settings, plan: Mapping[str, Any], *, writes: bool) -> None:
    """Make a run's folder, or find the same run unfinished in it.

    Raises:
        ConfigError: it holds a finished run, or one of other settings, data or base.
    """
    if (folder / "result.json").is_file():
        raise ConfigError(f"out: {folder} holds a finished run; name another folder, or delete that one")
    if (folder / "config.json").is_file():
        if read_settings(folder, type(config)) != config:
            raise ConfigError(f"out: {folder} holds a run of other settings; name another folder, or delete that one")
        known = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        for name in ("data", "base", "steps"):
            if known[name] != plan[name]:
                raise ConfigError(
                    f"out: {folder} holds a run that began with another {name} (the shop or the encoder has changed "
                    "since); name another folder, or delete that one"
                )
    elif writes:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "plan.json", plan)
        write_whole(folder / "config.json", (config.model_dump_json(indent=2) + "\n").encode())


class Curve(TrainerCallback):
    """Writes the learning curve as it grows, and tells how far training is."""

    def __init__(self, folder: Path, tell: Progress, steps_per_epoch: int) -> None:
        self._folder, self._tell, self._pass = folder, tell, steps_per_epoch

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Tell the step."""
        self._tell("training", state.global_step, state.max_steps)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write the curve so far."""
        if state.is_world_process_zero:
            write_whole(self._folder / "curve.csv", _as_csv(state.log_history, self._pass).encode())


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """A file of JSON, written whole."""
    write_whole(path, (json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode())


def _as_csv(rows: list[dict[str, Any]], steps_per_epoch: int) -> str:
    """Log lines as a table, one row a step; what Trainer says at its very end about speed is left out."""
    merged: dict[int, dict[str, Any]] = {}
    for row in rows:
        if "train_runtime" not in row:
            merged.setdefault(int(row["step"]), {}).update(row, epoch=round(row["step"] / steps_per_epoch, 4))
    first = ("step", "epoch")
    columns = [*first, *dict.fromkeys(k for row in merged.values() for k in row if k not in first)]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(merged.values())
    return text.getvalue()
