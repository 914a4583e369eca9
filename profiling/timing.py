"""Comparing how long things take on a machine that others use too: in turn, round by round, as ratios.

Covers the order of the runs, and medians and spreads of ratios taken inside each round, so that a slow minute hits all
alike and falls out. Reads no clock of its own: callers bring one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .encoders.peak import Clock

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Spread:
    """Some measurements of one thing.

    Attributes:
        median, low, high: the middle one, the smallest and the largest
    """

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median, smallest and largest of ``values``, at least one.

    >>> spread([3.0, 1.0, 2.0])
    Spread(median=2.0, low=1.0, high=3.0)
    """
    return Spread(float(np.median(values)), float(min(values)), float(max(values)))


def paired_ratios(times: Mapping[str, Sequence[float]], against: str) -> dict[str, Spread]:
    """How many times faster than ``against`` each was, over the rounds.

    Args:
        times: seconds of each round, the same number for all
        against: a key of ``times``

    Returns:
        By name: the spread of (time of ``against`` / own time) in the same round.

    >>> paired_ratios({"a": [2.0, 8.0], "b": [1.0, 2.0]}, "a")["b"]
    Spread(median=3.0, low=2.0, high=4.0)
    """
    return {
        name: spread([theirs / own for theirs, own in zip(times[against], taken, strict=True)])
        for name, taken in times.items()
    }


def turns(names: Sequence[str], rounds: int) -> list[list[str]]:
    """The order of each round: each starts with another one, and every second one runs backwards.

    So nobody always comes after the same neighbour, whose threads may still spin and whose data fill the caches.

    >>> turns(["a", "b", "c", "d"], 3)
    [['a', 'b', 'c', 'd'], ['d', 'c', 'b', 'a'], ['b', 'c', 'd', 'a']]
    """
    orders = []
    for number in range(rounds):
        start = (number // 2) % max(len(names), 1)
        order = [*names, *names][start : start + len(names)]
        back = [*names[::-1], *names[::-1]][start : start + len(names)]
        orders.append(back if number % 2 else order)
    return orders


def time_rounds(
    runs: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    clock: Clock,
    pause: Callable[[], object],
    tell: Callable[[str], object] = str,
) -> dict[str, list[float]]:
    """Seconds of each run in each round, by name, in the order of the rounds.

    Args:
        runs: what to time; each should have run once before
        rounds: how many times
        clock: times them
        pause: called before each run, not timed: lets the threads of the one before come to rest
        tell: called with the name of the run that starts
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for order in turns(list(runs), rounds):
        for name in order:
            tell(name)
            pause()
            start = clock()
            runs[name]()
            times[name].append(clock() - start)
    return times


def time_calls(
    calls: Mapping[str, Callable[[_Item], object]],
    items: Sequence[_Item],
    *,
    clock: Clock,
    pause: Callable[[], object],
    block: int = 20,
    warm: int = 3,
) -> dict[str, list[float]]:
    """Seconds of each call with each item, by name: in turn by blocks of items, each begun by some calls not counted.

    Args:
        calls: what to time
        items: given one at a time
        clock: times them
        pause: called before each block
        block: items in a block
        warm: calls not counted before each block, with the block's first items: the caches hold the others' data
    """
    blocks = [items[start : start + block] for start in range(0, len(items), block)]
    times: dict[str, list[float]] = {name: [] for name in calls}
    for order, part in zip(turns(list(calls), len(blocks)), blocks, strict=True):
        for name in order:
            pause()
            for item in part[:warm]:
                calls[name](item)
            for item in part:
                start = clock()
                calls[name](item)
                times[name].append(clock() - start)
    return times
