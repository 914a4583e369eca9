"""Shapes of answers: what comes back, for the OpenAPI document and for tests. What may be sent is in `shapes`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ReasonShape(BaseModel):
    """One addend of a score."""

    part: str
    amount: float
    events: list[dict[str, Any]] = Field(description="past events behind it: item_id and amount")


class ItemShape(BaseModel):
    """One item of an answer."""

    rank: int
    item_id: str
    title: str
    score: float
    sentence: str | None = Field(default=None, description="the reasons in words")
    reasons: list[ReasonShape] | None = Field(default=None, description="their amounts add up to the score")
    propensity: float = Field(default=1.0, description="probability that it was shown at this rank")
    rules: list[str] | None = Field(default=None, description="what the shop's rules did to it, in words")


class IntentShape(BaseModel):
    """What a query is read as."""

    model_config = ConfigDict(extra="allow")
    text: str
    confidence: float
    specificity: float
    stage: str
    explanation: str


class ListAnswer(BaseModel):
    """Items, best first."""

    answer_id: str = Field(description="names this answer in the log of what was shown")
    version: str = Field(description="version of the workspace that answered")
    at: str | None
    known: bool = Field(description="whether anything is known of the shopper")
    items: list[ItemShape]
    intent: IntentShape | None
    shortage: str = Field(description="why there are fewer items than wanted; empty where there are not")
    exact: bool
    said: list[str] = Field(default=[], description="what was made of the query's words and the rules, in words")


class ExplainAnswer(BaseModel):
    """One item's score taken apart."""

    version: str
    at: str | None
    rank: int | None = Field(description="where it stands; null where it is not among those looked at")
    looked_at: int
    item_id: str
    title: str
    score: float
    sentence: str
    reasons: list[ReasonShape]
    intent: IntentShape | None


class IntentAnswer(IntentShape):
    """What a query is read as, and by which version."""

    version: str


class SimilarItem(BaseModel):
    """An item and how alike its text is."""

    rank: int
    item_id: str
    title: str
    score: float = Field(description="cosine")


class SimilarAnswer(BaseModel):
    """Items like one, best first."""

    version: str
    item_id: str
    items: list[SimilarItem]


class EventsAnswer(BaseModel):
    """What became of a batch; all of it is durable."""

    stored: int
    repeated: int = Field(description="events whose key was there already")
    unknown_items: list[str] = Field(description="items not sold now, the first few; their events wait")


class ItemsAnswer(BaseModel):
    """What became of a change; it is durable and shown."""

    version: str
    change: int = Field(description="number of the change in the workspace's journal")
    upserted: int
    removed: int = Field(description="how many of the items to remove were there")
    items: int = Field(description="items that can be found now")


class ProfileAnswer(BaseModel):
    """Who a shopper is."""

    model_config = ConfigDict(extra="allow")
    version: str
    user_id: str
    at: str | None
    summary: list[str]
    tags: list[dict[str, Any]]


class ExportAnswer(BaseModel):
    """Everything kept of a shopper."""

    user_id: str
    attributes: dict[str, str]
    events: list[dict[str, Any]]
    shown: list[dict[str, Any]]


class ForgetAnswer(BaseModel):
    """Receipt of forgetting."""

    user_id: str
    at: str | None
    removed: dict[str, int] = Field(description="how many events and answers were removed")
    purged: bool = Field(description="whether the store's files are clean already")
    models: list[str] = Field(description="versions learned with this shopper's events")
    remains: list[str] = Field(description="what is left to do, in words")


class HealthAnswer(BaseModel):
    """The process answers."""

    alive: bool = True


class ReadyAnswer(BaseModel):
    """What is served."""

    ready: bool
    version: str
    items: int
    encoder: str
