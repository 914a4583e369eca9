"""Errors as problem documents (RFC 9457): one shape for everything that is refused or goes wrong.

Details name what was wrong with a request, never what a shopper typed. What is raised where is the routes' business.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from ..profiling.errors import ConfigError, TasteprintError, UnknownIdError
from .store import StoreError

_LOG = logging.getLogger("tasteprint.serving")
MEDIA_TYPE = "application/problem+json"

TITLES: Mapping[int, str] = {
    400: "The request cannot be read",
    401: "A key is needed",
    403: "The key does not allow this",
    404: "Not found",
    405: "The method is not allowed here",
    408: "The request took too long to arrive",
    413: "The request is too large",
    421: "The service does not go by this name",
    422: "The request breaks a rule",
    429: "Too many requests",
    500: "Something went wrong here",
    503: "Not now",
}
"""Status -> what kind of problem it is."""


class FieldError(BaseModel):
    """One part of a request that breaks a rule."""

    at: str = Field(description="where in the request", examples=["body.k"])
    says: str = Field(description="the rule", examples=["Input should be less than or equal to 100"])


class ProblemDocument(BaseModel):
    """A problem as RFC 9457 has it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:tasteprint:problem:422",
                "title": "The request breaks a rule",
                "status": 422,
                "detail": "body.k: Input should be less than or equal to 100",
                "instance": "urn:request:4f1c9c0e",
                "errors": [{"at": "body.k", "says": "Input should be less than or equal to 100"}],
            }
        }
    )
    type: str = Field(description="names the kind of problem")
    title: str = Field(description="the kind of problem in words")
    status: int = Field(description="the HTTP status", ge=400, le=599)
    detail: str = Field(description="what is wrong with this request, and what to do")
    instance: str = Field(description="this request, as in the log and in X-Request-ID")
    errors: list[FieldError] | None = Field(default=None, description="parts that break a rule")


class Problem(Exception):
    """Raised to answer with a problem document.

    Args:
        status: a key of `TITLES`
        detail: what is wrong, and what to do
        headers: sent along
    """

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def problem_body(
    status: int, detail: str, request_id: str, *, errors: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    """A problem document as JSON values.

    >>> problem_body(404, "no such item", "r1")["title"]
    'Not found'
    """
    body: dict[str, Any] = {
        "type": f"urn:tasteprint:problem:{status}",
        "title": TITLES.get(status, "The request was not answered"),
        "status": status,
        "detail": detail,
        "instance": f"urn:request:{request_id}",
    }
    return body if errors is None else {**body, "errors": errors}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses of these statuses, for a route."""
    return {
        status: {
            "description": TITLES[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
        for status in statuses
    }


def install(app: FastAPI) -> None:
    """Have every error of ``app`` answered with a problem document."""
    for kind, handler in (
        (Problem, _on_problem),
        (TasteprintError, _on_ours),
        (RequestValidationError, _on_invalid),
        (HTTPException, _on_http),
        (Exception, _on_bug),
    ):
        app.add_exception_handler(kind, handler)  # type: ignore[arg-type]


def respond(
    request: Request,
    status: int,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    errors: list[dict[str, str]] | None = None,
) -> JSONResponse:
    """A problem document as the answer to ``request``."""
    body = problem_body(status, detail, getattr(request.state, "request_id", "-"), errors=errors)
    return JSONResponse(body, status, dict(headers or {}), MEDIA_TYPE)


async def _on_problem(request: Request, error: Problem) -> JSONResponse:
    return respond(request, error.status, error.detail, headers=error.headers)


async def _on_ours(request: Request, error: TasteprintError) -> JSONResponse:
    if isinstance(error, StoreError):
        _LOG.error("%s", error)
        return respond(request, 503, "The profile store cannot be used; try again soon.", headers={"Retry-After": "1"})
    if isinstance(error, UnknownIdError):
        return respond(request, 404, str(error))
    if isinstance(error, ConfigError):
        return respond(request, 422, str(error))
    return _bug(request, error)


async def _on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return respond(request, 400, "The body is not JSON; send a JSON object as application/json.")
    errors = [{"at": ".".join(str(part) for part in one["loc"]), "says": str(one["msg"])} for one in found[:20]]
    return respond(request, 422, f"{errors[0]['at']}: {errors[0]['says']}", errors=errors)


async def _on_http(request: Request, error: HTTPException) -> JSONResponse:
    detail = {
        404: "There is nothing at this path; the paths are at /openapi.json.",
        405: "This path takes other methods; they are at /openapi.json.",
    }.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request)) or headers.get("Allow", "")
    return respond(request, error.status_code, detail, headers=headers)


def _methods(request: Request) -> list[str]:
    """Methods that the request's path takes, as the OpenAPI document says."""
    found: set[str] = set()
    for path, methods in request.app.openapi()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), request.url.path):
            found |= {method.upper() for method in methods}
    return sorted(found)


async def _on_bug(request: Request, error: Exception) -> JSONResponse:
    return _bug(request, error)


async def answer_to(request: Request, error: Exception) -> JSONResponse:
    """The problem document of whatever a route raised."""
    if isinstance(error, Problem):
        return await _on_problem(request, error)
    if isinstance(error, TasteprintError):
        return await _on_ours(request, error)
    return _bug(request, error)


def _bug(request: Request, error: Exception) -> JSONResponse:
    _LOG.error("request failed", exc_info=error, extra={"request_id": getattr(request.state, "request_id", "-")})
    return respond(request, 500, "This should not happen; the log has the details under the request id.")
