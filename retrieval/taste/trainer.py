"""One optimiser at work on a taste network: steps, epochs, averaged weights, and all of it as tensors by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from ...profiling.log import EventLog
from ...profiling.taste_model import TasteModel
from .losses import LOSSES, Compared
from .network import TasteNetwork, exported
from .sequences import TasteBatch, epoch_batches

_BETAS = (0.9, 0.98)


class Trainer:
    """A network being trained.

    Args:
        network: changed in place
        log: the training events
        seed: every epoch derives its own randomness from it
    """

    def __init__(self, network: TasteNetwork, log: EventLog, *, seed: int) -> None:
        self._network, self._log, self._seed = network, log, seed
        config = network.config
        self._weights = {name: weight for name, weight in network.named_parameters() if weight.numel()}
        self._optimiser = torch.optim.AdamW(
            self._weights.values(), lr=config.learning_rate, betas=_BETAS, weight_decay=config.weight_decay
        )
        self._average = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._best = {name: weight.clone() for name, weight in self._average.items()}
        self._steps = 0

    def epoch(self, number: int, horizon: int, tell: Callable[[int, int], None]) -> None:
        """One pass over the training events; ``number`` counts from 1 to ``horizon``, by when the step size is 0."""
        rng = np.random.default_rng([self._seed, number])
        noise = np.random.Generator(np.random.SFC64([self._seed, number]))
        batches = epoch_batches(self._log, self._network.config, rng)
        self._network.dropout.use(noise)
        for done, batch in enumerate(batches):
            self._optimiser.param_groups[0]["lr"] = self._rate((number - 1 + done / len(batches)) / max(horizon, 1))
            self._step(batch, rng)
            tell(done + 1, len(batches))
        self._network.dropout.use(None)

    def _rate(self, progress: float) -> float:
        """Step size after this share of the training: it falls in a straight line."""
        return self._network.config.learning_rate * max(0.0, 1.0 - progress)

    def _step(self, batch: TasteBatch, rng: np.random.Generator) -> None:
        """One optimiser step and its trace in the averaged weights."""
        self._optimiser.zero_grad(set_to_none=True)
        batch_loss(self._network, batch, rng).backward()
        self._optimiser.step()
        self._steps += 1
        memory = min(self._network.config.ema, self._steps / (10 + self._steps))
        with torch.no_grad():
            for name, weight in self._weights.items():
                self._average[name].lerp_(weight, 1 - memory)

    def model(self, epochs: int) -> TasteModel:
        """The averaged weights as a model."""
        return self._exported(self._average, epochs)

    def keep(self) -> None:
        """Remember the averaged weights as the best so far."""
        self._best = {name: weight.clone() for name, weight in self._average.items()}

    def best(self, epochs: int) -> TasteModel:
        """The remembered weights as a model."""
        return self._exported(self._best, epochs)

    def _exported(self, weights: Mapping[str, Tensor], epochs: int) -> TasteModel:
        """A model of these weights; the network keeps its own."""
        own = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._put(weights)
        model = exported(self._network, epochs=epochs)
        self._put(own)
        return model

    def _put(self, weights: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(weights[name])

    def state(self) -> dict[str, Tensor]:
        """Everything that the next epoch depends on."""
        memory = self._optimiser.state
        out = {"steps": torch.tensor(self._steps)}
        for name, weight in self._weights.items():
            out |= {f"now.{name}": weight.detach(), f"average.{name}": self._average[name]}
            out |= {f"best.{name}": self._best[name]}
            out |= {f"optimiser.{key}.{name}": value for key, value in memory[weight].items()}
        return out

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self._steps = int(tensors["steps"])
        self._put({name: tensors[f"now.{name}"] for name in self._weights})
        self._average = {name: tensors[f"average.{name}"].clone() for name in self._weights}
        self._best = {name: tensors[f"best.{name}"].clone() for name in self._weights}
        for name, weight in self._weights.items():
            keys = ("step", "exp_avg", "exp_avg_sq")
            self._optimiser.state[weight] = {key: tensors[f"optimiser.{key}.{name}"].clone() for key in keys}


def batch_loss(network: TasteNetwork, batch: TasteBatch, rng: np.random.Generator) -> Tensor:
    """Loss of one step, a scalar; ``rng`` draws the shared items and whose ids are hidden.

    Only the items that take part are computed: those read, those predicted and those shared.
    """
    config, n_items = network.config, len(network.features)
    if config.negatives is None or config.negatives >= n_items:
        shared = np.arange(n_items)
    else:
        shared = rng.choice(n_items, config.negatives, replace=False)
    read = batch.events.item
    rows, place = np.unique(np.concatenate([read.ravel(), batch.target, shared]), return_inverse=True)
    kept = None
    if config.id_dropout:
        kept = torch.from_numpy((rng.random(len(rows)) >= config.id_dropout).astype(np.float32))
    items = network.items(torch.from_numpy(rows.astype(np.int64)), kept)
    at = torch.from_numpy(place)
    n_read, n_target = read.size, len(batch.target)
    tokens = items[at[:n_read]].view(*read.shape, -1)
    learned, alike = network(batch.events, tokens, torch.from_numpy(batch.predicts))
    target, other = torch.from_numpy(batch.target), torch.from_numpy(shared)
    right = (learned * items[at[n_read : n_read + n_target]]).sum(dim=1)
    others = learned @ items[at[n_read + n_target :]].T
    if alike.shape[1]:
        right = right + (alike * network.features[target]).sum(dim=1)
        others = others + alike @ network.features[other].T
    scores = Compared(right, others, target, other, torch.from_numpy(batch.weight))
    return LOSSES[config.loss](scores)
