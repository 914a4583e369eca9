"""The questions asked all the time, answered without the framework: it documents them, and answers whatever is odd.

A well-formed request of an allowed caller goes from its bytes to the route's own function at once, through the very
model that the framework would check it with. Any other request (a rule broken, a key unknown, no JSON) is handed on
untouched, so every refusal but that of a rate has one home.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.security.utils import get_authorization_scheme_param
from pydantic import BaseModel, ValidationError

from .desk import Desk, needs, responses_of
from .keys import Scope
from .problems import answer_to

_JSON = b"application/json"

Endpoint = Callable[[Any], Awaitable[Response]]


@dataclass(frozen=True, eq=False)
class Direct:
    """One such question.

    Attributes:
        path: where it is asked, by POST
        model: shape of its body
        endpoint: answers it
        scope: what a caller must be allowed to
    """

    path: str
    model: type[BaseModel]
    endpoint: Endpoint
    scope: Scope


class DirectRoutes:
    """Questions by path, and the desk they are answered at.

    Args:
        desk: knows callers and rates
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._routes: dict[str, Direct] = {}

    def post(
        self, router: APIRouter, path: str, *, scope: Scope, answer: type, also: tuple[int, ...] = (), summary: str
    ) -> Callable[[Endpoint], Endpoint]:
        """Declare a route that the framework documents and this answers; its function takes a ``body`` alone.

        Args:
            router: where the framework is to find it
            path: under the router's prefix
            scope: what a caller must be allowed to
            answer: shape of what comes back
            also: statuses beside those that every route may answer with
            summary: of the route, for the document
        """
        told: dict[str, Any] = {"summary": summary, "responses": responses_of(answer, *also)}

        def declare(endpoint: Endpoint) -> Endpoint:
            router.post(path, dependencies=[needs(self._desk, scope)], **told)(endpoint)
            whole = router.prefix + path
            self._routes[whole] = Direct(whole, _body_of(endpoint), endpoint, scope)
            return endpoint

        return declare

    async def answer(self, asked: Mapping[str, Any], body: bytes) -> Response | None:
        """The answer to a request; None where the framework has to answer.

        Args:
            asked: the request as ASGI tells it; ``route`` is set in it where this answers
            body: the whole of it
        """
        route = self._routes.get(asked["path"])
        if route is None or asked["method"] != "POST" or not body:
            return None
        headers = dict(asked["headers"])
        if headers.get(b"content-type", b"").split(b";")[0] != _JSON:
            return None
        scheme, secret = get_authorization_scheme_param(headers.get(b"authorization", b"").decode("latin-1"))
        key = self._desk.caller(secret if scheme.lower() == "bearer" else None)
        if key is None or not key.allows(route.scope):
            return None
        try:
            given = route.model.model_validate(orjson.loads(body))
        except (orjson.JSONDecodeError, ValidationError, RecursionError):
            return None
        asked["route"] = route  # type: ignore[index]
        try:
            self._desk.admit(asked["state"], key, route.scope)
            return await route.endpoint(given)
        except Exception as error:  # noqa: BLE001  # every error has an answer
            return await answer_to(Request(asked), error)  # type: ignore[arg-type]


def _body_of(endpoint: Endpoint) -> type[BaseModel]:
    """The model of an endpoint's only argument."""
    from typing import get_type_hints

    found = get_type_hints(endpoint)["body"]
    if not issubclass(found, BaseModel):
        raise TypeError(f"{endpoint} must take a body with a model")
    return found
