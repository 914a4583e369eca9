"""``tasteprint serve`` and ``tasteprint serve-key``: the HTTP service, and who may call it."""

from __future__ import annotations

import ipaddress
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import ConfigOption, SetOption, WorkspaceOption

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ..serving.config import ServeConfig

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="TASTEPRINT_STORE",
        help="Profile store: a file or redis://HOST:PORT/DB. Default: the workspace's own.",
    ),
]


def serve(
    workspace: WorkspaceOption,
    host: Annotated[str, typer.Option("--host", help="Address to listen at; beyond this machine only with keys.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 = a free one.")] = 8000,
    store: StoreOption = None,
    keys: Annotated[Path | None, typer.Option("--keys", help="Keys file; without one anybody here may call.")] = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    fill: Annotated[
        bool, typer.Option("--fill/--no-fill", help="Fill an empty store with the shop's own events first.")
    ] = True,
) -> None:
    """Answer over HTTP: searches, recommendations, profiles and events, live and durable.

    Stops at Ctrl-C or SIGTERM after answering what is under way. A newly built version is served by itself.

    Examples:

      tasteprint serve --workspace work/grocery

      tasteprint serve -w work/grocery --host 0.0.0.0 --keys keys.json --store redis://127.0.0.1:6379/0

      tasteprint serve -w work/grocery --set threads=8 --set clock=shop
    """
    from ..profiling.errors import ConfigError
    from ..profiling.layers import read_layers
    from ..serving.config import ServeConfig
    from ..serving.keys import read_keys
    from ..serving.store import open_store
    from ..serving_setup import load_shop, make_app, published, store_address

    settings = read_layers(ServeConfig, config, sets=sets or (), hint=" (see: docs/serve.md)").settings
    if keys is None and not _loopback(host):
        raise ConfigError(f"host {host} can be reached from elsewhere: give --keys (make one: tasteprint serve-key)")
    known = None if keys is None else read_keys(keys)
    published(workspace)  # before a store is made in a folder that is no workspace
    opened = open_store(store_address(workspace, store))
    if fill and next(opened.users(), None) is None:
        from .progress import steps

        with steps() as say:
            load_shop(workspace, opened, progress=lambda done, of: say("Filling the store", done, of))
    _run(make_app(workspace, opened, settings, keys=known), host, port, settings)


def serve_key(
    name: Annotated[str, typer.Argument(help="Who will use it; stands in the log.", show_default=False)],
    scope: Annotated[
        list[str], typer.Option("--scope", help="read (ask), write (send events) or admin (everything). Repeatable.")
    ],
    file: Annotated[Path, typer.Option("--file", help="Keys file to add it to.")] = Path("keys.json"),
) -> None:
    """Make an API key: it is printed once, and only its hash is stored.

    Examples:

      tasteprint serve-key shop-front --scope read --scope write --file keys.json
    """
    from ..serving.keys import add_key

    typer.echo(add_key(file, name, scope))


def _loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _run(app: FastAPI, host: str, port: int, settings: ServeConfig) -> None:
    """Serve until told to stop."""
    import signal
    import socket

    import uvicorn

    _log_to_stderr()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(listening, host, port)
        options: dict[str, Any] = {"log_config": None, "access_log": False, "server_header": False}
        made = uvicorn.Config(app, timeout_graceful_shutdown=int(settings.shutdown_s), **options)
        typer.echo(f"listening at http://{host}:{listening.getsockname()[1]}", err=True)
        signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn stops at it, then raises it again: that is no failure
        uvicorn.Server(made).run(sockets=[listening])


def _bind(listening: Any, host: str, port: int) -> None:
    from ..profiling.errors import ConfigError

    try:
        listening.bind((host, port))
    except OSError as error:
        raise ConfigError(f"cannot listen at {host}:{port} ({error}); name another --port or --host") from error


def _log_to_stderr() -> None:
    """Access lines as they are; everything else with a time and a level."""
    for name, form in (("tasteprint.access", "%(message)s"), ("tasteprint.serving", None), ("uvicorn.error", None)):
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(form or "%(asctime)s %(levelname)s %(name)s %(message)s"))
        log = logging.getLogger(name)
        log.handlers = [handler]
        log.propagate = False
        log.setLevel(logging.INFO if name.startswith("tasteprint") else logging.WARNING)
