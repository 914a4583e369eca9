"""Context: when, where and on what a request is made, and when and where each item sells.

A request and an item meet on the same axes: hour, weekday and season as cycles, and one axis for each scene, device and
place that is common enough. The item side is a shrunk deviation from the shop's mean in units of its spread, so the
inner product with a request is a linear discriminant: positive where the item sells better in such a context. A cycle
of which the log has not seen half is left out; until it has seen two turns, a season is also a trend.
Time zones of single shoppers are the caller's to know; the default is the shop's clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field

from .shopper.shrinkage import mean_strength, shrunk_mean

DAY_S = 86_400.0
YEAR_S = 365.2425 * DAY_S
_CHUNK = 2**18  # events looked at together: a wide shop's axes of all its events need not fit in memory
CYCLES: tuple[tuple[str, float, float, int], ...] = (
    ("hour", DAY_S, 0.0, 2),
    ("weekday", 7 * DAY_S, 4 * DAY_S, 2),
    ("season", YEAR_S, 0.0, 1),
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


@dataclass(frozen=True, eq=False)
class Contexts:
    """Circumstances of many events or requests, aligned with them; None is unknown for all, a null for one.

    Attributes:
        scene, device, place: names, (n,)
        utc_offset_s: what to add to UTC to get the shopper's clock, (n,) with NaN for the shop's own
    """

    scene: pd.Categorical | None = None
    device: pd.Categorical | None = None
    place: pd.Categorical | None = None
    utc_offset_s: NDArray[np.float64] | None = None

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Contexts:
        """The circumstances at these positions."""
        return Contexts(*(None if values is None else values[rows] for values in vars(self).values()))


Names = Sequence[str | None] | NDArray[np.object_] | None


def contexts(
    *,
    scene: Names = None,
    device: Names = None,
    place: Names = None,
    utc_offset_s: ArrayLike | None = None,
) -> Contexts:
    """`Contexts` from sequences, (n,) each; a sequence of nothing but nulls says nothing and becomes None."""
    offset = None if utc_offset_s is None else np.asarray(utc_offset_s, dtype=np.float64)
    return Contexts(_names(scene), _names(device), _names(place), offset)


def _names(values: Names) -> pd.Categorical | None:
    names = None if values is None else pd.Categorical(np.asarray(values, dtype=object))
    return None if names is None or (names.codes < 0).all() else names


class ContextConfig(BaseModel):
    """Which axes a shop's context has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_names: int = Field(default=30, ge=0, description="most scenes, devices or places with an axis of their own")
    least_share: float = Field(default=0.005, ge=0, lt=1, description="share of events a name needs for an axis")
    least_turns: float = Field(default=0.5, ge=0, description="turns of a cycle that the log must span for its axes")
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
    at_s: NDArray[np.float64], where: Contexts | None = None, *, config: ContextConfig | None = None
) -> ContextAxes:
    """Choose a shop's axes and learn what is usual on them.

    Args:
        at_s: times of its events, seconds since 1970 UTC, (n_events,)
        where: their circumstances
        config: which axes there may be
    """
    config, where = config or ContextConfig(), where or Contexts()
    span_s = float(np.ptp(at_s)) if len(at_s) else 0.0
    known = {name: config.calendar and span_s >= config.least_turns * period for name, period, _, _ in CYCLES}
    known["hour"] &= config.hours
    cycles = tuple(name for name, *_ in CYCLES if known[name])
    scenes, devices, places = (_common(values, config) for values in (where.scene, where.device, where.place))
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
    if not len(at_s):
        return axes
    mean = sum((_raw(axes, at_s[c], where.take(c)).sum(axis=0) for c in _chunks(len(at_s))), blank) / len(at_s)
    off = sum((((_raw(axes, at_s[c], where.take(c)) - mean) ** 2).sum(axis=0) for c in _chunks(len(at_s))), blank)
    spread = np.sqrt(off / len(at_s))
    return replace(axes, mean=mean, spread=np.where(spread > 1e-9, spread, 1.0))


def context_vectors(axes: ContextAxes, at_s: NDArray[np.float64], where: Contexts | None = None) -> NDArray[np.float64]:
    """Standardised deviation of each context from the shop's usual one, (n, d); unknown parts are 0.

    Args:
        axes: the shop's axes
        at_s: times, (n,) seconds since 1970 UTC; NaN unknown
        where: circumstances; a name without an axis is unknown
    """
    where = where or Contexts()
    centred = (_raw(axes, at_s, where) - axes.mean) / axes.spread
    columns = _columns(axes.names, axes.cycles)
    named = ((where.scene, axes.scenes), (where.device, axes.devices), (where.place, axes.places))
    for part, (values, names) in zip(columns[1:], named, strict=True):
        if values is None:
            centred[:, part] = 0.0
        elif len(part):
            centred[np.ix_(np.flatnonzero(_codes(values, names) < 0), part)] = 0.0
    if np.isnan(at_s).any():
        centred[np.ix_(np.flatnonzero(np.isnan(at_s)), columns[0])] = 0.0
    return centred


@lru_cache(maxsize=64)
def _columns(names: tuple[str, ...], cycles: tuple[str, ...]) -> tuple[NDArray[np.int64], ...]:
    """Columns of the cycles, the scenes, the devices and the places among axes of these names."""
    kinds = [name.split(" ")[0] for name in names]
    groups = (cycles, ("scene",), ("device",), ("place",))
    return tuple(np.array([k for k, kind in enumerate(kinds) if kind in group], dtype=np.int64) for group in groups)


