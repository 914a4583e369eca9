"""``tasteprint items``: items that come, change and go between builds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import JsonOption, WorkspaceOption

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_BATCH = 500


@app.callback()
def items() -> None:
    """Add, replace and remove items of a workspace without building it again; running services follow.

    Examples:

      tasteprint items add new.jsonl --workspace work/grocery

      tasteprint items remove 1029743 --workspace work/grocery --json
    """


@app.command("add")
def add(
    file: Annotated[
        Path, typer.Argument(help="Items: .parquet, .csv or JSON lines; - reads JSON lines.", show_default=False)
    ],
    workspace: WorkspaceOption,
    as_json: JsonOption = False,
) -> None:
    """Add items, or put them in the place of those with the same id; a running service shows them within seconds.

    The columns are those of items.parquet; item_id and title are needed.

    Examples:

      tasteprint items add new.jsonl --workspace work/grocery

      echo '{"item_id": "n-1", "title": "Red mug", "price": 4.5}' | tasteprint items add - -w work/grocery
    """
    from ..item_changes import CatalogueJournal, changes_folder
    from ..retrieval.catalogue.journal import known_texts
    from ..retrieval.catalogue.update import checked_items
    from ..workspace import open_workspace

    items = checked_items(read_items(file))
    opened = open_workspace(workspace)
    journal, number = CatalogueJournal(changes_folder(workspace)), 0
    for start in range(0, len(items), _BATCH):
        some = items.iloc[start : start + _BATCH]
        known = known_texts(opened.engine, opened.items, some["item_id"].tolist())
        number = journal.append(opened.speaker.change(some, known=known))
    _tell(as_json, {"upserted": len(items), "change": number}, f"added or replaced: {len(items):,}")


@app.command("remove")
def remove(
    item_ids: Annotated[list[str], typer.Argument(help="Ids of the items.", show_default=False)],
    workspace: WorkspaceOption,
    as_json: JsonOption = False,
) -> None:
    """Remove items: no answer shows them any more; histories that hold them stay as they are.

    Examples:

      tasteprint items remove 1025123 1025124 --workspace work/grocery
    """
    from ..item_changes import CatalogueJournal, changes_folder
    from ..workspace import open_workspace

    opened = open_workspace(workspace)
    facts = opened.engine.facts
    known = [facts.row_of[i] for i in dict.fromkeys(item_ids) if i in facts.row_of]
    there = [row for row in known if facts.sold is None or facts.sold[row]]
    change = opened.speaker.change(None, list(dict.fromkeys(item_ids)))
    number = CatalogueJournal(changes_folder(workspace)).append(change)
    _tell(as_json, {"removed": len(there), "change": number}, f"removed: {len(there):,}")


@app.command("list")
def list_(workspace: WorkspaceOption, as_json: JsonOption = False) -> None:
    """What came and went since the shop's own files were written.

    Examples:

      tasteprint items list --workspace work/grocery
    """
    from ..item_changes import changes_after
    from ..retrieval.catalogue.journal import net_items

    _known(workspace)
    found = changes_after(workspace)
    come, gone = net_items([change for _, change in found])
    last = found[-1][0] if found else 0
    if as_json:
        typer.echo(json.dumps({"change": last, "upserted": come["item_id"].tolist(), "removed": list(gone)}))
        return
    for item_id, title in zip(come["item_id"].tolist(), come["title"].tolist(), strict=True):
        typer.echo(f"+ {item_id}  {title}")
    for item_id in gone:
        typer.echo(f"- {item_id}")
    typer.echo(f"added or replaced: {len(come):,}, removed: {len(gone):,}, by change {last:,}")


@app.command("reset")
def reset(
    workspace: WorkspaceOption,
    through: Annotated[
        int | None, typer.Option("--through", min=0, help="Number of the last change to drop. Default: all.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Drop changes: from the next build on these items are what the shop's own files say.

    Do so when these have caught up: note the number of the last change before they are written (items list), and drop
    up to it afterwards. A running service keeps what it shows until the next build.

    Examples:

      tasteprint items reset --workspace work/grocery --through 1200
    """
    from ..item_changes import reset as drop

    _known(workspace)
    found = drop(workspace, through)
    _tell(as_json, {"dropped": found}, f"{found:,} changes dropped; build again to have the shop's own catalogue")


def read_items(file: Path) -> pd.DataFrame:
    """A table of items from Parquet, CSV or JSON lines; ``-`` is JSON lines from standard input.

    Raises:
        ShopError: it cannot be read.
    """
    import io

    import pandas as pd

    from ..profiling.errors import ShopError

    try:
        if file.suffix == ".parquet":
            return pd.read_parquet(file)
        if file.suffix == ".csv":
            return pd.read_csv(file, dtype="str")
        lines = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        rows = [json.loads(line) for line in io.StringIO(lines) if line.strip()]
    except (OSError, ValueError) as error:
        raise ShopError(f"items: {file} cannot be read ({error}); give .parquet, .csv or JSON lines") from error
    for row in rows:
        if not isinstance(row, dict):
            raise ShopError(f"items: {file} must have one JSON object a line, got {str(row)[:60]!r}")
        if isinstance(row.get("attributes"), dict):
            row["attributes"] = json.dumps(row["attributes"])
    return pd.DataFrame(rows if rows else {"item_id": [], "title": []})


def _known(workspace: Path) -> None:
    """Refuse a folder that is no workspace."""
    from ..profiling.errors import WorkspaceError

    if not (workspace / "model").is_dir():
        raise WorkspaceError(f"no workspace at {workspace}; build one: tasteprint build SHOP --workspace {workspace}")


def _tell(as_json: bool, said: dict[str, int], words: str) -> None:
    typer.echo(json.dumps(said) if as_json else words)
