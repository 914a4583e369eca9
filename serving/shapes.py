"""Shapes of requests: what may be sent, with bounds and examples. What comes back is in `answers`.

Bounds here are the widest there are; a service may be set to narrower ones, see `config.ServeConfig`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from operator import attrgetter
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ..profiling.tables.schema import EVENT_KINDS, columns_of, conform
from ..retrieval.filters import Filters
from .service import Ask
from .store import EVENT_FIELDS, StoredEvent

_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def _utc(at: datetime) -> datetime:
    """A time in UTC within bounds; one without a zone is taken as UTC."""
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    if not _FIRST <= at < _LAST:
        raise ValueError("times must lie between 1970 and 2200")
    return at.astimezone(UTC)


def _whole(value: object) -> object:
    """6.0 is a whole number in JSON as much as 6 is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _written(value: object) -> object:
    """A time is text; a bare number has no unit."""
    if not isinstance(value, str) or "-" not in value[1:]:
        raise ValueError("times must be ISO 8601 text, such as 2026-05-01T12:00:00Z")
    return value


Id = Annotated[str, Field(min_length=1, max_length=200)]
Words = Annotated[str, Field(max_length=10_000)]
Name = Annotated[str, Field(max_length=100)]
Time = Annotated[datetime, BeforeValidator(_written), AfterValidator(_utc)]
Flag = Annotated[bool, Field(strict=True)]
Whole = Annotated[int, Field(strict=True), BeforeValidator(_whole)]
Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Number = Annotated[Real, Field(ge=-1e9, le=1e9)]
Weights = Annotated[dict[Name, Annotated[Real, Field(ge=-1e6, le=1e6)]], Field(max_length=50)]


Scalar = Annotated[str, Field(max_length=1000)] | bool | int | Annotated[float, Field(allow_inf_nan=False)]
MOST_ITEMS = 500
"""Items of one request; each new text takes the encoder some milliseconds, and a request has a deadline."""


class _Request(BaseModel):
    """What all requests share: nothing unknown is taken, so a misspelt option is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FiltersShape(_Request):
    """Conditions that every shown item fulfils."""

    category: Name | None = Field(default=None, description="a category path or a beginning of one")
    brand: Name | None = Field(default=None, description="exact brand, case ignored")
    price_min: Real | None = Field(default=None, ge=0, le=1e12)
    price_max: Real | None = Field(default=None, ge=0, le=1e12)
    in_stock: Flag = Field(default=False, description="only items that are not sold out")
    exclude_bought: Flag | None = Field(default=None, description="leave out what was bought; unset: as the shop does")
    exclude: list[Id] = Field(default=[], max_length=1000, description="item ids to leave out")
    attributes: dict[Name, Name] = Field(
        default={}, max_length=20, description='values that an item must have, such as {"colour": "black"}'
    )


class ContextShape(_Request):
    """When, where and on what the request is made."""

    at: Time | None = Field(default=None, description="ISO 8601; unset: now")
    scene: Name | None = Field(default=None, description="where in the shop, such as search or mail")
    device: Name | None = None
    place: Name | None = Field(default=None, description="store or country")
    utc_offset_s: Real | None = Field(default=None, ge=-86_400, le=86_400, description="shopper's clock minus UTC")


_NO_FILTERS, _ANY_CONTEXT = FiltersShape(), ContextShape()  # one of each for all: a default is copied deeply otherwise


class _Asking(_Request):
    """What search, recommend and explain share."""

    context: ContextShape = Field(default_factory=lambda: _ANY_CONTEXT)
    weights: Weights | None = Field(
        default=None,
        description='weights of parts or blocks instead of the learned ones: {"meaning": 1} is plain search',
    )
    specificity: Real | None = Field(default=None, ge=0, le=1, description="instead of what is read from the query")
    attributes: dict[Name, Name] | None = Field(
        default=None, max_length=50, description="known attributes instead of the stored ones"
    )

    def _common(self) -> dict[str, Any]:
        """These options as `Ask` names them."""
        c = self.context
        at_s = None if c.at is None else c.at.timestamp()
        where = {"scene": c.scene, "device": c.device, "place": c.place, "utc_offset_s": c.utc_offset_s}
        known = {"weights": self.weights, "specificity": self.specificity, "attributes": self.attributes}
        return {"at_s": at_s, **where, **known}


class _Listing(_Asking):
    """What search and recommend share."""

    k: Whole = Field(default=10, ge=1, le=1000, description="items wanted")
    filters: FiltersShape = Field(default_factory=lambda: _NO_FILTERS)
    diversity: Real = Field(default=0.0, ge=0, le=1, description="0 = by score alone")
    explain: Flag = Field(default=True, description="whether reasons are wanted")

    def _listed(self) -> dict[str, Any]:
        """These options as `Ask` names them."""
        f = self.filters
        kept = (f.category, f.brand, f.price_min, f.price_max, f.in_stock, f.exclude_bought)
        filters = Filters(*kept, exclude=tuple(f.exclude), attributes=dict(f.attributes))
        return {**self._common(), "k": self.k, "filters": filters, "diversity": self.diversity, "explain": self.explain}


class SearchRequest(_Listing):
    """A search, personal where a shopper is named."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"query": "red wine", "user": "1228", "k": 5, "filters": {"price_max": 20}}]}
    )
    query: Words = Field(min_length=1, description="what is asked for, in words")
    user: Id | None = Field(default=None, description="shopper's id; an unknown one is a newcomer")

    def ask(self) -> Ask:
        """The question in this."""
        return Ask(user=self.user, query=self.query, **self._listed())


