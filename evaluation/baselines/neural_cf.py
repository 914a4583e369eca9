"""Neural collaborative filtering: a shopper's and an item's vector side by side through a small network.

Source: He et al., "Neural collaborative filtering", WWW 2017, its MLP (equations 9 and 10), trained with the binary
cross entropy of taken against drawn items (equation 7). A shopper's vector is the mean of the vectors of what they
took, so that a request needs no user row; in training the item to be told is left out of that mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ...profiling.log import Requests
from ...retrieval.scorer import TrainingSet
from ...retrieval.sources.neighbours import popular_tie_break
from .matrices import DECAY, request_items, user_items

Float = NDArray[np.float32]
_CELLS = 400_000  # pairs of shopper and item that are scored at once


class NeuralCfConfig(BaseModel):
    """Options of neural collaborative filtering."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(64, ge=1, description="length of the vectors")
    inner: tuple[int, ...] = Field((64, 32), description="widths inside the network")
    negatives: int = Field(4, ge=1, description="items drawn for each one taken")
    learning_rate: float = Field(2e-3, gt=0, description="step size")
    weight_decay: float = Field(0.01, ge=0, description="decoupled L2 penalty")
    dropout: float = Field(0.2, ge=0, lt=1, description="share of activations left out in training")
    epochs: int = Field(20, ge=1, description="passes over what was taken")
    batch: int = Field(1024, ge=1, description="taken items in a step")
    decay: float = Field(default=1.0, gt=0, le=1, description=DECAY)


@dataclass(frozen=True, eq=False)
class NeuralCfModel:
    """Vectors and network.

    Attributes:
        history: vectors of what was taken, (n_items, width)
        items: vectors of candidates, (n_items, width)
        weights: of each layer, (inputs, outputs); the first reads shopper and item side by side
        biases: of each layer, (outputs,)
        decay: weight of a history event for each event of age
        tie_break: added to every score, (n_items,)
    """

    history: Float
    items: Float
    weights: tuple[Float, ...]
    biases: tuple[Float, ...]
    decay: float
    tie_break: Float

    def scores(self, requests: Requests) -> Float:
        """The network's output for every item, (n_requests, n_items)."""
        taken = request_items(requests, "binary", decay=self.decay)
        mean = (taken @ self.history) / np.maximum(np.asarray(taken.sum(axis=1)), 1e-12)
        width = self.history.shape[1]
        of_shopper = mean.astype(np.float32) @ self.weights[0][:width]
        of_item = self.items @ self.weights[0][width:] + self.biases[0]
        out = np.empty((len(requests), len(self.items)), dtype=np.float32)
        step = max(1, _CELLS // max(len(self.items), 1))
        for first in range(0, len(requests), step):
            x = np.maximum(of_shopper[first : first + step, None] + of_item, 0)  # the first layer is a sum of two parts
            for weight, bias in zip(self.weights[1:-1], self.biases[1:-1], strict=True):
                x = np.maximum(x @ weight + bias, 0)
            out[first : first + step] = (x @ self.weights[-1] + self.biases[-1])[:, :, 0]
        return out + np.float32(1e-6) * self.tie_break


def fit_neural_cf(
    train: TrainingSet, config: NeuralCfConfig | None = None, *, rng: np.random.Generator | None = None
) -> NeuralCfModel:
    """Train on every user's taken items, each told from the others that the user took."""
    import torch
    from torch.nn import functional

    config = config or NeuralCfConfig()
    rng = np.random.default_rng(0) if rng is None else rng
    taken = user_items(train.log, "binary").tocsr()
    n_items, d = taken.shape[1], config.width
    shapes = [2 * d, *config.inner, 1]
    history, items = (torch.from_numpy(_drawn(rng, n_items, d) * 0.1).requires_grad_() for _ in range(2))
    weights = [
        torch.from_numpy(_drawn(rng, a, b) * np.float32(np.sqrt(2 / a))).requires_grad_() for a, b in pairwise(shapes)
    ]
    biases = [torch.zeros(b, requires_grad=True) for b in shapes[1:]]
    optimiser = torch.optim.AdamW(
        [history, items, *weights, *biases], lr=config.learning_rate, weight_decay=config.weight_decay
    )
    for _ in range(config.epochs):
        for others, item, label in _steps(taken, config, rng):
            held, start = (torch.from_numpy(part.astype(np.int64)) for part in (others.indices, others.indptr[:-1]))
            shopper = functional.embedding_bag(held, history, start, mode="mean")
            shopper = shopper.repeat_interleave(1 + config.negatives, dim=0)
            x = torch.cat([shopper, items[torch.from_numpy(item)]], dim=1)
            for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
                x = functional.relu(x @ weight + bias)
                kept = rng.random(tuple(x.shape), dtype=np.float32) >= config.dropout
                x = x * torch.from_numpy(kept.astype(np.float32) / np.float32(1 - config.dropout))
            told = (x @ weights[-1] + biases[-1])[:, 0]
            loss = functional.binary_cross_entropy_with_logits(told, torch.from_numpy(label))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
    arrays = [tensor.detach().numpy() for tensor in (history, items, *weights, *biases)]
    n = len(weights)
    return NeuralCfModel(
        history=arrays[0],
        items=arrays[1],
        weights=tuple(arrays[2 : 2 + n]),
        biases=tuple(arrays[2 + n :]),
        decay=config.decay,
        tie_break=popular_tie_break(train),
    )


def _steps(
    taken: sp.csr_matrix, config: NeuralCfConfig, rng: np.random.Generator
) -> Iterator[tuple[sp.csr_matrix, NDArray[np.int64], NDArray[np.float32]]]:
    """Batches of one epoch: what else each user took, the items to tell, and which of them was taken."""
    user = np.repeat(np.arange(taken.shape[0]), np.diff(taken.indptr))
    usable = np.flatnonzero(np.diff(taken.indptr)[user] > 1)  # a user of one item has nothing to tell it from
    order = rng.permutation(usable)
    for first in range(0, len(order), config.batch):
        chosen = order[first : first + config.batch]
        right = taken.indices[chosen].astype(np.int64)
        rows = taken[user[chosen]]
        keep = rows.indices != np.repeat(right, np.diff(rows.indptr))
        row = np.repeat(np.arange(len(chosen)), np.diff(rows.indptr))[keep]
        others = sp.csr_matrix((rows.data[keep], (row, rows.indices[keep])), shape=rows.shape)
        drawn = rng.integers(taken.shape[1], size=(len(chosen), config.negatives))
        item = np.concatenate([right[:, None], drawn], axis=1).ravel()
        label = np.zeros((len(chosen), 1 + config.negatives), dtype=np.float32)
        label[:, 0] = 1
        yield others, item, label.ravel()


def _drawn(rng: np.random.Generator, n: int, m: int) -> Float:
    return rng.standard_normal((n, m)).astype(np.float32)
