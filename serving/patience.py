"""A deadline for the head of a request: a connection that dribbles its headers is closed, and holds nothing up.

uvicorn bounds how long a connection may be idle, not how long a request may take to begin; this goes around its own
protocol. Bodies have their deadline in `middleware`.
"""

from __future__ import annotations

import asyncio
from typing import Any


def patient_protocol(seconds: float) -> type[asyncio.Protocol]:
    """uvicorn's HTTP protocol, closing connections whose request has not wholly begun after some seconds.

    Raises:
        ImportError: uvicorn is not installed.
    """
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Base
    except ImportError:  # without httptools uvicorn reads HTTP by h11
        from uvicorn.protocols.http.h11_impl import H11Protocol as Base  # type: ignore[assignment]

    class Patient(Base):  # type: ignore[misc, valid-type]
        _beginning: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if _under_way(self.cycle):
                self._done()
            elif self._beginning is None:
                self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._done()
            super().connection_lost(exc)

        def _wait(self) -> None:
            self._beginning = asyncio.get_running_loop().call_later(seconds, self._give_up)

        def _done(self) -> None:
            if self._beginning is not None:
                self._beginning.cancel()
                self._beginning = None

        def _give_up(self) -> None:
            self._beginning = None
            if not _under_way(self.cycle):
                self.transport.close()

    return Patient


def _under_way(cycle: Any) -> bool:
    """Whether a request has begun and is not answered yet."""
    return cycle is not None and not cycle.response_complete
