"""Building one index as planned: built, tuned on real queries, its bytes compared with the plan, published whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .bench_memory import watch
from .index_task import Task
from .profiling.peak import Clock
from .retrieval.index import INDEXES, IndexConfig, ItemIndex, build_index
from .retrieval.index.kinds import Sizes
from .retrieval.index.store import save_index
from .retrieval.index.tune import Tuned, tune_index

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
