"""The HTTP application: routes around `service.Service`. Keys, rates and deadlines are `desk`'s."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Path, Response
from fastapi.responses import JSONResponse

from . import answers, shapes
from .config import ServeConfig
from .console.routes import console_routes
from .desk import Desk, needs, responses_of
from .item_routes import item_routes
from .items import LiveItems
from .keys import ApiKey
from .middleware import Around
from .problems import Problem, ProblemDocument, documented, install
from .rates import Rates
from .service import CLOCK_SKEW_S, Service

_DESCRIPTION = "Profiles that live, searches and recommendations that say why. Errors are RFC 9457 problem documents."
User = Annotated[str, Path(min_length=1, max_length=200, description="shopper's id", examples=["1228"])]


def create_app(
    service: Service,
    config: ServeConfig,
    *,
    keys: Mapping[str, ApiKey] | None = None,
    rates: Rates | None = None,
    live_items: LiveItems | None = None,
    version: str = "0",
) -> FastAPI:
    """The application.

    Args:
        service: answers; closed when the application shuts down
        config: limits
        keys: by sha256 of each; None = anybody may do anything
        rates: how often a key may call; None = as configured, for this process alone
        live_items: takes changes of the catalogue; None = it stays as it was built
        version: of this program, for the OpenAPI document
    """
    desk = Desk(service, config, keys, rates)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.current.watch(config.poll_s)
        watching = asyncio.create_task(desk.watch())
        yield
        watching.cancel()
        await asyncio.to_thread(desk.close)

    app = FastAPI(
        title="Tasteprint",
        version=version,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    install(app)
    app.state.desk = desk
    app.include_router(_asking(desk))
    app.include_router(_profiles(desk))
    app.include_router(_operating(desk))
    if live_items is not None:
        app.include_router(item_routes(desk, live_items))
    app.include_router(console_routes(desk))
    app.add_middleware(
        Around,  # type: ignore[arg-type]
        metrics=desk.metrics,
        max_body_bytes=config.max_body_bytes,
        body_timeout_s=config.body_timeout_s,
    )
    app.openapi = _documenting(app, config)  # type: ignore[method-assign]
    return app


def _asking(desk: Desk) -> APIRouter:
    """Routes that answer questions."""
    router = APIRouter(prefix="/v1", tags=["ask"], dependencies=[needs(desk, "read")])
    service = desk.service

    @router.post("/search", summary="Items for a query", responses=responses_of(answers.ListAnswer))
    async def search(body: shapes.SearchRequest) -> Response:
        """Items for a query, personal where a shopper is named; with reasons that add up to the score."""
        _within(desk.config, k=body.k, query=body.query)
        return await desk.run(service.answer, body.ask())

    @router.post("/recommend", summary="Items for a shopper", responses=responses_of(answers.ListAnswer))
    async def recommend(body: shapes.RecommendRequest) -> Response:
        """Items for a shopper, with or without a query; newcomers get what shoppers alike choose."""
        _within(desk.config, k=body.k, query=body.query)
        return await desk.run(service.answer, body.ask())

    @router.post(
        "/explain", summary="Why an item stands where it does", responses=responses_of(answers.ExplainAnswer, 404)
    )
    async def explain(body: shapes.ExplainRequest) -> Response:
        """One item's score for a question, taken apart into addends, wherever it stands."""
        _within(desk.config, query=body.query)
        return await desk.run(service.explain, body.ask(), body.item_id)

    @router.post("/intent", summary="What a query is read as", responses=responses_of(answers.IntentAnswer))
    async def intent(body: shapes.IntentRequest) -> Response:
        """Category, brand, price, stage, specificity and confidence of a query."""
        _within(desk.config, query=body.query)
        return await desk.run(service.intent, body.query)

    @router.post("/similar", summary="Items like one", responses=responses_of(answers.SimilarAnswer, 404))
    async def similar(body: shapes.SimilarRequest) -> Response:
        """Items whose text means the most nearly the same."""
        _within(desk.config, k=body.k)
        return await desk.run(service.similar, body.item_id, body.k)

    return router


