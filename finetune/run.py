"""One fine-tuning run from a configuration to a verified adapter, in a folder that can be resumed at any time.

Layout of a run::

    RUN/config.json      effective settings
    RUN/plan.json        what it starts from: base, data digest, steps, parameters, versions
    RUN/checkpoints/     the newest and the best state, enough to go on bit by bit
    RUN/curve.csv        one row a log line: loss, rate, validation figures
    RUN/adapter/         the best state as a verified adapter (profiling.adapters.saved), written last but one
    RUN/result.json      figures before and after; its presence says the run is done
    RUN/report.html      the curves

Measuring on the test split is `exam`'s work, comparing runs `compare`'s.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments, set_seed

from ..evaluation.harness import Progress
from ..evaluation.versions import versions
from ..profiling.adapters.kinds import AdapterConfig, n_trainable
from ..profiling.adapters.saving import save_adapter
from ..profiling.adapters.text_model import TextModel, open_text_model
from ..profiling.encoder import EncoderConfig, open_encoder
from ..profiling.errors import ConfigError
from ..profiling.files import write_whole
from ..profiling.shop import Shop
from ..profiling.stamp import EncoderStamp
from .curves import curves_page
from .gather import encode_shared
from .pairs import PAIR_SOURCES
from .prepare import Prepared, material, n_steps, prepare, tokens_as
from .train_config import FinetuneConfig
from .trainer import Look, TextTrainer, last_checkpoint
from .validation import Held, measure

_PROBES = 16


@dataclass(frozen=True)
class Outcome:
    """What a run gave.

    Attributes:
        folder: of the run
        base, tuned: validation figures before and after
        best_step, steps: where the best state was, and how many steps were made
        trained, parameters: how many parameters were trained, of how many
        adapter: digest of the saved adapter
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


def run(
    shop: Shop,
    config: FinetuneConfig,
    out: str | Path,
    *,
    clock: Callable[[], float],
    progress: Progress | None = None,
) -> Outcome:
    """Train, save the state that was best on validation as a verified adapter; goes on where a try stopped.

    In a launch of several processes all call this; the first one writes.

    Args:
        shop: the tables
        config: every setting
        out: folder of the run; an unfinished run of the same settings and data is resumed
        clock: gives seconds
        progress: told what is going on

    Raises:
        ConfigError: ``out`` holds a finished run or one of other settings or data, or the shop lacks what is wanted.
    """
    folder, tell = Path(out), progress or (lambda *_: None)
    state = PartialState(cpu=not torch.cuda.is_available())
    tell("preparing examples", 0, 1)
    prepared = prepare(shop, config)
    steps = n_steps(len(prepared.train), config)
    base_stamp = open_encoder(EncoderConfig(name=config.base)).stamp
    plan = _plan(prepared, config, base_stamp, steps)
    with state.main_process_first():
        _claim(folder, config, plan, writes=state.is_main_process)
    set_seed(config.train.seed)
    model = _open(config, steps)
    if torch.cuda.is_available():
        model.to(state.device)
    look = _look(prepared.held, model, config.train.batch_tokens)
    tell("looking at the base", 0, 1)
    base = _figures(model, look)
    batches = material(prepared, model, config)
    trainer = TextTrainer(
        model,
        batches,
        loss=config.loss,
        config=config.train,
        steps=steps,
        rate=config.learning_rate,
        out=folder / "checkpoints",
        look=look,
        callbacks=[_Curve(folder, tell, batches.steps_per_epoch)],
    )
    began, last = clock(), last_checkpoint(folder / "checkpoints")
    trainer.fit(last)
    seconds = clock() - began
    tuned = _figures(trainer.text_model, look)
    trained, parameters = n_trainable(trainer.text_model)
    saved = ""
    if state.is_main_process:
        saved = _save(trainer.text_model, folder, config, prepared, base_stamp, (base, tuned))
    outcome = Outcome(
        folder=str(folder),
        base=base,
        tuned=tuned,
        best_step=int(trainer.state.best_global_step or trainer.state.global_step),
        steps=int(trainer.state.global_step),
        trained=trained,
        parameters=parameters,
        adapter=saved,
        seconds=round(seconds, 1),
    )
    if state.is_main_process:
        _write_json(folder / "result.json", outcome.to_dict())
        (folder / "report.html").write_text(curves_page(folder.name, read_curve(folder), outcome.to_dict()), "utf-8")
    state.wait_for_everyone()
    return outcome


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


