"""Quality against how much is known: of the shopper, how lately, and of the item. `CURVES` has every kind.

All points of ``history`` and ``staleness`` rank the same candidates for the same requests; only the history that a
method is told differs, so differences are paired. ``shoppers`` and ``items`` group real requests and right answers
instead: what cold ones look like in the shop, not what forgetting does to warm ones. Fitting methods is `harness`'
work, drawing `curve_page`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..profiling.errors import ConfigError
from ..profiling.log import Requests
from ..retrieval.scorer import Scorer
from .metrics import METRICS, look_up, parse_key
from .rank import measure, rank
from .significance import Paired, clustered_t
from .splits import Split

LENGTHS: tuple[int, ...] = (0, 1, 2, 3, 5, 10, 20)
"""Newest events kept, before all of them."""
PERIODS_S: Mapping[str, float] = {"hourly": 3600.0, "daily": 86_400.0, "weekly": 7 * 86_400.0}
"""How often profiles are rebuilt, beside every event; at round times UTC, weeks begin on Thursdays."""
ITEM_STEPS: tuple[int, ...] = (0, 1, 5, 20, 100)
"""Where groups of items begin, by training events."""
LEAST = 30
"""Requests below which a point is left out."""

Cut = Callable[[Requests], Requests]
Values = dict[str, NDArray[np.float64]]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Point:
    """One method at one point of a curve.

    Attributes:
        curve: key of `CURVES`
        at: how much is known, in words
        method: its name
        n: requests measured
        value, low, high: mean of the metric with its 95 % interval, clustered by shopper
        against: what it is compared with: a method at the same point, or the same method at another point
        difference, difference_low, difference_high, p: paired with that; NaN for what is compared with itself
    """

    curve: str
    at: str
    method: str
    n: int
    value: float
    low: float
    high: float
    against: str
    difference: float
    difference_low: float
    difference_high: float
    p: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Shortened:
    """A method that is told less: its requests pass through ``cut`` first."""

    scorer: Scorer
    cut: Cut

    def scores(self, requests: Requests) -> NDArray[np.float32]:
        """Scores of what is left of the requests, (n_requests, n_items)."""
        return self.scorer.scores(self.cut(requests))


def newest(requests: Requests, n: int) -> Requests:
    """The same requests with only the ``n`` newest events of each history."""
    return replace(requests, start=np.maximum(requests.start, requests.stop - n))


def as_of_last_rebuild(requests: Requests, period_s: float) -> Requests:
    """The same requests with only events before the last multiple of ``period_s`` seconds since 1970 UTC."""
    cutoff = np.floor(requests.now_s / period_s) * period_s
    request, event = requests.events()
    visible = np.bincount(request[requests.log.at_s[event] < cutoff[request]], minlength=len(requests))
    return replace(requests, stop=requests.start + visible)


def history_curve(
    split: Split, scorers: Mapping[str, Scorer], metric: str, against: str, tell: Progress
) -> list[Point]:
    """The newest 0, 1, 2 ... and all events kept, for shoppers who have at least the largest of these numbers."""
    length = split.requests.stop - split.requests.start
    enough = [n for n in LENGTHS if (length >= n).sum() >= LEAST]
    if len(enough) < 2:
        return []
    asked = split.take(np.flatnonzero(length >= enough[-1]))
    cuts: dict[str, Cut] = {str(n): lambda requests, n=n: newest(requests, n) for n in enough}  # type: ignore[misc]
    values = _told(asked, scorers, metric, {**cuts, "all": lambda requests: requests}, "history", tell)
    return _points("history", values, asked.cluster, against=against)


def staleness_curve(
    split: Split, scorers: Mapping[str, Scorer], metric: str, against: str, tell: Progress
) -> list[Point]:
    """Profiles rebuilt at every event, hourly, daily, weekly; each method against itself at every event."""
    asked = split.take(np.flatnonzero(split.requests.stop > split.requests.start))
    if len(asked.requests) < LEAST:
        return []
    cuts: dict[str, Cut] = {
        name: lambda requests, period_s=period_s: as_of_last_rebuild(requests, period_s)  # type: ignore[misc]
        for name, period_s in PERIODS_S.items()
    }
    values = _told(asked, scorers, metric, {"every event": lambda requests: requests, **cuts}, "staleness", tell)
    points: list[Point] = []
    for at, row in values.items():
        for name, each in row.items():
            fresh = values["every event"][name]
            said = f"{name} at every event"
            points.append(_point("staleness", at, name, each, asked.cluster, said, None if each is fresh else fresh))
    return points


def shoppers_curve(
    split: Split, scorers: Mapping[str, Scorer], metric: str, against: str, tell: Progress
) -> list[Point]:
    """Requests grouped by how many events their shoppers really have."""
    whole = _told(split, scorers, metric, {"": lambda requests: requests}, "shoppers", tell)[""]
    length = split.requests.stop - split.requests.start
    points: list[Point] = []
    for low, high, name in _groups(LENGTHS):
        rows = np.flatnonzero((length >= low) & (length < high))
        if len(rows) >= LEAST:
            values = {name: {method: each[rows] for method, each in whole.items()}}
            points += _points("shoppers", values, split.cluster[rows], against=against)
    return points


def items_curve(split: Split, scorers: Mapping[str, Scorer], metric: str, against: str, tell: Progress) -> list[Point]:
    """Right answers grouped by training events of the item; those without any are new items, found by text alone."""
    name, k = parse_key(metric)
    counts = np.bincount(split.train.item, minlength=split.train.n_items)[split.truth.items]
    best = {}
    for number, (method, scorer) in enumerate(scorers.items()):
        tell("measuring items", number, len(scorers))
        best[method] = rank(scorer, split).best
    points: list[Point] = []
    for low, high, group in _groups(ITEM_STEPS):
        truth = split.truth.only((counts >= low) & (counts < high))
        rows = truth.count() > 0
        if rows.sum() >= LEAST:
            each = {m: METRICS[name](look_up(b.items, b.valid, truth), truth, k)[rows] for m, b in best.items()}
            points += _points("items", {group: each}, split.cluster[rows], against=against)
    return points


CURVES: dict[str, Callable[[Split, Mapping[str, Scorer], str, str, Progress], list[Point]]] = {
    "history": history_curve,
    "shoppers": shoppers_curve,
    "staleness": staleness_curve,
    "items": items_curve,
}
"""Kinds of curve: what is varied -> how it is measured."""

CURVE_MEANINGS: Mapping[str, str] = {
    "history": "newest events kept of shoppers who have more",
    "shoppers": "events that shoppers really have",
    "staleness": "how often profiles are rebuilt",
    "items": "training events of the right item",
}


def measure_curves(
    split: Split,
    scorers: Mapping[str, Scorer],
    kinds: Sequence[str] | None = None,
    *,
    metric: str = "ndcg@10",
    against: str = "popular",
    progress: Progress | None = None,
) -> list[Point]:
    """Points of the named curves, all of them if None.

    Args:
        split: whose requests are asked
        scorers: fitted methods by name
        kinds: keys of `CURVES`
        metric: such as ``ndcg@10``, up to the depth that the protocol ranks to
        against: method that the others are tested against at each point
        progress: told what is going on

    Raises:
        ConfigError: an unknown curve, or ``against`` is not among the methods.
    """
    chosen = tuple(CURVES) if kinds is None else tuple(dict.fromkeys(kinds))
    for kind in chosen:
        if kind not in CURVES:
            raise ConfigError(f"kinds: must be among {', '.join(CURVES)}, got {kind!r}")
    if against not in scorers:
        raise ConfigError(f"against: must be one of {', '.join(scorers)}, got {against!r}")
    tell = progress or (lambda *_: None)
    return [point for kind in chosen for point in CURVES[kind](split, scorers, metric, against, tell)]


def _told(
    split: Split, scorers: Mapping[str, Scorer], metric: str, cuts: Mapping[str, Cut], curve: str, tell: Progress
) -> dict[str, Values]:
    """Values of every request at every point: point -> method -> (n_requests,)."""
    out: dict[str, Values] = {}
    done, total = 0, len(cuts) * len(scorers)
    for at, cut in cuts.items():
        out[at] = {}
        for method, scorer in scorers.items():
            tell(f"measuring {curve}", done, total)
            done += 1
            values = measure(rank(Shortened(scorer, cut), split), split)
            if metric not in values:
                raise ConfigError(f"metric: must be one of {', '.join(values)}, got {metric!r}")
            out[at][method] = values[metric]
    return out


def _points(curve: str, values: Mapping[str, Values], cluster: NDArray[np.int64], *, against: str) -> list[Point]:
    """Every method at every point, tested against one method at the same point."""
    return [
        _point(curve, at, name, each, cluster, against, None if name == against else row[against])
        for at, row in values.items()
        for name, each in row.items()
    ]


def _point(
    curve: str,
    at: str,
    method: str,
    each: NDArray[np.float64],
    cluster: NDArray[np.int64],
    against: str,
    other: NDArray[np.float64] | None,
) -> Point:
    mean = clustered_t(each, cluster)
    nan = float("nan")
    test = Paired(nan, nan, nan, nan, 0, 0) if other is None else clustered_t(each - other, cluster)
    return Point(
        curve, at, method, mean.n, mean.difference, mean.low, mean.high,
        against, test.difference, test.low, test.high, test.p,
    )  # fmt: skip


def _groups(steps: Sequence[int]) -> list[tuple[int, float, str]]:
    """First number, end and name of each group.

    >>> [name for _, _, name in _groups((0, 1, 2, 5))]
    ['0', '1', '2-4', '5+']
    """
    ends: list[float] = [*steps[1:], np.inf]
    return [(low, high, _name(low, high)) for low, high in zip(steps, ends, strict=True)]


def _name(low: int, high: float) -> str:
    if high == np.inf:
        return f"{low}+"
    return str(low) if high == low + 1 else f"{low}-{int(high) - 1}"