def _profiles(desk: Desk) -> APIRouter:
    """Routes about shoppers."""
    router = APIRouter(prefix="/v1", tags=["shoppers"])
    service = desk.service

    @router.post(
        "/events",
        summary="What shoppers did",
        responses=responses_of(answers.EventsAnswer),
        dependencies=[needs(desk, "write")],
    )
    async def events(body: shapes.EventsRequest) -> Response:
        """Store a batch; when this answers, all of it is durable and in every later answer."""
        if len(body.events) > desk.config.max_events:
            raise Problem(422, f"body.events: at most {desk.config.max_events} events in a batch")
        made = [event.event() for event in body.events]
        if any(event.at_us / 1e6 > time.time() + CLOCK_SKEW_S for event in made):
            raise Problem(422, "body.events: an event may lie at most a day in the future")
        done = await desk.write(service.append, made)
        desk.metrics.events.inc(len(made))
        return done

    @router.get(
        "/profiles/{user}/export",
        summary="Everything kept of a shopper",
        responses=responses_of(answers.ExportAnswer, 404),
        dependencies=[needs(desk, "admin")],
    )
    async def export(user: User) -> Response:
        """Attributes, events, and what was shown."""
        return await desk.run(service.export, user)

    @router.get(
        "/profiles/{user}",
        summary="Who a shopper is",
        responses=responses_of(answers.ProfileAnswer, 404),
        dependencies=[needs(desk, "read")],
    )
    async def profile(user: User) -> Response:
        """The profile in words and numbers, and what it is made of."""
        return await desk.run(service.profile, user)

    @router.delete(
        "/profiles/{user}",
        summary="Forget a shopper",
        responses=responses_of(answers.ForgetAnswer),
        dependencies=[needs(desk, "admin")],
    )
    async def forget(user: User) -> Response:
        """Remove events, caches and what was shown; the receipt says which models saw this shopper."""
        return await desk.run(service.forget, user)

    return router


def _operating(desk: Desk) -> APIRouter:
    """Routes for those who run it."""
    router = APIRouter(tags=["operate"])

    @router.get("/healthz", summary="The process answers", responses={200: {"model": answers.HealthAnswer}})
    async def healthz() -> Response:
        """Alive; says nothing about what it can answer."""
        return JSONResponse({"alive": True})

    @router.get(
        "/readyz",
        summary="A version is served and the store can be read",
        responses={200: {"model": answers.ReadyAnswer}, **documented(500, 503)},
    )
    async def readyz() -> Response:
        """Ready for requests."""
        return await desk.run(desk.service.ready)

    @router.get(
        "/metrics",
        summary="Counters for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text"}, **documented(401, 403, 429)},
        dependencies=[needs(desk, "read")],
    )
    async def metrics() -> Response:
        """Requests, latencies, events and what is served."""
        desk.observe()
        return Response(desk.metrics.page(), media_type="text/plain; version=0.0.4")

    return router


def _within(config: ServeConfig, *, k: int = 1, query: str | None = None) -> None:
    """Raise `Problem` where a request asks for more than this service is set to give."""
    if k > config.max_k:
        raise Problem(422, f"body.k: at most {config.max_k} items, got {k}")
    if query is not None and len(query) > config.max_query:
        raise Problem(422, f"body.query: at most {config.max_query} characters, got {len(query)}")


def _documenting(app: FastAPI, config: ServeConfig) -> Callable[[], dict[str, Any]]:
    """The OpenAPI document with the shape of problems and this service's own bounds in it, made once."""
    made = app.openapi
    bounds = {"k": {"maximum": config.max_k}, "query": {"maxLength": config.max_query}}
    bounds["events"] = {"maxItems": config.max_events}

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            known = made()["components"]["schemas"]
            for name in (name for name in known if name.endswith("Request")):
                for field, said in known[name]["properties"].items():
                    (said["anyOf"][0] if "anyOf" in said else said).update(bounds.get(field, {}))
            problem = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
            known |= problem.pop("$defs")
            known["ProblemDocument"] = problem
            known.pop("HTTPValidationError", None)
            known.pop("ValidationError", None)
        return app.openapi_schema or made()

    return openapi
