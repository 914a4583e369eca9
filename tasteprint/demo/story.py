"""What the demo tells, as plain values: two shoppers, one query, a newcomer, a map, an evaluation.

Terminal and page show the same story, and it is kept as JSON so that a second run has nothing to compute.
Finding it is `demo.run`'s work.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _Noun(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Row(_Noun):
    """One place of a ranking that answers the query."""

    rank: int = Field(ge=1)
    item_id: str
    title: str
    note: str = Field("", description="what tells the item from others of the same name")
    plain_rank: int | None = Field(None, description="its place in plain semantic search; null = far down")
    reason: str = Field("", description="why it is here, in words")


class Line(_Noun):
    """One interest over time."""

    name: str
    share: tuple[float, ...] = Field(description="share of interest at each moment, in [0, 1]")


class Timeline(_Noun):
    """A shopper's interests at equally spaced moments."""

    days: tuple[str, ...] = Field(description="ISO dates")
    half_life_days: float = Field(gt=0)
    lines: tuple[Line, ...]


class Shopper(_Noun):
    """One of the two shoppers: who they are and what they get."""

    user_id: str
    events: int = Field(ge=0)
    summary: tuple[str, ...] = Field(description="who they are, in sentences")
    tags: tuple[str, ...]
    results: tuple[Row, ...] = Field(description="for the query of the story")
    timeline: Timeline


class Question(_Noun):
    """The ambiguous query and how it was read."""

    text: str
    reading: str
    specificity: float = Field(ge=0, le=1)
    plain: tuple[Row, ...] = Field(description="plain semantic search, nobody in particular")


class Suggestion(_Noun):
    """One item recommended to the newcomer."""

    title: str
    note: str = ""
    reason: str
    taken_later: bool = Field(description="whether they took something of that name later")


class WarmStep(_Noun):
    """The newcomer after some events."""

    seen: int = Field(ge=0, description="events seen so far")
    latest: tuple[str, ...] = Field(description="titles of the events since the step before, newest last")
    items: tuple[Suggestion, ...]


class Dot(_Noun):
    """One shopper on the map."""

    x: float = Field(ge=0, le=1)
    y: float = Field(ge=0, le=1)
    group: int = Field(ge=0)


class TasteMap(_Noun):
    """Shoppers laid out by taste: the two directions in which their tastes differ most."""

    dots: tuple[Dot, ...]
    groups: tuple[str, ...] = Field(description="names of the groups that dots are coloured by")
    marked: tuple[Dot, Dot]
    ends: tuple[str, str, str, str] = Field(description="what grows to the left, right, bottom and top")
    explained: float = Field(ge=0, le=1, description="share of the variance that the map shows")
    shoppers: int = Field(ge=0, description="shoppers it was computed from; dots may be a sample")


class Story(_Noun):
    """Everything the demo tells."""

    shop: str
    items: int
    events: int
    shoppers: int
    first_day: str
    last_day: str
    encoder: str
    question: Question
    pair: tuple[Shopper, Shopper]
    newcomer_events: int = Field(description="events of the newcomer in all")
    warming: tuple[WarmStep, ...]
    taste_map: TasteMap
    results: dict[str, Any] | None = Field(None, description="results.json of the evaluation; null = none could be run")
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    seconds: dict[str, float] = Field(default_factory=dict, description="what each stage of the first run took")
