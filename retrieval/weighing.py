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
    from .scores import Scores

TEXT_BLOCKS: tuple[str, ...] = ("meaning", "taste")
"""Blocks made of item text alone: searched by FAISS, once for all items of one text."""
REST_BLOCKS: tuple[str, ...] = tuple(block for block in BLOCKS if block not in TEXT_BLOCKS)
"""The others: scored item by item, most often of the candidates alone."""
_ROUNDING = 1e-5  # of sums in float32, against the size of what is added


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


def rest_range(items: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Smallest and largest number of each dimension of `REST_BLOCKS` over a catalogue, (2, their dimensions)."""
    blocks = [items[name] for name in REST_BLOCKS]
    return np.stack([np.concatenate([edge(rows, axis=0) for rows in blocks]) for edge in (np.min, np.max)])


def rest_bounds(vector: NDArray[np.float32], within: NDArray[np.float32]) -> tuple[float, float]:
    """What every item's score by `REST_BLOCKS` lies between; ``within`` is their `rest_range`."""
    ends = vector * within
    off = _ROUNDING * float(np.abs(ends).max(axis=0, initial=0.0).sum())
    return float(ends.min(axis=0).sum(dtype=np.float64)) - off, float(ends.max(axis=0).sum(dtype=np.float64)) + off


def widened(one: float, other: float) -> tuple[float, float]:
    """The smaller and the larger of two ends, with room for rounding."""
    off = _ROUNDING * max(abs(one), abs(other))
    return min(one, other) - off, max(one, other) + off


def hopeful(
    k: int,
    found: tuple[NDArray[np.int64], NDArray[np.float32]],
    top: NDArray[np.int64],
    others: NDArray[np.float32],
    within: tuple[float, float],
    slack: float | None,
) -> NDArray[np.int64]:
    """The candidates that may be among the ``k`` best, rising: most cannot be, and need not be scored to know it.

    Args:
        k: items wanted
        found: items of the nearest texts, nearest first, and their scores as the index has them, (n_found,) each
        top: items with the largest ``others``; those not ``found`` are no nearer than the last of them
        others: what is neither in the index nor in the other blocks, (n_items,)
        within: least and most that an item has by the other blocks
        slack: how far the index's scores can be off; None = not known, and all candidates stay
    """
    dense, near = found
    if slack is None or len(dense) < k:
        return np.union1d(dense, top)
    sure = near.astype(np.float64) + others[dense]
    needed = float(np.partition(sure, len(sure) - k)[len(sure) - k]) - slack + within[0]  # k items have so much
    beyond = needed - slack - within[1] - _ROUNDING * abs(needed)
    return np.union1d(dense[sure >= beyond], top[float(near[-1]) + others[top] >= beyond])


def rest_scores(
    items: Mapping[str, NDArray[np.float32]], vector: NDArray[np.float32], rows: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """Scores by `REST_BLOCKS` of the items at ``rows``, (n_rows,), of all if None; zeros at its ends are not read."""
    first, out = 0, np.zeros(len(items[REST_BLOCKS[0]]) if rows is None else len(rows), dtype=np.float32)
    for name in REST_BLOCKS:
        width = items[name].shape[1]
        part = vector[first : first + width]
        first += width
        used = np.flatnonzero(part)
        if len(used):
            some = slice(int(used[0]), int(used[-1]) + 1)  # places nobody named are zeros at the end
            block = items[name][:, some]
            out += (block if rows is None else block[rows]) @ part[some]
    return out


def scaled_scores(
    items: Mapping[str, NDArray[np.float32]],
    part: str,
    held: NDArray[np.float32] | Scores,
    scale: float,
    rows: NDArray[np.int64],
) -> NDArray[np.float32]:
    """A part's scores of these items before its weight, as the second stage learned them, (n_rows,).

    Args:
        items: blocks of the catalogue, (n_items, d_b) each
        part: its name
        held: a block part's shopper side (d_b,), or any other part's raw scores
        scale: what its scores are multiplied by
        rows: item rows
    """
    if isinstance(held, np.ndarray):
        return items[PART_BLOCK[part]][rows] @ (held * np.float32(scale))
    return held[rows] * np.float32(scale)


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
