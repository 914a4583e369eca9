"""FAISS on a GPU: all rows, an inverted file, or the CAGRA graph where this FAISS was built with cuVS.

Candidates come from the GPU and are rescored here from the item vectors, so that its half-precision and TF32 products
do not decide the order. Needs the GPU build of FAISS; without it, or without a GPU, each kind says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...profiling.errors import ArtefactError, ExtraMissingError
from .config import IndexConfig
from .ivf import list_count
from .overfetch import OverfetchScanner
from .types import Rows, Scores, import_faiss

_MOST_ROWS = 2048  # FAISS's own limit for k on a GPU


def gpu_scanner(matrix: NDArray[np.float32], config: IndexConfig) -> OverfetchScanner:
    """Build ``gpu-flat``, ``gpu-ivf`` or ``gpu-cagra`` over the rows of ``matrix``.

    Raises:
        ExtraMissingError: this FAISS was built without GPUs, or without cuVS for ``gpu-cagra``.
        ArtefactError: there is no GPU.
    """
    faiss = import_faiss()
    if not hasattr(faiss, "StandardGpuResources"):
        raise ExtraMissingError(f"{config.kind}: this FAISS knows no GPU; run: pip install 'tasteprint[gpu]'")
    if faiss.get_num_gpus() < 1:
        raise ArtefactError(f"{config.kind}: FAISS sees no GPU here; name a kind that needs none, such as ivf-pq")
    n_items = len(matrix)
    resources = faiss.StandardGpuResources()
    index, most, held = _MADE[config.kind](faiss, resources, matrix, config)

    alive = (index, resources)  # what an index was built with must live as long as it

    def ask(queries: NDArray[np.float32], n: int, effort: int) -> tuple[Rows, Scores]:
        params = _params(faiss, config.kind, effort, n)
        scores, rows = alive[0].search(queries, n) if params is None else alive[0].search(queries, n, params=params)
        return rows, scores

    return OverfetchScanner(ask, n_items, most, min(_MOST_ROWS, n_items), held)


def _flat(faiss: Any, resources: Any, matrix: NDArray[np.float32], config: IndexConfig) -> tuple[Any, int, int]:
    settings = faiss.GpuIndexFlatConfig()
    settings.useFloat16 = True
    index = faiss.GpuIndexFlatIP(resources, matrix.shape[1], settings)
    _fill(index, matrix)
    return index, 1, 2 * matrix.size


def _ivf(faiss: Any, resources: Any, matrix: NDArray[np.float32], config: IndexConfig) -> tuple[Any, int, int]:
    n_items, dim = matrix.shape
    lists = list_count(n_items, config)
    index = faiss.GpuIndexIVFScalarQuantizer(
        resources, dim, lists, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT, False
    )
    index.cp.seed, index.cp.niter, index.cp.max_points_per_centroid = config.seed + 1, 10, config.train_rows
    chosen = np.random.default_rng(config.seed).choice(n_items, min(n_items, config.train_rows * lists), replace=False)
    index.train(np.ascontiguousarray(matrix[np.sort(chosen)]))
    _fill(index, matrix)
    return index, lists, 2 * matrix.size + 8 * n_items


def _cagra(faiss: Any, resources: Any, matrix: NDArray[np.float32], config: IndexConfig) -> tuple[Any, int, int]:
    if not hasattr(faiss, "GpuIndexCagra"):
        raise ExtraMissingError("gpu-cagra: this FAISS was built without cuVS; run: pip install faiss-gpu-cuvs")
    settings = faiss.GpuIndexCagraConfig()
    settings.graph_degree, settings.intermediate_graph_degree = 2 * config.links, 4 * config.links
    index = faiss.GpuIndexCagra(resources, matrix.shape[1], faiss.METRIC_INNER_PRODUCT, settings)
    index.train(np.ascontiguousarray(matrix, dtype=np.float32))
    return index, len(matrix), 4 * matrix.size + 4 * 2 * config.links * len(matrix)


def _fill(index: Any, matrix: NDArray[np.float32]) -> None:
    for start in range(0, len(matrix), 1 << 18):
        index.add(np.ascontiguousarray(matrix[start : start + (1 << 18)], dtype=np.float32))


def _params(faiss: Any, kind: str, effort: int, n: int) -> Any:
    """How hard to search, as FAISS wants it said."""
    if kind == "gpu-ivf":
        return faiss.SearchParametersIVF(nprobe=effort)
    if kind == "gpu-cagra":
        params = faiss.SearchParametersCagra()
        params.itopk_size = max(effort, n, 64)
        params.num_random_samplings = 4  # one leaves clustered vectors at a recall near .6
        return params
    return None


_MADE = {"gpu-flat": _flat, "gpu-ivf": _ivf, "gpu-cagra": _cagra}
