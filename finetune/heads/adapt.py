"""Adapting the encoder below heads to labelled sentences: one adapter for all tasks of a shop, saved verified.

Covers a short seeded training: each sentence is pulled to its own class's proxy and away from the others', every task
with proxies of its own (a cosine softmax, so vectors of one class gather and what belongs nowhere lies between). The
heads themselves are trained afterwards on the adapted vectors, as on any encoder's. Importing this imports torch.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional

from ...profiling.adapters.kinds import AdapterConfig, after_step, regulariser
from ...profiling.adapters.saving import save_adapter
from ...profiling.adapters.text_model import TextModel, open_text_model
from ...profiling.encoders.encoder import EncoderConfig, open_encoder
from ...profiling.errors import ConfigError
from .data import HeadTask
from .heads import class_means

Progress = Callable[[str, int, int], None]


class HeadAdaptConfig(BaseModel):
    """How the encoder is adapted to labelled sentences."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    adapter: AdapterConfig = Field(default=AdapterConfig(), description="which adapter, and its size")
    epochs: int = Field(default=3, ge=1, le=1000, description="passes over the training sentences")
    batch: int = Field(default=64, ge=2, description="sentences a step")
    lr: float = Field(default=1e-3, gt=0, description="highest learning rate of the adapter")
    proxy_lr: float = Field(default=3e-3, gt=0, description="highest learning rate of the classes' proxies")
    sharpness: float = Field(default=20.0, gt=0, description="factor of a cosine in the softmax")
    dropout: float | None = Field(default=None, ge=0, lt=1, description="of the network; null = the checkpoint's own")
    max_length: int = Field(default=64, ge=4, description="tokens kept of a sentence while training")
    warm_share: float = Field(default=0.1, ge=0, lt=1, description="share of the steps in which the rates rise")


@dataclass(frozen=True, eq=False)
class Sentences:
    """Training sentences of all tasks.

    Attributes:
        tokens: token ids
        task: number of the task of each, (n,)
        row: place of its label among the task's classes, (n,)
    """

    tokens: Sequence[list[int]]
    task: NDArray[np.int64]
    row: NDArray[np.int64]


def adapt_encoder(
    tasks: Sequence[HeadTask],
    encoder: EncoderConfig,
    folder: str | Path,
    config: HeadAdaptConfig | None = None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> EncoderConfig:
    """Train an adapter on the training sentences of all tasks; returns the configuration that opens the result.

    Held-out and out-of-scope sentences teach nothing, so both stay fit to choose and to measure with.

    Args:
        tasks: of one shop
        encoder: a checkpoint without an adapter
        folder: of the saved adapter
        config: None = the defaults
        seed: draws the adapter's first values and the order of the sentences
        progress: told the steps done

    Raises:
        ConfigError: ``encoder`` has an adapter already.
        EncoderError: it is no checkpoint of a family that can be adapted, or training changed nothing.
    """
    config = config or HeadAdaptConfig()
    if encoder.adapter is not None:
        raise ConfigError(f"encoder: adapter must be null for training another, got {encoder.adapter!r}; leave it out")
    base = open_encoder(encoder)
    texts = [text for task in tasks for text, keep in zip(task.train.texts, _inside(task), strict=True) if keep]
    n_steps = config.epochs * math.ceil(len(texts) / config.batch)
    adapter = config.adapter.model_copy(update={"total_steps": max(n_steps, 10)})
    model = open_text_model(
        encoder.name,
        adapter,
        seed=seed,
        dropout=config.dropout,
        max_length=min(config.max_length, base.stamp.max_length),
    )
    proxies = [
        class_means(base.encode(task.train.texts, "query"), task.rows(task.train), len(task.classes)) for task in tasks
    ]
    which = np.concatenate([np.full(int(_inside(task).sum()), n) for n, task in enumerate(tasks)])
    rows = np.concatenate([task.rows(task.train)[_inside(task)] for task in tasks])
    sentences = Sentences(model.tokens(texts, "query"), which, rows)
    losses = train_adapter(model, sentences, proxies, config, seed=seed, progress=progress)
    probes = [texts[row] for row in np.random.default_rng(seed).permutation(len(texts))[:16]]
    save_adapter(
        model.eval(),
        folder,
        base=base.stamp,
        probes=probes,
        data_digest=hashlib.sha256("".join(task.digest for task in tasks).encode()).hexdigest(),
        config=adapter,
        settings={"trained": "heads", "seed": seed, **config.model_dump(mode="json", exclude={"adapter"})},
        metrics={"loss_by_epoch": losses},
    )
    return encoder.model_copy(update={"adapter": str(folder)})


def train_adapter(
    model: TextModel,
    sentences: Sentences,
    proxies: Sequence[NDArray[np.float32]],
    config: HeadAdaptConfig,
    *,
    seed: int,
    progress: Progress | None = None,
) -> list[float]:
    """Train ``model`` in place; mean loss of each epoch.

    ``proxies`` are first values, (n_classes, dim) a task: the classes' mean vectors, so that training starts where the
    nearest-mean classifier is.
    """
    heads = nn.ParameterList(nn.Parameter(torch.from_numpy(rows.copy())) for rows in proxies)
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in model.parameters() if p.requires_grad], "lr": config.lr},
            {"params": list(heads.parameters()), "lr": config.proxy_lr},
        ],
        weight_decay=0.0,
    )
    n, per_epoch = len(sentences.row), math.ceil(len(sentences.row) / config.batch)
    steps = config.epochs * per_epoch
    warm = max(round(config.warm_share * steps), 1)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / warm, max((steps - step) / max(steps - warm, 1), 0.0))
    )
    losses, step = [], 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(config.epochs):
            total = 0.0
            for chosen in torch.randperm(n).split(config.batch):
                optimiser.zero_grad()
                loss = proxy_loss(model, sentences, heads, chosen.numpy(), config.sharpness)
                extra = regulariser(model)
                (loss if extra is None else loss + extra).backward()
                optimiser.step()
                rate.step()
                after_step(model, step)
                total, step = total + float(loss.detach()) * len(chosen), step + 1
                if progress is not None:
                    progress("Adapting the encoder", step, steps)
            losses.append(total / n)
    return losses


def proxy_loss(
    model: TextModel, sentences: Sentences, proxies: nn.ParameterList, chosen: NDArray[np.int64], sharpness: float
) -> torch.Tensor:
    """Mean cross-entropy of softmax(sharpness x cosine to the task's proxies) over the chosen sentences, a scalar.

    NormFace (Wang et al. 2017), eq. 5, with the sentence's task deciding among which proxies.
    """
    vectors = model.encode_tokens([sentences.tokens[row] for row in chosen.tolist()])  # (b, dim)
    total = vectors.new_zeros(())
    for number, rows in enumerate(proxies):
        of_task = np.flatnonzero(sentences.task[chosen] == number)
        if len(of_task):
            logits = sharpness * vectors[torch.from_numpy(of_task)] @ functional.normalize(rows).T
            truth = torch.from_numpy(sentences.row[chosen[of_task]])
            total = total + functional.cross_entropy(logits, truth, reduction="sum")
    return total / len(chosen)


def _inside(task: HeadTask) -> NDArray[np.bool_]:
    """Training sentences of a class."""
    return task.rows(task.train) < len(task.classes)
