"""The lines of a table of what every part and stage of the pipeline is worth: what each leaves out.

Which parts there are is `retrieval.recommender`'s to say, what a line reaches is measured by `ablation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..retrieval.second_stage.features import PERSONAL_GROUPS, SEARCH_GROUPS
from .rank_learning import RankLearningConfig


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: what it says
        parts: names of the parts that are used
        ranking: options of the second stage
        dropped: groups of features that the ranker does not read
        gate: whether a gate is tried, which is used where it wins
    """

    name: str
    parts: tuple[str, ...]
    ranking: RankLearningConfig = field(default_factory=RankLearningConfig)
    dropped: tuple[str, ...] = ()
    gate: bool = False


TEXT: tuple[str, ...] = ("taste_long", "taste_short", "text_neighbours")
"""Parts that read an item's own words."""
GROUPED: Mapping[str, tuple[str, ...]] = {
    "text (taste_long, taste_short, text_neighbours)": TEXT,
    "own and repeat": ("own", "repeat"),
    "popular and recent_popular": ("popular", "recent_popular"),
}
"""Parts that can stand in for each other, left out together."""


def rows_of(
    parts: Sequence[str], *, instead: Mapping[str, str | None], asked: bool, ranking: RankLearningConfig
) -> tuple[Row, ...]:
    """The lines of a table: everything first.

    Args:
        parts: parts of the pipeline
        instead: further scorers by name, and the part in whose place each comes; None = it is added
        asked: whether requests are in words
        ranking: options of the second stage
    """
    whole = Row("everything", tuple(parts), ranking)
    rows = [whole, *(_without(whole, f"without {name}", (name,)) for name in parts if len(parts) > 1)]
    for name, group in GROUPED.items():
        if len(set(group) & set(parts)) > 1:
            rows.append(_without(whole, f"without {name}", group))
    for name, part in instead.items():
        kept = tuple(p for p in parts if p != part)
        said = f"with {name} too" if part is None else f"{name} in place of {part}"
        rows.append(replace(whole, name=said, parts=(*kept, name)))
    for name, change in _stages(ranking).items():
        rows.append(replace(whole, name=name, ranking=change))
    if not asked:
        rows.append(replace(whole, name="with the gate", gate=True))
    read = SEARCH_GROUPS if asked else PERSONAL_GROUPS
    return (*rows, *(replace(whole, name=f"ranker without {g}", dropped=(g,)) for g in read if g != "parts"))


def _stages(ranking: RankLearningConfig) -> dict[str, RankLearningConfig]:
    """Second stages that are compared."""
    return {
        "without the ranker": ranking.model_copy(update={"rankers": (), "default": False}),
        "without the ranker that ships": ranking.model_copy(update={"default": False}),
        "only the ranker that ships": ranking.model_copy(update={"rankers": ()}),
        "only the linear ranker": ranking.model_copy(update={"rankers": ("linear",), "default": False}),
        "ranker on weighted parts alone": ranking.model_copy(update={"all_parts": False}),
    }


def _without(row: Row, name: str, parts: Sequence[str]) -> Row:
    return replace(row, name=name, parts=tuple(part for part in row.parts if part not in parts))
