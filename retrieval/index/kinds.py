"""Every kind of index: what it is, how it is built, and how many bytes that takes.

One dict literal drives the check of names, the contract tests, the planner and the table in the docs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...profiling.errors import ArtefactError
from .approximate import ApproximateIndex, Efforts, Scanner, search_pool
from .config import IndexConfig
from .flat import build_flat, code_dims, shard_count
from .hnsw import HnswScanner, build_hnsw
from .ivf import IvfScanner, build_ivf, code_bytes, list_count
from .sketch import make_sketch
from .types import ItemIndex, check_matrix

Matrix = NDArray[np.float32]
_Sizing = Callable[[int, int, IndexConfig], "Sizes"]


@dataclass(frozen=True)
class Sizes:
    """Bytes of an index.

    Attributes:
        resident: that it holds, without the caller's matrix
        build_peak: held at once while it is built, without the caller's matrix
        gpu: of the resident ones, on the GPU
    """

    resident: int
    build_peak: int
    gpu: int = 0


@dataclass(frozen=True)
class IndexKind:
    """One kind.

    Attributes:
        about: what it is, in one line
        exact: compares every row, and `ItemIndex.slack` is a bound
        where: ``cpu``, ``torch`` (which brings its own memory, and is not saved), ``gpu`` or ``server``
        build: from a checked matrix
        sizes: bytes for so many rows of so many dimensions
    """

    about: str
    exact: bool
    where: str
    build: Callable[[Matrix, IndexConfig], ItemIndex]
    sizes: Callable[[int, int, IndexConfig], Sizes]


def build_index(
    matrix: Matrix, *, kind: str | None = None, config: IndexConfig | None = None, widths: tuple[int, ...] = ()
) -> ItemIndex:
    """Index the rows of ``matrix``, (n_items, dim).

    Args:
        matrix: item vectors; kinds that skip rows keep it, and rescore from it
        kind: a key of `INDEXES`; overrides that of ``config``
        config: structure of the index
        widths: of the blocks the rows are made of, adding up to ``dim``; none = one block

    Raises:
        ArtefactError: the matrix is empty, or holds NaN, infinity or numbers the kind cannot hold; the kind is unknown.
        ExtraMissingError: what the kind needs is not installed.
    """
    config = config or IndexConfig()
    if kind is not None:
        config = config.model_copy(update={"kind": kind})
    check_kind(config.kind)
    check_matrix(matrix, kind=config.kind)
    if widths and sum(widths) != matrix.shape[1]:
        raise ArtefactError(f"widths of the blocks must add up to the {matrix.shape[1]} dimensions, got {widths}")
    built = INDEXES[config.kind].build(matrix, config)
    if isinstance(built, ApproximateIndex) and widths:
        return built.tuned(efforts=Efforts(widths, {}, built.efforts.otherwise))
    return built


def built_again(index: ItemIndex, matrix: Matrix) -> ItemIndex:
    """An index of the same kind over other rows, (n_items, dim), searched as hard as this one.

    Raises:
        ArtefactError: see `build_index`.
    """
    if not isinstance(index, ApproximateIndex):
        return build_index(matrix, kind=index.kind)
    fresh = build_index(matrix, kind=index.kind, widths=index.efforts.widths)
    return fresh.tuned(efforts=index.efforts, refine=index.refine) if isinstance(fresh, ApproximateIndex) else fresh


def check_kind(kind: str) -> None:
    """Refuse unknown kinds.

    Raises:
        ArtefactError: it is none of `INDEXES`.
    """
    if kind not in INDEXES:
        raise ArtefactError(f"index kind must be one of {', '.join(INDEXES)}, got {kind!r}")


def approximate(kind: str, scanner: Scanner, matrix: Matrix, config: IndexConfig, *, effort: int) -> ApproximateIndex:
    """A scanner made an index, with guesses where nothing was measured yet; `tune` measures."""
    threads = config.threads or os.cpu_count() or 1
    vectors = np.ascontiguousarray(matrix, dtype=np.float32)
    refine = _REFINE.get(kind, 0) if config.refine is None else config.refine
    effort = min(scanner.most, config.effort or effort)
    few = min(len(vectors), max(_FEW_ROWS, len(vectors) // 200))
    efforts = Efforts((vectors.shape[1],), {}, effort)
    sketch = make_sketch(vectors) if has_sketch(len(vectors), config) else None
    return ApproximateIndex(kind, scanner, vectors, efforts, refine, few, threads, search_pool(threads), sketch)


def has_sketch(n_items: int, config: IndexConfig) -> bool:
    """Whether an approximate index of so many rows keeps their signs: as configured, else where it is large.

    In a small one, all rows that pass a rare filter are soon compared.
    """
    return n_items >= _LARGE if config.sketch is None else config.sketch


def sketch_bytes(n_items: int, dim: int, config: IndexConfig) -> int:
    """Bytes of the signs, in words of 64."""
    return n_items * 8 * -(-dim // 64) if has_sketch(n_items, config) else 0


_REFINE: Mapping[str, int] = {
    "ivf-pq": 4, "ivf-rabitq": 10, "hnsw": 2, "gpu-flat": 1, "gpu-ivf": 1, "gpu-cagra": 2, "milvus": 1,
}  # fmt: skip
_FEW_ROWS = 2_000
_LARGE = 200_000
_ID = 8 + 4  # bytes: a row's number in its group, and its group


def _flat(matrix: Matrix, config: IndexConfig) -> ItemIndex:
    return build_flat(matrix, kind=config.kind)


def _ivf(matrix: Matrix, config: IndexConfig) -> ItemIndex:
    scanner = IvfScanner(build_ivf(matrix, config))
    return approximate(config.kind, scanner, matrix, config, effort=round(2 * scanner.most**0.5))


def _hnsw(matrix: Matrix, config: IndexConfig) -> ItemIndex:
    return approximate("hnsw", HnswScanner(build_hnsw(matrix, config)), matrix, config, effort=96)


def _int8_sizes(n: int, dim: int, config: IndexConfig) -> Sizes:
    """Codes of filled-up rows, and while building a shard's codes once more."""
    held = n * code_dims("int8", dim)
    return Sizes(held, held + held // shard_count(n))


def _flat_sizes(width: int) -> _Sizing:
    """Codes, and while building a shard's rows as FAISS wants them."""

    def sizes(n: int, dim: int, config: IndexConfig) -> Sizes:
        rows = 0 if width == 4 else 4 * n * dim // shard_count(n) // 8
        return Sizes(width * n * dim, width * n * dim + rows)

    return sizes


def _ivf_sizes(n: int, dim: int, config: IndexConfig) -> Sizes:
    """Codes, row numbers and centroids; groups grow by doubling while they are filled, and k-means holds its sample."""
    lists = list_count(n, config)
    padded = n + (16 * lists if config.kind in ("ivf-pq", "ivf-rabitq") else 0)  # these codes come in blocks of 32 rows
    held = padded * code_bytes(dim, config) + n * _ID + 4 * lists * (dim + 64) + sketch_bytes(n, dim, config)
    sample = 4 * dim * min(n, max(config.train_rows * lists, 1 << 16))
    return Sizes(held, max(int(1.35 * held) + 4 * dim * min(n, 1 << 16), 2 * sample))


def _hnsw_sizes(n: int, dim: int, config: IndexConfig) -> Sizes:
    """Codes and links: twice as many on the ground floor, where almost all are."""
    held = int(n * (dim + 4 * 2 * config.links * 1.05 + 12)) + sketch_bytes(n, dim, config)
    return Sizes(held, int(1.2 * held) + 4 * dim * min(n, 1 << 17))


def _torch(matrix: Matrix, config: IndexConfig) -> ItemIndex:
    from .torch_exact import build_torch

    return build_torch(matrix, kind=config.kind, device="cuda" if config.kind == "gpu-exact" else "cpu")


def _gpu(matrix: Matrix, config: IndexConfig) -> ItemIndex:
    from .gpu import gpu_scanner

    return approximate(config.kind, gpu_scanner(matrix, config), matrix, config, effort=64)


def _milvus(matrix: Matrix, config: IndexConfig) -> ItemIndex:
    from .milvus import fill_milvus

    return approximate(config.kind, fill_milvus(matrix, config), matrix, config, effort=64)


def _gpu_sizes(width: int, per_row: Callable[[IndexConfig], int] = lambda config: 0) -> _Sizing:
    """All of it on the GPU; building streams through a little memory here."""

    def sizes(n: int, dim: int, config: IndexConfig) -> Sizes:
        held = n * (width * dim + per_row(config))
        return Sizes(held, held + 4 * dim * (1 << 18), held)

    return sizes


def _server_sizes(n: int, dim: int, config: IndexConfig) -> Sizes:
    """Nothing here but a batch on its way."""
    return Sizes(0, 64 << 20)


INDEXES: Mapping[str, IndexKind] = {
    "flat": IndexKind("all rows, full precision", True, "cpu", _flat, _flat_sizes(4)),
    "flat-fp16": IndexKind("all rows, half precision", True, "cpu", _flat, _flat_sizes(2)),
    "sq8": IndexKind("all rows, 8 bits a number", True, "cpu", _flat, _flat_sizes(1)),
    "int8": IndexKind("all rows and the query, whole numbers of 8 bits", True, "cpu", _flat, _int8_sizes),
    "ivf-flat": IndexKind("groups by k-means, full precision", False, "cpu", _ivf, _ivf_sizes),
    "ivf-sq8": IndexKind("groups by k-means, 8 bits a number", False, "cpu", _ivf, _ivf_sizes),
    "ivf-pq": IndexKind(
        "groups by k-means, 4-bit product codes compared 32 at a time, then exact", False, "cpu", _ivf,
        _ivf_sizes,
    ),
    "ivf-rabitq": IndexKind(
        "groups by k-means, one bit a number with a correction, then exact", False, "cpu", _ivf,
        _ivf_sizes,
    ),
    "hnsw": IndexKind("a graph of near rows over 8-bit codes, then exact", False, "cpu", _hnsw, _hnsw_sizes),
    "torch-exact": IndexKind("all rows in one matrix product of torch, fp32", True, "torch", _torch, _flat_sizes(4)),
    "gpu-exact": IndexKind("all rows in one matrix product of torch, fp16", True, "gpu", _torch, _gpu_sizes(2)),
    "gpu-flat": IndexKind("FAISS on a GPU: all rows, half precision, then exact", False, "gpu", _gpu, _gpu_sizes(2)),
    "gpu-ivf": IndexKind(
        "FAISS on a GPU: groups by k-means, half precision, then exact", False, "gpu", _gpu,
        _gpu_sizes(2, lambda config: 8),
    ),
    "gpu-cagra": IndexKind(
        "FAISS on a GPU: the CAGRA graph of cuVS, then exact", False, "gpu", _gpu,
        _gpu_sizes(4, lambda config: 8 * config.links),
    ),
    "milvus": IndexKind("a Milvus cluster, or a milvus-lite file, then exact", False, "server", _milvus, _server_sizes),
}  # fmt: skip
"""Kind of index -> what it is and how it is made."""

EXACT: tuple[str, ...] = tuple(name for name, kind in INDEXES.items() if kind.exact and kind.where == "cpu")
"""Kinds that miss nothing, and say by how much a score can be off."""
