"""Building one index as planned: built, tuned on real queries, its bytes compared with the plan, published whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .bench_memory import watch
from .index_task import Task
from .retrieval.index import INDEXES, IndexConfig, build_index
from .retrieval.index.store import save_index
from .retrieval.index.tune import tune_index

_PROBE_BYTES = 1 << 26


def build_tuned(
    task: Task,
    out: Path,
    *,
    config: IndexConfig,
    target: float,
    clock: Callable[[], float],
) -> dict[str, Any]:
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
    start = clock()
    watched = watch(lambda: build_index(task.vectors, config=config, widths=task.widths))
    build_s = clock() - start
    index, tuned = tune_index(watched.result, task.queries, task.vectors, target=target, clock=clock)
    n_items, dim = task.vectors.shape
    sizes = INDEXES[config.kind].sizes(n_items, dim, config)
    used = index.resident_bytes
    report = {
        "kind": config.kind,
        "source": task.source,
        "build_s": round(build_s, 3),
        "measured": tuned.to_dict(),
        "bytes": {
            "resident": {"planned": sizes.resident, "used": used, "seen": watched.held},
            "build_peak": {"planned": sizes.build_peak, "used": watched.peak},
        },
    }
    save_index(index, out, stamp=task.stamp, measured=report)
    return report


def read_rate(clock: Callable[[], float]) -> float:
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
