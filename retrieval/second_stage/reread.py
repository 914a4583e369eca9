"""An answer to a query, read again by a cross-encoder: a new order, one more reason, and sums that still hold.

Works on a finished answer, so whatever made it (one search, a learned second stage, diversity) is left as it is.
Scoring pairs is `cross_encoder.run`'s work; asking for enough items to reread is the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ...profiling.errors import ConfigError
from ..explanation import sentence
from ..ranking import Answer, Reason, Recommendation
from .cross_encoder import DEPTH, CrossEncoder, rerank

PART = "read_together"
"""Name of the reason that rereading adds."""


def reread(
    answer: Answer,
    query: str,
    cross: CrossEncoder,
    text_of: Mapping[str, str],
    *,
    title_of: Mapping[str, str] | None = None,
    k: int | None = None,
    depth: int = DEPTH,
) -> Answer:
    """The answer with its first items in the order of their score plus what the cross-encoder adds.

    At weight 0 the items and their order are the answer's own. Items from ``depth`` on are not read and stay behind,
    whatever their scores.

    Args:
        answer: to ``query``, best first; ask the engine for ``depth`` items or more
        query: what was asked for in words
        cross: with its weight
        text_of: item text by item id
        title_of: titles by item id, for sentences; None = those of the answer
        k: items kept, None = all
        depth: items read, >= 1

    Raises:
        ConfigError: ``k`` or ``depth`` is below 1, or an item has no text.
    """
    if depth < 1 or (k is not None and k < 1):
        raise ConfigError(f"depth and k must be at least 1, got {depth} and {k}")
    items = answer.items
    missing = [item.item_id for item in items[:depth] if item.item_id not in text_of]
    if missing:
        raise ConfigError(
            f"text_of: must have the text of every item, lacks {missing[0]!r}; build it from the catalogue"
        )
    added = cross.added(query, [text_of[item.item_id] for item in items[:depth]])
    titles = {item.item_id: item.title for item in items} if title_of is None else title_of
    order = rerank(np.array([item.score for item in items], dtype=np.float32), added)[:k]
    amounts = np.concatenate([added, np.zeros(len(items) - len(added), dtype=np.float32)])
    kept = [_with(items[at], float(amounts[at]), place + 1, titles, query) for place, at in enumerate(order.tolist())]
    return replace(answer, items=tuple(kept), exact=answer.exact and not cross.weight)


def _with(item: Recommendation, amount: float, rank: int, title_of: Mapping[str, str], query: str) -> Recommendation:
    """An item at its new rank, with what was added to its score."""
    if not amount:
        return replace(item, rank=rank)
    if not item.reasons:  # nobody asked why
        return replace(item, rank=rank, score=item.score + amount)
    reasons = tuple(sorted((*item.reasons, Reason(PART, amount)), key=lambda r: (-r.amount, r.part)))
    score = float(sum(r.amount for r in reasons))
    said = sentence(item.item_id, reasons, title_of, query)
    return replace(item, rank=rank, score=score, reasons=reasons, sentence=said)
