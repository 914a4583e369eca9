"""``tasteprint search`` and ``tasteprint recommend``: ask a built workspace."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from .options import (
    AtOption,
    BrandOption,
    CategoryOption,
    HighOption,
    JsonOption,
    KOption,
    LowOption,
    RulesOption,
    WorkspaceOption,
    attributes_of,
    filters_of,
    moment,
    weights_of,
)

if TYPE_CHECKING:
    from ..retrieval.filters import Filters
    from ..retrieval.ranking import Answer, Recommendation
    from ..retrieval.rules import RulesConfig

WeightOption = Annotated[
    list[str] | None,
    typer.Option("--weight", help="PART=NUMBER instead of the learned weights, such as meaning=1. Repeatable."),
]
SceneOption = Annotated[str | None, typer.Option("--scene", help="Where in the shop, such as search or mail.")]
DeviceOption = Annotated[str | None, typer.Option("--device", help="What the shopper uses, such as phone.")]
PlaceOption = Annotated[str | None, typer.Option("--place", help="Store or country of the request.")]
AttributeOption = Annotated[
    list[str] | None,
    typer.Option("--attribute", help="NAME=VALUE known of the shopper instead of what is stored. Repeatable."),
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
    rules: RulesOption = None,
    at: AtOption = None,
    scene: SceneOption = None,
    device: DeviceOption = None,
    place: PlaceOption = None,
    attribute: AttributeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find items for a query, with reasons.

    Examples:

      tasteprint search "red wine" --workspace work/grocery

      tasteprint search "snacks" -w work/grocery --user 1228 --k 5 --price-max 3

      tasteprint search "snacks" -w work/grocery --weight meaning=1 --json

      tasteprint search "snacks" -w work/grocery --rules rules.toml
    """
    options = _options(k, (category, brand, price_min, price_max), weight, diversity, attribute, rules)
    _ask(workspace, user, query, (at, scene, device, place), options, as_json)


def recommend(
    user: Annotated[str, typer.Argument(help="A known shopper, or with --attribute a new one.", show_default=False)],
    workspace: WorkspaceOption,
    query: Annotated[str | None, typer.Option("--query", "-q", help="What is asked for, in words.")] = None,
    k: KOption = 10,
    category: CategoryOption = None,
    brand: BrandOption = None,
    price_min: LowOption = None,
    price_max: HighOption = None,
    weight: WeightOption = None,
    diversity: DiversityOption = 0.0,
    rules: RulesOption = None,
    at: AtOption = None,
    scene: SceneOption = None,
    device: DeviceOption = None,
    place: PlaceOption = None,
    attribute: AttributeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find items for a shopper, with reasons.

    Examples:

      tasteprint recommend 1228 --workspace work/grocery

      tasteprint recommend 1228 -w work/grocery --query "dinner" --diversity 0.3 --json

      tasteprint recommend newcomer -w work/grocery --attribute age=25-34 --place 367
    """
    options = _options(k, (category, brand, price_min, price_max), weight, diversity, attribute, rules)
    _ask(workspace, user, query, (at, scene, device, place), options, as_json)


class _Options(TypedDict):
    """Options of `Engine.answer` as it names them."""

    k: int
    filters: Filters
    weights: Mapping[str, float] | None
    diversity: float
    attributes: Mapping[str, str] | None
    rules: RulesConfig | None


def _options(
    k: int,
    wanted: tuple[str | None, str | None, float | None, float | None],
    weight: list[str] | None,
    diversity: float,
    attribute: list[str] | None,
    rules: Path | None,
) -> _Options:
    from ..retrieval.rules import read_rules

    return {
        "k": k,
        "filters": filters_of(*wanted),
        "weights": weights_of(weight),
        "diversity": diversity,
        "attributes": attributes_of(attribute),
        "rules": None if rules is None else read_rules(rules),
    }


def _ask(
    workspace: Path,
    user: str | None,
    query: str | None,
    when: tuple[str | None, str | None, str | None, str | None],
    options: _Options,
    as_json: bool,
) -> None:
    from ..profiling.context import Context
    from ..workspace import open_workspace

    opened = open_workspace(workspace)
    at, scene, device, place = when
    context = Context(moment(at, opened.last_s + 1.0), scene=scene, device=device, place=place)
    answer = opened.engine.answer(user=user, query=query, context=context, **options)
    if as_json:
        typer.echo(json.dumps(answer.to_json(), ensure_ascii=False))
    else:
        show(answer)


def show(answer: Answer) -> None:
    """An answer as a table on stdout."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    if answer.intent is not None:
        console.print(Text(answer.intent.explain(), style="italic"))
    for said in answer.said:
        console.print(Text(said, style="dim"))
    show_items(answer.items)
    if answer.shortage:
        console.print(Text(answer.shortage, style="yellow"))


def show_items(items: Sequence[Recommendation]) -> None:
    """Items as a table on stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title, style in (("", "dim"), ("item", "bold"), ("score", "cyan"), ("why", "")):
        table.add_column(title, style=style, overflow="fold")
    for item in items:
        table.add_row(str(item.rank), Text(f"{item.title}\n{item.item_id}"), f"{item.score:.2f}", Text(item.sentence))
    Console().print(table)
