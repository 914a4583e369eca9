"""Routes that change the catalogue while it is served, and the shapes they take and give."""

from __future__ import annotations

import json
import logging
from typing import Annotated, Any

import pandas as pd
from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..profiling.errors import ArtefactError
from ..profiling.schema import columns_of, conform
from .desk import Desk, needs, responses_of
from .items import LiveItems
from .problems import Problem
from .shapes import Id, Real, Time, Words

_LOG = logging.getLogger("tasteprint.serving")

MOST_ITEMS = 500
"""Items of one request; each new text takes the encoder some milliseconds, and a request has a deadline."""

Scalar = Annotated[str, Field(max_length=1000)] | bool | int | Annotated[float, Field(allow_inf_nan=False)]
Item = Annotated[str, Path(min_length=1, max_length=200, description="item's id", examples=["1025123"])]


class ItemShape(BaseModel):
    """An item as the shop sells it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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


class ItemsRequest(BaseModel):
    """Items to add or replace, and items to remove, all or nothing."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
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


class ItemsAnswer(BaseModel):
    """What became of a change; it is durable and shown."""

    version: str
    change: int = Field(description="number of the change in the workspace's journal")
    upserted: int
    removed: int = Field(description="how many of the items to remove were there")
    items: int = Field(description="items that can be found now")


def item_routes(desk: Desk, live: LiveItems) -> APIRouter:
    """Routes that add, replace and remove items."""
    router = APIRouter(prefix="/v1", tags=["items"], dependencies=[needs(desk, "write")])
    current = desk.service.current

    def write(items: pd.DataFrame | None, removed: list[str]) -> dict[str, Any]:
        try:
            return live.write(current, items, removed)
        except ArtefactError as error:
            _LOG.error("%s", error)
            detail = "The change cannot be written or shown; send it again soon, which does no harm."
            raise Problem(503, detail, headers={"Retry-After": "1"}) from error

    @router.put("/items", summary="Add, replace and remove items", responses=responses_of(ItemsAnswer))
    async def put(body: ItemsRequest) -> Response:
        """A batch, all or nothing. When this answers it is durable, and in every later answer of this process."""
        return await desk.write(write, body.table(), body.removed)

    @router.delete("/items/{item_id}", summary="Remove an item", responses=responses_of(ItemsAnswer))
    async def delete(item_id: Item) -> Response:
        """Removing an item that is not there is no error: the answer says that nothing was removed."""
        return await desk.write(write, None, [item_id])

    return router
