"""Training a taste model: epochs, early stopping, a time budget, resuming. What is learned is `network`'s to say.

Every epoch draws from seeds of its own, so a run that was stopped goes on as if it had not been, bit for bit, and two
runs with one seed on one machine are equal. Choosing options is `evaluation`'s work.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...profiling.errors import ConfigError
from ...profiling.log import EventLog
from ...profiling.taste_model import TasteModel
from ..scorer import TrainingSet
from .checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from .config import TasteConfig
from .features import Features, item_features
from .network import TasteNetwork
from .trainer import Trainer

Objective = Callable[[TasteModel], float]
Progress = Callable[[str, int, int], None]

_FILE = "taste.safetensors"


def fit_taste(
    train: TrainingSet,
    config: TasteConfig | None = None,
    *,
    rng: np.random.Generator,
    objective: Objective | None = None,
    minutes: float | None = None,
    clock: Callable[[], float] | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> TasteModel:
    """Train a taste model.

    Args:
        train: what may be learned from
        config: options
        rng: gives the run its seed
        objective: worth of a model, more is better, such as NDCG@10 on validation requests. With it training stops
            when ``config.patience`` epochs bring nothing better, and the best model is returned; its ``epochs`` says
            how long to train on more data. None = ``config.epochs`` epochs, by the end of which the step size is 0
        minutes: training time, all parts of a resumed run together; after each epoch as many are planned as there is
            time for at that pace, the first is always made. None = no limit
        clock: gives seconds; needed with ``minutes``
        folder: keeps a checkpoint after each epoch; a run that finds its own there goes on from it
        progress: told what is done: what, how much of it, and of how much

    Raises:
        ConfigError: ``minutes`` without ``clock``, or not positive.
        ArtefactError: the folder holds another run's checkpoint, or a damaged one.
    """
    run = TasteRun(
        train,
        config or TasteConfig(),
        seed=int(rng.integers(2**31)),
        objective=objective,
        minutes=minutes,
        clock=clock,
        folder=folder,
        progress=progress,
    )
    run.advance()
    return run.best()


class TasteRun:
    """One training, epoch by epoch; arguments as in `fit_taste`.

    Attributes:
        values: objective after each epoch so far, NaN where there is none
        beside: epochs of other runs that ``minutes`` has to pay for too
    """

    def __init__(
        self,
        train: TrainingSet,
        config: TasteConfig,
        *,
        seed: int,
        objective: Objective | None = None,
        minutes: float | None = None,
        clock: Callable[[], float] | None = None,
        folder: Path | None = None,
        progress: Progress | None = None,
        beside: int = 0,
    ) -> None:
        if minutes is not None and (clock is None or minutes <= 0):
            raise ConfigError(f"minutes: must be positive and come with a clock, got {minutes}; give both or neither")
        config = told(config)
        self._config, self._objective, self._minutes, self.beside = config, objective, minutes, beside
        self._now, self._tell = clock or _stopped, progress or _silent
        features = item_features(train, config, rng=np.random.default_rng([seed, 0]))
        network = new_network(train.log, config, features, seed=seed)
        self._trainer = Trainer(network, train.log, seed=seed)
        self._digest = run_digest(train.log, config, features, seed=seed)
        self.values: tuple[float, ...] = ()
        self._seconds = 0.0
        self._file = None if folder is None else folder / _FILE
        if self._file is not None and self._file.is_file():
            found = read_checkpoint(self._file, self._digest)
            self.values, self._seconds = found.values, found.seconds
            self._trainer.load(found.tensors)
        self._horizon = self._planned()  # by this run's budget: an earlier one may have had a smaller

    @property
    def room(self) -> float:
        """Epochs that there is time for at the pace so far, those already made and ``beside`` among them."""
        if self._minutes is None or not self.values:
            return math.inf
        return 60.0 * self._minutes * len(self.values) / max(self._seconds, 1e-9)

    def advance(self, until: int | None = None) -> None:
        """Make epochs until there are ``until``, or to the end of the training."""
        while not _ended(self.values, self._config.patience, self._horizon):
            if until is not None and len(self.values) >= until:
                return
            self._epoch(len(self.values) + 1)

    def _epoch(self, number: int) -> None:
        """One epoch, judged, remembered and written down."""
        began, ordered = self._now(), "" if self._config.shuffle else ", days as in the file"
        self._trainer.epoch(number, self._horizon, partial(self._tell, f"taste: epoch {number}{ordered}"))
        reached = math.nan if self._objective is None else self._objective(self.latest(number))
        if self._objective is None or reached > max(self.values, default=-math.inf):
            self._trainer.keep()
        self.values, self._seconds = (*self.values, reached), self._seconds + self._now() - began
        self._horizon = self._planned()
        if self._file is not None:
            state, values = self._trainer.state(), self.values
            write_checkpoint(self._file, Checkpoint(self._digest, state, values, self._seconds))

    def _planned(self) -> int:
        """Epochs that there will be, as far as is known."""
        left = int(min(self.room, 1e9)) - self.beside
        return min(self._config.epochs, max(len(self.values), left))

    def latest(self, number: int | None = None) -> TasteModel:
        """The model as it stands, after ``number`` epochs."""
        return self._trainer.model(len(self.values) if number is None else number)

    def best(self) -> TasteModel:
        """The best model so far."""
        return self._trainer.best(_best_epoch(self.values))


def told(config: TasteConfig) -> TasteConfig:
    """The options with what nobody chose: nobody's requests are at hand here, which `ties_for` and a race tell from."""
    ties = "sequence" if config.ties == "auto" else config.ties
    return config.model_copy(update={"ties": ties, "shuffle": bool(config.shuffle)})


def new_network(log: EventLog, config: TasteConfig, features: Features, *, seed: int) -> TasteNetwork:
    """A network with its first weights; torch's own random state stays as it is."""
    seen = np.bincount(log.item[log.weight > 0], minlength=log.n_items) > 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TasteNetwork(config, features, seen=seen, d_said=log.said.vectors.shape[1])


def run_digest(log: EventLog, config: TasteConfig, features: Features, *, seed: int) -> str:
    """Names a run: its options but its patience, its events, its items and its seed; 64 hex digits."""
    said = hashlib.sha256(f"{seed} {config.model_dump_json(exclude={'patience'})}".encode())
    arrays: tuple[NDArray, ...] = (log.user_start, log.item, log.at_s, log.kind, log.weight)
    arrays = (*arrays, *((log.said.row, log.said.vectors) if config.said else ()))
    arrays = (*arrays, features.rows, features.bag.indices, features.bag.indptr, features.bag.data)
    for array in arrays:
        said.update(np.ascontiguousarray(array).tobytes())
    return said.hexdigest()


def _ended(values: tuple[float, ...], patience: int, horizon: int) -> bool:
    """Whether no further epoch is to be made."""
    return len(values) >= horizon or len(values) - _best_epoch(values) >= patience


def _best_epoch(values: tuple[float, ...]) -> int:
    """The first epoch that reached the most, from 1; the last one where nothing was measured, 0 before any."""
    if not values or math.isnan(values[-1]):
        return len(values)
    return int(np.argmax(values)) + 1


def _stopped() -> float:
    """A clock where time is not limited."""
    return 0.0


def _silent(_what: str, _done: int, _of: int) -> None:
    """Nobody wants to know."""
