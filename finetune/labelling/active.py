"""Which queries to have judged next: strategies of active learning, and the sheet that a person fills in.

Covers rating unjudged queries (`STRATEGIES`), drawing up which items to judge for each (pooling the first ranks of
dense search and BM25, as TREC does), writing the sheet as CSV or Parquet and reading it back. What judging them in that
order would have brought is `label_curve`'s question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...profiling.errors import ConfigError, ShopError

Float = NDArray[np.float32]
TEMPERATURE = 0.05
"""Divides cosines before the softmax that reads them as chances of being what was meant."""

SHEET = ("query", "item_id", "grade", "title", "rank", "found_by")
"""Columns of a sheet; ``grade`` is empty until a person fills it in."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Unjudged queries, and what the encoder of the day makes of them.

    Attributes:
        queries: unit vectors, (n, d)
        items: rows of the best items of each, best first, (n, k)
        scores: their cosines, (n, k)
        words: share of these items that BM25 has among its own best k, (n,)
        catalogue: unit vectors of all items, (n_items, d)
        judged: unit vectors of queries judged before, (m, d)
    """

    queries: Float
    items: NDArray[np.int64]
    scores: Float
    words: Float
    catalogue: Float
    judged: Float

    def chances(self) -> Float:
        """Softmax of the scores, (n, k)."""
        raised = np.exp((self.scores - self.scores.max(axis=1, keepdims=True)) / TEMPERATURE)
        return np.asarray(raised / raised.sum(axis=1, keepdims=True), dtype=np.float32)


Strategy = Callable[[Pool, int, np.random.Generator], NDArray[np.int64]]
"""Rows of ``n`` queries of a pool, most worth judging first."""


def random_order(pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Queries by chance: what every other strategy has to beat."""
    return rng.permutation(len(pool.queries))[:n]


