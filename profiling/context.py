"""Context: when, where and on what a request is made, and when and where each item sells.

A request and an item meet on the same axes: hour, weekday and season as cycles, and one axis for each scene, device and
place that is common enough. The item side is a shrunk deviation from the shop's mean in units of its spread, so the
inner product with a request is a linear discriminant: positive where the item sells better in such a context. A cycle
that the log has not seen once in full is left out: ten months cannot tell a season from a trend.
Time zones of single shoppers are the caller's to know; the default is the shop's clock.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field

from .shrinkage import mean_strength, shrunk_mean

DAY_S = 86_400.0
YEAR_S = 365.2425 * DAY_S
CYCLES: tuple[tuple[str, float, float, int], ...] = (
    ("hour", DAY_S, 0.0, 2),
    ("weekday", 7 * DAY_S, 4 * DAY_S, 2),
    ("season", YEAR_S, 0.0, 2),
)
"""Name, period in seconds, start of the cycle after 1970-01-01 (weeks start on Monday), number of harmonics."""


@dataclass(frozen=True)
class Context:
    """Circumstances of one request; None and NaN are unknown.

    Attributes:
        at_s: seconds since 1970 UTC
        scene, device, place: surface, device, store or country
        utc_offset_s: what to add to UTC to get the shopper's clock, seconds; None is the shop's own
    """

    at_s: float
    scene: str | None = None
    device: str | None = None
    place: str | None = None
    utc_offset_s: float | None = None

    def __post_init__(self) -> None:
        if math.isinf(self.at_s):
            raise ValueError(f"at_s must be seconds since 1970 UTC or NaN for unknown, got {self.at_s}")
        if not abs(self.utc_offset_s or 0.0) <= DAY_S:
            raise ValueError(f"utc_offset_s must be within a day, got {self.utc_offset_s}")

    @property
    def hour(self) -> float:
        """Hour of the shopper's day, [0, 24); UTC where the offset is unknown."""
        return (self.at_s + (self.utc_offset_s or 0.0)) % DAY_S / 3600

    @property
    def weekday(self) -> int:
        """Day of the shopper's week, Monday 0 to Sunday 6; UTC where the offset is unknown.

        >>> Context(at_s=0.0).weekday  # 1970-01-01 was a Thursday
        3
        """
        return int((self.at_s + (self.utc_offset_s or 0.0)) // DAY_S + 3) % 7


class ContextConfig(BaseModel):
    """Which axes a shop's context has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_names: int = Field(default=30, ge=0, description="most scenes, devices or places with an axis of their own")
    least_share: float = Field(default=0.005, ge=0, lt=1, description="share of events a name needs for an axis")
    utc_offset_s: float = Field(default=0.0, ge=-86_400, le=86_400, description="shop's clock minus UTC, seconds")
    hours: bool = Field(default=True, description="false where times are whole days")
    calendar: bool = Field(default=True, description="false where times are relative, not calendar times")


@dataclass(frozen=True, eq=False)
class ContextAxes:
    """The axes of a shop and what is usual on them.

    Attributes:
        names: readable name of each axis, (d,)
        mean, spread: mean and standard deviation of events on each axis, (d,)
        scenes, devices, places: names with an axis, in axis order
        cycles: names of the cycles in use
        utc_offset_s: shop's clock minus UTC
    """

    names: tuple[str, ...]
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    scenes: tuple[str, ...]
    devices: tuple[str, ...]
    places: tuple[str, ...]
    cycles: tuple[str, ...]
    utc_offset_s: float

    @property
    def dim(self) -> int:
        """Number of axes."""
        return len(self.names)


def cyclic(at_s: ArrayLike, period_s: float, *, start_s: float = 0.0, harmonics: int = 1) -> NDArray[np.float64]:
    """Place in a cycle as cosines and sines, (n, 2 harmonics); 0 where the time is NaN.

    >>> cyclic([0.0, 3 * 3600.0], 86_400.0).round(3).tolist()
    [[1.0, 0.0], [0.707, 0.707]]
    """
    angle = 2 * np.pi * (np.asarray(at_s, dtype=np.float64) - start_s) / period_s
    turns = angle[:, None] * np.arange(1, harmonics + 1)  # (n, harmonics)
    return np.nan_to_num(np.stack([np.cos(turns), np.sin(turns)], axis=2).reshape(len(angle), 2 * harmonics))


def fit_context(
    at_s: NDArray[np.float64],
    *,
    scene: Sequence[str | None] | None = None,
    device: Sequence[str | None] | None = None,
    place: Sequence[str | None] | None = None,
    config: ContextConfig | None = None,
) -> ContextAxes:
    """Choose a shop's axes and learn what is usual on them, from its events (each argument (n_events,))."""
    config = config or ContextConfig()
    span_s = float(np.ptp(at_s)) if len(at_s) else 0.0
    known = {name: config.calendar and span_s >= period for name, period, _, _ in CYCLES}
    known["hour"] &= config.hours
    cycles = tuple(name for name, *_ in CYCLES if known[name])
    scenes, devices, places = (_common(values, config) for values in (scene, device, place))
    names = [
        f"{name} {part}{k}"
        for name, _, _, n in CYCLES
        if known[name]
        for k in range(1, n + 1)
        for part in ("cos", "sin")
    ]
    for title, values in (("scene", scenes), ("device", devices), ("place", places)):
        names += [f"{title} {value}" for value in values]
    blank = np.zeros(len(names))
    axes = ContextAxes(tuple(names), blank, blank + 1, scenes, devices, places, cycles, config.utc_offset_s)
    raw = _raw(axes, at_s, scene, device, place)
    if not len(raw):
        return axes
    mean, spread = raw.mean(axis=0), raw.std(axis=0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    return ContextAxes(axes.names, mean, spread, scenes, devices, places, cycles, config.utc_offset_s)


def context_vectors(
    axes: ContextAxes,
    at_s: NDArray[np.float64],
    *,
    scene: Sequence[str | None] | None = None,
    device: Sequence[str | None] | None = None,
    place: Sequence[str | None] | None = None,
    utc_offset_s: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Standardised deviation of each context from the shop's usual one, (n, d); unknown parts are 0.

    Args:
        axes: the shop's axes
        at_s: times, (n,) seconds since 1970 UTC; NaN unknown
        scene, device, place: names, (n,); None or a name without an axis is unknown
        utc_offset_s: shopper's clock minus UTC, one number or (n,); the shop's if None
    """
    raw = _raw(axes, at_s, scene, device, place, utc_offset_s)
    centred = (raw - axes.mean) / axes.spread
    for prefix, values, names in (
        ("scene ", scene, axes.scenes),
        ("device ", device, axes.devices),
        ("place ", place, axes.places),
    ):
        columns = [k for k, name in enumerate(axes.names) if name.startswith(prefix)]
        blind = np.ones(len(raw), dtype=bool) if values is None else _codes(values, names) < 0
        centred[np.ix_(np.flatnonzero(blind), np.asarray(columns, dtype=np.int64))] = 0.0
    cycles = [k for k, name in enumerate(axes.names) if name.split(" ")[0] in axes.cycles]
    centred[np.ix_(np.flatnonzero(np.isnan(at_s)), np.asarray(cycles, dtype=np.int64))] = 0.0
    return centred


def context_vector(context: Context, axes: ContextAxes) -> NDArray[np.float64]:
    """`context_vectors` of one context, (d,)."""
    return context_vectors(
        axes,
        np.asarray([context.at_s]),
        scene=[context.scene],
        device=[context.device],
        place=[context.place],
        utc_offset_s=context.utc_offset_s,
    )[0]


def item_contexts(item: NDArray[np.integer], contexts: NDArray[np.float64], n_items: int) -> NDArray[np.float64]:
    """When and where each item sells, on the same axes, shrunk to the shop's mean, (n_items, d).

    Args:
        item: item row of each event, (n_events,)
        contexts: `context_vectors` of the events, (n_events, d)
        n_items: number of items

    Each axis has a credibility of its own: an axis on which items do not differ is 0 for all of them. As contexts
    are standardised, ``context @ item_context`` is the linear discriminant of naive Bayes with equal variances.
    """
    counts = np.bincount(item, minlength=n_items).astype(np.float64)
    out = np.zeros((n_items, contexts.shape[1]))
    for axis in range(contexts.shape[1]):
        value = contexts[:, axis]
        totals = np.bincount(item, value, minlength=n_items)
        squares = np.bincount(item, value**2, minlength=n_items)
        strength = mean_strength(totals, squares, counts, mean=0.0, highest=math.inf)
        if math.isfinite(strength):
            out[:, axis] = shrunk_mean(totals, counts, mean=0.0, strength=strength)
    return out


def _raw(
    axes: ContextAxes,
    at_s: NDArray[np.float64],
    scene: Sequence[str | None] | None,
    device: Sequence[str | None] | None,
    place: Sequence[str | None] | None,
    utc_offset_s: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Cosines, sines and ones of each context before centring, (n, d)."""
    offset = np.asarray(axes.utc_offset_s if utc_offset_s is None else utc_offset_s, dtype=np.float64)
    clock = np.asarray(at_s, dtype=np.float64) + offset
    blocks = [
        cyclic(clock, period, start_s=start, harmonics=n) for name, period, start, n in CYCLES if name in axes.cycles
    ]
    for values, names in ((scene, axes.scenes), (device, axes.devices), (place, axes.places)):
        one_hot = np.zeros((len(clock), len(names)))
        if values is not None and names:
            code = _codes(values, names)
            rows = np.flatnonzero(code >= 0)
            one_hot[rows, code[rows]] = 1.0
        blocks.append(one_hot)
    return np.concatenate(blocks, axis=1)


def _codes(values: Sequence[str | None], names: tuple[str, ...]) -> NDArray[np.int64]:
    """Position of each value among the names, -1 where it has none."""
    return pd.Index(list(names), dtype=object).get_indexer(pd.Index(np.asarray(values, dtype=object))).astype(np.int64)


def _common(values: Sequence[str | None] | None, config: ContextConfig) -> tuple[str, ...]:
    """The most common names, if there is more than one to tell apart."""
    if values is None or not len(values):
        return ()
    counts = pd.Series(np.asarray(values, dtype=object)).value_counts()
    common = counts[counts >= config.least_share * len(values)].index[: config.max_names]
    return tuple(str(name) for name in common) if len(counts) > 1 else ()
