"""Training a head's network: dense layers over vectors and a sparse layer over words, together, by cross-entropy.

Covers one seeded run. It is deterministic for a seed and a number of threads. Which kind of head, and everything after
training, is `heads`' work. Importing this module imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from ...profiling.heads.head import Network
from ...profiling.heads.words import SparseRows
from .config import HeadConfig

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a head learns from, n sentences.

    Attributes:
        vectors: unit vectors, (n, d), or None
        words: rows over n_terms terms, or None
        n_terms: size of the vocabulary
    """

    vectors: Floats | None
    words: SparseRows | None
    n_terms: int = 0


class _Module(nn.Module):
    """Dense layers with dropout, and a bag of words; their outputs are added."""

    def __init__(self, d: int, hidden: int, n_terms: int, outputs: int, dropout: float) -> None:
        super().__init__()
        sizes = [*([d] if d else []), *([hidden] if d and hidden else []), outputs]
        self.dense = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.bag = nn.EmbeddingBag(n_terms, outputs, mode="sum") if n_terms else None
        self.bias = nn.Parameter(torch.zeros(outputs)) if n_terms else None
        self.dropout = dropout
        if self.bag is not None:
            nn.init.zeros_(self.bag.weight)

    def of_words(self) -> Iterator[nn.Parameter]:
        """Weights and bias of the bag of words."""
        if self.bag is not None and self.bias is not None:
            yield from (*self.bag.parameters(), self.bias)

    def forward(self, vectors: torch.Tensor | None, words: SparseRows | None) -> torch.Tensor:
        total: torch.Tensor | None = None
        if vectors is not None:
            total = functional.dropout(vectors, self.dropout / 2, self.training)
            for place, layer in enumerate(self.dense):
                total = functional.dropout(torch.relu(total), self.dropout, self.training) if place else total
                total = layer(total)
        if words is not None and self.bag is not None and self.bias is not None:
            column, value, start = (torch.from_numpy(a) for a in (words.column, words.value, words.start[:-1]))
            by_words = self.bag(column, start, per_sample_weights=value) + self.bias
            total = by_words if total is None else total + by_words
        if total is None:
            raise ValueError("a head needs vectors or words")
        return total


def train_network(
    inputs: Inputs,
    labels: NDArray[np.int64],
    n_outputs: int,
    config: HeadConfig,
    *,
    hidden: int,
    epochs: int,
    seed: int,
) -> Network:
    """Train from scratch on labels (n,) in 0 .. n_outputs - 1, for so many ``epochs``.

    AdamW with a one-cycle rate; cross-entropy; ``hidden`` = 0 is a linear map. The bag of words starts at zero, so
    words matter only where they help.
    """
    n = len(labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        d = 0 if inputs.vectors is None else inputs.vectors.shape[1]
        centre, scale = _centring(inputs.vectors)
        module = _Module(d, hidden, inputs.n_terms, n_outputs, config.dropout)
        rows = None if inputs.vectors is None else torch.from_numpy((inputs.vectors - centre) / np.float32(scale))
        truth = torch.from_numpy(labels)
        batch = min(config.batch, n)
        parts = [(list(module.dense.parameters()), config.lr, config.weight_decay)]
        parts.append((list(module.of_words()), config.word_lr, 0.0))
        parts = [part for part in parts if part[0]]
        optimiser = torch.optim.AdamW(
            [{"params": p, "lr": lr, "weight_decay": decay} for p, lr, decay in parts], fused=True
        )
        steps = epochs * math.ceil(n / batch)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, [lr for _, lr, _ in parts], total_steps=steps)
        module.train()
        for _ in range(epochs):
            for chosen in torch.randperm(n).split(batch):
                optimiser.zero_grad()
                words = None if inputs.words is None else inputs.words.take(chosen.numpy())
                logits = module(None if rows is None else rows[chosen], words)
                functional.cross_entropy(logits, truth[chosen]).backward()
                optimiser.step()
                rate.step()
        return _network(module, centre, scale)


def _centring(vectors: Floats | None) -> tuple[Floats, float]:
    """Mean vector and one scale for all axes, so that a coordinate has about unit spread."""
    if vectors is None:
        return np.zeros(0, dtype=np.float32), 1.0
    return vectors.mean(axis=0), max(float(vectors.std(axis=0).mean()), 1e-6)


def _network(module: _Module, centre: Floats, scale: float) -> Network:
    """The trained weights as arrays."""
    array = lambda tensor: tensor.detach().numpy().copy()  # noqa: E731
    return Network(
        centre=centre,
        scale=scale,
        layers=tuple((array(layer.weight), array(layer.bias)) for layer in module.dense),
        word_weights=None if module.bag is None else array(module.bag.weight),
        word_bias=None if module.bias is None else array(module.bias),
        means=None,
    )
