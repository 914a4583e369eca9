"""The desk that every route works at: who may come in, how often, and on which thread the work is done.

Work runs on a few threads of its own; what finds them all taken waits, and beyond a bound is told to come back. An
answer that is overdue is given up: its caller gets 503 at once, its thread finishes alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from .config import ServeConfig
from .items import n_sold
from .keys import ApiKey, Scope, caller
from .memory import memory_bytes
from .metrics import Metrics
from .problems import Problem, documented
from .rates import OwnRates, Rates
from .service import Service
from .store import StoreError

_LOG = logging.getLogger("tasteprint.serving")
_BEARER = HTTPBearer(auto_error=False, description="A key made by 'tasteprint serve-key'.")
_REFUSALS = documented(400, 401, 403, 408, 413, 422, 429, 500, 503)


class _Threads:
    """Threads that work, and a bound on how much may wait for them."""

    def __init__(self, threads: int, waiting: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._most, self._taken = threads + waiting, 0

    def begin(self, work: Callable[..., dict[str, Any]], *given: Any) -> asyncio.Future[dict[str, Any]]:
        """Have work done; raises `Problem` where too much waits already."""
        if self._taken >= self._most:
            raise Problem(503, "All threads are busy; try again soon.", headers={"Retry-After": "1"})
        self._taken += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, work, *given)
        future.add_done_callback(self._done)
        return future

    def shutdown(self) -> None:
        """Let what runs and waits be finished."""
        self._pool.shutdown()

    def _done(self, future: asyncio.Future[dict[str, Any]]) -> None:
        self._taken -= 1
        if not future.cancelled():
            future.exception()  # looked at: an overdue failure is no warning


class Desk:
    """What routes share: the service, who may call, and the threads that work.

    Args:
        service: answers
        config: limits
        keys: by sha256; None = anybody may do anything
        rates: how often; None = as configured, for this process alone
    """

    def __init__(
        self, service: Service, config: ServeConfig, keys: Mapping[str, ApiKey] | None, rates: Rates | None = None
    ) -> None:
        self.service, self.config, self.keys = service, config, keys
        self.metrics = Metrics()
        self._rates = OwnRates(config.rate, config.burst, clock=time.monotonic) if rates is None else rates
        self._answering = _Threads(config.threads, config.waiting, "answer")
        self._writing = _Threads(config.writers, config.waiting, "write")

    def admit(self, request: Request, given: HTTPAuthorizationCredentials | None, scope: Scope) -> None:
        """Let a caller in, or raise `Problem`."""
        key = caller(self.keys, None if given is None else given.credentials)
        if key is None:
            raise Problem(
                401,
                "Send a key as 'Authorization: Bearer KEY'; the one sent is not known, if any was.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        request.state.key_name = key.name
        if not key.allows(scope):
            raise Problem(403, f"The key {key.name!r} may not do what needs the scope {scope!r}; use one that may.")
        if wait_s := self._rates.wait_s(key.name):
            raise Problem(
                429, f"At most {self.config.rate:g} requests a second; wait.", headers={"Retry-After": f"{wait_s:.0f}"}
            )

    async def run(self, work: Callable[..., dict[str, Any]], *given: Any) -> JSONResponse:
        """Do work on a thread, within the deadline, and answer with what it returns."""
        return await self._on(self._answering, work, *given)

    async def write(self, work: Callable[..., dict[str, Any]], *given: Any) -> JSONResponse:
        """The same on threads for what waits for the disk, so that no question waits behind it."""
        return await self._on(self._writing, work, *given)

    def observe(self) -> None:
        """Set the counts that tell of a state."""
        service, counts = self.service, self.metrics
        served = service.current.get()
        counts.workers.set(1)
        counts.items.set(n_sold(served))
        counts.swaps.set(service.current.swaps)
        counts.failures.set(service.current.failures)
        counts.histories.set(len(service.histories))
        counts.lost.set(service.shown.lost)
        cached, gathered = getattr(served.encoder, "count", None), served.gathered()
        counts.cache_hits.set(0 if cached is None else cached().hits)
        counts.encoder_runs.set(gathered.runs)
        counts.encoder_asked.set(gathered.asked)
        stored = service.appending.count()
        counts.store_runs.set(stored.runs)
        counts.store_asked.set(stored.asked)
        own, mapped = memory_bytes()
        counts.memory.set(own)
        counts.mapped.set(mapped)

    async def watch(self) -> None:
        """Observe again and again, so that the other workers can tell of this one, and let go of whom they forgot.

        Goes on until cancelled.
        """
        while True:
            self.observe()
            try:
                await asyncio.to_thread(self.service.histories.follow)
            except StoreError as error:
                _LOG.error("whether a shopper was forgotten elsewhere cannot be read: %s", error)
            await asyncio.sleep(self.config.poll_s)

    def close(self) -> None:
        """Let threads finish, write what waits."""
        self._answering.shutdown()
        self._writing.shutdown()
        self.service.close()

    async def _on(self, threads: _Threads, work: Callable[..., dict[str, Any]], *given: Any) -> JSONResponse:
        future = threads.begin(work, *given)
        try:
            found = await asyncio.wait_for(asyncio.shield(future), self.config.timeout_s)
        except TimeoutError:
            raise Problem(
                503, f"Not answered within {self.config.timeout_s:g} seconds.", headers={"Retry-After": "1"}
            ) from None
        return JSONResponse(found)


def needs(desk: Desk, scope: Scope) -> Any:
    """A dependency that lets in only callers with a scope; where no keys are asked for, the document asks for none."""

    async def anybody(request: Request) -> None:
        desk.admit(request, None, scope)

    async def check(request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> None:
        desk.admit(request, given, scope)

    return Depends(anybody if desk.keys is None else check)


def responses_of(model: type, *also: int) -> dict[int | str, dict[str, Any]]:
    """Responses of a route: its answer, and every refusal."""
    return {200: {"model": model}, **_REFUSALS, **documented(*also)}
