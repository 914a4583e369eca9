"""The index turned round: shoppers side by side, asked by an item. Who would want this?

A shopper's row is the same fused vector a request of theirs would be searched with, in units of their own spread over
the catalogue, so that scores compare between shoppers: 3 means three standard deviations above what the average item is
to that shopper. Only the blocks take part, which is what makes it one search; a new item needs no history of its own.
Wanting is not buying: how much a shopper does at all is one more part, ``activity``, without which a list of who would
buy is worse than the most active shoppers (`docs/search.md`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..profiling.blocks import BLOCKS, PART_BLOCK
from ..profiling.errors import ConfigError
from ..profiling.log import Requests
from .index import ItemIndex, build_index
from .second_stage.stage import TAKEN

if TYPE_CHECKING:
    from .engine import Engine

Float = NDArray[np.float32]

PARTS: tuple[str, ...] = ("taste_long", "taste_short", "taste_learned", "behaviour")
"""Parts of a shopper that an item is held against; meaning is of queries, context of moments."""
EQUAL: Mapping[str, float] = {"taste_long": 1.0, "taste_short": 0.5, "taste_learned": 1.0, "behaviour": 0.5}
"""Weights where the engine's own leave all of these parts out."""
ACTIVITY = 3.3
"""Weight of a shopper's activity, in standard deviations of the logarithm of their events over all shoppers."""
_ACTIVE = "activity"
_BATCH = 2048


@dataclass(frozen=True)
class Wanting:
    """One shopper who would want an item.

    Attributes:
        user_id: external id
        score: standard deviations above the average item, for this shopper; the sum of ``parts``
        rank: 1 first
        parts: what each part adds
    """

    user_id: str
    score: float
    rank: int
    parts: tuple[tuple[str, float], ...]

    def to_json(self) -> dict[str, object]:
        """A readable object of plain values."""
        return {
            "rank": self.rank,
            "user_id": self.user_id,
            "score": round(self.score, 4),
            "parts": {name: round(amount, 4) for name, amount in self.parts},
        }


@dataclass(frozen=True, eq=False)
class Audience:
    """Shoppers ready to be asked for.

    Attributes:
        engine: whose shoppers and items they are
        users: row in the engine's log of each shopper, (n,)
        parts: shopper side of each part, weighted and scaled, each (n, d_block); ``activity`` is (n, 1)
        index: over the parts of each block added up, blocks side by side
        blocks: the blocks in that order
        centre: mean item of each block, (d_block,)
    """

    engine: Engine
    users: NDArray[np.int64]
    parts: Mapping[str, Float]
    index: ItemIndex
    blocks: tuple[str, ...]
    centre: Mapping[str, Float]

    def wanting(
        self, item_id: str, *, k: int = 100, also_owners: bool = False, attributes: Mapping[str, str] | None = None
    ) -> tuple[Wanting, ...]:
        """The ``k`` shoppers who would want an item most, best first.

        Args:
            item_id: the item
            k: shoppers wanted, >= 1
            also_owners: whether shoppers who took it before count too
            attributes: only shoppers with these known attributes, such as ``{"age": "25-34"}``

        Raises:
            UnknownIdError: no such item.
            ConfigError: ``k`` below 1.
        """
        if k < 1:
            raise ConfigError(f"k must be at least 1, got {k}")
        row = self.engine.facts.any_row(item_id)
        allowed = self._allowed(row, also_owners, attributes)
        if not allowed.any():
            return ()
        sides = {name: self.engine.recommender.space.items[name][row] - self.centre[name] for name in self.blocks}
        sides[_ACTIVE] = np.ones(1, dtype=np.float32)
        query = np.concatenate([sides[name] for name in (*self.blocks, _ACTIVE)])
        found, _ = self.index.search(query, min(k, int(allowed.sum())), allowed=allowed)
        amounts = {name: rows[found].astype(np.float64) @ sides[_side(name)] for name, rows in self.parts.items()}
        score = np.sum(list(amounts.values()), axis=0) if amounts else np.zeros(len(found))
        order = np.lexsort((found, -score))
        return tuple(self._told(int(found[at]), rank, int(at), amounts) for rank, at in enumerate(order))

    def _told(self, shopper: int, rank: int, at: int, amounts: Mapping[str, NDArray[np.float64]]) -> Wanting:
        parts = tuple(sorted(((n, float(a[at])) for n, a in amounts.items() if a[at]), key=lambda p: (-p[1], p[0])))
        user = str(self.engine.log.user_ids[self.users[shopper]])
        return Wanting(user, float(sum(amount for _, amount in parts)), rank + 1, parts)

    def _allowed(self, row: int, also_owners: bool, attributes: Mapping[str, str] | None) -> NDArray[np.bool_]:
        """Shoppers that may be named, (n,)."""
        log = self.engine.log
        allowed = np.any([rows.any(axis=1) for name, rows in self.parts.items() if name != _ACTIVE], axis=0)
        if not also_owners:
            took = np.unique(log.user()[(log.item == row) & np.isin(log.kind, TAKEN)])
            allowed &= ~np.isin(self.users, took)
        for name, value in (attributes or {}).items():
            has = [self.engine.attributes.get(str(user), {}).get(name) == value for user in log.user_ids[self.users]]
            allowed &= np.array(has, dtype=bool)
        return allowed


