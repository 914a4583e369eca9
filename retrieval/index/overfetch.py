"""Candidates from something that knows no filters of ours: more are asked for, and the forbidden ones dropped.

Covers FAISS on a GPU and Milvus. Where what is left falls short of ``k``, `approximate` compares all allowed rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .types import Mask, Rows, Scores

Ask = Callable[[NDArray[np.float32], int, int], tuple[Rows, Scores]]
"""Queries (n, dim), candidates wanted and effort -> rows (n, m) and scores (n, m), -1 for none."""

_SPARE = 1.5


@dataclass(frozen=True, eq=False)
class OverfetchScanner:
    """A searcher without filters.

    Attributes:
        ask: searches
        n_items: rows it holds
        most: largest effort that changes anything
        most_rows: the most candidates it gives
        resident_bytes: memory it holds, wherever that is
    """

    ask: Ask
    n_items: int
    most: int
    most_rows: int
    resident_bytes: int

    def scan(
        self, queries: NDArray[np.float32], n: int, effort: int, allowed: Mask | None = None
    ) -> tuple[Rows, Scores]:
        """Up to ``n`` candidates of each query, -1 where there are fewer."""
        limit = min(self.n_items, self.most_rows)
        if allowed is None:
            return self.ask(queries, min(n, limit), effort)
        share = max(int(np.count_nonzero(allowed)), 1) / len(allowed)
        rows, scores = self.ask(queries, min(limit, int(_SPARE * n / share) + 10), effort)
        fine = (rows >= 0) & allowed[rows]  # row -1 is looked up and thrown away
        order = np.argsort(~fine, axis=1, kind="stable")[:, :n]
        rows = np.where(np.take_along_axis(fine, order, 1), np.take_along_axis(rows, order, 1), -1)
        return rows, np.take_along_axis(scores, order, 1)
