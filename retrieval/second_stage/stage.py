"""The second stage: the best candidates of the first, ordered anew by a ranker that reads more of each.

Covers which candidates it gets, their features, what each reason adds, and putting its order back into scores of the
whole catalogue. The first stage's sum stays what is searched by. The ranker's bias is the same for all candidates and
left out, so that what the features add is the score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...profiling.log import KINDS, Requests
from .facts import RankFacts
from .features import PERSONAL_GROUPS, SEARCH_GROUPS, Asked, Features, rank_features
from .pool import Pool, best_items, make_pool
from .ranker import RankerModel

Float = NDArray[np.float32]
Double = NDArray[np.float64]

DEPTH = 100
"""Candidates that are ordered anew."""
SEARCH_DEPTH = 300
"""The same for requests in words: right items that say it in other words lie deeper in the sum."""
ABSENT = "absent"
"""Group of columns that a ranker knows and a request does not have."""
TAKEN: tuple[int, ...] = tuple(KINDS.index(kind) for kind in ("purchase", "review", "own"))
"""Kinds by which a shopper has an item; having looked is not having."""


@dataclass(frozen=True, eq=False)
class SecondStage:
    """A ranker and what it needs.

    Attributes:
        model: orders candidates by their features
        facts: facts of the catalogue, learned from the same events as the parts
        groups: groups of features it reads
        depth: candidates it gets
    """

    model: RankerModel
    facts: RankFacts
    groups: tuple[str, ...]
    depth: int = DEPTH

    def features(self, pool: Pool, requests: Requests, vectors: Float) -> Features:
        """The features of these candidates in the order the ranker learned them, NaN where this shop has none."""
        return aligned(rank_features(Asked(pool, requests, self.facts, vectors), self.groups), self.model.names)

    def scores(self, pool: Pool, requests: Requests, vectors: Float) -> Double:
        """Score of each candidate, (n,)."""
        return self.model.scores(self.features(pool, requests, vectors).values) - self.model.bias

    def amounts(self, features: Features) -> dict[str, Double]:
        """What each reason adds to each row's score, each (n,); together they are the score.

        A column of a part, its score or its rank, is told as the part; other columns are told as their group. What the
        model makes of columns that are not there says nothing of its own: it is told as the sum of everything.
        """
        each = self.model.contributions(features.values)
        told: dict[str, Double] = {}
        for column, (name, group) in enumerate(zip(features.names, features.groups, strict=True)):
            reason = name.removesuffix("_rank") if group == "parts" else "together" if group == ABSENT else group
            told[reason] = told.get(reason, 0.0) + each[:, column]
        return told


def usual_depth(*, asked: bool) -> int:
    """Candidates that are ordered anew unless told otherwise, for requests in words or without."""
    return SEARCH_DEPTH if asked else DEPTH


def feature_groups(*, asked: bool, popularity: bool = True) -> tuple[str, ...]:
    """Groups of features for requests with or without words; ``popularity`` can be left out."""
    groups = SEARCH_GROUPS if asked else PERSONAL_GROUPS
    return tuple(group for group in groups if popularity or group != "popularity")


def aligned(features: Features, names: Sequence[str]) -> Features:
    """The same table with exactly these columns in this order; columns it does not have are NaN, of group `ABSENT`."""
    if tuple(names) == features.names:
        return features
    place = {name: column for column, name in enumerate(features.names)}
    values = np.full((len(features.values), len(names)), np.nan, dtype=np.float32)
    for column, name in enumerate(names):
        if name in place:
            values[:, column] = features.values[:, place[name]]
    groups = tuple(features.groups[place[name]] if name in place else ABSENT for name in names)
    return Features(tuple(names), groups, values)


def pool_of(
    requests: Requests,
    fused: Float,
    parts: Mapping[str, Float],
    *,
    depth: int,
    also: NDArray[np.bool_] | None = None,
    hide_taken: bool = False,
) -> Pool:
    """The best ``depth`` items of each request by ``fused``, with what each part says; all (n_requests, n_items).

    With ``hide_taken`` items a shopper has already are no candidates. The items that ``also`` names are, where they may
    be shown at all.
    """
    shown = fused
    if hide_taken:
        request, event = requests.events()
        had = np.isin(requests.log.kind[event], TAKEN)
        shown = np.array(shown)
        shown[request[had], requests.log.item[event[had]]] = -np.inf
    request, item = best_items(shown, depth)
    if also is not None:
        chosen = also & np.isfinite(shown)
        chosen[request, item] = True
        request, item = np.nonzero(chosen)
    return make_pool(request, item, n_requests=len(requests), parts=parts, fused=fused)


def above_the_rest(fused: Float, pool: Pool, scores: Double) -> Float:
    """Scores of the whole catalogue in which the candidates, in their new order, come before everything else.

    Inside a request candidates differ by what the ranker says; the worst lies 1 above the best item that is none.
    """
    out = np.array(fused)
    out[pool.request, pool.item] = -np.inf
    ceiling = np.where(np.isfinite(out), out, -np.inf).max(axis=1, initial=0.0)
    worst = np.full(len(fused), np.inf)
    np.minimum.at(worst, pool.request, scores)
    out[pool.request, pool.item] = ceiling[pool.request] + 1.0 + (scores - worst[pool.request])
    return out
