"""Items like an item: the same blocks and the same index, asked by an item instead of a shopper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..profiling.errors import ConfigError
from .filters import Filters, allowed_items
from .ranking import Reason, Recommendation
from .weighing import TEXT_BLOCKS

if TYPE_CHECKING:
    from .engine import Engine

LIKENESS: Mapping[str, float] = {"meaning": 1.0}
"""Weights of the blocks two items are compared by, where a caller gives none."""

_SAID: Mapping[str, str] = {"meaning": "is described much like {title}", "taste": "is liked as {title} is"}


def similar_items(
    engine: Engine,
    item_id: str,
    *,
    k: int = 10,
    filters: Filters | None = None,
    weights: Mapping[str, float] | None = None,
) -> tuple[Recommendation, ...]:
    """The ``k`` items most like an item, best first, fewer where fewer may be shown; never the item itself.

    Args:
        engine: of the shop
        item_id: the item; it may have been removed from sale
        k: items wanted, >= 1
        filters: hard conditions
        weights: of the blocks ``meaning`` and ``taste`` that are compared; None = meaning alone, so that the score is
            the cosine of the two texts

    Raises:
        UnknownIdError: no such item.
        ConfigError: ``k`` below 1, an unknown block, or a weight that is not finite and >= 0.
    """
    if k < 1:
        raise ConfigError(f"k must be at least 1, got {k}")
    row, chosen = engine.facts.any_row(item_id), _checked(weights)
    blocks = engine.recommender.space.items
    parts = {name: blocks[name][row] * np.float32(chosen.get(name, 0.0)) for name in TEXT_BLOCKS}
    allowed = allowed_items(filters, engine.facts, np.array([row], dtype=np.int64))
    rows = nearest_items(engine, np.concatenate([parts[name] for name in TEXT_BLOCKS]), k, allowed)
    amounts = {name: blocks[name][rows].astype(np.float64) @ part for name, part in parts.items() if chosen.get(name)}
    title = engine.titles[item_id]
    return tuple(_told(engine, int(other), rank, amounts, title) for rank, other in enumerate(rows))


def nearest_items(
    engine: Engine, query: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None
) -> NDArray[np.int64]:
    """Rows of the ``k`` allowed items whose text blocks have the largest product with ``query`` (dim,), best first.

    Ties go to the smaller row. With an approximate index the items are those that it finds.
    """
    if allowed is not None and not allowed.any():
        return np.zeros(0, dtype=np.int64)
    some = None if allowed is None else np.bincount(engine.text_of[allowed], minlength=len(engine.texts)) > 0
    n = min(k + 1, len(engine.texts))
    found, _ = engine.index.search(query, n, allowed=some)
    parts = [engine.items_of[engine.first_of[text] : engine.first_of[text + 1]] for text in found]
    rows = np.concatenate([np.zeros(0, dtype=np.int64), *parts])
    rows = rows if allowed is None else rows[allowed[rows]]
    score = engine.texts[engine.text_of[rows]] @ query
    return rows[np.lexsort((rows, -score))[:k]]


def _told(
    engine: Engine, row: int, place: int, amounts: Mapping[str, NDArray[np.float64]], title: str
) -> Recommendation:
    """One item with what each block adds."""
    item_id = str(engine.log.item_ids[row])
    reasons = [Reason(name, float(amount[place])) for name, amount in amounts.items() if amount[place]]
    reasons.sort(key=lambda reason: (-reason.amount, reason.part))
    said = _SAID[reasons[0].part].format(title=title) if reasons and reasons[0].amount > 0 else "fills the list"
    score = float(sum(reason.amount for reason in reasons))
    return Recommendation(
        item_id, engine.titles[item_id], score, place + 1, tuple(reasons), f"{said[0].upper()}{said[1:]}."
    )


def _checked(weights: Mapping[str, float] | None) -> Mapping[str, float]:
    """Weights of blocks that can be compared."""
    for name, weight in (weights or {}).items():
        if name not in TEXT_BLOCKS:
            raise ConfigError(f"weights: items are compared by {' and '.join(TEXT_BLOCKS)}, got {name!r}")
        if not (np.isfinite(weight) and weight >= 0):
            raise ConfigError(f"weights: {name} must be finite and >= 0, got {weight}")
    if weights is not None and not any(weights.values()):
        raise ConfigError(f"weights: one of {' and '.join(TEXT_BLOCKS)} must be above 0, got {dict(weights)}")
    return LIKENESS if weights is None else weights
