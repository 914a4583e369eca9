"""Habits: at what hour, on which day, where and on what a shopper usually is, told only where it is a habit.

Counted over visits (distinct times), not lines, so that a full basket counts once. A circular mean says at what hour;
its resultant length (Mardia & Jupp 2000, section 2.3) says how much of a habit that is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WEEKDAYS: tuple[str, ...] = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DAY_S = 86_400.0


@dataclass(frozen=True)
class Habits:
    """What is usual for a shopper; None and NaN are unknown or no habit.

    Attributes:
        visits: distinct times seen
        hour: mean hour of the day on the shopper's clock, [0, 24)
        hour_concentration: from 0 (any hour) to 1 (always the same)
        weekday: the most common day, where clearly more common than a seventh
        weekday_share: share of visits on it
        scene, device, place: the most common one, where it holds half of the visits that name one
    """

    visits: int
    hour: float = float("nan")
    hour_concentration: float = float("nan")
    weekday: str | None = None
    weekday_share: float = float("nan")
    scene: str | None = None
    device: str | None = None
    place: str | None = None


def habits(
    at_s: NDArray[np.floating],
    *,
    scene: Sequence[str | None] = (),
    device: Sequence[str | None] = (),
    place: Sequence[str | None] = (),
    utc_offset_s: float = 0.0,
    hours: bool = True,
    calendar: bool = True,
    least_visits: int = 5,
) -> Habits:
    """Habits of one shopper.

    Args:
        at_s: event times, (n_events,) seconds since 1970 UTC
        scene, device, place: of each event, (n_events,), or empty
        utc_offset_s: the shopper's clock minus UTC
        hours, calendar: false where times are whole days, or relative
        least_visits: with fewer visits nothing is a habit
    """
    times, first = np.unique(np.asarray(at_s, dtype=np.float64), return_index=True)
    names = [_mode([v[k] for k in first] if len(v) else [], least_visits) for v in (scene, device, place)]
    if len(times) < least_visits or not calendar:
        return Habits(visits=len(times), scene=names[0], device=names[1], place=names[2])
    clock = times + utc_offset_s
    mean = np.exp(2j * np.pi * clock / DAY_S).mean() if hours else complex(float("nan"))
    day = (np.floor(clock / DAY_S).astype(np.int64) + 3) % 7
    counts = np.bincount(day, minlength=7)
    best = int(counts.argmax())
    share = float(counts[best] / len(day))
    # Two standard errors over chance: a seventh of few visits is easily beaten by luck.
    clear = share > 1 / 7 + 2 * np.sqrt(1 / 7 * 6 / 7 / len(day))
    return Habits(
        visits=len(times),
        hour=float(np.angle(mean) / (2 * np.pi) * 24 % 24),
        hour_concentration=float(np.abs(mean)),
        weekday=WEEKDAYS[best] if clear else None,
        weekday_share=share if clear else float("nan"),
        scene=names[0],
        device=names[1],
        place=names[2],
    )


def _mode(values: Sequence[object], least: int) -> str | None:
    """The most common name, if it holds half of the at least ``least`` values that are names."""
    named = Counter(value for value in values if isinstance(value, str) and value)
    total = sum(named.values())
    if total < least:
        return None
    name, count = min(named.items(), key=lambda pair: (-pair[1], pair[0]))
    return name if count >= total / 2 else None