@lru_cache(maxsize=64)
def _turns(cycles: tuple[str, ...]) -> tuple[NDArray[np.float64], ...]:
    """Period, start and harmonic of each pair of axes of these cycles, (n_pairs,) each."""
    pairs = [(period, start, k) for name, period, start, n in CYCLES if name in cycles for k in range(1, n + 1)]
    return tuple(np.array(pairs, dtype=np.float64).reshape(len(pairs), 3).T)


def contexts_of(context: Context) -> Contexts:
    """One request's circumstances as a batch of one."""
    offset = None if context.utc_offset_s is None else [context.utc_offset_s]
    names = [None if name is None else [name] for name in (context.scene, context.device, context.place)]
    return contexts(scene=names[0], device=names[1], place=names[2], utc_offset_s=offset)


def item_contexts(
    axes: ContextAxes,
    item: NDArray[np.integer],
    at_s: NDArray[np.float64],
    where: Contexts | None = None,
    *,
    n_items: int,
) -> NDArray[np.float64]:
    """When and where each item sells, on the axes of requests, shrunk to the shop's mean, (n_items, d).

    Args:
        axes: the shop's axes
        item: item row of each event, (n_events,)
        at_s: time of each event, seconds since 1970 UTC, (n_events,)
        where: their circumstances
        n_items: number of items

    Each axis has a credibility of its own: an axis on which items do not differ is 0 for all of them. As contexts
    are standardised, ``context @ item_context`` is the linear discriminant of naive Bayes with equal variances.
    """
    where = where or Contexts()
    counts = np.bincount(item, minlength=n_items).astype(np.float64)
    totals, squares = np.zeros((axes.dim, n_items)), np.zeros((axes.dim, n_items))
    for chunk in _chunks(len(item)):
        vectors = context_vectors(axes, at_s[chunk], where.take(chunk))
        for axis, value in enumerate(vectors.T):
            totals[axis] += np.bincount(item[chunk], value, minlength=n_items)
            squares[axis] += np.bincount(item[chunk], value**2, minlength=n_items)
    out = np.zeros((n_items, axes.dim))
    for axis in range(axes.dim):
        strength = mean_strength(totals[axis], squares[axis], counts, mean=0.0, highest=math.inf)
        if math.isfinite(strength):
            out[:, axis] = shrunk_mean(totals[axis], counts, mean=0.0, strength=strength)
    return out


def context_state(axes: ContextAxes) -> tuple[dict[str, NDArray[np.float64]], dict[str, Any]]:
    """Arrays and JSON values that `context_from_state` turns back into the same axes."""
    values = vars(axes)
    arrays = {name: values[name] for name in ("mean", "spread")}
    return arrays, {name: value for name, value in values.items() if name not in arrays}


def context_from_state(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> ContextAxes:
    """The axes that `context_state` took apart."""
    names = {name: tuple(meta[name]) for name in ("names", "scenes", "devices", "places", "cycles")}
    return ContextAxes(
        mean=np.asarray(arrays["mean"]),
        spread=np.asarray(arrays["spread"]),
        utc_offset_s=float(meta["utc_offset_s"]),
        **names,
    )


def _raw(axes: ContextAxes, at_s: NDArray[np.float64], where: Contexts) -> NDArray[np.float64]:
    """Cosines, sines and ones of each context before centring, (n, d)."""
    clock = np.asarray(at_s, dtype=np.float64) + axes.utc_offset_s
    if where.utc_offset_s is not None:
        clock = clock + np.nan_to_num(where.utc_offset_s - axes.utc_offset_s)
    period_s, start_s, harmonic = _turns(axes.cycles)
    angle = 2 * np.pi * (clock[:, None] - start_s) / period_s * harmonic  # as `cyclic`, all cycles at once
    turned = np.nan_to_num(np.stack([np.cos(angle), np.sin(angle)], axis=2).reshape(len(clock), 2 * len(harmonic)))
    blocks = [turned]
    for values, names in ((where.scene, axes.scenes), (where.device, axes.devices), (where.place, axes.places)):
        one_hot = np.zeros((len(clock), len(names)))
        if values is not None and names:
            code = _codes(values, names)
            rows = np.flatnonzero(code >= 0)
            one_hot[rows, code[rows]] = 1.0
        blocks.append(one_hot)
    return np.concatenate(blocks, axis=1)


def _codes(values: pd.Categorical, names: tuple[str, ...]) -> NDArray[np.int64]:
    """Position of each value among the names, -1 where it has none."""
    position = pd.Index(list(names), dtype=object).get_indexer(pd.Index(values.categories, dtype=object))
    return np.r_[position, -1].astype(np.int64)[values.codes]


def _common(values: pd.Categorical | None, config: ContextConfig) -> tuple[str, ...]:
    """The most common names, if there is more than one to tell apart."""
    if values is None or not len(values):
        return ()
    counts = np.bincount(values.codes[values.codes >= 0], minlength=len(values.categories))
    common = np.argsort(-counts, kind="stable")[: config.max_names]
    common = common[counts[common] >= max(config.least_share * len(values), 1)]
    return tuple(str(values.categories[k]) for k in common) if (counts > 0).sum() > 1 else ()


def _chunks(n: int) -> Iterator[slice]:
    """Slices that cover ``n`` rows."""
    for start in range(0, n, _CHUNK):
        yield slice(start, min(start + _CHUNK, n))
