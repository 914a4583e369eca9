"""Training a taste model where validation decides: how long to train, and the same length on everything afterwards.

Two models come out. ``before`` learned only what is earlier than the validation requests: weights and rankers are
chosen with it, and it would be told the answers otherwise. ``final`` learned all training events, as long as ``before``
did; where a protocol keeps validation out of training they are one. Networks and the loop are `retrieval.taste`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..profiling.log import EventLog
from ..profiling.taste_model import TasteModel
from ..retrieval.scorer import TrainingSet
from ..retrieval.taste.config import TasteConfig
from .sampled import single_ndcg
from .splits import Split
from .taste_order import RACE, TIED, OrderRace, race, tied_share

if TYPE_CHECKING:
    from ..retrieval.taste.training import TasteRun

SAMPLE = 6000
"""Validation requests that a model is looked at with after each epoch, at most."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class TrainedTaste:
    """Models of one training, and how it went.

    Attributes:
        before: learned from the events before the validation requests
        final: learned from all training events; ``before`` itself where they are the same
        config: options of the training
        about: epochs and what they reached, as JSON values
    """

    before: TasteModel
    final: TasteModel
    config: TasteConfig
    about: Mapping[str, Any]


def train_taste(
    train: TrainingSet,
    validation: tuple[TrainingSet, Split],
    config: TasteConfig,
    *,
    seed: int,
    minutes: float | None = None,
    clock: Callable[[], float] | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> TrainedTaste:
    """Train on the events before ``validation`` until its requests gain nothing more, then on all of ``train``.

    Args:
        train: everything that may be learned from
        validation: an earlier training set, and requests after it
        config: options of the network
        seed: of the first weights, the order and what is drawn
        minutes: wall-clock budget of both trainings together, None = until validation is satisfied; needs ``clock``
        clock: gives seconds
        folder: checkpoints go into folders of their own in it; a training that was interrupted goes on, one that was
            finished is read, and of more than `KEPT <retrieval.taste.checkpoints.KEPT>` the longest unused are removed
        progress: told what is going on
    """
    from ..retrieval.taste.checkpoints import prune_checkpoints
    from ..retrieval.taste.sequences import ties_for

    if folder is not None:
        prune_checkpoints(folder)
    earlier, split = validation
    if config.ties == "auto":
        config = config.model_copy(update={"ties": ties_for(split.requests)})
    same = same_events(train.log, earlier.log)
    share = 1.0 if same else len(earlier.log) / (len(earlier.log) + len(train.log))
    sample = known_requests(split).sample(SAMPLE, np.random.default_rng(seed))
    budget = _Budget(None if minutes is None else minutes * share, clock, progress)
    run, ended = _settled(earlier, sample, config, seed=seed, budget=budget, folder=folder)
    run.advance()
    before = run.best()
    config = config.model_copy(update={"shuffle": ended.shuffle})
    about: dict[str, Any] = {"taste_epochs": before.epochs, "taste_ndcg": round(single_ndcg(before, sample), 4)}
    about |= ended.said() | {"taste_seed": seed}
    trained = TrainedTaste(before, before, config, about)
    if same:
        return trained
    return replace(trained, final=train_again(train, trained, folder=folder, progress=progress))


@dataclass(frozen=True, eq=False)
class _Budget:
    """Minutes of a training, what tells the time, and who is told of it."""

    minutes: float | None
    clock: Callable[[], float] | None
    progress: Progress | None


def _settled(
    earlier: TrainingSet, sample: Split, config: TasteConfig, *, seed: int, budget: _Budget, folder: Path | None
) -> tuple[TasteRun, OrderRace]:
    """The training to go on with, and how it was settled whether it shuffles inside a time."""
    from ..retrieval.taste.training import TasteRun

    racing = config.shuffle == "auto" and config.ties == "sequence" and tied_share(earlier.log) >= TIED

    def open_run(shuffle: bool) -> TasteRun:
        told = config.model_copy(update={"shuffle": shuffle})
        return TasteRun(
            earlier,
            told,
            seed=int(np.random.default_rng(seed).integers(2**31)),
            objective=lambda model: single_ndcg(model, sample),
            minutes=budget.minutes,
            clock=budget.clock,
            folder=_folder(folder, earlier, told, seed, sample),
            progress=budget.progress,
            beside=RACE if racing else 0,
        )

    if racing:
        return race(open_run, sample, folder=_folder(folder, earlier, config, seed, sample))
    shuffle = bool(config.shuffle)
    return open_run(shuffle), OrderRace(shuffle, {})


def train_again(
    train: TrainingSet,
    trained: TrainedTaste,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> TasteModel:
    """A model of other events, trained as long as ``trained.before`` was, from the same seed."""
    from ..retrieval.taste.training import fit_taste

    seed = int(trained.about["taste_seed"])
    ties = "together" if trained.before.together else "sequence"
    again = trained.config.model_copy(update={"epochs": trained.before.epochs, "ties": ties})
    rng = np.random.default_rng(seed)
    return fit_taste(train, again, rng=rng, folder=_folder(folder, train, again, seed), progress=progress)


def _folder(
    folder: Path | None, train: TrainingSet, config: TasteConfig, seed: int, sample: Split | None = None
) -> Path | None:
    """Where the checkpoints of one training are that is looked at with ``sample``, if it is."""
    new = sample is not None and bool(sample.settings.get("only_new"))
    return None if folder is None else folder / training_digest(train, config, seed, only_new=new)


def known_requests(split: Split) -> Split:
    """The requests of shoppers with a history, of whom alone a taste model can say anything."""
    return split.take(np.flatnonzero(split.requests.stop > split.requests.start))


def same_events(one: EventLog, other: EventLog) -> bool:
    """Whether two logs over one catalogue hold the same events."""
    return len(one) == len(other) and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("user_start", "item", "at_s", "kind")
    )


def training_digest(train: TrainingSet, config: TasteConfig, seed: int, *, only_new: bool = False) -> str:
    """Digest of everything a training depends on, 16 hex digits; names its checkpoints.

    What it is looked at with follows from the events, but for ``only_new``: whether only new items count.
    """
    options = f"{config.model_dump_json()} {seed} {SAMPLE}{' only_new' * only_new}"
    digest = hashlib.blake2b(options.encode(), digest_size=8)
    log = train.log
    said = (log.said.row, log.said.vectors) if config.said else ()
    for column in (log.user_start, log.item, log.at_s, log.kind, log.weight, train.vectors, *said):
        if column is not None:
            digest.update(np.ascontiguousarray(column).data)
    for name in ("title", "brand", "category", "attributes"):
        if name in train.items:
            digest.update("\0".join(train.items[name].fillna("").astype(str)).encode())
    return digest.hexdigest()
