"""Groups of parts, as people see them: a slider each, and a colour in the bars that tell why an item is there.

A group is what parts of a score rest on. What each part is lies in `retrieval.recommender`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...profiling.blocks import PART_BLOCK
from ...profiling.errors import ConfigError
from ...retrieval.engine import Engine
from ...retrieval.recommender import NEWCOMER_PARTS, SEARCH_PARTS


@dataclass(frozen=True)
class Group:
    """Parts that rest on the same thing.

    Attributes:
        parts: those that have a weight, the one to give a weight to first where none has one; none = there is no weight
        also: names under which reasons of a second stage, or of what is split, belong here
    """

    parts: tuple[str, ...]
    also: tuple[str, ...] = ()


GROUPS: Mapping[str, Group] = {
    "meaning": Group(("meaning",), ("company", "read_together")),
    "words": Group(("bm25",), ("words",)),
    "named": Group((), ("intent",)),
    "taste": Group(("taste_long", "taste_short", "taste_learned", "directions")),
    "behaviour": Group(("behaviour",), ("affinity", "shopper")),
    "habit": Group(("repeat", "own"), ("repeats",)),
    "next": Group(("transitions", "text_neighbours"), ("pairs",)),
    "popularity": Group(("popular", "recent_popular"), ("alike", "popularity")),
    "context": Group(("context",)),
}
"""Name -> what is in it, in the order in which they are shown."""

OTHER = "other"
"""Where reasons of no group belong: what only adding up gives, and rules."""

_GROUP_OF: Mapping[str, str] = {part: name for name, g in GROUPS.items() for part in (*g.parts, *g.also)}


def group_of(part: str) -> str:
    """The group a reason belongs to.

    >>> group_of("taste_long"), group_of("pairs"), group_of("pinned")
    ('taste', 'next', 'other')
    """
    return _GROUP_OF.get(part, OTHER)


def usable_groups(engine: Engine, *, newcomer: bool) -> dict[str, tuple[str, ...]]:
    """Groups that this engine can weigh, each with the parts of it that are there."""
    recommender = engine.recommender
    blocks = {part for part, block in PART_BLOCK.items() if recommender.space.dims.get(block)}
    if recommender.encoder is None:
        blocks.discard("meaning")
    found = {}
    for name, group in GROUPS.items():
        there = [p for p in group.parts if p in recommender.sources or p in blocks]
        if newcomer:
            there = [p for p in there if p in (*SEARCH_PARTS, *NEWCOMER_PARTS)]
        if there:
            found[name] = tuple(there)
    return found


def learned_weights(engine: Engine, *, newcomer: bool) -> dict[str, float]:
    """Sum of the learned weights of each group that this engine can weigh, before a request's own circumstances."""
    chosen = _chosen(engine, newcomer=newcomer)
    return {
        name: sum(chosen.get(part, 0.0) for part in parts)
        for name, parts in usable_groups(engine, newcomer=newcomer).items()
    }


def reweighed(engine: Engine, weights: Mapping[str, float], *, newcomer: bool) -> Engine:
    """The engine with groups weighed otherwise, as a caller wants; without a second stage, which learned its own order.

    Parts of a group keep their proportions; where none of them has a weight the first one gets it.

    Raises:
        ConfigError: a group that this engine cannot weigh.
    """
    known = usable_groups(engine, newcomer=newcomer)
    for name in weights:
        if name not in known:
            raise ConfigError(f"weights: {name!r} cannot be weighed here; use one of {', '.join(known)}")
    if not weights:
        return engine
    chosen = _chosen(engine, newcomer=newcomer)
    for name, wanted in weights.items():
        parts = known[name]
        total = sum(chosen.get(part, 0.0) for part in parts)
        for place, part in enumerate(parts):
            share = chosen.get(part, 0.0) / total if total > 0 else float(place == 0)
            chosen[part] = wanted * share
    model = replace(engine.recommender, weights=chosen, newcomer_weights=chosen, second=None, second_search=None)
    return replace(engine, recommender=model)


def _chosen(engine: Engine, *, newcomer: bool) -> dict[str, float]:
    """Learned weight of each part for shoppers of this kind; parts for words count for both."""
    model = engine.recommender
    search = {name: weight for name, weight in model.weights.items() if name in SEARCH_PARTS}
    rest = model.newcomer_weights if newcomer else model.weights
    return search | {name: weight for name, weight in rest.items() if name not in SEARCH_PARTS}
