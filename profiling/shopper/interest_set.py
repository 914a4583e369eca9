"""Interests of one shopper by scene (search, home, mail...) and horizon (long, short, session).

The whole of a horizon is the merge over its scenes. Kinds without a time (a library of owned games) never age: they
have a horizon of their own with an infinite half-life, `UNTIMED`. Batches of many shoppers are `interest_batch`'s work.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..log import KIND_WEIGHTS, KINDS
from .interest import Interest, from_events, merge, no_interest

DAY_S = 86_400.0
MINUTE_S = 60.0
NO_SCENE = "anywhere"
UNTIMED = "untimed"


class InterestConfig(BaseModel):
    """How fast interest fades and how strongly a profile leans on its prior."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    long_half_life_s: float = Field(
        default=180 * DAY_S, gt=0, description="seconds after which long-term interest halves"
    )
    short_half_life_s: float = Field(
        default=7 * DAY_S, gt=0, description="seconds after which short-term interest halves"
    )
    session_half_life_s: float = Field(
        default=30 * MINUTE_S, gt=0, description="seconds after which the interest of the visit under way halves"
    )
    prior_weight: float | None = Field(default=None, gt=0, description="events the prior is worth; unset: as fitted")
    kind_weights: dict[str, float] = Field(
        default_factory=lambda: dict(KIND_WEIGHTS), description="preference weight of one event of each kind"
    )

    @field_validator("kind_weights")
    @classmethod
    def _known_kinds(cls, value: dict[str, float]) -> dict[str, float]:
        """Fill in the kinds left out and refuse the unknown ones."""
        unknown = sorted(set(value) - set(KINDS))
        if unknown:
            raise ValueError(f"kind_weights: {unknown[0]!r} is not one of {', '.join(KINDS)}")
        return {**KIND_WEIGHTS, **value}

    @property
    def horizons(self) -> dict[str, float]:
        """Half-life in seconds of each horizon by name."""
        return {
            "long": self.long_half_life_s,
            "short": self.short_half_life_s,
            "session": self.session_half_life_s,
        }


@dataclass(frozen=True, eq=False)
class InterestSet:
    """Interests by ``(scene, horizon)``; absent keys are interests of which nothing is known.

    Attributes:
        parts: the states that saw at least one event
        half_lives_s: half-life of each horizon
        dim: dimension of the vectors
    """

    parts: Mapping[tuple[str, str], Interest]
    half_lives_s: Mapping[str, float]
    dim: int

    def of(self, scene: str, horizon: str) -> Interest:
        """Interest of one scene on one horizon."""
        return self.parts.get((scene, horizon), no_interest(self.dim, self.half_lives_s[horizon]))

    def whole(self, horizon: str) -> Interest:
        """Interest over all scenes on one horizon."""
        states = (state for (_, name), state in sorted(self.parts.items(), key=lambda item: item[0]) if name == horizon)
        return reduce(merge, states, no_interest(self.dim, self.half_lives_s[horizon]))

    @property
    def scenes(self) -> tuple[str, ...]:
        """Names of the scenes seen, sorted."""
        return tuple(sorted({scene for scene, _ in self.parts}))


def interest_set(
    vectors: ArrayLike,
    weights: ArrayLike,
    at_s: ArrayLike,
    *,
    scenes: Sequence[str | None] | None = None,
    untimed: NDArray[np.bool_] | None = None,
    config: InterestConfig,
) -> InterestSet:
    """Interests of a batch of one shopper's events.

    Args:
        vectors: event vectors, (n_events, d)
        weights: signed weights, (n_events,)
        at_s: times, (n_events,) seconds since 1970 UTC; ignored where ``untimed``
        scenes: scene of each event; none, null or empty is `NO_SCENE`
        untimed: which events have no time, (n_events,)
        config: half-lives
    """
    x = np.atleast_2d(np.asarray(vectors, dtype=np.float64))  # (n_events, d)
    w, times = np.asarray(weights, dtype=np.float64), np.asarray(at_s, dtype=np.float64)
    names = np.asarray([NO_SCENE] * len(times) if scenes is None else [scene_name(s) for s in scenes], dtype=object)
    ageless = np.zeros(len(times), dtype=bool) if untimed is None else np.asarray(untimed, dtype=bool)
    times = np.where(ageless, 0.0, times)
    half_lives = {**config.horizons, UNTIMED: math.inf}
    parts = {}
    for scene in sorted(set(names.tolist())):
        for horizon, half_life_s in half_lives.items():
            chosen = (names == scene) & (ageless == (horizon == UNTIMED))
            if chosen.any():
                parts[scene, horizon] = from_events(x[chosen], w[chosen], times[chosen], half_life_s)
    return InterestSet(parts, half_lives, x.shape[1])


def merge_sets(first: InterestSet, second: InterestSet) -> InterestSet:
    """Interests of the events of both, scene by scene and horizon by horizon.

    Raises:
        ValueError: half-lives or dimensions differ.
    """
    if dict(first.half_lives_s) != dict(second.half_lives_s):
        raise ValueError(f"half-lives must be equal, got {dict(first.half_lives_s)} and {dict(second.half_lives_s)}")
    keys = [*first.parts, *(key for key in second.parts if key not in first.parts)]
    parts = {key: merge(first.of(*key), second.of(*key)) for key in keys}
    return InterestSet(parts, first.half_lives_s, first.dim)


def scene_name(scene: object) -> str:
    """Name under which a scene is kept; null and empty are `NO_SCENE`.

    >>> scene_name("mail"), scene_name(None)
    ('mail', 'anywhere')
    """
    return scene if isinstance(scene, str) and scene else NO_SCENE
