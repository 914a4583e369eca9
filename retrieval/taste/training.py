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
    config = config or TasteConfig()
    if config.ties == "auto":  # nobody's requests are at hand here; `ties_for` tells from them
        config = config.model_copy(update={"ties": "sequence"})
    if minutes is not None and (clock is None or minutes <= 0):
        raise ConfigError(f"minutes: must be positive and come with a clock, got {minutes}; give both or neither")
    now = clock or _stopped
    tell = progress or _silent
    seed = int(rng.integers(2**31))
    features = item_features(train, config, rng=np.random.default_rng([seed, 0]))
    network = new_network(train.log, config, features, seed=seed)
    trainer = Trainer(network, train.log, seed=seed)
    digest = run_digest(train.log, config, features, seed=seed)
    values: tuple[float, ...] = ()
    seconds, horizon = 0.0, config.epochs
    file = None if folder is None else folder / _FILE
    if file is not None and file.is_file():
        found = read_checkpoint(file, digest)
        values, seconds, horizon = found.values, found.seconds, found.horizon
        trainer.load(found.tensors)
    while not _ended(values, config.patience, horizon):
        began, number = now(), len(values) + 1
        trainer.epoch(number, horizon, partial(tell, f"taste: epoch {number}"))
        reached = math.nan if objective is None else objective(trainer.model(number))
        if objective is None or reached > max(values, default=-math.inf):
            trainer.keep()
        values, seconds = (*values, reached), seconds + now() - began
        if minutes is not None:
            horizon = _affordable(config.epochs, number, seconds=seconds, limit=60.0 * minutes)
        if file is not None:
            write_checkpoint(file, Checkpoint(digest, trainer.state(), values, seconds, horizon))
    return trainer.best(_best_epoch(values))


def new_network(log: EventLog, config: TasteConfig, features: Features, *, seed: int) -> TasteNetwork:
    """A network with its first weights; torch's own random state stays as it is."""
    seen = np.bincount(log.item[log.weight > 0], minlength=log.n_items) > 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TasteNetwork(config, features, seen=seen)


def run_digest(log: EventLog, config: TasteConfig, features: Features, *, seed: int) -> str:
    """Names a run: its options but its patience, its events, its items and its seed; 64 hex digits."""
    said = hashlib.sha256(f"{seed} {config.model_dump_json(exclude={'patience'})}".encode())
    arrays: tuple[NDArray, ...] = (log.user_start, log.item, log.at_s, log.kind, log.weight)
    arrays = (*arrays, features.rows, features.bag.indices, features.bag.indptr, features.bag.data)
    for array in arrays:
        said.update(np.ascontiguousarray(array).tobytes())
    return said.hexdigest()


def _ended(values: tuple[float, ...], patience: int, horizon: int) -> bool:
    """Whether no further epoch is to be made."""
    return len(values) >= horizon or len(values) - _best_epoch(values) >= patience


def _affordable(epochs: int, done: int, *, seconds: float, limit: float) -> int:
    """How many epochs there will be: all, or those that ``limit`` seconds have room for at the pace so far."""
    return min(epochs, max(done, int(limit * done / max(seconds, 1e-9))))


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