def uncertainty(pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Queries whose chances over the best items are most even: highest entropy (Settles, 2009, eq. 3)."""
    p = pool.chances()
    return _highest(-(p * np.log(np.maximum(p, 1e-12))).sum(axis=1), n)


def disagreement(pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Queries for which meaning and words find different items: a committee of two (Seung et al., 1992)."""
    return _highest(1 - pool.words, n)


def expected_change(pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Queries whose judgement would move a map of the query most, whichever item turns out right.

    The gradient of the softmax loss at item d is (mean item - d) times the query; its length is averaged over the
    chances (expected gradient length; Settles and Craven, 2008, eq. 8).
    """
    p, value = pool.chances(), np.empty(len(pool.queries))
    for row, chance in enumerate(p):
        found = pool.catalogue[pool.items[row]]  # (k, d)
        value[row] = float(chance @ np.linalg.norm(found - chance @ found, axis=1))
    return _highest(value, n)


def diversity(pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Queries far from all judged and chosen ones: greedy k-centre (Sener and Savarese, 2018, algorithm 1).

    Without judged queries it starts at the one nearest to the mean.
    """
    if not len(pool.queries):
        return np.zeros(0, dtype=np.int64)
    if len(pool.judged):
        near = (pool.queries @ pool.judged.T).max(axis=1)  # (n,): cosine to the nearest
        chosen: list[int] = []
    else:
        chosen = [int(np.argmax(pool.queries @ pool.queries.mean(axis=0)))]
        near = pool.queries @ pool.queries[chosen[0]]
    while len(chosen) < min(n, len(pool.queries)):
        free = np.where(np.isin(np.arange(len(near)), chosen), np.inf, near)
        chosen.append(int(np.argmin(free)))
        near = np.maximum(near, pool.queries @ pool.queries[chosen[-1]])
    return np.array(chosen[:n], dtype=np.int64)


def typical(pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The query nearest to the centre of each of ``n`` clusters, largest cluster first.

    Typical ones first pays while little is judged (Hacohen et al., 2022, algorithm 1, with the centre for density).
    """
    from sklearn.cluster import MiniBatchKMeans

    n = min(n, len(pool.queries))
    if not n:
        return np.zeros(0, dtype=np.int64)
    seed = int(rng.integers(2**31))
    found = MiniBatchKMeans(n, random_state=seed, n_init=1, batch_size=4096, max_iter=20).fit(pool.queries)
    away = np.linalg.norm(pool.queries - found.cluster_centers_[found.labels_], axis=1)
    first = {int(found.labels_[row]): int(row) for row in np.argsort(-away, kind="stable")}  # the nearest wins
    sizes = np.bincount(found.labels_, minlength=n)
    chosen = [first[cluster] for cluster in np.argsort(-sizes, kind="stable").tolist() if cluster in first]
    rest = [row for row in rng.permutation(len(away)).tolist() if row not in set(chosen)]  # for empty clusters
    return np.array([*chosen, *rest][:n], dtype=np.int64)


def badge(pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Queries whose gradients, taking the best item for right, are long and point different ways.

    Chosen as k-means++ chooses its seeds: the longest first, each next one with a chance in proportion to its squared
    distance from those chosen (Ash et al., 2020, algorithm 1). Gradients are outer products of the query and (mean item
    - best item), so their inner products are products of inner products.
    """
    p = pool.chances()
    towards = np.stack(
        [c @ pool.catalogue[rows] - pool.catalogue[rows[0]] for c, rows in zip(p, pool.items, strict=True)]
    )
    size = (pool.queries**2).sum(axis=1) * (towards**2).sum(axis=1)  # (n,): squared lengths
    chosen = [int(np.argmax(size))]
    far = np.full(len(size), np.inf)
    while len(chosen) < min(n, len(size)):
        last = chosen[-1]
        inner = (pool.queries @ pool.queries[last]) * (towards @ towards[last])
        far = np.minimum(far, np.maximum(size + size[last] - 2 * inner, 0))
        far[chosen] = 0
        left = np.setdiff1d(np.arange(len(size)), chosen)
        total = float(far.sum())
        chosen.append(int(rng.choice(len(size), p=far / total)) if total > 0 else int(rng.choice(left)))
    return np.array(chosen[:n], dtype=np.int64)


STRATEGIES: Mapping[str, Strategy] = {
    "random": random_order,
    "uncertainty": uncertainty,
    "disagreement": disagreement,
    "expected_change": expected_change,
    "diversity": diversity,
    "typical": typical,
    "badge": badge,
}
"""Ways to choose which queries to judge."""


def choose_queries(pool: Pool, n: int, strategy: str, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of ``n`` queries of ``pool``, most worth judging first; all of them where there are fewer.

    Raises:
        ConfigError: an unknown strategy, or ``n`` below 1.
    """
    if strategy not in STRATEGIES:
        raise ConfigError(f"strategy: must be one of {', '.join(STRATEGIES)}, got {strategy!r}")
    if n < 1:
        raise ConfigError(f"n: must be at least 1, got {n}")
    return STRATEGIES[strategy](pool, n, rng)


def make_pool(queries: Float, catalogue: Float, words: NDArray[np.int64], *, judged: Float, block: int = 512) -> Pool:
    """A pool from vectors and from the items that BM25 finds first.

    Args:
        queries: unit vectors of the unjudged queries, (n, d)
        catalogue: unit vectors of the items, (n_items, d)
        words: rows of BM25's best k items of each query, -1 where it has fewer, (n, k)
        judged: unit vectors of queries judged before, (m, d)
        block: queries searched at once
    """
    k = min(words.shape[1], len(catalogue))
    items = np.empty((len(queries), k), dtype=np.int64)
    scores = np.empty((len(queries), k), dtype=np.float32)
    for start in range(0, len(queries), block):
        found = queries[start : start + block] @ catalogue.T  # (n_block, n_items)
        at = np.argpartition(-found, k - 1, axis=1)[:, :k]
        value = np.take_along_axis(found, at, axis=1)
        order = np.argsort(-value, axis=1, kind="stable")
        items[start : start + block] = np.take_along_axis(at, order, axis=1)
        scores[start : start + block] = np.take_along_axis(value, order, axis=1)
    shared = (items[:, :, None] == words[:, None, :]).any(axis=2).mean(axis=1)  # (n,)
    return Pool(queries, items, scores, shared.astype(np.float32), catalogue, judged)


def judging_sheet(
    queries: Sequence[str], pool: Pool, words: NDArray[np.int64], items: pd.DataFrame, *, depth: int = 10
) -> pd.DataFrame:
    """What to judge for some queries: the first ranks of dense search and of BM25 in turn, ``depth`` items a query.

    Args:
        queries: texts, in the order in which to judge them, (n,)
        pool: their pool, in the same order
        words: rows of BM25's best items of each, -1 where it has fewer, (n, k)
        items: the catalogue, aligned with ``pool.catalogue``
        depth: items a query

    Returns:
        A row a pair, with the columns of `SHEET`.
    """
    ids, titles = items["item_id"].to_numpy(object), items["title"].to_numpy(object)
    lines = []
    for row, query in enumerate(queries):
        seen: dict[int, str] = {}
        for dense, lexical in zip(pool.items[row].tolist(), words[row].tolist(), strict=False):
            seen.setdefault(dense, "meaning")
            if lexical >= 0:
                seen.setdefault(lexical, "words")
        for rank, (item, by) in enumerate(list(seen.items())[:depth], 1):
            lines.append((query, ids[item], None, titles[item], rank, by))
    return pd.DataFrame(lines, columns=list(SHEET)).astype({"grade": "float64"})


def write_sheet(sheet: pd.DataFrame, path: str | Path) -> None:
    """Write a sheet as Parquet or, under any other name, as CSV.

    Raises:
        ShopError: the file cannot be written.
    """
    path = Path(path)
    try:
        if path.suffix == ".parquet":
            sheet.to_parquet(path, index=False)
        else:
            sheet.to_csv(path, index=False)
    except OSError as error:
        raise ShopError(f"sheet {path} cannot be written ({error}); name another file") from error


def read_sheet(path: str | Path, *, split: str = "train") -> pd.DataFrame:
    """The pairs of a sheet that were filled in, as rows of ``judgements``; those left empty are not judged.

    Raises:
        ShopError: the file cannot be read, a column is absent, or a grade is no number >= 0.
    """
    path = Path(path)
    try:
        read = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str)
    except (OSError, ValueError) as error:
        raise ShopError(f"sheet {path} cannot be read ({error}); name a sheet of 'tasteprint label'") from error
    absent = [name for name in ("query", "item_id", "grade") if name not in read]
    if absent:
        raise ShopError(f"sheet {path}: needs the columns query, item_id and grade, lacks {', '.join(absent)}")
    said = read["grade"].astype(str).str.strip().where(read["grade"].notna(), "")
    filled = read[said != ""]
    grade = pd.to_numeric(said[said != ""], errors="coerce")
    wrong = grade.isna() | (grade < 0)
    if wrong.any():
        raise ShopError(f"sheet {path}: a grade must be a number >= 0, got {said[grade.index[wrong]].iloc[0]!r}")
    table = {"query": filled["query"].astype(str), "item_id": filled["item_id"].astype(str), "grade": grade}
    return pd.DataFrame(table).assign(split=split).drop_duplicates(["query", "item_id"], keep="last", ignore_index=True)


def _highest(value: NDArray[np.floating], n: int) -> NDArray[np.int64]:
    """Rows of the ``n`` highest values, highest first, ties by row."""
    return np.argsort(-value, kind="stable")[:n].astype(np.int64)
