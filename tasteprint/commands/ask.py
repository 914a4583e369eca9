"""``tasteprint search`` and ``tasteprint recommend``: ask a built workspace."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from .options import AtOption, JsonOption, WorkspaceOption, moment

if TYPE_CHECKING:
    from ..retrieval.filters import Filters
    from ..retrieval.ranking import Answer

KOption = Annotated[int, typer.Option("--k", "-k", min=1, help="Items wanted.")]
CategoryOption = Annotated[str | None, typer.Option("--category", help="Only this category path or what is below it.")]
BrandOption = Annotated[str | None, typer.Option("--brand", help="Only this brand.")]
LowOption = Annotated[float | None, typer.Option("--price-min", help="Only items at this price or more.")]
HighOption = Annotated[float | None, typer.Option("--price-max", help="Only items at this price or less.")]
WeightOption = Annotated[
    list[str] | None,
    typer.Option("--weight", help="PART=NUMBER instead of the learned weights, such as meaning=1. Repeatable."),
]
DiversityOption = Annotated[float, typer.Option("--diversity", min=0, max=1, help="0 = by score alone.")]


def search(
    query: Annotated[str, typer.Argument(help="What is asked for, in words.", show_default=False)],
    workspace: WorkspaceOption,
    user: Annotated[str | None, typer.Option("--user", "-u", help="A known shopper; results become personal.")] = None,
    k: KOption = 10,
    category: CategoryOption = None,
    brand: BrandOption = None,
    price_min: LowOption = None,
    price_max: HighOption = None,
    weight: WeightOption = None,
    diversity: DiversityOption = 0.0,
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find items for a query, with reasons.

    Examples:

      tasteprint search "red wine" --workspace work/grocery

      tasteprint search "snacks" -w work/grocery --user 1228 --k 5 --price-max 3

      tasteprint search "snacks" -w work/grocery --weight meaning=1 --json
    """
    filters = _filters(category, brand, price_min, price_max)
    _ask(workspace, user, query, k, filters, weight, diversity, at, as_json)


def recommend(
    user: Annotated[str, typer.Argument(help="A known shopper.", show_default=False)],
    workspace: WorkspaceOption,
    query: Annotated[str | None, typer.Option("--query", "-q", help="What is asked for, in words.")] = None,
    k: KOption = 10,
    category: CategoryOption = None,
    brand: BrandOption = None,
    price_min: LowOption = None,
    price_max: HighOption = None,
    weight: WeightOption = None,
    diversity: DiversityOption = 0.0,
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find items for a shopper, with reasons.

    Examples:

      tasteprint recommend 1228 --workspace work/grocery

      tasteprint recommend 1228 -w work/grocery --query "dinner" --diversity 0.3 --json
    """
    filters = _filters(category, brand, price_min, price_max)
    _ask(workspace, user, query, k, filters, weight, diversity, at, as_json)


def _ask(
    workspace: object,
    user: str | None,
    query: str | None,
    k: int,
    filters: Filters,
    weight: list[str] | None,
    diversity: float,
    at: str | None,
    as_json: bool,
) -> None:
    from ..workspace import open_workspace

    opened = open_workspace(str(workspace))
    answer = opened.engine.answer(
        user=user,
        query=query,
        k=k,
        filters=filters,
        weights=_weights(weight),
        diversity=diversity,
        now_s=moment(at, opened.last_s + 1.0),
    )
    if as_json:
        typer.echo(json.dumps(answer.to_json(), ensure_ascii=False))
    else:
        show(answer)


def show(answer: Answer) -> None:
    """An answer as a table on stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if answer.intent is not None:
        console.print(Text(answer.intent.explain(), style="italic"))
    table = Table(box=None, pad_edge=False)
    for title, style in (("", "dim"), ("item", "bold"), ("score", "cyan"), ("why", "")):
        table.add_column(title, style=style, overflow="fold")
    for item in answer.items:
        table.add_row(str(item.rank), Text(f"{item.title}\n{item.item_id}"), f"{item.score:.2f}", Text(item.sentence))
    console.print(table)
    if answer.shortage:
        console.print(Text(answer.shortage, style="yellow"))


def _filters(category: str | None, brand: str | None, low: float | None, high: float | None) -> Filters:
    from ..retrieval.filters import Filters

    return Filters(category=category, brand=brand, price_min=low, price_max=high)


def _weights(given: list[str] | None) -> dict[str, float] | None:
    from ..profiling.errors import ConfigError

    if not given:
        return None
    weights = {}
    for text in given:
        name, equals, number = text.partition("=")
        try:
            weights[name.strip()] = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise ConfigError(f"--weight must be PART=NUMBER such as meaning=1, got {text!r}")
    return weights
