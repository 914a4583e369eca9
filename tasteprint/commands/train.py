"""``tasteprint train``: models of a shop's own, trained ahead of building its workspace."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from .cross_encoder import cross_encoder
from .options import ConfigOption, JsonOption, SetOption, WorkspaceOption
from .progress import steps

ShopArgument = Annotated[Path, typer.Argument(help="Folder of a shop in the data contract.", show_default=False)]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything that is drawn.")]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def train() -> None:
    """Train models of a shop's own on its events and judgements; the next build uses them.

    Examples:

      tasteprint train taste shops/grocery --workspace work/grocery --minutes 20

      tasteprint train ranker shops/grocery --workspace work/grocery

      tasteprint build shops/grocery --workspace work/grocery

      tasteprint train cross-encoder shops/hardware --out runs/cross-0 --json
    """


@app.command("taste")
def taste(
    shop: ShopArgument,
    workspace: WorkspaceOption,
    minutes: Annotated[
        float, typer.Option("--minutes", min=0.01, help="Time for training; validation may end it sooner.")
    ] = 20.0,
    config: ConfigOption = None,
    sets: SetOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Train the taste model: a small causal transformer over what shoppers did, whose items are text, words and ids.

    How long it trains is chosen on the shop's own validation requests; then it trains as long on everything. Killed at
    any point, the same command goes on where it was. The next build adds it to every profile as 'taste_learned'.

    Examples:

      tasteprint train taste shops/grocery --workspace work/grocery --minutes 20

      tasteprint train taste shops/grocery -w work/grocery --set taste.width=64 --json
    """
    from ..config import load_settings
    from ..training import train_workspace_taste

    settings = load_settings(config, sets=sets or ()).settings
    with steps(quiet=as_json) as say:
        about = train_workspace_taste(
            shop, workspace, settings, minutes=minutes, clock=time.perf_counter, seed=seed, say=say
        )
    if as_json:
        typer.echo(json.dumps(about))
        return
    typer.echo(
        f"taste model: {about['taste_epochs']} epochs, NDCG@10 {about['taste_ndcg']:.4f} alone on {about['protocol']} "
        f"validation. Build to use it: tasteprint build {shop} --workspace {workspace}"
    )


@app.command("fusion")
def fusion(
    shop: ShopArgument,
    workspace: WorkspaceOption,
    config: ConfigOption = None,
    sets: SetOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Choose how much each part of the profile counts, on the shop's own validation requests, and keep it.

    Builds then use these weights and settings as they are, which is quicker; without this command each build chooses
    anew. Train a taste model first where one is wanted: weights are chosen with it.

    Examples:

      tasteprint train fusion shops/grocery --workspace work/grocery
    """
    from ..config import load_settings
    from ..training import train_workspace_fusion

    settings = load_settings(config, sets=sets or ()).settings
    with steps(quiet=as_json) as say:
        about = train_workspace_fusion(shop, workspace, settings, seed=seed, say=say)
    if as_json:
        typer.echo(json.dumps(about))
        return
    for protocol, reached in about["protocols"].items():
        weights = ", ".join(f"{name} {weight:g}" for name, weight in reached["weights"].items() if weight)
        typer.echo(f"{protocol}: validation NDCG@10 {reached['ndcg@10']:.4f}; {weights}")


@app.command("ranker")
def ranker(
    shop: ShopArgument,
    workspace: WorkspaceOption,
    config: ConfigOption = None,
    sets: SetOption = None,
    impressions: Annotated[
        str | None,
        typer.Option(
            "--impressions",
            help="Profile store of the service: learn from what shoppers chose of what it showed them. Default: from "
            "the shop's validation requests.",
            metavar="ADDRESS",
        ),
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Learn the second stage that orders the best candidates anew, and keep it; it is used only where it wins.

    It learns on the candidates of the trained fusion, which is chosen first where there is none.

    Examples:

      tasteprint train ranker shops/grocery --workspace work/grocery

      tasteprint train ranker shops/grocery -w work/grocery --set ranking.regime=train

      tasteprint train ranker shops/grocery -w work/grocery --impressions work/grocery/store.sqlite
    """
    from ..config import load_settings
    from ..training import train_workspace_ranker

    settings = load_settings(config, sets=sets or ()).settings
    with steps(quiet=as_json) as say:
        about = train_workspace_ranker(shop, workspace, settings, impressions=impressions, seed=seed, say=say)
    if as_json:
        typer.echo(json.dumps(about))
        return
    for protocol, said in about["protocols"].items():
        typer.echo(f"{protocol}: " + ", ".join(f"{name} {value}" for name, value in said.items()))


app.command("cross-encoder")(cross_encoder)
