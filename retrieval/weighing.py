"""Weights of one request's parts: what a caller gave, scales without all scores, and shares of a second stage's sum.

Arithmetic that `view` is made of; which weights a shop has is `recommender`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..profiling.blocks import BLOCKS, PART_BLOCK
from ..profiling.errors import ConfigError
from .fusion import FAR

if TYPE_CHECKING:
    from .engine import Engine

TEXT_BLOCKS: tuple[str, ...] = ("meaning", "taste")
"""Blocks made of item text alone: searched by FAISS, once for all items of one text."""
REST_BLOCKS: tuple[str, ...] = tuple(block for block in BLOCKS if block not in TEXT_BLOCKS)
"""The others, of few dimensions: one product scores every item."""


def explicit_weights(weights: Mapping[str, float], sources: Mapping[str, object]) -> dict[str, float]:
    """A caller's weights by part; a block's weight goes to all of its parts.

    Raises:
        ConfigError: an unknown name, a source this shop does not have, or a weight that is not finite.
    """
    chosen: dict[str, float] = {}
    for name, weight in weights.items():
        parts = [part for part, block in PART_BLOCK.items() if name in (part, block)]
        if not parts and name not in sources:
            known = ", ".join(dict.fromkeys((*BLOCKS, *PART_BLOCK, *sources)))
            raise ConfigError(f"weights: {name!r} is not a part of this engine; use one of {known}")
        if not np.isfinite(weight):
            raise ConfigError(f"weights: {name} must be finite, got {weight}")
        chosen |= dict.fromkeys(parts or [name], float(weight))
    return {name: weight for name, weight in chosen.items() if weight}


def block_scale(engine: Engine, part: str, vector: NDArray[np.float32], asked: bool) -> float:
    """`fusion.inverse_scale` of a block part, from the block's covariance instead of all its scores."""
    if part == "meaning":
        return 1.0
    wide = vector.astype(np.float64)
    variance = float(wide @ engine.moments[PART_BLOCK[part]] @ wide)
    return variance**-0.5 / (FAR if asked else 1.0) if variance > 1e-24 else 0.0


def fused_vector(
    dims: Mapping[str, int],
    vectors: Mapping[str, NDArray[np.float32]],
    factor: Mapping[str, float],
    *,
    blocks: Sequence[str],
) -> NDArray[np.float32]:
    """The parts of these blocks, weighted, blocks side by side, (sum of their ``dims``,)."""
    sides = {block: np.zeros(dims[block], dtype=np.float32) for block in blocks}
    for name, vector in vectors.items():
        if PART_BLOCK[name] in sides:
            sides[PART_BLOCK[name]] += vector * np.float32(factor[name])
    return np.concatenate(list(sides.values()))


def rest_rows(items: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """`REST_BLOCKS` of a catalogue one below the other, (their dimensions, n_items).

    Items lie along the rows, because a product with a vector then reads memory in order: half the time.
    """
    return np.ascontiguousarray(np.hstack([items[name] for name in REST_BLOCKS]).T, dtype=np.float32)


def rest_scores(rest: NDArray[np.float32], vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Score of each item by `rest_rows`, (n_items,); rows outside the first and last number but 0 are not read."""
    used = np.flatnonzero(vector)
    if not len(used):
        return np.zeros(rest.shape[1], dtype=np.float32)
    part = slice(int(used[0]), int(used[-1]) + 1)
    return vector[part] @ rest[part]


def by_part(
    told: dict[str, NDArray[np.float64]], amounts: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """What a high place in the first stage's sum adds is told as the parts that lifted it there, by their shares of it.

    A place that counts against an item stays ``together``: no part is to blame for what others lack.
    """
    together = told.get("together")
    if together is None:
        return told
    lifted = {name: np.maximum(amount, 0.0) for name, amount in amounts.items()}
    total = np.sum(list(lifted.values()), axis=0) if lifted else np.zeros(len(together))
    given = np.where((together > 0) & (total > 0), together, 0.0)
    share = np.divide(given, total, out=np.zeros_like(given), where=total > 0)
    parts = {name: told.get(name, 0.0) + amount * share for name, amount in lifted.items()}
    return told | parts | {"together": together - given}
