"""Timing indexes beside plain FAISS, hnswlib, usearch and numpy, in turn, on the same vectors and queries.

Covers recall by mix of blocks, single and batched queries, building, bytes against the plan, and filters. All
approximate contenders are tuned to the same recall on one half of the queries and measured on the other. Where vectors
come from is `bench.vectors`' and the command's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..index_build import tuned_index
from ..index_task import Task
from ..profiling.encoders.peak import Clock
from ..profiling.errors import ArtefactError, ConfigError, ExtraMissingError
from ..profiling.timing import paired_ratios, spread, time_calls, time_rounds
from ..retrieval.index import INDEXES, ApproximateIndex, Found, IndexConfig, ItemIndex
from ..retrieval.index.tune import exact_rows, median_s, recall_at, violations
from .memory import watch
from .rivals import RIVALS, Rival

Matrix = NDArray[np.float32]
SHARES = (0.5, 0.1, 0.01, 0.001)
"""Parts of the catalogue that filters leave."""

_BATCH = 64


@dataclass(frozen=True)
class Filtered:
    """A contender behind a filter that leaves a share of the rows.

    Attributes:
        recall: at k
        violations: rows that came back though not allowed
        full: share of queries with as many rows as there are, up to k
        slower: median time of a single query against unfiltered
    """

    recall: float
    violations: int
    full: float
    slower: float


@dataclass(frozen=True)
class IndexRow:
    """One contender's figures, or why it has none.

    Attributes:
        name: kind, or rival
        absent: why it did not run; empty if it did
        recall: at k by mix of blocks
        per_s: queries a second in batches of 64
        single_ms: median and 99th percentile of single queries
        build_s: seconds of building, tuning left out
        held, planned: bytes, measured and predicted; 0 = not known
        peak, planned_peak: bytes while building
        ratio: times faster than plain FAISS flat, batched, over the rounds: median, smallest, largest
        filtered: by share of the rows that is left, and how the filter lies
        settings: how it ran
    """

    name: str
    absent: str = ""
    recall: Mapping[str, float] = field(default_factory=dict)
    per_s: float = 0.0
    single_ms: tuple[float, float] = (0.0, 0.0)
    build_s: float = 0.0
    held: int = 0
    planned: int = 0
    peak: int = 0
    planned_peak: int = 0
    ratio: tuple[float, float, float] = (0.0, 0.0, 0.0)
    filtered: Mapping[str, Filtered] = field(default_factory=dict)
    settings: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class _Runner:
    """A contender, ready."""

    search: Callable[[Matrix, int], Found]
    index: ItemIndex | None
    row: IndexRow


def bench_index(
    task: Task,
    *,
    kinds: Sequence[str],
    rivals: Sequence[str],
    rounds: int,
    clock: Clock,
    pause: Callable[[], object],
    k: int = 10,
    target: float = 0.95,
    config: IndexConfig | None = None,
    shares: Sequence[float] = SHARES,
    seed: int = 0,
    tell: Callable[[str], object] = str,
) -> tuple[IndexRow, ...]:
    """Build, tune and time the contenders, one row each, in the order asked for.

    Args:
        task: vectors and queries
        kinds: keys of `INDEXES`
        rivals: keys of `RIVALS`
        rounds: timed rounds
        clock: times them; one that counts this process's work alone on a machine that others use
        pause: called before each timed run
        k: rows a query
        target: recall that approximate contenders are tuned to
        config: structure of our kinds
        shares: parts of the catalogue that filters leave
        seed: of the filters
        tell: called with what is being done

    Raises:
        ConfigError: an unknown name, or nothing can run.
    """
    unknown = [name for name in kinds if name not in INDEXES] + [name for name in rivals if name not in RIVALS]
    if unknown:
        raise ConfigError(f"contenders must be among {', '.join([*INDEXES, *RIVALS])}, got {', '.join(unknown)}")
    rows: dict[str, IndexRow] = {}
    ready: dict[str, _Runner] = {}
    truth = {name: exact_rows(task.vectors, some, k) for name, some in task.queries.items()}
    for name in [*kinds, *rivals]:
        tell(f"building {name}")
        try:
            ready[name] = (
                _ours(name, task, config, clock, target, k)
                if name in INDEXES
                else _theirs(RIVALS[name], name, task, truth, clock, target, k)
            )
        except (ArtefactError, ExtraMissingError) as error:
            rows[name] = IndexRow(name, absent=str(error))
    if not ready:
        raise ConfigError(f"none of the contenders can run here: {'; '.join(row.absent for row in rows.values())}")
    rows |= _timed(ready, task, truth, rounds, clock, pause, k, tell)
    for name, runner in ready.items():
        if runner.index is not None:
            tell(f"filters of {name}")
            found = _filters(runner.index, task, shares, k, clock, np.random.default_rng(seed))
            rows[name] = replace(rows[name], filtered=found)
    return tuple(rows[name] for name in [*kinds, *rivals])


def _ours(kind: str, task: Task, config: IndexConfig | None, clock: Clock, target: float, k: int) -> _Runner:
    """One of our kinds, built and tuned."""
    own = (config or IndexConfig()).model_copy(update={"kind": kind})
    built = tuned_index(task, own, target=target, k=k, clock=clock)
    index = built.index
    settings = ", ".join(f"{mix} {effort}" for mix, effort in built.tuned.efforts.items())
    if isinstance(index, ApproximateIndex):
        settings += f"; refine {index.refine}; all of {index.exact_rows:,} or fewer"
    row = IndexRow(
        kind, build_s=built.build_s, held=built.held, planned=built.planned.resident, peak=built.peak,
        planned_peak=built.planned.build_peak, settings=settings,
    )  # fmt: skip
    return _Runner(lambda queries, n: index.search_batch(queries, n), index, row)


def _theirs(
    open_rival: Callable[[Matrix], Rival], name: str, task: Task, truth: Mapping[str, NDArray[np.int64]],
    clock: Clock, target: float, k: int,
) -> _Runner:  # fmt: skip
    """A rival, built and tuned to the same recall on the same half of the queries."""
    start = clock()
    watched = watch(lambda: open_rival(task.vectors))
    build_s = clock() - start
    rival, settings = watched.result, watched.result.settings
    for effort in rival.efforts:
        rival.set_effort(effort)
        settings = f"{rival.settings} {effort}"
        reached = [recall_at(rival.search(some[::2], k), truth[mix][::2]) for mix, some in task.queries.items()]
        if min(reached) >= target:
            break
    return _Runner(
        rival.search, None, IndexRow(name, build_s=build_s, held=watched.held, peak=watched.peak, settings=settings)
    )


def _timed(
    ready: Mapping[str, _Runner], task: Task, truth: Mapping[str, NDArray[np.int64]],
    rounds: int, clock: Clock, pause: Callable[[], object], k: int, tell: Callable[[str], object],
) -> dict[str, IndexRow]:  # fmt: skip
    """Recall and times of each."""
    fresh = np.vstack([some[1::2] for some in task.queries.values()])
    fresh = fresh[np.random.default_rng(1).permutation(len(fresh))]
    parts = [fresh[start : start + _BATCH] for start in range(0, len(fresh), _BATCH)]

    def batches(runner: _Runner) -> Callable[[], object]:
        return lambda: [runner.search(part, k) for part in parts]

    runs = {name: batches(runner) for name, runner in ready.items()}
    for run in runs.values():
        run()
    times = time_rounds(runs, rounds, clock=clock, pause=pause, tell=lambda name: tell(f"timing {name}"))
    calls = {name: _single(runner, k) for name, runner in ready.items()}
    singles = time_calls(calls, list(fresh[: min(len(fresh), 150)]), clock=clock, pause=pause)
    against = "faiss-flat" if "faiss-flat" in ready else next(iter(ready))
    ratios = paired_ratios(times, against)
    rows = {}
    for name, runner in ready.items():
        recall = {mix: recall_at(runner.search(some[1::2], k), truth[mix][1::2]) for mix, some in task.queries.items()}
        median, late = np.percentile(singles[name], [50, 99]) * 1e3
        rows[name] = replace(
            runner.row,
            recall=recall,
            per_s=len(fresh) / spread(times[name]).median,
            single_ms=(float(median), float(late)),
            ratio=(ratios[name].median, ratios[name].low, ratios[name].high),
        )
    return rows


def _single(runner: _Runner, k: int) -> Callable[[Matrix], object]:
    index = runner.index
    return (lambda q: runner.search(q[None], k)) if index is None else (lambda q: index.search(q, k))


def _filters(
    index: ItemIndex, task: Task, shares: Sequence[float], k: int, clock: Clock, rng: np.random.Generator
) -> dict[str, Filtered]:
    """Filters that leave rows spread evenly, and rows that lie together as those of a category do."""
    found = {}
    some = np.vstack([queries[1::2][:20] for queries in task.queries.values()])
    plain = median_s(lambda q: index.search(q, k), some, clock)
    liking = {"spread": rng.random(index.n_items), "grouped": task.vectors @ task.vectors[rng.integers(index.n_items)]}
    for share in shares:
        for way, values in liking.items():
            allowed = values >= np.quantile(values, 1 - share)
            truth = exact_rows(task.vectors, some, k, allowed=allowed)
            got = index.search_batch(some, k, allowed=allowed)
            singles = [index.search(query, k, allowed=allowed)[0] for query in some]
            wrong = violations(got, allowed) + sum(int((~allowed[rows]).sum()) for rows in singles)
            full = np.mean(got.count == min(k, int(allowed.sum())))
            took = median_s(partial(index.search, k=k, allowed=allowed), some, clock)
            found[f"{way} {share:g}"] = Filtered(recall_at(got, truth), wrong, float(full), took / plain)
    return found