def fit_audience(
    engine: Engine,
    *,
    now_s: float,
    kind: str = "flat",
    weights: Mapping[str, float] | None = None,
    activity: float = ACTIVITY,
) -> Audience:
    """Every shopper with events before ``now_s``, as they are then.

    Args:
        engine: of the shop
        now_s: seconds since 1970 UTC
        kind: of the index, see `retrieval.index`
        weights: of the parts in `PARTS`; None = the engine's own, or `EQUAL` where those leave all of them out
        activity: weight of how much a shopper does; 0 = who would want it, whether or not they buy at all

    Raises:
        ConfigError: an unknown part, a weight that is not finite, no part with a weight, or nobody has events.
    """
    if not np.isfinite(activity):
        raise ConfigError(f"activity must be finite, got {activity}")
    chosen = _weights(engine, weights)
    log, space = engine.log, engine.recommender.space
    so_far = np.r_[0, np.cumsum(log.at_s <= now_s)]  # a shopper's events are in order of time
    stop = log.user_start[:-1] + so_far[log.user_start[1:]] - so_far[log.user_start[:-1]]
    users = np.flatnonzero(stop > log.user_start[:-1])
    if not len(users):
        raise ConfigError("now_s: no shopper has events before it; give a later time")
    parts = {name: np.zeros((len(users), space.items[PART_BLOCK[name]].shape[1]), dtype=np.float32) for name in chosen}
    for first in range(0, len(users), _BATCH):
        some = users[first : first + _BATCH]
        requests = Requests(log, log.user_start[some], stop[some], np.full(len(some), now_s))
        vectors = space.shoppers(requests)
        for name, weight in chosen.items():
            wide = vectors[name].astype(np.float64)
            variance = np.einsum("ud,de,ue->u", wide, engine.moments[PART_BLOCK[name]], wide, optimize=True)
            scale = np.where(variance > 1e-24, weight / np.sqrt(np.maximum(variance, 1e-24)), 0.0)
            parts[name][first : first + len(some)] = wide * scale[:, None]
    blocks = tuple(b for b in BLOCKS if any(PART_BLOCK[name] == b for name in chosen))
    sides = [sum(rows for name, rows in parts.items() if PART_BLOCK[name] == block) for block in blocks]
    events = np.log1p(stop[users] - log.user_start[users])
    spread = float(events.std())
    active = activity * (events - events.mean()) / spread if spread > 0 else np.zeros(len(users))
    parts[_ACTIVE] = active[:, None].astype(np.float32)
    matrix = np.ascontiguousarray(np.hstack([*sides, parts[_ACTIVE]]), dtype=np.float32)
    centre = {block: space.items[block].mean(axis=0, dtype=np.float64).astype(np.float32) for block in blocks}
    return Audience(engine, users, parts, build_index(matrix, kind=kind), blocks, centre)


def _side(part: str) -> str:
    """The side of an item that a part of a shopper is held against."""
    return part if part == _ACTIVE else PART_BLOCK[part]


def _weights(engine: Engine, weights: Mapping[str, float] | None) -> dict[str, float]:
    """Weights of the parts that this engine has."""
    usable = [n for n in PARTS if engine.recommender.space.items[PART_BLOCK[n]].shape[1]]
    if engine.recommender.space.taste_model is None:
        usable = [name for name in usable if name != "taste_learned"]
    given = engine.recommender.weights if weights is None else weights
    for name, weight in () if weights is None else weights.items():
        if name not in usable:
            raise ConfigError(f"weights: {name!r} is not a part that shoppers are asked by; use {', '.join(usable)}")
        if not np.isfinite(weight):
            raise ConfigError(f"weights: {name} must be finite, got {weight}")
    chosen = {name: float(given[name]) for name in usable if given.get(name)}
    if not chosen and weights is None:
        chosen = {name: EQUAL[name] for name in usable}
    if not chosen:
        raise ConfigError(f"weights: at least one of {', '.join(usable)} must have a weight")
    return chosen