class RecommendRequest(_Listing):
    """What a shopper may want, with or without a query."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user": "1228", "k": 5, "context": {"scene": "home", "device": "phone"}}]}
    )
    user: Id = Field(description="shopper's id; an unknown one is a newcomer")
    query: Words | None = None

    def ask(self) -> Ask:
        """The question in this."""
        return Ask(user=self.user, query=self.query, **self._listed())


class ExplainRequest(_Asking):
    """Why an item stands where it does for a question."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user": "1228", "query": "wine", "item_id": "1025123"}]})
    item_id: Id
    user: Id | None = None
    query: Words | None = None

    def ask(self) -> Ask:
        """The question in this."""
        return Ask(user=self.user, query=self.query, **self._common())


class IntentRequest(_Request):
    """A query to be read."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"query": "wireless mouse under 20"}]})
    query: Words = Field(min_length=1)


class SimilarRequest(_Request):
    """An item to find others like."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"item_id": "1025123", "k": 5}]})
    item_id: Id
    k: Whole = Field(default=10, ge=1, le=1000)


_rest = attrgetter(*EVENT_FIELDS[5:])
"""What an event says beside whose, which, when and of what kind it is, in the order it is stored in."""


class EventShape(_Request):
    """Something a shopper did."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"properties": {"kind": {"const": "search"}}},
                {"properties": {"item_id": {"type": "string"}}, "required": ["item_id"]},
            ]
        }
    )
    user_id: Id
    kind: Literal["impression", "click", "view", "search", "cart", "purchase", "review", "own"]
    item_id: Id | None = Field(default=None, description="needed for every kind but search")
    at: Time | None = Field(default=None, description="ISO 8601; unset: now")
    key: Id | None = Field(
        default=None,
        description="idempotency key: an event of the same shopper and key is stored once, the first wins; "
        "unset: made of what the event says",
    )
    seq: Whole = Field(default=0, ge=0, le=2**53 - 1, description="order among events of one time")
    query: Words | None = None
    text: Words | None = Field(default=None, description="review text")
    rating: Real | None = Field(default=None, ge=0, le=5)
    quantity: Number | None = Field(default=None, description="negative is a return")
    price: Number | None = Field(default=None, description="paid for the line")
    session_id: Id | None = None
    position: Whole | None = Field(default=None, ge=0, le=2**31 - 1)
    scene: Name | None = None
    device: Name | None = None
    place: Name | None = None
    dwell_s: Real | None = Field(default=None, ge=0, le=1e9)

    @model_validator(mode="after")
    def _of_an_item(self) -> EventShape:
        if self.item_id is None and self.kind != "search":
            raise ValueError(f"an event of kind {self.kind} needs an item_id")
        return self

    def event(self) -> StoredEvent:
        """The event to store; a time below 0 stands for now."""
        at_us = -1 if self.at is None else round(self.at.timestamp() * 1e6)
        return StoredEvent(self.user_id, self.key or "", at_us, self.seq, self.kind, *_rest(self))


class EventsRequest(_Request):
    """A batch of events, stored whole or not at all."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"events": [{"user_id": "1228", "kind": "view", "item_id": "1025123", "key": "9f2c"}]}]
        }
    )
    events: list[EventShape] = Field(min_length=1, max_length=100_000)


class ItemShape(_Request):
    """An item as the shop sells it."""

    item_id: Id
    title: Annotated[str, Field(min_length=1, max_length=2000)]
    description: Words | None = None
    brand: Annotated[str, Field(max_length=500)] | None = None
    category: Annotated[str, Field(max_length=1000)] | None = Field(
        default=None, description="path such as Home > Lamps"
    )
    price: Real | None = Field(default=None, ge=0, le=1e12)
    created_at: Time | None = None
    image_url: Annotated[str, Field(max_length=2000)] | None = None
    attributes: dict[Annotated[str, Field(max_length=100)], Scalar | list[Scalar]] | None = Field(
        default=None, max_length=200
    )

    def row(self) -> dict[str, Any]:
        """The item as a row of the data contract."""
        row = self.model_dump(exclude={"attributes", "created_at"})
        row["created_at"] = None if self.created_at is None else self.created_at.replace(tzinfo=None)
        row["attributes"] = json.dumps(self.attributes) if self.attributes else None
        return row


class ItemsRequest(_Request):
    """Items to add or replace, and items to remove, all or nothing."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"items": [{"item_id": "n-1", "title": "Red mug", "category": "Home > Mugs", "price": 4.5}]}]
        },
    )
    items: list[ItemShape] = Field(default=[], max_length=MOST_ITEMS)
    removed: list[Id] = Field(default=[], max_length=MOST_ITEMS, description="ids of items to remove")

    @model_validator(mode="after")
    def _each_once(self) -> ItemsRequest:
        ids = [*(item.item_id for item in self.items), *self.removed]
        if not ids:
            raise ValueError("name at least one item to add or to remove")
        if len(set(ids)) < len(ids):
            raise ValueError("each item id may be there once")
        return self

    def table(self) -> pd.DataFrame | None:
        """The items in the data contract; None where there are none."""
        if not self.items:
            return None
        names = [column.name for column in columns_of("items")]
        return conform("items", pd.DataFrame([item.row() for item in self.items], columns=names))


if set(EVENT_KINDS) != set(EventShape.model_fields["kind"].annotation.__args__):  # type: ignore[union-attr]
    raise ImportError("EventShape.kind must list the kinds of profiling.schema.EVENT_KINDS")
