"""What `bench.index` compares with: plain FAISS, hnswlib, usearch and numpy, each as its users would run it.

Covers building and one effort each. They are optional: one that is not installed says how to get it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..profiling.errors import ExtraMissingError
from ..retrieval.index import Found, IndexConfig
from ..retrieval.index.ivf import code_name, list_count
from ..retrieval.index.types import best_of, import_faiss

Matrix = NDArray[np.float32]
_WIDTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


@dataclass(frozen=True)
class Rival:
    """A contender of others.

    Attributes:
        search: queries (n, dim) and k to answers
        settings: how it runs, in words
        efforts: to try, smallest first; none = it has no such knob
        set_effort: sets one
    """

    search: Callable[[Matrix, int], Found]
    settings: str
    efforts: Sequence[int] = ()
    set_effort: Callable[[int], object] = int


def numpy_rival(vectors: Matrix) -> Rival:
    """One matrix product, and a partition of its columns."""

    def search(queries: Matrix, k: int) -> Found:
        products = queries @ vectors.T
        top = np.argpartition(-products, min(k, products.shape[1]) - 1, axis=1)[:, :k]
        return best_of(top, np.take_along_axis(products, top, 1), k)

    return Rival(search, "matrix product")


def faiss_rival(vectors: Matrix, *, kind: str) -> Rival:
    """A plain FAISS index, exact or IVF with the same lists and codes as ours of that kind."""
    faiss = import_faiss()
    dim = vectors.shape[1]
    if kind == "flat":
        index = faiss.IndexFlatIP(dim)
        index.add(vectors)
        return Rival(partial(_faiss_search, index), "IndexFlatIP")
    config = IndexConfig(kind=kind)
    lists = list_count(len(vectors), config)
    index = faiss.index_factory(dim, f"IVF{lists},{code_name(dim, config)}", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.max_points_per_centroid = 10, config.train_rows
    index.cp.min_points_per_centroid = 1
    step = max(1, len(vectors) // (lists * config.train_rows))
    index.train(np.ascontiguousarray(vectors[::step]))
    index.add(vectors)

    def set_effort(effort: int) -> None:
        index.nprobe = min(effort, lists)

    return Rival(partial(_faiss_search, index), f"IVF{lists},{code_name(dim, config)} nprobe", _WIDTHS, set_effort)


def hnswlib_rival(vectors: Matrix) -> Rival:
    """hnswlib with 24 links and float32 rows."""
    try:
        import hnswlib
    except ImportError as error:
        raise ExtraMissingError("hnswlib is not installed; run: pip install hnswlib") from error
    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), ef_construction=80, M=24, random_seed=0)
    index.add_items(vectors)

    def search(queries: Matrix, k: int) -> Found:
        rows, distances = index.knn_query(queries, k=k)
        return best_of(rows.astype(np.int64), (1 - distances).astype(np.float32), k)

    return Rival(search, "M 24, ef", _WIDTHS[1:], index.set_ef)


def usearch_rival(vectors: Matrix) -> Rival:
    """usearch with 24 links and 8-bit rows."""
    try:
        from usearch.index import Index
    except ImportError as error:
        raise ExtraMissingError("usearch is not installed; run: pip install usearch") from error
    index = Index(ndim=vectors.shape[1], metric="ip", dtype="i8", connectivity=24, expansion_add=80)
    index.add(np.arange(len(vectors)), vectors)

    def search(queries: Matrix, k: int) -> Found:
        matches: Any = index.search(queries, k)
        rows, distances = np.atleast_2d(matches.keys), np.atleast_2d(matches.distances)
        return best_of(rows.astype(np.int64), (1 - distances).astype(np.float32), k)

    def set_effort(effort: int) -> None:
        setattr(index, "expansion_search", effort)  # noqa: B010 - its type stub calls it read-only

    return Rival(search, "connectivity 24, i8, expansion", _WIDTHS[1:], set_effort)


def _faiss_search(index: Any, queries: Matrix, k: int) -> Found:
    scores, rows = index.search(queries, k)
    return Found(rows, scores, np.count_nonzero(rows >= 0, axis=1))


RIVALS: Mapping[str, Callable[[Matrix], Rival]] = {
    "numpy": numpy_rival,
    "faiss-flat": partial(faiss_rival, kind="flat"),
    "faiss-ivf-sq8": partial(faiss_rival, kind="ivf-sq8"),
    "faiss-ivf-pq": partial(faiss_rival, kind="ivf-pq"),
    "hnswlib": hnswlib_rival,
    "usearch": usearch_rival,
}
"""Rival -> how it is opened."""
