"""One fine-tuning run from a configuration to a verified adapter, in a folder that can be resumed at any time.

The folder is laid out as `run_folder` says, and RUN/adapter/ is the best state as a verified adapter
(`profiling.adapters.saved`), written last but one.

Measuring on the test split is `exam`'s work, comparing runs `compare`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from accelerate import PartialState
from transformers import set_seed

from ..evaluation.harness import Progress
from ..profiling.adapters.kinds import AdapterConfig, n_trainable
from ..profiling.adapters.saving import save_adapter
from ..profiling.adapters.text_model import TextModel, open_text_model
from ..profiling.encoders.encoder import EncoderConfig, open_encoder
from ..profiling.encoders.stamp import EncoderStamp
from ..profiling.tables.shop import Shop
from .gather import encode_shared
from .pairs import PAIR_SOURCES
from .prepare import Prepared, material, n_steps, prepare, tokens_as
from .run_folder import Curve, Outcome, claim, plan_of, read_curve, read_outcome, read_settings, write_outcome
from .train_config import FinetuneConfig
from .trainer import Look, TextTrainer, last_checkpoint
from .validation import Held, measure

__all__ = ["Outcome", "complete", "figures", "read_curve", "read_outcome", "read_run_config", "run"]

_PROBES = 16


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
    plan = plan_of(prepared, config, base_stamp, steps)
    with state.main_process_first():
        claim(folder, config, plan, writes=state.is_main_process)
    set_seed(config.train.seed)
    model = _open(config, steps)
    if torch.cuda.is_available():
        model.to(state.device)
    look = _look(prepared.held, model, config.train.batch_tokens)
    tell("looking at the base", 0, 1)
    base = figures(model, look)
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
        callbacks=[Curve(folder, tell, batches.steps_per_epoch)],
    )
    return complete(
        trainer,
        look,
        folder,
        base,
        lambda tuned: _save(trainer.text_model, folder, config, prepared, base_stamp, (base, tuned)),
        clock=clock,
        state=state,
    )


def complete(
    trainer: TextTrainer,
    look: Look,
    folder: Path,
    base: Mapping[str, float],
    save: Callable[[Mapping[str, float]], str],
    *,
    clock: Callable[[], float],
    state: PartialState,
) -> Outcome:
    """Train to the end from the last checkpoint on, save the best state, write the outcome.

    Args:
        trainer: ready to begin
        look: figures on held-out data
        folder: of the run
        base: figures before training
        save: saves the trainer's model, given its figures; returns the digest. Called by the first process alone
        clock: gives seconds
        state: this process's place among all
    """
    began, last = clock(), last_checkpoint(folder / "checkpoints")
    trainer.fit(last)
    seconds = clock() - began
    tuned = figures(trainer.text_model, look)
    trained, parameters = n_trainable(trainer.text_model)
    outcome = Outcome(
        folder=str(folder),
        base=base,
        tuned=tuned,
        best_step=int(trainer.state.best_global_step or trainer.state.global_step),
        steps=int(trainer.state.global_step),
        trained=trained,
        parameters=parameters,
        adapter=save(tuned) if state.is_main_process else "",
        seconds=round(seconds, 1),
    )
    if state.is_main_process:
        write_outcome(folder, outcome)
    state.wait_for_everyone()
    return outcome


def read_run_config(folder: str | Path) -> FinetuneConfig:
    """The effective settings of a run.

    Raises:
        ConfigError: the folder holds no run.
    """
    return read_settings(folder, FinetuneConfig)


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


def figures(model: TextModel, look: Look) -> dict[str, float]:
    """What a look finds, rounded for files; the model goes back to training."""
    model.eval()
    found = {name: round(float(value), 6) for name, value in look(model).items()}
    model.train()
    return found


def _save(
    model: TextModel,
    folder: Path,
    config: FinetuneConfig,
    prepared: Prepared,
    base: EncoderStamp,
    found: tuple[Mapping[str, float], Mapping[str, float]],
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
        metrics={"base": dict(found[0]), "tuned": dict(found[1])},
    )
