"""``tasteprint import`` and ``tasteprint validate``: shops in, and everything that is wrong with them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..profiling.importers import ImportReport
    from ..profiling.importers.base import Progress


def import_(
    name: Annotated[
        str,
        typer.Argument(
            help="Source: complete-journey, online-retail, amazon-2014, amazon-2023, movielens, csv or generated.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the shop to write.", show_default=False)],
    source: Annotated[
        Path | None,
        typer.Option("--from", help="File or folder of the source; complete-journey needs none.", show_default=False),
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option("--metadata", help="File of the items (amazon-2014, amazon-2023).", show_default=False),
    ] = None,
    k_core: Annotated[
        int, typer.Option("--k-core", min=0, help="Keep users and items with this many events, iterated (0: all).")
    ] = 0,
    column_map: Annotated[
        Path | None, typer.Option("--map", help="TOML file that names the columns (csv).", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the shop that is at --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of words.")] = False,
) -> None:
    """Import a source into a shop folder; rows that are left out are counted, with the reason.

    The folder appears whole or not at all. The same report is kept in shop.json under "import".

    Examples:

      tasteprint import complete-journey --out shops/grocery

      tasteprint import csv --from tests/samples/corner_shop --map configs/import/corner-shop.toml --out shops/corner

      tasteprint import amazon-2014 --from reviews.json.gz --metadata meta.json.gz --k-core 5 --out shops/beauty
    """
    from ..profiling.importers import import_shop
    from ..profiling.tables.validate import validate_shop

    with _progress() as progress:
        report = import_shop(
            name,
            out,
            source=source,
            metadata=metadata,
            k_core=k_core,
            column_map=column_map,
            overwrite=force,
            progress=progress,
        )
    violations = len(validate_shop(out))
    if as_json:
        typer.echo(json.dumps({**report.as_dict(), "out": str(out), "violations": violations}))
    else:
        _say(report)
        verdict = "valid" if not violations else f"{violations} violations: see tasteprint validate {out}"
        typer.echo(f"{out}: {verdict}")


def validate(
    shop: Annotated[Path, typer.Argument(help="Folder of a shop.", show_default=False)],
    limit: Annotated[
        int | None, typer.Option("--limit", min=0, help="Print at most this many violations.", show_default="all")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of words.")] = False,
) -> None:
    """List every violation of the data contract with file, row (from 0), column, what was expected and what is there.

    Exit code 0 where there is none, 1 otherwise.

    Examples:

      tasteprint validate shops/grocery

      tasteprint validate shops/grocery --limit 20 --json
    """
    from dataclasses import asdict

    from ..profiling.tables.validate import validate_shop

    found = validate_shop(shop)
    shown = found if limit is None else found[:limit]
    if as_json:
        listed = [asdict(violation) for violation in shown]
        typer.echo(json.dumps({"shop": str(shop), "n_violations": len(found), "violations": listed}))
    else:
        for violation in shown:
            typer.echo(str(violation))
        left = len(found) - len(shown)
        more = f" ({left} not shown)" if left else ""
        typer.echo(f"{shop}: {len(found)} violations{more}" if found else f"{shop}: valid")
    if found:
        raise typer.Exit(1)


def _say(report: ImportReport) -> None:
    """The report as lines of text."""
    for name, count in report.sources.items():
        typer.echo(f"{name}: {count.read:,} rows read, {count.kept:,} kept")
        for reason, rows in count.dropped.items():
            typer.echo(f"  {rows:,} left out: {reason}")
    for note in report.notes:
        typer.echo(f"note: {note}")
    typer.echo("written: " + ", ".join(f"{rows:,} {table}" for table, rows in report.written.items()))


@contextmanager
def _progress() -> Iterator[Progress]:
    """A progress bar a stage on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()]
    with Progress(*columns, console=Console(file=sys.stderr)) as bar:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, share: float) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=1.0)
            bar.update(tasks[stage], completed=share)

        yield report
