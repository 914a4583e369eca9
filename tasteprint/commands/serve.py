"""``tasteprint serve`` and ``tasteprint serve-key``: the HTTP service, and who may call it."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

import typer

from .options import ConfigOption, RulesOption, SetOption, WorkspaceOption

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
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes that answer; as --set workers=N. Default: one.")
    ] = None,
    rules: RulesOption = None,
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

      tasteprint serve -w work/grocery --workers 4 --rules rules.toml --set clock=shop
    """
    from ..profiling.errors import ConfigError
    from ..profiling.layers import read_layers
    from ..retrieval.rules import read_rules
    from ..serving.config import ServeConfig
    from ..serving.keys import read_keys
    from ..serving.store import open_store
    from ..serving.workers import listen
    from ..serving_run import Run, run_service
    from ..serving_setup import load_shop, published, store_address

    given = [
        *(sets or ()),
        *([] if workers is None else [f"workers={workers}"]),
        *([] if rules is None else [f"rules={rules}"]),
    ]
    settings = read_layers(ServeConfig, config, sets=given, hint=" (see: docs/serve.md)").settings
    if keys is None and not _loopback(host):
        raise ConfigError(f"host {host} can be reached from elsewhere: give --keys (make one: tasteprint serve-key)")
    if settings.rules is not None:
        read_rules(settings.rules)  # told now, not when a worker starts
    if keys is not None:
        read_keys(keys)  # the same
    published(workspace)  # before a store is made in a folder that is no workspace
    listen(host, port, shared=False).close()  # before a store is filled for a service that cannot be had there
    address = store_address(workspace, store)
    opened = open_store(address)
    try:
        if fill and next(opened.users(), None) is None:
            from .progress import steps

            with steps() as say:
                load_shop(workspace, opened, progress=lambda done, of: say("Filling the store", done, of))
    finally:
        opened.close()
    run = Run(workspace, address, host, port, settings, keys)
    run_service(run, listening=lambda at, on: typer.echo(f"listening at http://{at}:{on}", err=True))


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
