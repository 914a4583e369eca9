"""``tasteprint profile``: who a shopper is, in words and numbers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from .options import AtOption, JsonOption, WorkspaceOption, moment
from .progress import steps

if TYPE_CHECKING:
    from ..profiling.shopper.profile import Profile


def profile(
    user: Annotated[str, typer.Argument(help="A known shopper.", show_default=False)],
    workspace: WorkspaceOption,
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a shopper's profile: who they are, what they like now and always, their habits, and what that is made of.

    Examples:

      tasteprint profile 1228 --workspace work/grocery

      tasteprint profile 1228 -w work/grocery --at 2017-06-01T00:00 --json
    """
    from ..profiling.errors import UnknownIdError
    from ..profiling.shopper.attributes import attributes_of
    from ..profiling.shopper.profile_build import build_profile
    from ..profiling.tables.shop import read_shop
    from ..workspace import open_workspace, shop_yardsticks

    with steps(quiet=as_json) as say:
        say("Opening the workspace", 0, 0)
        opened = open_workspace(workspace)
        say("Reading the shop", 0, 0)
        shop = read_shop(opened.shop)
        events = shop.table("events")
        mine = events[events["user_id"] == user]
        known = attributes_of(shop.users)
        if not len(mine) and user not in known:
            raise UnknownIdError(
                f"user_id {user!r} has no events and no known attributes in {opened.shop}; name one of its shoppers"
            )
        say("Learning what is usual", 0, 0)
        yardsticks = shop_yardsticks(opened, shop)
        found = build_profile(
            user,
            mine,
            yardsticks,
            at_s=moment(at, opened.last_s + 1.0),
            attributes=known.get(user),
        )
    if as_json:
        typer.echo(json.dumps(found.to_json(), ensure_ascii=False))
    else:
        _show(found)


def _show(found: Profile) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    console.print(Text(f"{found.user_id}", style="bold"))
    for said in found.describe():
        console.print(Text(said))
    table = Table(box=None, pad_edge=False)
    for title in ("interest", "share", "times the usual", "kind"):
        table.add_column(title)
    for tag in found.tags:
        table.add_row(tag.name, f"{tag.share:.0%}", f"{tag.lift:.1f}", tag.kind)
    console.print(table)
    for horizon, shares in found.made_of.items():
        made = ", ".join(f"{share.title} ({share.share:.0%})" for share in shares)
        console.print(Text(f"{horizon}: {made}", style="dim"))
