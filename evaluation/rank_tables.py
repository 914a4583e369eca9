"""Tables that rankers learn from: the candidates of a split's requests, or what was shown, with features and gains.

What is learned from them, and whether it wins, is `rank_learning`'s work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from ..profiling.errors import ConfigError
from ..profiling.log import Requests
from ..retrieval.recommender import Recommender
from ..retrieval.second_stage.facts import RankFacts
from ..retrieval.second_stage.features import Asked, Features, part_names, rank_features
from ..retrieval.second_stage.ranker import RankTable
from ..retrieval.second_stage.stage import DEPTH
from .metrics import Relevance, ideal_dcg, relevance
from .splits import Split

_CELLS = 5e7  # scores of all parts held at once


def gather_ranks(
    model: Recommender,
    facts: RankFacts,
    sample: Split,
    *,
    groups: tuple[str, ...],
    depth: int,
) -> RankTable:
    """Candidates of every request of ``sample`` with features, gains and the first stage's scores.

    They are the ``depth`` best of the first stage, right or not: keeping right ones from further down would tell the
    answer by its place. A request without a right candidate is there without candidates: no order of them is worth
    anything. Where only judged items are ranked, they are what is kept, with features as if they stood among the best
    of the catalogue.
    """
    ideal = ideal_dcg(sample.truth, 10)
    step = _step(model)
    values, gains, counts, starts = [], [], [], []
    features = Features((), (), np.zeros((0, 0), dtype=np.float32))
    for first in range(0, len(sample.requests), step):
        rows = np.arange(first, min(first + step, len(sample.requests)))
        requests, truth = sample.requests.take(rows), sample.truth.take(rows)
        judged = _judged(truth, requests.log.n_items) if sample.judged_only else None
        _, pool = model.candidates(requests, depth=depth, also=judged)
        features = rank_features(Asked(pool, requests, facts, model.text_rows), groups)
        gain = gains_of(truth, pool.request, pool.item)
        right = np.bincount(pool.request, gain, minlength=len(pool.count)) > 0
        kept = right[pool.request] if judged is None else right[pool.request] & judged[pool.request, pool.item]
        values.append(features.values[kept])
        gains.append(gain[kept])
        counts.append(pool.take(kept).count)
        starts.append(pool.fused[kept])
    return RankTable(
        names=features.names,
        values=np.concatenate(values),
        gain=np.concatenate(gains),
        count=np.concatenate(counts),
        ideal=ideal,
        start=np.concatenate(starts),
    )


def gains_of(truth: Relevance, request: NDArray[np.int64], item: NDArray[np.int64]) -> NDArray[np.float32]:
    """Gain of each paired request and item, 0 where it is not right, (n,)."""
    if not len(truth.items) or not len(item):
        return np.zeros(len(item), dtype=np.float32)
    stride = int(max(item.max(), truth.items.max())) + 1
    known = truth.request() * stride + truth.items
    wanted = request * stride + item
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[place] == wanted, truth.gain[place], np.float32(0))


@dataclass(frozen=True, eq=False)
class Impressions:
    """Logged pages, and what was chosen of each.

    Attributes:
        requests: one a page; histories end before it was shown
        request, item: position of the page and row of the item of each impression, distinct, sorted by page, (n,)
        chosen: gain of each impression, 0 where it was passed by, (n,)
        cluster: shopper of each page, (n_requests,)
    """

    requests: Requests
    request: NDArray[np.int64]
    item: NDArray[np.int64]
    chosen: NDArray[np.float32]
    cluster: NDArray[np.int64]

    def take(self, pages: slice) -> Impressions:
        """Consecutive pages."""
        first, last, _ = pages.indices(len(self.requests))
        rows = (self.request >= first) & (self.request < last)
        requests, cluster = self.requests.take(pages), self.cluster[pages]
        return Impressions(requests, self.request[rows] - first, self.item[rows], self.chosen[rows], cluster)


def impression_table(
    impressions: Impressions,
    model: Recommender,
    facts: RankFacts,
    *,
    groups: tuple[str, ...],
    depth: int = DEPTH,
) -> RankTable:
    """A table of logged impressions: what was shown at each page, and the gain of what was chosen of it.

    Args:
        impressions: at least one page
        model: whose parts are features
        facts: fitted on events before the first page
        groups: groups of features
        depth: best items of the catalogue that what was shown is seen among, as in use
    """
    n, step = len(impressions.requests), _step(model)
    tables = [
        _impression_table(impressions.take(slice(first, first + step)), model, facts, groups=groups, depth=depth)
        for first in range(0, n, step)
    ]
    return reduce(joined, tables)


def _impression_table(
    impressions: Impressions, model: Recommender, facts: RankFacts, *, groups: tuple[str, ...], depth: int
) -> RankTable:
    """`impression_table` of pages whose scores of the catalogue fit into memory together."""
    requests, request, item = impressions.requests, impressions.request, impressions.item
    there = np.zeros((len(requests), requests.log.n_items), dtype=bool)
    there[request, item] = True
    truth = relevance(request, item, len(requests), gain=impressions.chosen)
    _, pool = model.candidates(requests, depth=depth, also=there)
    features = rank_features(Asked(pool, requests, facts, model.text_rows), groups)
    seen = there[pool.request, pool.item]
    left, gain = pool.take(seen), gains_of(truth, pool.request, pool.item)[seen]
    return RankTable(features.names, features.values[seen], gain, left.count, ideal_dcg(truth, 10), left.fused)


def _step(model: Recommender) -> int:
    """Requests whose scores of the catalogue by all parts are held at once."""
    return max(1, int(_CELLS / (10 * max(model.space.items["meaning"].shape[0], 1))))


def joined(first: RankTable, second: RankTable) -> RankTable:
    """Both tables in one, the requests of ``first`` before those of ``second``; their columns must be the same.

    Raises:
        ConfigError: other columns.
    """
    if first.names != second.names:
        raise ConfigError(f"second: must have the columns {', '.join(first.names)}, got {', '.join(second.names)}")
    both = {
        name: np.concatenate([getattr(first, name), getattr(second, name)])
        for name in ("values", "gain", "count", "ideal", "start")
    }
    return RankTable(first.names, **both)


def without_parts(table: RankTable, parts: Sequence[str]) -> RankTable:
    """The table without the columns of these parts; itself where there are none."""
    dropped = set().union(*(part_names(part) for part in parts))
    kept = [place for place, name in enumerate(table.names) if name not in dropped]
    if len(kept) == len(table.names):
        return table
    return replace(table, names=tuple(table.names[place] for place in kept), values=table.values[:, kept])


def _judged(truth: Relevance, n_items: int) -> NDArray[np.bool_]:
    """Which items are judged, (n_requests, n_items)."""
    judged = np.zeros((len(truth), n_items), dtype=bool)
    judged[truth.request(), truth.items] = True
    return judged
