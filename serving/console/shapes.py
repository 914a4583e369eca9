"""What the console's page asks of the server. Like the public API's shapes, nothing unknown is taken."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ..shapes import Id, Name, Real, Whole, Words
from .groups import GROUPS

Mute = Annotated[list[Name], Field(default=[], max_length=100, description="interests to answer without")]


class _Request(BaseModel):
    """What all requests of the page share."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CompareRequest(_Request):
    """One question, answered for anybody and for a shopper."""

    user: Id | None = None
    query: Words | None = None
    k: Whole = Field(default=10, ge=1, le=50, description="items of either list")
    weights: dict[Name, Annotated[Real, Field(ge=0, le=100)]] = Field(
        default={}, max_length=len(GROUPS), description="weight of a group of parts instead of the learned one"
    )
    specificity: Real | None = Field(default=None, ge=0, le=1, description="instead of what is read from the query")
    diversity: Real = Field(default=0.0, ge=0, le=1)
    attributes: dict[Name, Name] | None = Field(default=None, max_length=50)
    mute: Mute


class PortraitRequest(_Request):
    """Who a shopper is, over time."""

    user: Id
    mute: Mute


class RemoveRequest(_Request):
    """An interest to be removed from a shopper's history for good."""

    user: Id
    interest: Name
