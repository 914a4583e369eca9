"""What every part and stage of the pipeline is worth: left out, and the rest chosen anew without it.

Parts are fitted once, and the best items of each are kept for every request (`gathered`). For each `Row` weights,
gate and ranker are chosen again on half of the users or queries and measured on the other half, then the halves change
places: nobody's value was chosen on their own requests. Shoppers without history are another question (`curves`), and
what the taste model is made of too: each way of making one is a training of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..retrieval.fusion import choose_weights
from ..retrieval.gate import Gate
from ..retrieval.rank_facts import RankFacts
from ..retrieval.rank_features import Asked, rank_features
from ..retrieval.rank_pool import Pool, best_items
from ..retrieval.ranker import RankTable
from ..retrieval.second_stage import DEPTH, feature_groups
from .ablation_rows import Row
from .gate_choice import choose_gate
from .gathered import Gathered
from .rank_learning import LearnedRanker, learn_from_table, some_users
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


def measure_row(bench: Bench, row: Row) -> Measured:
    """NDCG@10 of every request with the parts and stages of ``row``, everything chosen on the other half."""
    found = bench.found
    first = some_users(found.cluster, 0.5, np.random.default_rng(bench.seed))
    ndcg, weights, rankers = np.zeros(len(first)), [], []
    for number, chooses in enumerate((first, ~first)):
        rng = np.random.default_rng([bench.seed, number])
        sample = found.candidates(row.parts, chooses)
        chosen, _ = choose_weights(sample)
        gate = None
        if row.gate and not found.requests.texts:
            asks = found.requests.take(np.flatnonzero(chooses))
            gate = choose_gate(sample, chosen, asks, found.cluster[chooses], rng=rng).gate
        table = _table(bench, found, row, chosen, gate)
        learned = _learned(bench, row, table, chooses, chosen, rng=rng)
        ndcg[~chooses] = _ordered(table, learned)[~chooses]
        weights.append(chosen)
        rankers.append(learned.name)
    return Measured(ndcg, tuple(weights), tuple(rankers))


def _table(bench: Bench, found: Gathered, row: Row, weights: Mapping[str, float], gate: Gate | None) -> RankTable:
    """The best candidates of the weighted sum, with features; requests without a right one have none."""
    fused = _fused(found, row, weights, gate)
    n = len(fused)
    request, place = best_items(fused, bench.depth)
    right = np.bincount(request, found.gain[request, place], minlength=n) > 0
    request, place = request[right[request]], place[right[request]]
    read = {name: found.parts.index(name) for name in row.parts if weights[name] > 0 or row.ranking.all_parts}
    groups = tuple(name for name in _groups(found, row) if name not in row.dropped)
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


def _groups(found: Gathered, row: Row) -> tuple[str, ...]:
    """Groups of features that the row's ranker may read."""
    return feature_groups(asked=bool(found.requests.texts), popularity=row.ranking.popularity)


def _learned(
    bench: Bench,
    row: Row,
    table: RankTable,
    chooses: Bools,
    weights: Mapping[str, float],
    *,
    rng: np.random.Generator,
) -> LearnedRanker:
    """The second stage that the choosing half comes to."""
    mine = table.take(chooses)
    if bench.taught is None:
        decides = some_users(bench.found.cluster[chooses], row.ranking.held_out, rng)
    else:
        taught = _table(bench, bench.taught, row, weights, None)
        decides = np.arange(len(mine.count) + len(taught.count)) < len(mine.count)
        mine = joined(mine, taught)
    beside = tuple(name for name in row.parts if not weights[name] > 0) if row.ranking.all_parts else ()
    asked = bool(bench.found.requests.texts)
    return learn_from_table(mine, decides, row.ranking, rng=rng, groups=(), asked=asked, beside=beside)


def _ordered(table: RankTable, learned: LearnedRanker) -> Double:
    """NDCG@10 of each request as the ranker orders it, or the first stage where none won."""
    if learned.model is None:
        return table.ndcg(table.start)
    place = [table.names.index(name) for name in learned.model.names]
    return table.ndcg(learned.model.scores(table.values[:, place]))
