"""Whether the order of events at one time is learned from: a short race between two trainings, judged on validation.

Many shops know the day of an event and not its order inside it. Their files still have one, which may be the order in
which things happened, or an item id's. A model that reads it as it stands is tried beside one for which it is drawn
anew each epoch. It has to win over all requests, and to lose nothing where the day is another one: what it gains
inside a day may be the file's doing. How a model is trained is `retrieval.taste`'s work.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..profiling.errors import ArtefactError
from ..profiling.files import write_whole
from ..profiling.log import EventLog
from ..profiling.taste_model import TasteModel
from .rank import measure, rank
from .slices import DAY_S
from .splits import Split

if TYPE_CHECKING:
    from ..retrieval.taste.training import TasteRun

RACE = 4
"""Epochs that both trainings make before one of them goes on."""
ROOM = 12
"""Epochs that there must be time for, or the race would cost too much of them."""
TIED = 0.01
"""Share of events at the very time of the one before, below which their order cannot matter."""

_FILE = "order.json"


@dataclass(frozen=True)
class OrderRace:
    """How a race ended.

    Attributes:
        shuffle: whether the order inside a time is drawn anew each epoch
        reached: NDCG@10 after `RACE` epochs of ``shuffled`` and ``file``, over all requests and, with ``_other_day``,
            over those on another day than the newest event; empty where there was no race
    """

    shuffle: bool
    reached: dict[str, float]

    def said(self) -> dict[str, float | str]:
        """What results tell of it."""
        order = "shuffled" if self.shuffle else "file"
        return {"taste_order": order} | {f"taste_{name}": round(value, 4) for name, value in self.reached.items()}


def tied_share(log: EventLog) -> float:
    """Share of the events that come at the very time of their user's event before.

    >>> from tasteprint.profiling.tables.tiny import tiny_shop
    >>> from tasteprint.profiling.log import event_log
    >>> shop = tiny_shop()
    >>> 0 <= tied_share(event_log(shop.table("events"), shop.table("items")["item_id"])) < 1
    True
    """
    user = log.user()
    tied = (user[1:] == user[:-1]) & (log.at_s[1:] == log.at_s[:-1])
    return float(tied.sum() / max(len(log), 1))


def race(
    open_run: Callable[[bool], TasteRun], sample: Split, *, folder: Path | None = None
) -> tuple[TasteRun, OrderRace]:
    """The training that goes on, `RACE` epochs into it or a race before, and how the race ended.

    Args:
        open_run: gives the training that shuffles inside a time, or the one that does not
        sample: validation requests of shoppers with a history
        folder: remembers how the race ended, for a training that was interrupted
    """
    file = None if folder is None else folder / _FILE
    if file is not None and file.is_file():
        ended = _read(file)
        return open_run(ended.shuffle), ended
    shuffled = open_run(True)
    shuffled.advance(1)
    if shuffled.room < ROOM:
        shuffled.beside = 0
        return shuffled, OrderRace(True, {})
    shuffled.advance(RACE)
    as_filed = open_run(False)
    as_filed.advance(RACE)
    ended = decided(shuffled.latest(), as_filed.latest(), sample)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps({"shuffle": ended.shuffle, "reached": ended.reached}).encode(), tag=file.name)
    return (shuffled if ended.shuffle else as_filed), ended


def decided(shuffled: TasteModel, as_filed: TasteModel, sample: Split) -> OrderRace:
    """The end of a race between these two.

    The file's order has to gain more than two standard errors of the paired difference over all requests, and to lose
    less than one over those on another day.
    """
    each = {name: _ndcg(model, sample) for name, model in (("shuffled", shuffled), ("file", as_filed))}
    other = other_day(sample)
    gain = each["file"] - each["shuffled"]
    wins = gain.mean() > 2 * _error(gain) and (not other.any() or gain[other].mean() >= -_error(gain[other]))
    reached = {name: float(values.mean()) for name, values in each.items()}
    if other.any():
        reached |= {f"{name}_other_day": float(values[other].mean()) for name, values in each.items()}
    return OrderRace(not wins, reached)


def other_day(sample: Split) -> NDArray[np.bool_]:
    """Requests on another UTC day than their shopper's newest event, (n_requests,); each must have one."""
    newest_s = sample.requests.log.at_s[sample.requests.stop - 1]
    return sample.requests.now_s // DAY_S != newest_s // DAY_S


def _ndcg(model: TasteModel, sample: Split) -> NDArray[np.float64]:
    return measure(rank(model, sample), sample)["ndcg@10"].astype(np.float64)


def _error(difference: NDArray[np.float64]) -> float:
    """Standard error of a mean; infinite for a single value."""
    return float(difference.std(ddof=1) / np.sqrt(len(difference))) if len(difference) > 1 else float("inf")


def _read(file: Path) -> OrderRace:
    """How the race ended.

    Raises:
        ArtefactError: the file cannot be read.
    """
    try:
        held = json.loads(file.read_text())
        return OrderRace(bool(held["shuffle"]), {str(name): float(value) for name, value in held["reached"].items()})
    except (OSError, ValueError, KeyError) as error:
        raise ArtefactError(f"race {file}: cannot be read ({error}); remove it to race again") from error
