"""Training a text model on examples, on transformers' ``Trainer``: what a batch is, its loss, checkpoints and resuming.

One batch of anchors is one step of all processes together: each encodes its share of the texts, the vectors are
gathered with their gradients, and every process computes the loss of the whole batch. So two processes do what one
does, up to rounding, whatever the loss. Which run this is and where it is written is `train`'s work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import EarlyStoppingCallback, PrinterCallback

from ..profiling.adapters.kinds import (
    adapter_state,
    after_step,
    load_adapter_state,
    load_training_state,
    regulariser,
    training_state,
)
from ..profiling.adapters.text_model import TextModel
from ..profiling.encoders.schedule import batches
from ..profiling.errors import ExtraMissingError
from .cached import cached_step
from .gather import gathered, share
from .losses import LossConfig, Targets, compute_loss
from .material import Material
from .train_config import TrainConfig

_STATE = "adapter.safetensors"
_INNER = "training.safetensors"  # what an adapter keeps beside its parameters
_DONE = "trainer_state.json"  # the last file that Trainer writes of a checkpoint

Look = Callable[[TextModel], Mapping[str, float]]
"""Figures of a model on held-out data."""


class BatchEncoder(nn.Module):
    """The model as DistributedDataParallel wants it: one forward gives all vectors of some texts."""

    def __init__(self, model: TextModel, batch_tokens: int) -> None:
        super().__init__()
        self.model, self._batch_tokens = model, batch_tokens

    def forward(self, texts: Sequence[list[int]]) -> Tensor:
        """Unit vectors (n, d), float32."""
        return self.model.encode_tokens(texts, batch_tokens=self._batch_tokens).float()


class TextTrainer(Trainer):
    """transformers' ``Trainer`` for a `TextModel` and retrieval losses.

    Args:
        model: with its adapter attached
        material: the batches
        loss: what is made smaller
        config: how training runs
        steps: optimiser steps
        rate: highest learning rate
        out: folder of checkpoints and curves
        look: figures on held-out data; "score" decides which checkpoint is best
        callbacks: told what happens
    """

    def __init__(
        self,
        model: TextModel,
        material: Material,
        *,
        loss: LossConfig,
        config: TrainConfig,
        steps: int,
        rate: float,
        out: Path,
        look: Look,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        self._material, self._loss, self._config, self._look, self._out = material, loss, config, look, out
        patience = [] if config.patience is None else [EarlyStoppingCallback(config.patience)]
        super().__init__(
            model=BatchEncoder(model, config.cached_tokens or config.batch_tokens),
            args=_arguments(config, steps=steps, rate=rate, out=out),
            train_dataset=material,
            eval_dataset=material,
            callbacks=[_AfterStep(model), *patience, *callbacks],
        )
        self.remove_callback(PrinterCallback)  # the curve is a file; progress is the caller's to show

    @property
    def text_model(self) -> TextModel:
        """The model being trained."""
        return self.accelerator.unwrap_model(self.model).model

    def fit(self, checkpoint: Path | None) -> None:
        """Train, from a checkpoint on if there is one, and end with the best state; no step is made after the last."""
        if checkpoint is None or not _ended(checkpoint):
            self.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
            return
        self.state = TrainerState.load_from_json(str(checkpoint / _DONE))
        self._load_best_model()

    def get_train_dataloader(self) -> Any:
        """Every process gets every batch; each encodes its share of it."""
        pinned = self.args.dataloader_pin_memory
        numbers = range(len(self._material))
        return torch.utils.data.DataLoader(
            self._material, batch_size=1, sampler=numbers, collate_fn=_only, pin_memory=pinned
        )

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss of the whole batch, with gradients to this process's share of the texts."""
        vectors = gathered(model(share(self._material.texts(inputs))), self._material.n_texts(inputs))
        return self._with_regulariser(self.loss_of(vectors, inputs))

    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """One batch forward and backward; with gradient caching, piece by piece."""
        if self._config.cached_tokens is None:
            return super().training_step(model, inputs, num_items_in_batch)
        model.train()
        inputs = self._prepare_inputs(inputs)
        texts, sizes = share(self._material.texts(inputs)), self._material.n_texts(inputs)
        pieces = list(batches([len(text) for text in texts], self._config.cached_tokens))
        order = [row for piece in pieces for row in piece]
        back = torch.empty(len(order), dtype=torch.int64)
        back[torch.tensor(order)] = torch.arange(len(order))

        def whole(parts: Tensor) -> Tensor:
            return self.loss_of(gathered(parts[back.to(parts.device)], sizes), inputs)

        def encode(piece: list[int]) -> Tensor:
            # processes may have different numbers of pieces, so they add up their gradients at the last one only
            last = piece is pieces[-1]
            with self.compute_loss_context_manager(), nullcontext() if last else self.accelerator.no_sync(model):
                own = model if torch.is_grad_enabled() else self.accelerator.unwrap_model(model)
                return own([texts[row] for row in piece])

        loss = cached_step(encode, pieces, whole, backward=self.accelerator.backward)
        extra = regulariser(self.text_model)
        if extra is not None:
            self.accelerator.backward(extra)
        return loss.detach()

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Figures of the model on held-out data, ``eval_`` before their names."""
        model = self.text_model
        model.eval()
        figures = {f"{metric_key_prefix}_{name}": value for name, value in self._look(model).items()}
        model.train()
        self.log(dict(figures))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, figures)
        return figures

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: a batch has no shape of its own."""
        return 0

    def loss_of(self, vectors: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """The loss of what the model gave of all texts of a batch."""
        targets = Targets(
            gain=inputs["gain"],
            judged=inputs["judged"],
            weight=inputs["weight"],
            document_log_q=inputs.get("document_log_q"),
            teacher=inputs.get("teacher"),
            spared=inputs["spared"],
        )
        n = len(inputs["anchor"])
        return compute_loss(vectors[:n], vectors[n:], targets, self._loss)

    def _with_regulariser(self, loss: Tensor) -> Tensor:
        extra = regulariser(self.text_model)
        return loss if extra is None else loss + extra

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self._out)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(training_state(self.text_model), folder / _INNER)
        save_file(adapter_state(self.text_model), folder / _STATE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_adapter_state(self.text_model, load_file(Path(resume_from_checkpoint) / _STATE))
        load_training_state(self.text_model, load_file(Path(resume_from_checkpoint) / _INNER))

    def _load_best_model(self) -> None:
        best: str | None = self.state.best_model_checkpoint
        if best is not None:
            self._load_from_checkpoint(best)


class _AfterStep(TrainerCallback):
    """Lets an adapter act on each optimiser step, while the gradients are there."""

    def __init__(self, model: TextModel) -> None:
        self._model = model

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        after_step(self._model, state.global_step)


def last_checkpoint(out: Path) -> Path | None:
    """The newest whole checkpoint in a folder; those that were being written when a run was killed are passed over."""
    whole = []
    for folder in out.glob("checkpoint-*"):
        number = folder.name.rpartition("-")[2]
        if number.isdigit() and (folder / _STATE).is_file() and _is_json(folder / _DONE):
            whole.append((int(number), folder))
    return max(whole)[1] if whole else None


def _ended(checkpoint: Path) -> bool:
    """Whether a training had come to its end at this checkpoint."""
    state = TrainerState.load_from_json(str(checkpoint / _DONE))
    control = state.stateful_callbacks.get("TrainerControl", {})
    return state.global_step >= state.max_steps or bool(control.get("args", {}).get("should_training_stop"))


def _trackers(config: TrainConfig) -> list[str] | str:
    """Where the curve goes beside its file.

    Raises:
        ExtraMissingError: a tracker is not installed.
    """
    for name in config.report_to:
        if find_spec(name) is None:
            raise ExtraMissingError(f"train.report_to: {name} is not installed; pip install 'tasteprint[track]'")
    return list(config.report_to) or "none"


def _arguments(config: TrainConfig, *, steps: int, rate: float, out: Path) -> TrainingArguments:
    """Trainer's own arguments for these settings."""
    every = max(1, steps // config.evaluations)
    return TrainingArguments(
        output_dir=str(out),
        max_steps=steps,
        per_device_train_batch_size=1,  # what Trainer counts; a step's batch is `Material.batch`
        learning_rate=rate,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        lr_scheduler_type="linear",
        warmup_steps=int(config.warmup * steps),
        bf16=config.precision == "bf16",
        seed=config.seed,
        data_seed=config.seed,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        restore_callback_states_from_checkpoint=True,  # how long there was nothing new, for one
        load_best_model_at_end=True,
        metric_for_best_model="score",
        greater_is_better=True,
        logging_steps=max(1, min(10, steps // 20)),
        logging_first_step=True,
        report_to=_trackers(config),
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,
        use_cpu=not torch.cuda.is_available(),
    )


def _only(batches: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """A batch of one step is the step's own batch."""
    return batches[0]


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
