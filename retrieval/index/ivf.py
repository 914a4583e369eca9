"""Candidates from an inverted file: rows are grouped by k-means, and a query looks into the groups nearest to it.

Covers the FAISS structures (full rows, 8-bit codes, 4-bit product codes, 1-bit RaBitQ codes) and filters: a filtered
query looks into the nearest groups that hold allowed rows, until it has compared as many of them as an unfiltered
query compares rows. Rescoring and the exact way are `approximate`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .config import IndexConfig
from .types import Mask, Rows, Scores, import_faiss

_WIDER = 1.5  # groups ranked at first, per group that evenly spread allowed rows would need
_MORE = 1.25  # times the root of the share of allowed rows: part of an unfiltered query's comparisons that are made
_OFTEN = 0.3  # share above which the nearest groups are much the same as without a filter
_RARE = 0.05  # share of allowed rows below which they are counted by group, not sampled
_SAMPLE = 64  # rows of a group that are looked at, to estimate how many of it are allowed


@dataclass(frozen=True)
class IvfScanner:
    """The groups of an IVF index.

    Attributes:
        index: the FAISS index
    """

    index: Any

    @property
    def most(self) -> int:
        """The largest effort: all groups."""
        return int(self.index.nlist)

    @property
    def resident_bytes(self) -> int:
        """Bytes of codes, row numbers, groups of rows and centroids."""
        invlists = import_faiss().downcast_InvertedLists(self.index.invlists)
        codes = sum(_list_bytes(invlists, number) for number in range(self.most))
        extra = getattr(self.index, "flat_storage", None)
        more = 0 if extra is None else int(extra.size())
        return codes + more + (8 + 4) * int(self.index.ntotal) + 4 * self.most * (int(self.index.d) + _SAMPLE)

    @cached_property
    def ids(self) -> list[Rows]:
        """Rows in each group, views of the index's own memory."""
        faiss, invlists = import_faiss(), self.index.invlists
        sizes = [int(invlists.list_size(number)) for number in range(self.most)]
        none = np.zeros(0, dtype=np.int64)
        return [
            faiss.rev_swig_ptr(invlists.get_ids(number), size) if size else none for number, size in enumerate(sizes)
        ]

    @cached_property
    def samples(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Some rows of each group, evenly through it, (n_groups, `_SAMPLE`), and its size, (n_groups,)."""
        sizes = np.array([len(ids) for ids in self.ids], dtype=np.int64)
        rows = np.zeros((self.most, _SAMPLE), dtype=np.int32)
        for number, ids in enumerate(self.ids):
            if len(ids):
                rows[number] = ids[np.linspace(0, len(ids) - 1, _SAMPLE).astype(np.int64)]
        return rows, sizes

    @cached_property
    def group_of(self) -> NDArray[np.int32]:
        """Group of each row, (n_items,)."""
        groups = np.zeros(int(self.index.ntotal), dtype=np.int32)
        for number, ids in enumerate(self.ids):
            groups[ids] = number
        return groups

    def scan(
        self, queries: NDArray[np.float32], n: int, effort: int, allowed: Mask | None = None
    ) -> tuple[Rows, Scores]:
        """Up to ``n`` candidates of each query, -1 where there are fewer.

        Args:
            queries: (n_queries, dim) float32
            n: candidates wanted
            effort: groups an unfiltered query looks into
            allowed: rows that may come back, (n_items,)
        """
        faiss = import_faiss()
        if allowed is None:
            params = faiss.SearchParametersIVF(nprobe=min(effort, self.most))
            scores, rows = self.index.search(queries, n, params=params)
            return rows, scores
        nearness, lists = self._groups(queries, min(effort, self.most), allowed)
        bits = np.packbits(allowed, bitorder="little")
        selector = faiss.IDSelectorBitmap(bits)
        params = faiss.SearchParametersIVF(nprobe=lists.shape[1], sel=selector)
        scores, rows = np.empty((len(queries), n), np.float32), np.empty((len(queries), n), np.int64)
        pointers = [faiss.swig_ptr(array) for array in (queries, lists, nearness, scores, rows)]
        self.index.search_preassigned_c(len(queries), pointers[0], n, *pointers[1:], False, params)
        return rows, scores

    def _groups(
        self, queries: NDArray[np.float32], effort: int, allowed: Mask
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Nearness and number of the groups to look into, both (n_queries, m); -1 for none.

        Those that hold allowed rows, by nearness: as many as without a filter, twice as many where it takes most of the
        near ones, and on until enough rows are compared: the fewer are allowed, the larger a part of them.
        """
        may = int(np.count_nonzero(allowed))
        share = max(may, 1) / len(allowed)
        goal = min(may, int(np.ceil(effort * len(allowed) / self.most * min(1.0, _MORE * share**0.5))))
        least = effort if share > _OFTEN else 2 * effort
        counted = np.bincount(self.group_of[np.flatnonzero(allowed)], minlength=self.most) if share < _RARE else None
        ranked = min(self.most, max(int(_WIDER * goal / max(may, 1) * self.most), least) + 8)
        while True:
            nearness, lists = self.index.quantizer.search(queries, ranked)
            held = self._held(lists, allowed) if counted is None else np.where(lists < 0, 0, counted[lists])
            before = np.cumsum(held, axis=1) - held
            number = np.cumsum(held > 0, axis=1)
            if ranked == self.most or ((before[:, -1] + held[:, -1] >= goal) & (number[:, -1] >= least)).all():
                break
            ranked = min(self.most, 4 * ranked)
        chosen = (held > 0) & ((before < goal) | (number <= least))
        width = max(1, int(chosen.sum(axis=1).max()))
        first = np.argsort(~chosen, axis=1, kind="stable")[:, :width]  # the chosen ones, still by nearness
        lists = np.where(np.take_along_axis(chosen, first, 1), np.take_along_axis(lists, first, 1), -1)
        return np.ascontiguousarray(np.take_along_axis(nearness, first, 1)), np.ascontiguousarray(lists)

    def _held(self, lists: NDArray[np.int64], allowed: Mask) -> NDArray[np.float64]:
        """Allowed rows in each of these groups, estimated from some of its rows, of the shape of ``lists``."""
        rows, sizes = self.samples
        return allowed[rows[lists]].mean(axis=-1) * np.where(lists < 0, 0, sizes[lists])


def build_ivf(matrix: NDArray[np.float32], config: IndexConfig) -> Any:
    """A trained and filled FAISS index of the rows of ``matrix``; the kind must be an IVF one."""
    faiss = import_faiss()
    n_items, dim = matrix.shape
    lists = list_count(n_items, config)
    index = faiss.index_factory(dim, f"IVF{lists},{code_name(dim, config)}", faiss.METRIC_INNER_PRODUCT)
    index.cp.seed, index.cp.niter = config.seed + 1, 10
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, config.train_rows
    wanted = min(n_items, max(config.train_rows * lists, 256 * 256))
    sample = np.random.default_rng(config.seed).choice(n_items, wanted, replace=False, shuffle=False)
    some = np.ascontiguousarray(matrix[np.sort(sample)], dtype=np.float32)
    if n_items < 256:  # codes have up to 256 values, and k-means wants that many rows
        some = np.resize(some, (256, dim))
    index.train(some)
    for start in range(0, n_items, 1 << 16):
        index.add(np.ascontiguousarray(matrix[start : start + (1 << 16)], dtype=np.float32))
    return index


def list_count(n_items: int, config: IndexConfig) -> int:
    """Groups of an IVF index: as configured, else a power of two near 4 x the root of the rows.

    Small codes are so soon compared that ranking the groups takes longer: half as many for them.

    >>> list_count(1_000_000, IndexConfig(kind="ivf-sq8")), list_count(1_000_000, IndexConfig(kind="ivf-pq"))
    (4096, 2048)
    """
    often = 2 if config.kind in ("ivf-pq", "ivf-rabitq") else 4
    wanted = config.lists or 2 ** round(np.log2(often * max(n_items, 1) ** 0.5))
    return max(1, min(wanted, n_items // 8))


def code_name(dim: int, config: IndexConfig) -> str:
    """What FAISS calls the codes of an IVF kind.

    >>> code_name(384, IndexConfig(kind="ivf-pq"))
    'PQ192x4fs'
    """
    if config.kind == "ivf-pq":
        return f"PQ{dim // code_width(dim, config)}x4fs"
    return {"ivf-flat": "Flat", "ivf-sq8": "SQ8", "ivf-rabitq": "RaBitQfs"}[config.kind]


def code_bytes(dim: int, config: IndexConfig) -> int:
    """Bytes of a row's code.

    >>> code_bytes(384, IndexConfig(kind="ivf-pq"))
    96
    """
    if config.kind == "ivf-pq":
        return -(-dim // code_width(dim, config) // 2)
    return {"ivf-flat": 4 * dim, "ivf-sq8": dim, "ivf-rabitq": -(-dim // 8) + 8}[config.kind]


def code_width(dim: int, config: IndexConfig) -> int:
    """Dimensions that share a product code: as configured, or the next smaller number that divides them."""
    return max(size for size in range(1, min(config.code_dims, dim) + 1) if dim % size == 0)


def _list_bytes(invlists: Any, number: int) -> int:
    """Bytes of one group's codes; packed codes come in blocks of 32 rows."""
    size = int(invlists.list_size(number))
    per_block = int(getattr(invlists, "n_per_block", 1))
    if per_block > 1:
        return -(-size // per_block) * int(invlists.block_size)
    return size * int(invlists.code_size)
