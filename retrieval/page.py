"""What of a request's best items is shown: diversity, then the shop's rules, and what they moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .diversity import mmr
from .ranking import Recommendation
from .rules import Listed, Moved, RulesConfig, apply_rules, pinned
from .second_stage.reorder import Reordered
from .view import View

POOL = 100
"""Candidates that diversity and rules choose from."""


@dataclass(frozen=True, eq=False)
class Page:
    """Items to be shown.

    Attributes:
        view: the request
        rows: item rows, best first, (n,)
        anew: the second stage's order, where there is one
        exact: whether what the first stage finds, before ranker, diversity and rules, is proven
        moved: item row -> what rules did to it
        said: what the rules did as a whole
    """

    view: View
    rows: NDArray[np.int64]
    anew: Reordered | None
    exact: bool
    moved: Mapping[int, tuple[Moved, ...]]
    said: tuple[str, ...] = ()

    def recommendations(self, *, explain: bool) -> tuple[Recommendation, ...]:
        """The items with reasons, and what rules did to each."""
        items = self.view.recommendations(self.rows, explain=explain, anew=self.anew)
        return tuple(_ruled(item, self.moved.get(int(row), ())) for item, row in zip(items, self.rows, strict=True))


def make_page(
    view: View,
    k: int,
    allowed: NDArray[np.bool_] | None,
    *,
    diversity: float = 0.0,
    rules: RulesConfig | None = None,
    query: str = "",
) -> Page:
    """The ``k`` items to show of those ``allowed`` (n_items,).

    Args:
        view: the request
        k: items wanted
        allowed: which may be shown; None = all
        diversity: of `diversity.mmr`; 0 = none
        rules: the shop's; those that exclude are in ``allowed`` already
        query: words of the request, which rules may ask for
    """
    facts = view.engine.facts
    held = rules is not None and bool(rules.held(query))
    pins = pinned(rules, facts, query) if rules is not None and held else np.zeros(0, dtype=np.int64)
    pins = pins if allowed is None else pins[allowed[pins]]
    width = max(k, POOL) if diversity or held else k
    anew = view.reordered(width, allowed, also=pins)
    rows, exact = view.best(width, allowed) if anew is None else (anew.rows[:width], anew.proven)
    meaning = view.engine.recommender.space.items["meaning"]
    if diversity:
        scores = view.fused(rows) if anew is None else anew.scores[: len(rows)]
        rows = rows[mmr(scores, meaning[rows], len(rows) if held else k, diversity=diversity)]
    if rules is None or not held:
        return Page(view, rows[:k], anew, exact, {})
    every = np.concatenate([rows, np.setdiff1d(pins, rows)])
    scores = view.fused(every) if anew is None else anew.scores[anew.positions(every)]
    listed = Listed(every, np.asarray(scores, dtype=np.float64), meaning[every])
    ruled = apply_rules(rules, listed, facts, query=query, allowed=allowed, candidates=len(rows))
    return Page(view, ruled.rows[:k], anew, exact, ruled.moved, ruled.said)


def _ruled(item: Recommendation, moved: tuple[Moved, ...]) -> Recommendation:
    """An item with what rules did to it, told in its sentence too where there is one."""
    if not moved:
        return item
    told = tuple(str(one) for one in moved)
    return replace(item, rules=told, sentence=" ".join((item.sentence, *told)) if item.sentence else "")
