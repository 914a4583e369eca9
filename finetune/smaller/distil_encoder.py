"""Fitting a smaller network to a larger one's vectors of a shop's own texts: no labels, one loss, bounded in time.

The loss is 1 - cosine of the two vectors of a text, which for unit vectors is half their squared distance (the
cosine loss of Sanh et al., "DistilBERT", 2019, at the vector that is used instead of at every layer). Embedding tables
are left alone, so every word keeps its place; layers and their norms are fitted. Cutting the network is `prune`'s
work, a static encoder `profiling.distil`'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ...profiling.encoders.fidelity import Fidelity, compare_vectors
from ...profiling.errors import ConfigError
from .slim import Slim, forward, vectors_of

Clock = Callable[[], float]
Progress = Callable[[int, int], None]

_WINDOW = 16  # batches sorted by length together
_LEAST = 12


class FitConfig(BaseModel):
    """How a smaller network is fitted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minutes: float | None = Field(default=None, gt=0, description="time at most; null = all steps, however long")
    steps: int = Field(default=1500, ge=1, description="batches at most")
    batch: int = Field(default=32, ge=1, description="texts in a batch")
    lr: float = Field(default=5e-4, gt=0, le=0.1, description="highest learning rate of AdamW")
    warmup: float = Field(default=0.05, ge=0, le=1, description="share of the steps, or of the time, in which it rises")
    decay: float = Field(default=0.0, ge=0, le=1, description="weight decay of matrices")
    clip: float = Field(default=1.0, gt=0, description="longest gradient of a step")
    held_out: int = Field(default=300, ge=2, le=5000, description="texts kept out to measure what is lost")


@dataclass(frozen=True)
class Fitted:
    """What fitting did.

    Attributes:
        steps: batches it took
        seconds: how long it took
        before, after: nearness to the larger network on texts kept out
        losses: mean loss of each tenth of the steps
    """

    steps: int
    seconds: float
    before: Fidelity
    after: Fidelity
    losses: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


def fit_vectors(
    student: Slim,
    tokens: Sequence[list[int]],
    vectors: NDArray[np.float32],
    config: FitConfig | None = None,
    *,
    rng: np.random.Generator,
    clock: Clock,
    progress: Progress | None = None,
) -> tuple[Slim, Fitted]:
    """Fit ``student`` so that its vectors of some texts come near ``vectors``.

    The learning rate rises, then falls along half a cosine to zero, over the steps or the time allowed, whichever is
    further along. With ``minutes`` the result depends on how fast the machine is; without, on ``rng`` alone.

    Args:
        student: what is fitted; not changed
        tokens: token ids of the texts, as the student cuts them, (n,)
        vectors: the larger network's unit vectors, (n, dim)
        config: how
        rng: chooses the texts kept out and the order of the others
        clock: tells seconds
        progress: called with steps done and steps at most

    Returns:
        The fitted network, and what fitting did.

    Raises:
        ConfigError: fewer than a dozen texts, or vectors of another shape.
    """
    config = FitConfig() if config is None else config
    dim = student.weights.words.shape[1]
    if len(tokens) < _LEAST or vectors.shape != (len(tokens), dim):
        raise ConfigError(
            f"vectors: must be ({len(tokens)}, {dim}) for {_LEAST} texts or more, got {vectors.shape}; "
            "give more of the shop's texts and the larger network's vectors of them"
        )
    wanted = torch.from_numpy(vectors.astype(np.float32))  # (n, dim): a copy, a cache may be read-only
    order = rng.permutation(len(tokens))
    n_out = min(config.held_out, max(2, len(tokens) // 5))
    out, used = np.sort(order[:n_out]), np.sort(order[n_out:])
    before = _nearness(student, [tokens[row] for row in out], vectors[out])
    fitted, losses, seconds = _fit(student, tokens, wanted, used, config, rng, clock, progress)
    after = _nearness(fitted, [tokens[row] for row in out], vectors[out])
    tenths = tuple(float(np.mean(part)) for part in np.array_split(losses, min(10, len(losses))))
    return fitted, Fitted(len(losses), seconds, before, after, tenths)


def learning_rate(done: float, config: FitConfig) -> float:
    """The learning rate when the share ``done`` in [0, 1] of the work is done.

    >>> [round(learning_rate(done, FitConfig(lr=0.01, warmup=0.5)), 4) for done in (0.25, 0.5, 0.75, 1.0)]
    [0.005, 0.01, 0.005, 0.0]
    """
    if done < config.warmup:
        return config.lr * done / config.warmup
    left = (done - config.warmup) / max(1 - config.warmup, 1e-9)
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(left, 1.0)))


def batches(lengths: Sequence[int], size: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Every text once, in batches of texts of like length in random order; the rows of each batch.

    >>> sorted(len(batch) for batch in batches([3, 9, 3, 9, 3], 2, np.random.default_rng(0)))
    [1, 2, 2]
    """
    order, size_of = rng.permutation(len(lengths)), np.asarray(lengths)
    found = []
    for start in range(0, len(order), size * _WINDOW):
        window = order[start : start + size * _WINDOW]
        window = window[np.argsort(size_of[window], kind="stable")]
        parts = [window[at : at + size] for at in range(0, len(window), size)]
        found += [parts[number] for number in rng.permutation(len(parts))]
    return found


def _fit(
    student: Slim,
    tokens: Sequence[list[int]],
    wanted: torch.Tensor,
    used: NDArray[np.int64],
    config: FitConfig,
    rng: np.random.Generator,
    clock: Clock,
    progress: Progress | None,
) -> tuple[Slim, list[float], float]:
    """The fitted network, the loss of each step, and seconds."""
    layers = [
        {name: tensor.detach().clone().requires_grad_() for name, tensor in layer.items()}
        for layer in student.weights.layers
    ]
    learner = student.with_layers(layers)
    optimiser = torch.optim.AdamW(_groups(layers, config.decay), lr=config.lr)
    every = [tensor for layer in layers for tensor in layer.values()]
    began = clock()
    losses: list[float] = []
    waiting: list[NDArray[np.int64]] = []
    lengths = [len(tokens[row]) for row in used]
    while len(losses) < config.steps:
        spent = (clock() - began) / (60 * config.minutes) if config.minutes else 0.0
        if spent >= 1:
            break
        waiting = waiting or batches(lengths, config.batch, rng)
        rows = used[waiting.pop()]
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(max(spent, (len(losses) + 1) / config.steps), config)
        made = forward(learner, [tokens[row] for row in rows])  # (n, dim)
        loss = (1 - (made * wanted[rows]).sum(dim=1)).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(every, config.clip)
        optimiser.step()
        losses.append(float(loss.detach()))
        if progress is not None:
            progress(len(losses), config.steps)
    made_of = [{name: tensor.detach() for name, tensor in layer.items()} for layer in layers]
    return student.with_layers(made_of), losses, clock() - began


def _groups(layers: Sequence[dict[str, torch.Tensor]], decay: float) -> list[dict[str, Any]]:
    """Matrices decay, biases and norms do not."""
    flat = [tensor for layer in layers for tensor in layer.values()]
    return [
        {"params": [tensor for tensor in flat if tensor.ndim > 1], "weight_decay": decay},
        {"params": [tensor for tensor in flat if tensor.ndim == 1], "weight_decay": 0.0},
    ]


def _nearness(slim: Slim, tokens: Sequence[list[int]], vectors: NDArray[np.float32]) -> Fidelity:
    """How near its vectors are to the larger network's."""
    return compare_vectors(vectors, vectors_of(slim, tokens).numpy(), k=min(10, len(tokens) - 1))
