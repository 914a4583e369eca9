"""``tasteprint build``: make a shop ready to be asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .options import ConfigOption, JsonOption, SetOption, WorkspaceOption


def build(
    shop: Annotated[Path, typer.Argument(help="Folder of a shop in the data contract.", show_default=False)],
    workspace: WorkspaceOption,
    config: ConfigOption = None,
    sets: SetOption = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of everything that is drawn.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Embed the catalogue, learn weights on the shop's own validation data, index, and publish.

    Building again with the same shop and settings does nothing; new texts only are encoded.

    Examples:

      tasteprint build shops/grocery --workspace work/grocery

      tasteprint build shops/grocery -w work/grocery --set encoder.name=hash:64
    """
    from ..building import build_workspace
    from ..config import load_settings
    from .progress import steps

    settings = load_settings(config, sets=sets or ()).settings
    with steps(quiet=as_json) as say:
        built = build_workspace(shop, workspace, settings, seed=seed, say=say)
    if as_json:
        typer.echo(json.dumps({"workspace": str(built.path), "fresh": built.fresh} | built.about))
        return
    about = built.about
    state = "built" if built.fresh else "up to date"
    typer.echo(
        f"{built.path}: {state}; {about['items']:,} items, {about['events']:,} events, {about['shoppers']:,} shoppers"
    )
    typer.echo("weights: " + ", ".join(f"{name} {weight:g}" for name, weight in about["weights"].items()))
    for protocol, found in about.get("validation", {}).items():
        best = max(found["single"].items(), key=lambda pair: pair[1])
        typer.echo(f"{protocol}: validation NDCG@10 {found['ndcg@10']:.4f}; best part alone: {best[0]} {best[1]:.4f}")
    if index := about.get("index"):
        recall = "".join(f", recall of {mix} {found:.3f}" for mix, found in index.get("recall", {}).items())
        typer.echo(f"index: {index['kind']} over {index['texts']:,} distinct texts{recall}")