def read_run_config(folder: str | Path) -> FinetuneConfig:
    """The effective settings of a run.

    Raises:
        ConfigError: the folder holds no run.
    """
    path = Path(folder) / "config.json"
    try:
        return FinetuneConfig.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"run {folder}: {path.name} cannot be read ({error}); name the folder of a run") from error


def read_curve(folder: str | Path) -> list[dict[str, float]]:
    """Rows of a run's curve; a column that a row has no value in is absent from it."""
    path = Path(folder) / "curve.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def _open(config: FinetuneConfig, steps: int) -> TextModel:
    """The base with its adapter; adalora plans by the steps there are."""
    adapter: AdapterConfig = config.adapter.model_copy(update={"total_steps": max(10, steps)})
    train = config.train
    return open_text_model(
        config.base,
        adapter,
        seed=train.seed,
        dropout=train.dropout,
        max_length=train.max_length,
        checkpointing=train.checkpointing,
    )


def _look(held: Held, opened: TextModel, batch_tokens: int) -> Look:
    """Figures of a model on held-out anchors, their tokens made once."""
    kinds = [PAIR_SOURCES[source].anchor for source in held.source]
    tokens = (tokens_as(opened, held.anchors, kinds), opened.tokens(held.documents, "item"))

    def look(model: TextModel) -> dict[str, float]:
        vectors = [encode_shared(model, some, batch_tokens=batch_tokens) for some in tokens]
        return measure(held, vectors[0], vectors[1])

    return look


def _figures(model: TextModel, look: Look) -> dict[str, float]:
    """What a look finds, rounded for files; the model goes back to training."""
    model.eval()
    found = {name: round(float(value), 6) for name, value in look(model).items()}
    model.train()
    return found


def _plan(prepared: Prepared, config: FinetuneConfig, base: EncoderStamp, steps: int) -> dict[str, Any]:
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


def _claim(folder: Path, config: FinetuneConfig, plan: Mapping[str, Any], *, writes: bool) -> None:
    """Make a run's folder, or find the same run unfinished in it."""
    if (folder / "result.json").is_file():
        raise ConfigError(f"out: {folder} holds a finished run; name another folder, or delete that one")
    if (folder / "config.json").is_file():
        if read_run_config(folder) != config:
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
        _write_json(folder / "plan.json", plan)
        write_whole(folder / "config.json", (config.model_dump_json(indent=2) + "\n").encode())


def _save(
    model: TextModel,
    folder: Path,
    config: FinetuneConfig,
    prepared: Prepared,
    base: EncoderStamp,
    figures: tuple[Mapping[str, float], Mapping[str, float]],
) -> str:
    """The best state as a verified adapter; its digest."""
    texts = [*prepared.held.anchors[: _PROBES // 2], *prepared.held.documents[: _PROBES // 2]]
    return save_adapter(
        model,
        folder / "adapter",
        base=base,
        probes=texts,
        data_digest=prepared.data_digest,
        settings=config.model_dump(mode="json"),
        metrics={"base": dict(figures[0]), "tuned": dict(figures[1])},
    )


class _Curve(TrainerCallback):
    """Writes the learning curve as it grows, and tells how far training is."""

    def __init__(self, folder: Path, tell: Progress, steps_per_epoch: int) -> None:
        self._folder, self._tell, self._pass = folder, tell, steps_per_epoch

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._tell("training", state.global_step, state.max_steps)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            write_whole(self._folder / "curve.csv", _as_csv(state.log_history, self._pass).encode())


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


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    write_whole(path, (json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode())
