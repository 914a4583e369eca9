"""The console's routes: its files, and what its page asks. They may change with the page; programs use ``/v1``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from ..desk import Desk, needs
from ..problems import Problem
from . import shapes
from .asking import Comparing, compare
from .health import health, shoppers, start
from .kept import Kept, StillLearning
from .pages import page_routes
from .portrait import portrait, remove_interest


def console_routes(desk: Desk) -> APIRouter:
    """Everything under ``/`` and ``/console``."""
    router = APIRouter(include_in_schema=False)
    router.include_router(page_routes())
    router.include_router(_questions(desk))
    return router


def _questions(desk: Desk) -> APIRouter:
    """What the page asks, under the scopes that the same questions need elsewhere."""
    router = APIRouter(prefix="/console", dependencies=[needs(desk, "read")])
    service, kept = desk.service, Kept(clock=time.monotonic)

    @router.get("/start")
    async def begin() -> Response:
        """What the page needs to begin."""
        return await desk.errand(start, service)

    @router.get("/shoppers")
    async def some(beginning: Annotated[str, Query(max_length=200)] = "") -> Response:
        """Shoppers to look at."""
        return await desk.errand(lambda: {"shoppers": shoppers(service, beginning)})

    @router.get("/health")
    async def state() -> Response:
        """What is served, and how the store does."""
        return await desk.errand(health, service, kept)

    @router.post("/compare")
    async def both(body: shapes.CompareRequest) -> Response:
        """One question answered for anybody and for a shopper."""
        if body.query is not None and len(body.query) > desk.config.max_query:
            raise Problem(422, f"body.query: at most {desk.config.max_query} characters, got {len(body.query)}")
        query = body.query.strip() if body.query else None
        asked = Comparing(**{**dict(body), "query": query or None})
        return await desk.errand(_patient, compare, service, kept, asked)

    @router.post("/portrait")
    async def who(body: shapes.PortraitRequest) -> Response:
        """Who a shopper is, over time."""
        return await desk.errand(_patient, portrait, service, kept, body.user, body.mute)

    @router.post("/remove", dependencies=[needs(desk, "admin")])
    async def remove(body: shapes.RemoveRequest) -> Response:
        """Take an interest out of a shopper's history."""
        return await desk.errand(_patient, remove_interest, service, kept, body.user, body.interest)

    return router


def _patient(work: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    """What work answers, or that it has to be asked for again: no failure, so no error."""
    try:
        return work(*given)
    except StillLearning:
        return {"learning": True}
