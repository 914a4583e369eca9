"""The HTTP application: routes around `service.Service`. Keys, rates and deadlines are `desk`'s."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Path, Response

from . import answers, shapes
from .config import ServeConfig
from .console.routes import console_routes
from .desk import Desk, needs, responses_of
from .direct import DirectRoutes
from .item_routes import item_routes
from .items import LiveItems
from .keys import ApiKey
from .middleware import OWN_HOSTS, Around
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
        service.warm()
        watching = asyncio.create_task(desk.watch())
        yield
        watching.cancel()
        await asyncio.to_thread(desk.close)

    app = _Service(
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
    direct = DirectRoutes(desk)
    app.include_router(_asking(desk, direct))
    app.include_router(_profiles(desk, direct))
    app.include_router(_operating(desk))
    if live_items is not None:
        app.include_router(item_routes(desk, live_items))
    app.include_router(console_routes(desk))
    app.around = Around(
        super(_Service, app).__call__,  # type: ignore[arg-type]
        direct.answer,  # type: ignore[arg-type]
        metrics=desk.metrics,
        max_body_bytes=config.max_body_bytes,
        body_timeout_s=config.body_timeout_s,
        hosts=None if keys is not None else OWN_HOSTS | {name.lower() for name in config.hosts},
    )
    app.openapi = _documenting(app, config)  # type: ignore[method-assign]
    _settle(app)
    return app


def _settle(app: FastAPI) -> None:
    """Have the framework work out its routes now: it would at the first request it sees, of whichever thread."""
    for route in app.routes:
        route.matches({"type": "http", "method": "GET", "path": "/", "root_path": "", "headers": []})


class _Service(FastAPI):
    """The framework's application, with what goes around it outside everything of its own."""

    around: Around

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One connection event."""
        await (self.around if scope["type"] == "http" else super().__call__)(scope, receive, send)


def _asking(desk: Desk, direct: DirectRoutes) -> APIRouter:
    """Routes that answer questions."""
    router = APIRouter(prefix="/v1", tags=["ask"])
    service = desk.service

    @direct.post(router, "/search", scope="read", answer=answers.ListAnswer, summary="Items for a query")
    async def search(body: shapes.SearchRequest) -> Response:
        """Items for a query, personal where a shopper is named; with reasons that add up to the score."""
        _within(desk.config, k=body.k, query=body.query)
        return await desk.run(service.answer, body.ask())

    @direct.post(router, "/recommend", scope="read", answer=answers.ListAnswer, summary="Items for a shopper")
    async def recommend(body: shapes.RecommendRequest) -> Response:
        """Items for a shopper, with or without a query; newcomers get what shoppers alike choose."""
        _within(desk.config, k=body.k, query=body.query)
        return await desk.run(service.answer, body.ask())

    @direct.post(
        router,
        "/explain",
        scope="read",
        answer=answers.ExplainAnswer,
        also=(404,),
        summary="Why an item stands where it does",
    )
    async def explain(body: shapes.ExplainRequest) -> Response:
        """One item's score for a question, taken apart into addends, wherever it stands."""
        _within(desk.config, query=body.query)
        return await desk.run(service.explain, body.ask(), body.item_id)

    @direct.post(router, "/intent", scope="read", answer=answers.IntentAnswer, summary="What a query is read as")
    async def intent(body: shapes.IntentRequest) -> Response:
        """Category, brand, price, stage, specificity and confidence of a query."""
        _within(desk.config, query=body.query)
        return await desk.run(service.intent, body.query)

    @direct.post(router, "/similar", scope="read", answer=answers.SimilarAnswer, also=(404,), summary="Items like one")
    async def similar(body: shapes.SimilarRequest) -> Response:
        """Items whose text means the most nearly the same."""
        _within(desk.config, k=body.k)
        return await desk.run(service.similar, body.item_id, body.k)

    return router


def _profiles(desk: Desk, direct: DirectRoutes) -> APIRouter:
    """Routes about shoppers."""
    router = APIRouter(prefix="/v1", tags=["shoppers"])
    service = desk.service

    @direct.post(router, "/events", scope="write", answer=answers.EventsAnswer, summary="What shoppers did")
    async def events(body: shapes.EventsRequest) -> Response:
        """Store a batch; when this answers, all of it is durable and in every later answer."""
        if len(body.events) > desk.config.max_events:
            raise Problem(422, f"body.events: at most {desk.config.max_events} events in a batch")
        done = await desk.write(_store, service, body)
        desk.metrics.events.inc(len(body.events))
        return done

    @router.get(
        "/profiles/{user}/export",
        summary="Everything kept of a shopper",
        responses=responses_of(answers.ExportAnswer, 404),
        dependencies=[needs(desk, "admin")],
    )
    async def export(user: User) -> Response:
        """Attributes, events, and what was shown."""
        return await desk.errand(service.export, user)

    @router.get(
        "/profiles/{user}",
        summary="Who a shopper is",
        responses=responses_of(answers.ProfileAnswer, 404),
        dependencies=[needs(desk, "read")],
    )
    async def profile(user: User) -> Response:
        """The profile in words and numbers, and what it is made of."""
        return await desk.errand(service.profile, user)

    @router.delete(
        "/profiles/{user}",
        summary="Forget a shopper",
        responses=responses_of(answers.ForgetAnswer),
        dependencies=[needs(desk, "admin")],
    )
    async def forget(user: User) -> Response:
        """Remove events, caches and what was shown; the receipt says which models saw this shopper."""
        return await desk.errand(service.forget, user)

    return router


def _operating(desk: Desk) -> APIRouter:
    """Routes for those who run it."""
    router = APIRouter(tags=["operate"])

    @router.get(
        "/healthz", summary="The process answers", responses={200: {"model": answers.HealthAnswer}, **documented(421)}
    )
    async def healthz() -> Response:
        """Alive; says nothing about what it can answer."""
        return Response(b'{"alive":true}', media_type="application/json")

    @router.get(
        "/readyz",
        summary="A version is served and the store can be read",
        responses={200: {"model": answers.ReadyAnswer}, **documented(421, 500, 503)},
    )
    async def readyz() -> Response:
        """Ready for requests."""
        return await desk.errand(desk.service.ready)

    @router.get(
        "/metrics",
        summary="Counters for Prometheus",
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {}}, "description": "Prometheus text"},
            **documented(401, 403, 421, 429),
        },
        dependencies=[needs(desk, "read")],
    )
    async def metrics() -> Response:
        """Requests, latencies, events and what is served."""
        desk.observe()
        return Response(desk.metrics.page(), media_type="text/plain; version=0.0.4")

    return router


def _store(service: Service, body: shapes.EventsRequest) -> dict[str, Any]:
    """Store the events of a request; off the event loop, as a thousand of them take a while to read."""
    made = [event.event() for event in body.events]
    latest_us = (time.time() + CLOCK_SKEW_S) * 1e6
    if any(event.at_us > latest_us for event in made):
        raise Problem(422, "body.events: an event may lie at most a day in the future")
    return service.append(made)


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
