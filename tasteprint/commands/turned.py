"""``tasteprint similar``, ``complements`` and ``audience``: ask a built workspace about an item."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .ask import show_items
from .options import (
    AtOption,
    BrandOption,
    CategoryOption,
    HighOption,
    JsonOption,
    KOption,
    LowOption,
    WorkspaceOption,
    attributes_of,
    filters_of,
    moment,
    weights_of,
)

if TYPE_CHECKING:
    from ..retrieval.audience import Wanting
    from ..retrieval.ranking import Recommendation

ItemArgument = Annotated[str, typer.Argument(help="Id of an item of the catalogue.", show_default=False)]


def similar(
    item: ItemArgument,
    workspace: WorkspaceOption,
    k: KOption = 10,
    category: CategoryOption = None,
    brand: BrandOption = None,
    price_min: LowOption = None,
    price_max: HighOption = None,
    weight: Annotated[
        list[str] | None, typer.Option("--weight", help="meaning=NUMBER or taste=NUMBER. Default: meaning=1.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find items like an item.

    Examples:

      tasteprint similar 1029743 --workspace work/grocery

      tasteprint similar 1029743 -w work/grocery --weight taste=1 --price-max 5 --json
    """
    from ..retrieval.similar import similar_items
    from ..workspace import open_workspace

    weights, filters = weights_of(weight), filters_of(category, brand, price_min, price_max)
    found = similar_items(open_workspace(workspace).engine, item, k=k, filters=filters, weights=weights)
    _tell(found, as_json, "Nothing may be shown.")


def complements(
    item: ItemArgument,
    workspace: WorkspaceOption,
    k: KOption = 10,
    category: CategoryOption = None,
    brand: BrandOption = None,
    price_min: LowOption = None,
    price_max: HighOption = None,
    window: Annotated[
        float, typer.Option("--window", min=0, help="Hours between two events that count as taken together.")
    ] = 1.0,
    as_json: JsonOption = False,
) -> None:
    """Find what is taken together with an item and is not like it.

    Examples:

      tasteprint complements 1029743 --workspace work/grocery

      tasteprint complements 1029743 -w work/grocery --window 24 --json
    """
    from ..retrieval.complements import ComplementsConfig
    from ..retrieval.complements import complements as find
    from ..workspace import open_workspace

    config, filters = ComplementsConfig(window_s=window * 3600.0), filters_of(category, brand, price_min, price_max)
    found = find(open_workspace(workspace).engine, item, k=k, filters=filters, config=config)
    _tell(found, as_json, "Nothing is surely taken together with it.")


def audience(
    item: ItemArgument,
    workspace: WorkspaceOption,
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="Shoppers wanted.")] = 100,
    owners: Annotated[bool, typer.Option("--owners", help="Also shoppers who took it before.")] = False,
    attribute: Annotated[
        list[str] | None, typer.Option("--attribute", help="NAME=VALUE that shoppers must have. Repeatable.")
    ] = None,
    activity: Annotated[
        float | None, typer.Option("--activity", help="Weight of how much a shopper does; 0 = of their taste alone.")
    ] = None,
    at: AtOption = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="CSV file for rank, user_id, score.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the shoppers who would want an item.

    Examples:

      tasteprint audience 1029743 --workspace work/grocery --k 500 --out audience.csv

      tasteprint audience 1029743 -w work/grocery --attribute age=25-34 --json
    """
    from ..retrieval.audience import ACTIVITY, fit_audience
    from ..workspace import open_workspace

    opened = open_workspace(workspace)
    weight = ACTIVITY if activity is None else activity
    asked = fit_audience(opened.engine, now_s=moment(at, opened.last_s + 1.0), activity=weight)
    found = asked.wanting(item, k=k, also_owners=owners, attributes=attributes_of(attribute))
    if out is not None:
        _write(out, found)
    if as_json:
        typer.echo(json.dumps([one.to_json() for one in found], ensure_ascii=False))
    elif out is not None:
        typer.echo(f"{len(found)} shoppers written to {out}")
    else:
        for one in found:
            parts = ", ".join(f"{name} {amount:+.2f}" for name, amount in one.parts)
            typer.echo(f"{one.rank:>4}  {one.user_id}  {one.score:.2f}  ({parts})")


def _write(path: Path, found: tuple[Wanting, ...]) -> None:
    """Rank, user and score of each shopper as CSV."""
    from ..profiling.errors import ConfigError

    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(("rank", "user_id", "score"))
            rows.writerows((one.rank, one.user_id, f"{one.score:.6g}") for one in found)
    except OSError as error:
        raise ConfigError(f"--out: {path} cannot be written: {error}") from error


def _tell(found: tuple[Recommendation, ...], as_json: bool, nothing: str) -> None:
    """Items as JSON or as lines for people."""
    if as_json:
        typer.echo(json.dumps([one.to_json() for one in found], ensure_ascii=False))
    elif found:
        show_items(found)
    else:
        typer.echo(nothing)
