"""What the interface adds to plain FAISS: the very same structures, searched through it and directly, in turn.

python benchmarks/index_overhead.py ITEMS.npy QUERIES.npy [--rows 20000] [--rounds 15] [--wall]

Batches of 64, k = 10 and 100, one thread each. Kinds that rescore are compared with FAISS's own IndexRefine over the
same codes and as many candidates. Ratios are taken inside each round, of the process's own work unless --wall is given.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from record import record

from tasteprint.profiling.timing import paired_ratios, time_rounds
from tasteprint.retrieval.index import ApproximateIndex, BlockIndex, IndexConfig, build_index

KINDS = ("flat", "ivf-flat", "ivf-sq8", "ivf-pq", "hnsw")
BATCH = 64


def plain(index: BlockIndex | ApproximateIndex, vectors: np.ndarray) -> Any:
    """The FAISS index inside, set to search as ours does."""
    if isinstance(index, BlockIndex):
        whole = faiss.IndexFlatIP(index.dim)
        whole.add(vectors)
        return whole
    inner, effort = index.scanner.index, index.efforts.otherwise  # type: ignore[attr-defined]
    if index.kind == "hnsw":
        inner.hnsw.efSearch = effort
    else:
        inner.nprobe = effort
    if not index.refine:
        return inner
    exact = faiss.IndexFlatIP(index.dim)
    exact.add(vectors)
    both = faiss.IndexRefine(inner, exact)
    both.k_factor = index.refine
    both.referenced_objects = [inner, exact]
    return both


def main() -> None:
    """Time ours and theirs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("items", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--wall", action="store_true")
    asked = parser.parse_args()
    faiss.omp_set_num_threads(1)
    vectors = np.ascontiguousarray(np.load(asked.items)[: asked.rows], dtype=np.float32)
    queries = np.ascontiguousarray(np.load(asked.queries)[:BATCH], dtype=np.float32)
    lines = ["| kind | k | ours ms | plain FAISS ms | ours / plain, median (range) |", "|---|---|---|---|---|"]
    for kind in KINDS:
        index = build_index(vectors, config=IndexConfig(kind=kind, threads=1, lists=128, effort=16, train_rows=20))
        inner = plain(index, vectors)  # type: ignore[arg-type]
        for k in (10, 100):
            if isinstance(index, ApproximateIndex) and kind == "hnsw":  # ours walks as wide as candidates are wanted
                index.scanner.index.hnsw.efSearch = max(index.efforts.otherwise, k * index.refine)  # type: ignore[attr-defined]
            runs = {"ours": partial(index.search_batch, queries, k), "plain": partial(inner.search, queries, k)}
            for run in runs.values():
                run()
            clock = time.perf_counter if asked.wall else time.process_time
            times = time_rounds(runs, asked.rounds, clock=clock, pause=lambda: time.sleep(0.02))
            ratio = paired_ratios({"ours": times["plain"], "plain": times["ours"]}, "plain")["ours"]
            ours, theirs = (1e3 * float(np.median(times[name])) for name in ("ours", "plain"))
            lines.append(
                f"| {kind} | {k} | {ours:.2f} | {theirs:.2f} | {ratio.median:.3f} ({ratio.low:.3f}-{ratio.high:.3f}) |"
            )
    title = f"What the index interface adds to plain FAISS, {len(vectors):,} x {vectors.shape[1]}, batches of {BATCH}"
    command = f"python benchmarks/index_overhead.py ITEMS QUERIES --rows {asked.rows} --rounds {asked.rounds}"
    record(title, command, "\n".join(lines), notes="Wall time." if asked.wall else "CPU time of the process.")


if __name__ == "__main__":
    main()
