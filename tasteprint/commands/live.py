"""``tasteprint forget`` and ``verify-store``: working on a live store."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Annotated

import typer

from .options import JsonOption, WorkspaceOption
from .serve import StoreOption


def forget(
    user: Annotated[str, typer.Argument(help="Whom.", show_default=False)],
    workspace: WorkspaceOption,
    store: StoreOption = None,
    shop: Annotated[
        bool, typer.Option("--shop/--keep-shop", help="Also rewrite the files of the shop it was built from.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Forget a shopper: events, what was shown, the workspace's log and, with --shop, the shop's own files.

    Prints a receipt: what was removed, which models learned from them, and which files still name them.

    Examples:

      tasteprint forget 1228 --workspace work/grocery

      tasteprint forget 1228 -w work/grocery --shop --json
    """
    from ..forgetting import forget_user
    from ..serving.store import open_store
    from ..serving_setup import store_address
    from ..workspace import open_workspace

    folder = open_workspace(workspace).shop if shop else None
    opened = open_store(store_address(workspace, store))
    try:
        receipt = forget_user(user, workspace, opened, folder, now_s=time.time())
    finally:
        opened.close()
    if as_json:
        typer.echo(json.dumps(receipt.to_json()))
        return
    rows = ", ".join(f"{n:,} rows of {file}" for file, n in receipt.shop_rows.items())
    typer.echo(
        f"forgot {receipt.user_id} at {receipt.at}: {receipt.store_events:,} events and {receipt.store_shown:,} shown "
        f"answers of the store, {receipt.workspace_events:,} events of the workspace{', ' if rows else ''}{rows}"
    )
    typer.echo("still named in: " + (", ".join(receipt.found_in) or "no file"))
    if receipt.models:
        typer.echo("learned from them: " + ", ".join(receipt.models))
    for said in receipt.remains:
        typer.echo(f"left to do: {said}")


def verify_store(workspace: WorkspaceOption, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Compare the live state of every shopper with what a nightly rebuild makes of the same events.

    Exit code 1 where any differs.

    Examples:

      tasteprint verify-store --workspace work/grocery
    """
    from ..profiling.errors import WorkspaceError
    from ..serving.bulk import verify_store as run
    from ..serving.store import open_store
    from ..serving_setup import catalogue_of, store_address
    from ..workspace import open_workspace

    built = open_workspace(workspace)
    half_life_s = built.settings.profile.interest.long_half_life_s
    opened = open_store(store_address(workspace, store))
    try:
        taste = built.engine.recommender.space.items["taste"]
        found = run(opened, catalogue_of(built), taste, half_life_s=half_life_s)
    finally:
        opened.close()
    if as_json:
        typer.echo(json.dumps({**asdict(found), "equal": found.equal}))
    else:
        typer.echo(f"{found.users:,} shoppers, {found.events:,} events: furthest difference {found.furthest:.1e}")
    if not found.equal:
        raise WorkspaceError(
            f"live state differs from a rebuild, by {found.furthest:.1e} at most"
            + (f", and in the events of {', '.join(found.wrong)}" if found.wrong else "")
            + "; load the shop into a new store"
        )
