"""Routes that change the catalogue while it is served."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import pandas as pd
from fastapi import APIRouter, Path, Response

from ..profiling.errors import ArtefactError
from . import answers, shapes
from .desk import Desk, needs, responses_of
from .items import LiveItems
from .problems import Problem

_LOG = logging.getLogger("tasteprint.serving")

Item = Annotated[str, Path(min_length=1, max_length=200, description="item's id", examples=["1025123"])]


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

    @router.put("/items", summary="Add, replace and remove items", responses=responses_of(answers.ItemsAnswer))
    async def put(body: shapes.ItemsRequest) -> Response:
        """A batch, all or nothing. When this answers it is durable, and in every later answer of this process."""
        return await desk.write(write, body.table(), body.removed)

    @router.delete("/items/{item_id}", summary="Remove an item", responses=responses_of(answers.ItemsAnswer))
    async def delete(item_id: Item) -> Response:
        """Removing an item that is not there is no error: the answer says that nothing was removed."""
        return await desk.write(write, None, [item_id])

    return router
