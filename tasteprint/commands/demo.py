"""``tasteprint demo``: the whole path on a real shop, in the terminal and as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import ConfigOption, JsonOption, SetOption

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from ..demo.story import Row, Shopper, Story, WarmStep

_COLOURS = {"A": "green", "B": "magenta"}


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the HTML report.")] = Path("reports/demo"),
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help="Folder that keeps everything for the next run.")
    ] = Path("workspace/demo"),
    shop: Annotated[
        Path | None,
        typer.Option("--shop", help="Folder of a shop to show instead of the Complete Journey.", show_default=False),
    ] = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    requests: Annotated[int, typer.Option("--requests", min=1, help="Requests measured at most.")] = 2000,
    as_json: JsonOption = False,
) -> None:
    """See a real shop profiled, searched, recommended to and measured.

    Imports a year of groceries from its package, builds a workspace with the packaged MiniLM, and shows two shoppers,
    a query, a newcomer and the measured comparison. The first run takes minutes, the next one seconds.

    Examples:

      tasteprint demo

      tasteprint demo --out reports/demo --workspace workspace/demo

      tasteprint demo --shop shops/beauty --workspace workspace/beauty --set encoder.name=hash:64
    """
    from ..config import load_settings
    from ..demo.run import run_demo
    from .progress import steps

    settings = load_settings(config, sets=sets or ()).settings
    with steps(quiet=as_json) as say:
        made = run_demo(out, workspace, shop=shop, settings=settings, say=say, requests=requests)
    if as_json:
        typer.echo(made.story.model_dump_json())
        return
    _show(made.story)
    typer.echo(f"Report: {made.report}" + ("" if made.fresh else " (kept from an earlier run)"))
    typer.echo(
        f'Ask yourself: tasteprint search "{made.story.question.text}" --workspace {workspace} --user '
        f"{made.story.pair[0].user_id}"
    )


def _show(story: Story) -> None:
    """The story on stdout."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    console.rule(Text(f"{story.shop}: {story.items:,} items, {story.shoppers:,} shoppers, {story.events:,} events"))
    _columns(console, [_portrait(shopper, letter) for shopper, letter in zip(story.pair, "AB", strict=True)])
    query = story.question
    console.rule(Text(f"“{query.text}”"))
    if query.reading:
        console.print(Text(query.reading, style="italic"))
    lists = [_results("Plain search", query.plain, "white")]
    lists += [_results(f"Shopper {x}", s.results, _COLOURS[x]) for s, x in zip(story.pair, "AB", strict=True)]
    _columns(console, lists)
    console.rule(Text(f"A new shopper, {story.newcomer_events:,} events in all (✓ = took it later)"))
    _columns(console, [_step(step) for step in story.warming])
    if story.results is not None:
        console.rule(Text("Is it better, and is that luck?"))
        _measured(console, story)


def _columns(console: Console, parts: Sequence[RenderableType]) -> None:
    """Parts side by side, or below each other on a narrow terminal."""
    from rich.table import Table

    if console.width < 34 * len(parts):
        for part in parts:
            console.print(part)
        return
    grid = Table.grid(expand=True, padding=(0, 2))
    for _ in parts:
        grid.add_column(ratio=1)
    grid.add_row(*parts)
    console.print(grid)


def _portrait(shopper: Shopper, letter: str) -> RenderableType:
    from rich.panel import Panel
    from rich.text import Text

    text = Text("\n".join(shopper.summary))
    text.append("\n" + " · ".join(shopper.tags), style="dim")
    title = Text(f"Shopper {letter}  {shopper.user_id}")
    return Panel(text, title=title, title_align="left", border_style=_COLOURS[letter])


def _results(title: str, rows: tuple[Row, ...], style: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, title=Text(title, style=f"bold {style}"), title_justify="left")
    table.add_column("", style="dim")
    table.add_column("")
    for row in rows:
        text = Text(row.title)
        if row.reason:
            text.append(f"  {_move(row)}", style=style)
            text.append(f"\n{row.reason}", style="dim")
        table.add_row(str(row.rank), text)
    return table


def _move(row: Row) -> str:
    if row.plain_rank is None:
        return "▲ from far below"
    by = row.plain_rank - row.rank
    return "=" if not by else f"{'▲' if by > 0 else '▼'} {abs(by)}"


def _step(step: WarmStep) -> Table:
    from rich.table import Table
    from rich.text import Text

    head = "Nothing seen yet" if not step.seen else f"After {step.seen} event" + ("s" if step.seen > 1 else "")
    table = Table(box=None, pad_edge=False, title=Text(head, style="bold"), title_justify="left")
    table.add_column("")
    for item in step.items:
        text = Text(("✓ " if item.taken_later else "") + item.title)
        text.append(f"\n{item.reason}", style="dim")
        table.add_row(text)
    return table


def _measured(console: Console, story: Story) -> None:
    from rich.table import Table
    from rich.text import Text

    from ..evaluation.report import main_metric, ranked_methods, verdict

    results = story.results or {}
    keys = [key for key in ("ndcg@10", "recall@10", "recall@100", "mrr@10") if key]
    table = Table(box=None, pad_edge=False)
    for name in ("method", *keys, "95 % interval"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for name in ranked_methods(results):
        run, span = results["methods"][name], story.intervals.get(name)
        cells = ["" if run.get(key) is None else f"{run[key]:.4f}" for key in keys]
        table.add_row(name, *cells, f"{span[0]:.4f} to {span[1]:.4f}" if span else "")
    console.print(table)
    console.print(Text(f"n = {results['n']:,}, {main_metric(results)}. {verdict(results)}"))
    for note in results.get("notes", []):
        console.print(Text(f"- {note}", style="dim"))
