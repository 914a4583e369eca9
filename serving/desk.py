"""The desk that every route works at: who may come in, how often, and on which thread the work is done.

Work runs on a few threads of its own (`threads`); what finds them all taken waits, and beyond a bound is told to come
back. An answer that is overdue is given up: its caller gets 503 at once, its thread finishes alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, MutableMapping
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from .config import ServeConfig
from .items import n_sold
from .keys import ApiKey, KeysFile, Scope, caller
from .memory import memory_bytes
from .metrics import Metrics
from .problems import Problem, documented
from .rates import OwnRates, Rates
from .service import Service
from .store import StoreError
from .threads import BusyError, Threads, Work

_LOG = logging.getLogger("tasteprint.serving")
_BEARER = HTTPBearer(auto_error=False, description="A key made by 'tasteprint serve-key'.")
_REFUSALS = documented(400, 401, 403, 408, 413, 421, 422, 429, 500, 503)


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
        self._answering = Threads(config.threads, config.waiting, "answer")
        self._errands = Threads(config.errands, config.waiting, "errand")
        self._writing = Threads(config.writers, config.waiting, "write")

    def caller(self, secret: str | None) -> ApiKey | None:
        """Whose key was sent; None for nobody's."""
        return caller(self.keys, secret)

    def admit(self, state: MutableMapping[str, Any], key: ApiKey | None, scope: Scope) -> None:
        """Let a caller in, or raise `Problem`; ``state`` of the request is told the name of the key."""
        if key is None:
            raise Problem(
                401,
                "Send a key as 'Authorization: Bearer KEY'; the one sent is not known, if any was.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        state["key_name"] = key.name
        if not key.allows(scope):
            raise Problem(403, f"The key {key.name!r} may not do what needs the scope {scope!r}; use one that may.")
        if wait_s := self._rates.wait_s(key.name):
            raise Problem(
                429, f"At most {self.config.rate:g} requests a second; wait.", headers={"Retry-After": f"{wait_s:.0f}"}
            )

    async def run(self, work: Work, *given: Any) -> Response:
        """Answer a question on a thread, within the deadline."""
        return await self._on(self._answering, work, *given)

    async def errand(self, work: Work, *given: Any) -> Response:
        """The same on threads for what may take long, so that no question waits behind it."""
        return await self._on(self._errands, work, *given)

    async def write(self, work: Work, *given: Any) -> Response:
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
        if self.keys is not None:
            counts.keys.set(len(self.keys))
            counts.keys_failures.set(getattr(self.keys, "failures", 0))
        counts.histories.set(len(service.histories))
        counts.lost.set(service.shown.lost)
        read, gathered = served.engine.readings.count(), served.gathered()
        counts.cache_hits.set(read.known + read.found)
        counts.encoder_runs.set(gathered.runs)
        counts.encoder_asked.set(gathered.asked)
        stored = service.appending.count()
        counts.store_runs.set(stored.runs)
        counts.store_asked.set(stored.asked)
        own, mapped = memory_bytes()
        counts.memory.set(own)
        counts.mapped.set(mapped)

    async def watch(self) -> None:
        """Observe again and again, so that the other workers can tell of this one; take new keys, and let go of whom
        others forgot.

        Goes on until cancelled.
        """
        while True:
            if isinstance(self.keys, KeysFile):
                await asyncio.to_thread(self.keys.refresh)
            self.observe()
            try:
                await asyncio.to_thread(self.service.follow)
            except StoreError as error:
                _LOG.error("whether a shopper was forgotten elsewhere cannot be read: %s", error)
            await asyncio.sleep(self.config.poll_s)

    def close(self) -> None:
        """Let threads finish, write what waits."""
        self._answering.shutdown()
        self._errands.shutdown()
        self._writing.shutdown()
        self.service.close()

    async def _on(self, threads: Threads, work: Work, *given: Any) -> Response:
        wait = {"Retry-After": "1"}
        try:
            made = await threads.begin(work, *given, within_s=self.config.timeout_s)
        except BusyError:
            raise Problem(503, "All threads are busy; try again soon.", headers=wait) from None
        except TimeoutError:
            raise Problem(503, f"Not answered within {self.config.timeout_s:g} seconds.", headers=wait) from None
        return Response(made, media_type="application/json")


def needs(desk: Desk, scope: Scope) -> Any:
    """A dependency that lets in only callers with a scope; where no keys are asked for, the document asks for none."""

    async def anybody(request: Request) -> None:
        desk.admit(request.scope["state"], desk.caller(None), scope)

    async def check(request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> None:
        desk.admit(request.scope["state"], desk.caller(None if given is None else given.credentials), scope)

    return Depends(anybody if desk.keys is None else check)


def responses_of(model: type, *also: int) -> dict[int | str, dict[str, Any]]:
    """Responses of a route: its answer, and every refusal."""
    return {200: {"model": model}, **_REFUSALS, **documented(*also)}
