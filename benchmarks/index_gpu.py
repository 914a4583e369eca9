"""Indexes on a GPU: exact fp16 in torch, FAISS flat, IVF and CAGRA, over as many generated vectors as asked for.

python benchmarks/index_gpu.py ITEMS.npy QUERIES.npy ROWS [KIND ...]

Needs torch with CUDA; FAISS kinds need its GPU build, `gpu-cagra` cuVS; what is missing is said in the table. ITEMS and
QUERIES are real vectors of one width; rows are drawn from a mixture fitted to ITEMS. Times include the way to the GPU
and back, which is what a caller waits for. Prints queries a second at recall, build time and bytes against the plan.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from record import record

from tasteprint.bench.index import bench_index
from tasteprint.bench.index_table import bench_table
from tasteprint.index_task import enlarged, matrix_task
from tasteprint.retrieval.index import INDEXES

GPU = [name for name, kind in INDEXES.items() if kind.where == "gpu"]


def main() -> None:
    """Time the GPU kinds beside the quickest of the CPU."""
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    items, queries, rows = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    rng = np.random.default_rng(0)
    task = enlarged(matrix_task(items, 200, rng=rng, queries=queries), rows, rng=rng)
    found = bench_index(
        task,
        kinds=sys.argv[4:] or [*GPU, "ivf-pq"],
        rivals=[],
        rounds=5,
        clock=time.perf_counter,
        pause=lambda: time.sleep(0.05),
        shares=(0.1, 0.01),
        tell=lambda said: print(said, file=sys.stderr),
    )
    shape = f"{task.vectors.shape[0]:,} x {task.vectors.shape[1]}"
    record(f"Indexes on a GPU, {shape}", f"python {' '.join(sys.argv)}", bench_table(found), notes=task.source)


if __name__ == "__main__":
    main()
