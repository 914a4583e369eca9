"""Running the HTTP service: one process, or a worker of several under one port.

What workers share is in the workspace, in the store, and in a folder of this run: counters for Prometheus and the
buckets of rates. Every worker opens the workspace, looks for new versions and keeps histories for itself.
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .profiling.errors import ExtraMissingError, TasteprintError
from .serving.config import ServeConfig
from .serving.keys import KeysFile
from .serving.patience import patient_protocol
from .serving.rates import SharedRates, make_buckets
from .serving.shelf import Slots
from .serving.store import open_store
from .serving.workers import listen, run_workers, stop_with_parent
from .serving_setup import make_app

if TYPE_CHECKING:
    from fastapi import FastAPI

_STOP_MARGIN_S = 10.0  # beyond what requests get: writing what waits, closing


@dataclass(frozen=True)
class Run:
    """What the service is started with.

    Attributes:
        workspace: served
        store: address of the profile store
        host, port: where to listen; 0 = a free port
        config: limits and workers
        keys: file of the keys; None = anybody may do anything
    """

    workspace: Path
    store: str
    host: str
    port: int
    config: ServeConfig
    keys: Path | None = None


def run_service(run: Run, *, listening: Callable[[str, int], None]) -> None:
    """Serve until SIGTERM or SIGINT, after which running requests are answered first.

    Args:
        run: what to serve, and where
        listening: called with host and port once requests are answered

    Raises:
        ConfigError: the address cannot be had.
        ExtraMissingError: the HTTP server is not installed.
        WorkerError: a worker could not start.
        WorkspaceError, ArtefactError, EncoderError, StoreError: as opening them.
    """
    log_to_stderr()
    if run.config.workers > 1:
        _run_workers(run, listening)
        return
    with listen(run.host, run.port, shared=False) as bound:
        app = make_app(run.workspace, open_store(run.store), run.config, keys=_keys(run))
        _serve(app, bound, run.config, lambda: listening(run.host, bound.getsockname()[1]))


def _run_workers(run: Run, listening: Callable[[str, int], None]) -> None:
    """Start the workers and watch them."""
    from .serving.metrics import SHARED, forget_worker

    board = Path(tempfile.mkdtemp(prefix="tasteprint-"))
    try:
        (board / "counts").mkdir()
        os.environ[SHARED] = str(board / "counts")  # before any worker imports the client library
        make_buckets(board / "rates")
        slots = Slots()
        listen(run.host, run.port, shared=False).close()  # a second service would share the port without a word
        with listen(run.host, run.port, shared=True) as bound:  # never listens: holds the port while workers change
            port = int(bound.getsockname()[1])
            run_workers(
                work,
                (run, port, board, slots),
                workers=run.config.workers,
                stop_s=run.config.shutdown_s + _STOP_MARGIN_S,
                started=lambda: listening(run.host, port),
                gone=forget_worker,
            )
    finally:
        os.environ.pop(SHARED, None)
        shutil.rmtree(board, ignore_errors=True)


def work(given: tuple[Run, int, Path, Slots], ready: Any) -> None:
    """One worker: opens everything for itself, serves, and stops at SIGTERM or when its parent is gone."""
    run, port, board, slots = given
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent tells when to stop
    log_to_stderr()
    stop_with_parent()
    try:
        config = run.config
        rates = SharedRates(board / "rates", config.rate, config.burst, clock=time.monotonic)
        app = make_app(run.workspace, open_store(run.store), config, keys=_keys(run), rates=rates, slots=slots)
        with closing(rates), listen(run.host, port, shared=True) as bound:
            _serve(app, bound, config, ready.set)
    except TasteprintError as error:
        logging.getLogger("tasteprint.serving").error("%s", error)
        raise SystemExit(1) from None


def _serve(app: FastAPI, bound: socket.socket, config: ServeConfig, started: Callable[[], None]) -> None:
    """Answer over HTTP until told to stop; ``started`` is called once requests are taken."""
    try:
        import uvicorn
    except ImportError as error:
        raise ExtraMissingError(
            f"the HTTP server is not installed ({error}); run: pip install 'tasteprint[serve]'"
        ) from error

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started:
                started()

    options: dict[str, Any] = {"log_config": None, "access_log": False, "server_header": False}
    options["http"] = patient_protocol(config.head_timeout_s)
    made = uvicorn.Config(app, timeout_graceful_shutdown=int(config.shutdown_s), **options)
    gc.collect()
    gc.freeze()  # a catalogue is millions of objects: looking through them again would hold up the slowest answers
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn stops at it, then raises it again: that is no failure
    Server(made).run(sockets=[bound])


def _keys(run: Run) -> KeysFile | None:
    """Who may call, as the file says when it is looked at."""
    return None if run.keys is None else KeysFile(run.keys)


def log_to_stderr() -> None:
    """Access lines as they are; everything else with a time and a level."""
    for name, form in (("tasteprint.access", "%(message)s"), ("tasteprint.serving", None), ("uvicorn.error", None)):
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(form or "%(asctime)s %(levelname)s %(name)s %(message)s"))
        log = logging.getLogger(name)
        log.handlers = [handler]
        log.propagate = False
        log.setLevel(logging.INFO if name.startswith("tasteprint") else logging.WARNING)
