"""Training sequences of the taste model: what is read, what is predicted, and which of it goes into one step.

Every event but the newest is read once an epoch and predicts one event of the step that follows it. Long histories are
cut into windows at a place drawn anew each epoch. Only numpy; the network reads the batches made here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...profiling.log import EventLog, Requests
from ...profiling.taste_events import Events, padded_events
from ..histories import Ties
from .config import TasteConfig

Int = NDArray[np.int64]
_POOL = 16  # batches that are sorted by length together


def ties_for(requests: Requests, *, share: float = 0.01) -> Ties:
    """``sequence`` where more than ``share`` of these requests come at the very time of their newest event.

    Somebody asked in the middle of a day or basket wants what comes next in it; where everybody asks before the next
    one begins, all of it is wanted at once.
    """
    known = np.flatnonzero(requests.stop > requests.start)
    if not len(known):
        return "together"
    same_time = requests.log.at_s[requests.stop[known] - 1] == requests.now_s[known]
    return "sequence" if same_time.mean() > share else "together"


@dataclass(frozen=True, eq=False)
class TasteBatch:
    """Sequences of one optimiser step.

    Attributes:
        events: what is read
        predicts: whether an event has something to predict, (n_rows, longest)
        target: item that each of them predicts, row after row, (n_targets,)
        weight: preference weight of each, > 0, (n_targets,)
    """

    events: Events
    predicts: NDArray[np.bool_]
    target: Int
    weight: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Sequences:
    """All training sequences of one epoch, flattened; arrays over read events are (n_read,).

    Attributes:
        log: where the events lie
        event: events that are read, window after window
        step: their places in the order
        asked_s: time of the step that follows each
        target: the event that each predicts
        start: read events of window ``w`` are ``start[w]:start[w + 1]``, (n_windows + 1,)
    """

    log: EventLog
    event: Int
    step: Int
    asked_s: NDArray[np.float64]
    target: Int
    start: Int

    def take(self, windows: Int) -> TasteBatch:
        """The batch of these windows."""
        lengths = np.diff(self.start)[windows]
        first = np.repeat(self.start[windows] - np.cumsum(lengths) + lengths, lengths)
        at = first + np.arange(len(first))
        events = padded_events(self.log, self.event[at], lengths, asked_s=self.asked_s[at], step=self.step[at])
        weight = np.maximum(self.log.weight[self.target[at]], 0)
        predicts = events.valid.copy()
        predicts[events.valid] = weight > 0
        liked = self.target[at][weight > 0]
        return TasteBatch(events, predicts, self.log.item[liked].astype(np.int64), weight[weight > 0])


def epoch_sequences(log: EventLog, config: TasteConfig, rng: np.random.Generator) -> Sequences:
    """What is read and predicted in one epoch; ``rng`` draws the order inside a time, targets and windows."""
    order = np.arange(len(log), dtype=np.int64)
    if config.shuffle:
        order = np.lexsort((rng.random(len(log)), log.at_s, log.user()))
    begin, user_of_step, step = _steps(log, "together" if config.ties == "together" else "sequence")
    size = np.diff(np.append(begin, len(log)))
    followed = np.append(user_of_step[1:] == user_of_step[:-1], False)[: len(begin)]
    read = np.flatnonzero(followed[step])
    after = step[read] + 1
    target = begin[after] + (rng.random(len(read)) * size[after]).astype(np.int64)
    start = _windows(log.user()[read], config.last, rng)
    return Sequences(log, order[read], step[read], log.at_s[begin[after]], order[target], start)


@dataclass(frozen=True, eq=False)
class Batches:
    """The batches of one epoch, made when they are asked for.

    Attributes:
        sequences: what they are made of
        windows: windows of each batch
    """

    sequences: Sequences
    windows: list[Int]

    def __len__(self) -> int:
        return len(self.windows)

    def __iter__(self) -> Iterator[TasteBatch]:
        return map(self.sequences.take, self.windows)


def epoch_batches(log: EventLog, config: TasteConfig, rng: np.random.Generator) -> Batches:
    """The batches of one epoch: windows of like length together, in random order; each has something to predict."""
    sequences = epoch_sequences(log, config, rng)
    lengths = np.diff(sequences.start)
    liked = np.append(0, np.cumsum(log.weight[sequences.target] > 0))
    useful = np.flatnonzero(liked[sequences.start[1:]] > liked[sequences.start[:-1]])
    windows, batches = rng.permutation(useful), []
    pool = max(1, _POOL * config.batch // max(int(lengths.mean()) if len(lengths) else 1, 1))
    for first in range(0, len(windows), pool):
        near = windows[first : first + pool]
        near = near[np.argsort(lengths[near], kind="stable")]
        batches += _cut(near, lengths[near], config.batch)
    return Batches(sequences, [batches[number] for number in rng.permutation(len(batches))])


def _steps(log: EventLog, ties: Ties | Literal["auto"]) -> tuple[Int, Int, Int]:
    """First event of each step, its user, and the step of each event."""
    user = log.user().astype(np.int64)
    if ties != "together" or not len(log):
        places = np.arange(len(log), dtype=np.int64)
        return places, user, places
    new = np.r_[True, (user[1:] != user[:-1]) | (log.at_s[1:] != log.at_s[:-1])]
    begin = np.flatnonzero(new)
    return begin, user[begin], np.cumsum(new) - 1


def _windows(user: NDArray[np.integer], last: int, rng: np.random.Generator) -> Int:
    """Where windows of at most ``last`` read events begin, and the end, (n_windows + 1,); none spans two users."""
    begin = np.flatnonzero(np.r_[True, user[1:] != user[:-1]]) if len(user) else np.zeros(0, dtype=np.int64)
    lengths = np.diff(np.append(begin, len(user)))
    place = np.arange(len(user)) - np.repeat(begin, lengths)
    shift = np.where(lengths > last, rng.integers(0, last, size=len(lengths)), 0)
    window = (place + np.repeat(shift, lengths)) // last
    new = np.flatnonzero((place == 0) | (np.diff(window, prepend=0) != 0))
    return np.append(new, len(user)).astype(np.int64)


def _cut(windows: Int, lengths: Int, most: int) -> list[Int]:
    """Windows, shortest first, in batches of at most ``most`` padded places (one window at least)."""
    out, first = [], 0
    for place in range(1, len(windows) + 1):
        if place == len(windows) or (place + 1 - first) * lengths[place] > most:
            out.append(windows[first:place])
            first = place
    return out
