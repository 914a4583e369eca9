"""Candidates from a navigable graph over 8-bit codes (HNSW).

Covers building and filtered walks. A walk that meets few allowed rows comes back short or poor, so the graph looks at
more of it the fewer rows are allowed; where that is not enough, `approximate` compares all allowed rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .config import IndexConfig
from .types import Mask, Rows, Scores, import_faiss


@dataclass(frozen=True)
class HnswScanner:
    """The graph.

    Attributes:
        index: the FAISS index
    """

    index: Any

    @property
    def most(self) -> int:
        """The largest effort: as many candidates as rows."""
        return int(self.index.ntotal)

    @property
    def resident_bytes(self) -> int:
        """Bytes of codes and links."""
        graph = self.index.hnsw
        links = 4 * int(graph.neighbors.size()) + 8 * int(graph.offsets.size()) + 4 * int(graph.levels.size())
        return links + self.most * int(self.index.storage.sa_code_size())

    def scan(
        self, queries: NDArray[np.float32], n: int, effort: int, allowed: Mask | None = None
    ) -> tuple[Rows, Scores]:
        """Up to ``n`` candidates of each query, -1 where there are fewer; ``effort`` is the width of the walk."""
        faiss = import_faiss()
        params = faiss.SearchParametersHNSW(efSearch=max(effort, n))
        if allowed is not None:
            share = max(int(np.count_nonzero(allowed)), 1) / len(allowed)
            bits = np.packbits(allowed, bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)
            params = faiss.SearchParametersHNSW(efSearch=min(self.most, int(max(effort, n) / share)), sel=selector)
        scores, rows = self.index.search(queries, n, params=params)
        return rows, scores


def build_hnsw(matrix: NDArray[np.float32], config: IndexConfig) -> Any:
    """A filled FAISS graph over the rows of ``matrix``."""
    faiss = import_faiss()
    n_items, dim = matrix.shape
    index = faiss.index_factory(dim, f"HNSW{config.links}_SQ8", faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = config.build_effort
    index.train(np.ascontiguousarray(matrix[: 1 << 17], dtype=np.float32))
    for start in range(0, n_items, 1 << 16):
        index.add(np.ascontiguousarray(matrix[start : start + (1 << 16)], dtype=np.float32))
    return index
