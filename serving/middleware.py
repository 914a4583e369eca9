"""Around every request: an id, a bound on its body, a line in the log, a count. Pure ASGI, outside the framework.

Log lines are JSON and name the route, never the path, the query or the body: those hold ids and words of shoppers.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .metrics import Metrics
from .problems import MEDIA_TYPE, problem_body
from .threads import json_bytes

_ACCESS = logging.getLogger("tasteprint.access")
OWN_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""What a browser on this machine calls this machine. Any other name may be a page's, pointed here by its own server."""

_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
DirectAnswer = Callable[[Message, bytes], Awaitable[App | None]]


class Around:
    """What every request goes through first.

    Args:
        app: the framework's application
        direct: answers what needs no framework; None = not this one
        metrics: counts
        max_body_bytes: longest body let in
        body_timeout_s: seconds a body may take
        hosts: what the Host header may say, without a port; None = anything
    """

    def __init__(
        self,
        app: App,
        direct: DirectAnswer,
        *,
        metrics: Metrics,
        max_body_bytes: int,
        body_timeout_s: float,
        hosts: frozenset[str] | None = None,
    ) -> None:
        self._app, self._direct, self._metrics = app, direct, metrics
        self._max, self._timeout_s, self._hosts = max_body_bytes, body_timeout_s, hosts

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One HTTP request."""
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        request_id = given.decode() if _GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        began, status = time.perf_counter(), 500
        self._metrics.running.inc()

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                    (b"cache-control", b"no-store"),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            body = await self._body(scope, receive)
            if not isinstance(body, bytes):
                await _refuse(*body, request_id, tell)
            elif (answer := await self._direct(scope, body)) is not None:
                await answer(scope, receive, tell)
            else:
                await self._app(scope, _replay(body, receive), tell)
        finally:
            self._metrics.running.dec()
            self._told(scope, request_id, status, time.perf_counter() - began)

    async def _body(self, scope: Message, receive: Receive) -> bytes | tuple[int, str]:
        """The whole body, or why the request is refused."""
        if self._hosts is not None and host_of(dict(scope["headers"]).get(b"host", b"")) not in self._hosts:
            return 421, "Without keys this service answers to the names of this machine alone, see the setting hosts."
        too_large = (413, f"The body may have {self._max:,} bytes at most; send less at once.")
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if not said.isdigit() or int(said) > self._max:
            return too_large
        parts, more, size = [], True, 0
        try:
            async with asyncio.timeout(self._timeout_s):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return 400, "The connection was closed before the body was whole."
                    parts.append(message.get("body", b""))
                    size, more = size + len(parts[-1]), message.get("more_body", False)
                    if size > self._max:
                        return too_large
        except TimeoutError:
            return 408, f"The body must arrive within {self._timeout_s:g} seconds."
        return b"".join(parts)

    def _told(self, scope: Message, request_id: str, status: int, took_s: float) -> None:
        """One line in the log, one in the counts."""
        found = scope.get("route")
        route = str(getattr(found, "path", "none"))
        self._metrics.requests.labels(route, scope["method"] if route != "none" else "ANY", str(status)).inc()
        self._metrics.seconds.labels(route).observe(took_s)
        line = {
            "at": round(time.time(), 3),
            "request_id": request_id,
            "method": scope["method"],
            "route": route,
            "status": status,
            "ms": round(took_s * 1000, 2),
            "key": scope["state"].get("key_name"),
        }
        _ACCESS.info(json_bytes(line).decode())


def host_of(header: bytes) -> str:
    """What a Host header names, without its port.

    >>> host_of(b"Shop.example:8000"), host_of(b"[::1]:8000"), host_of(b"")
    ('shop.example', '[::1]', '')
    """
    said = header.decode("latin-1").strip().lower()
    return said[: said.find("]") + 1] if said.startswith("[") else said.split(":")[0]


def _replay(body: bytes, receive: Receive) -> Receive:
    """What hands a body in that was read already."""
    whole: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def replay() -> Message:
        nonlocal whole
        if whole is None:
            return await receive()
        message, whole = whole, None
        return message

    return replay


async def _refuse(status: int, detail: str, request_id: str, send: Send) -> None:
    """A problem document without going inside; the connection is closed, as its body was not read."""
    body = json.dumps(problem_body(status, detail, request_id)).encode()
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
