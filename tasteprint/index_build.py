"""Building indexes: one as planned, tuned on real queries, its bytes compared with the plan; and a workspace's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .bench.memory import watch
from .index_task import Task, workspace_task
from .profiling.blocks import BlockSpace
from .profiling.encoders.peak import Clock
from .retrieval.index import INDEXES, ApproximateIndex, IndexConfig, ItemIndex, build_index
from .retrieval.index.config import ServedIndexConfig
from .retrieval.index.kinds import Sizes
from .retrieval.index.store import save_index
from .retrieval.index.tune import Tuned, tune_index
from .retrieval.worked import Worked, work_out

if TYPE_CHECKING:
    from .workspace import Workspace

_PROBE_BYTES = 1 << 26


@dataclass(frozen=True, eq=False)
class BuiltIndex:
    """An index built and tuned, and what that took.

    Attributes:
        index: searched just hard enough
        tuned: what tuning found
        build_s: seconds of building, tuning left out
        planned: bytes as predicted
        held, peak: bytes seen in this process: resident afterwards, and the most while it was built
    """

    index: ItemIndex
    tuned: Tuned
    build_s: float
    planned: Sizes
    held: int
    peak: int


def tuned_index(task: Task, config: IndexConfig, *, target: float, clock: Clock, k: int = 10) -> BuiltIndex:
    """Build an index of the task's vectors, and tune it on its queries.

    Raises:
        ArtefactError: the vectors cannot be indexed.
    """
    start = clock()
    watched = watch(lambda: build_index(task.vectors, config=config, widths=task.widths))
    build_s = clock() - start
    index, tuned = tune_index(watched.result, task.queries, task.vectors, target=target, k=k, clock=clock)
    planned = INDEXES[config.kind].sizes(len(task.vectors), task.vectors.shape[1], config)
    return BuiltIndex(index, tuned, build_s, planned, watched.held, watched.peak)


def build_tuned(task: Task, out: Path, *, config: IndexConfig, target: float, clock: Clock) -> dict[str, Any]:
    """Build, tune and publish an index; returns what the manifest says of it.

    Args:
        task: vectors and queries
        out: folder of the index
        config: kind and structure
        target: recall at 10
        clock: times building and single queries

    Raises:
        ArtefactError: the vectors cannot be indexed, or the folder cannot be written.
    """
    built = tuned_index(task, config, target=target, clock=clock)
    used = built.index.resident_bytes
    report = {
        "kind": config.kind,
        "source": task.source,
        "build_s": round(built.build_s, 3),
        "measured": built.tuned.to_dict(),
        "bytes": {
            "resident": {"planned": built.planned.resident, "used": used, "seen": built.held},
            "build_peak": {"planned": built.planned.build_peak, "used": built.peak},
        },
    }
    save_index(built.index, out, stamp=task.stamp, measured=report)
    return report


def tables_to_serve(
    draft: Callable[[Worked], Workspace],
    space: BlockSpace,
    items: pd.DataFrame,
    config: ServedIndexConfig,
    *,
    seed: int,
) -> tuple[Worked, dict[str, Any]]:
    """The tables that a workspace is published with, and what is to be said of their index, as JSON values.

    Args:
        draft: the workspace with such tables; an index that skips rows is tuned on its requests
        space: block vectors of its items
        items: the catalogue, row for row with them
        config: chooses the index
        seed: chooses the requests

    Raises:
        ConfigError: a kind that is not searched in this process.
    """
    worked = work_out(space, items, config=config)
    said: dict[str, Any] = {"kind": worked.index.kind, "texts": len(worked.texts)}
    if not isinstance(worked.index, ApproximateIndex):
        return worked, said
    task = workspace_task(draft(worked), config.queries, rng=np.random.default_rng(seed))
    index, tuned = tune_index(worked.index, task.queries, task.vectors, target=config.recall)
    recall = {mix: round(found, 4) for mix, found in tuned.recall.items()}
    return replace(worked, index=index), said | {"recall": recall, "recall_met": tuned.met}


def read_rate(clock: Clock) -> float:
    """Bytes that one core reads and multiplies a second, from memory: what exhaustive search waits for."""
    from .retrieval.index.types import import_faiss

    faiss = import_faiss()
    rows = np.ones((_PROBE_BYTES // 1024, 256), dtype=np.float32)
    query, out = np.zeros((1, 256), np.float32), np.empty((1, len(rows)), np.float32)
    taken = []
    for _ in range(4):
        start = clock()
        faiss.fvec_inner_products_ny(*(faiss.swig_ptr(one) for one in (out, query, rows)), 256, len(rows))
        taken.append(clock() - start)
    return _PROBE_BYTES / max(min(taken), 1e-6)
