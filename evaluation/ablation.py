"""What every part and stage of the pipeline is worth: left out, and the rest chosen anew without it.

Parts are fitted once, and the best items of each are kept for every request (`gathered`). For each `Row` weights,
gate and ranker are chosen again on half of the users or queries and measured on the other half, then the halves change
places: nobody's value was chosen on their own requests. A ranker reads all parts of its row. Shoppers without history
are another question (`curves`), and what the taste model is made of too: each way of making one is a training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..retrieval.fusion import choose_weights
from ..retrieval.gate import Gate
from ..retrieval.second_stage.facts import RankFacts
from ..retrieval.second_stage.features import Asked, rank_features
from ..retrieval.second_stage.pool import Pool, best_items
from ..retrieval.second_stage.ranker import RankTable
from ..retrieval.second_stage.stage import DEPTH, feature_groups
from .ablation_rows import Row
from .dealt import deal_users, only_first, some_users
from .gate_choice import choose_gate
from .gathered import Gathered
from .rank_learning import LearnedRanker, learn_from_table
from .rank_tables import joined

Float = NDArray[np.float32]
Double = NDArray[np.float64]
Bools = NDArray[np.bool_]

_STEP = 256  # requests whose features are made at once


@dataclass(frozen=True, eq=False)
class Bench:
    """What all rows share.

    Attributes:
        found: candidates of the requests that choose and measure
        facts: what the ranker knows of the catalogue
        vectors: item rows whose inner products say how alike two texts are, (n_items, d)
        taught: candidates of judged queries that the ranker learns from; None = it learns from those that choose
        depth: candidates that the ranker orders
        seed: of all that is drawn
    """

    found: Gathered
    facts: RankFacts
    vectors: Float
    taught: Gathered | None = None
    depth: int = DEPTH
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Measured:
    """What a row reached.

    Attributes:
        ndcg: NDCG@10 of each request, chosen without its half, (n_requests,)
        weights: weights that each half chose
        rankers: ranker that each half chose
    """

    ndcg: Double
    weights: tuple[Mapping[str, float], ...]
    rankers: tuple[str, ...]


def measure_rows(bench: Bench, rows: Sequence[Row]) -> Iterator[Measured]:
    """NDCG@10 of every request under each row, everything chosen on the other half; one by one.

    What rows have in common is chosen once: weights where the parts are the same, features where nothing is dropped.
    """
    halves = [_Half(bench, number) for number in (0, 1)]
    for row in rows:
        ndcg, weights, rankers = np.zeros(len(bench.found.requests)), [], []
        for half in halves:
            learned, each = half.measured(row)
            ndcg[~half.chooses] = each[~half.chooses]
            weights.append(half.weights(row.parts))
            rankers.append(learned.name)
        yield Measured(ndcg, tuple(weights), tuple(rankers))


class _Half:
    """One half of the users or queries that chooses.

    Attributes:
        chooses: its requests, (n_requests,)
    """

    def __init__(self, bench: Bench, number: int) -> None:
        first = some_users(bench.found.cluster, 0.5, np.random.default_rng(bench.seed))
        self.chooses = ~first if number else first
        self._bench, self._number = bench, number
        self._weights: dict[tuple[str, ...], dict[str, float]] = {}
        self._tables: dict[str, tuple[RankTable, RankTable | None]] = {}

    def weights(self, parts: tuple[str, ...]) -> Mapping[str, float]:
        """What this half weighs the parts with."""
        if parts not in self._weights:
            self._weights[parts] = choose_weights(self._bench.found.candidates(parts, self.chooses))[0]
        return self._weights[parts]

    def measured(self, row: Row) -> tuple[LearnedRanker, Double]:
        """The second stage that this half comes to, and NDCG@10 of every request under it, (n_requests,)."""
        rng = np.random.default_rng([self._bench.seed, self._number])
        gate = self._gate(row, rng) if row.gate else None
        table, taught = self._read(row, gate)
        mine = table.take(self.chooses)
        if taught is None:
            folds = deal_users(self._bench.found.cluster[self.chooses], row.ranking.held_out, rng)
        else:
            folds = only_first(len(mine.count), len(taught.count))
            mine = joined(mine, taught)
        asked = bool(self._bench.found.requests.texts)
        learned = learn_from_table(mine, folds, row.ranking, rng=rng, groups=(), asked=asked)
        return learned, table.ndcg(table.start if learned.model is None else learned.model.scores(table.values))

    def _gate(self, row: Row, rng: np.random.Generator) -> Gate | None:
        """The gate that wins on this half, if one does."""
        found, weights = self._bench.found, self.weights(row.parts)
        asks = found.requests.take(np.flatnonzero(self.chooses))
        sample = found.candidates(row.parts, self.chooses)
        return choose_gate(sample, weights, asks, found.cluster[self.chooses], rng=rng).gate

    def _read(self, row: Row, gate: Gate | None) -> tuple[RankTable, RankTable | None]:
        """Tables of the requests and of the judged queries to learn from; the newest are kept for the next row."""
        key = repr((row.parts, row.dropped, gate, row.ranking.all_parts, row.ranking.popularity))
        if key not in self._tables:
            bench, weights = self._bench, self.weights(row.parts)
            taught = None if bench.taught is None else _table(bench, bench.taught, row, weights, None)
            self._tables = {key: (_table(bench, bench.found, row, weights, gate), taught)}
        return self._tables[key]


def _table(bench: Bench, found: Gathered, row: Row, weights: Mapping[str, float], gate: Gate | None) -> RankTable:
    """The best candidates of the weighted sum, with features; requests without a right one have none."""
    fused = _fused(found, row, weights, gate)
    n = len(fused)
    request, place = best_items(fused, bench.depth)
    right = np.bincount(request, found.gain[request, place], minlength=n) > 0
    request, place = request[right[request]], place[right[request]]
    read = {name: found.parts.index(name) for name in row.parts if weights[name] > 0 or row.ranking.all_parts}
    groups = feature_groups(asked=bool(found.requests.texts), popularity=row.ranking.popularity)
    groups = tuple(name for name in groups if name not in row.dropped)
    tables = []
    for start in range(0, n, _STEP):
        inside = (request >= start) & (request < start + _STEP)
        rows, at, where = np.arange(start, min(start + _STEP, n)), request[inside], place[inside]
        pool = Pool(
            request=at - start,
            item=found.item[at, where],
            count=np.bincount(at - start, minlength=len(rows)),
            parts={name: found.values[number, at, where] for name, number in read.items()},
            fused=fused[at, where],
        )
        tables.append(rank_features(Asked(pool, found.requests.take(rows), bench.facts, bench.vectors), groups))
    values = np.concatenate([table.values for table in tables])
    count = np.bincount(request, minlength=n)
    return RankTable(tables[0].names, values, found.gain[request, place], count, found.ideal, fused[request, place])


def _fused(found: Gathered, row: Row, weights: Mapping[str, float], gate: Gate | None) -> Float:
    """The weighted sum at every candidate that the row's parts find, (n_requests, width); -inf at all others."""
    moved = {} if gate is None else gate.factors(found.requests)
    used = [found.parts.index(name) for name in row.parts]
    fused = np.where(found.best[used].any(axis=0), np.float32(0), np.float32(-np.inf))
    for name, number in zip(row.parts, used, strict=True):
        if weights[name] > 0:
            factor = np.broadcast_to(np.float32(weights[name]) * moved.get(name, np.float32(1)), (len(fused),))
            fused += factor[:, None] * found.values[number]
    return fused
