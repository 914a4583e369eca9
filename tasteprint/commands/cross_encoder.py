"""``tasteprint train cross-encoder``: train a network that reads query and item together, and measure it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from .options import JsonOption, SetOption
from .progress import steps


def cross_encoder(
    shop: Annotated[Path, typer.Argument(help="Folder of a shop in the data contract.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the run; an unfinished one is resumed.", show_default=False)
    ],
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="TOML file with the differences.", show_default=False)
    ] = None,
    exam: Annotated[
        str | None,
        typer.Option("--exam", help="Measure afterwards on judged queries: valid or test.", show_default=False),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", help="Folder of a vector cache. Default: cache beside the run.", show_default=False),
    ] = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a cross-encoder on a shop's judgements or clicks, and choose its weight beside a search on validation.

    OUT gets config.json, curve.csv, checkpoints/, cross_encoder/, result.json and report.html. Killed at any point,
    the same command goes on where it was. A finished run is not trained again: with --exam it is only measured.
    OUT/cross_encoder also serves as the teacher of 'tasteprint finetune' and of 'tasteprint label pseudo'.

    Examples:

      tasteprint train cross-encoder shops/hardware --out runs/cross-0

      tasteprint train cross-encoder shops/grocery --out runs/cross-1 --set negatives.kind=hard --set negatives.n=3

      tasteprint train cross-encoder shops/hardware --out runs/cross-0 --exam valid --json
    """
    from ..finetune.cross_encoder.config import CrossConfig, read_cross_config
    from ..finetune.cross_encoder.exam import examine_cross
    from ..finetune.cross_encoder.run import CROSS, train_cross_encoder
    from ..finetune.run_folder import read_outcome
    from ..profiling.errors import ConfigError
    from ..profiling.layers import read_layers
    from ..profiling.tables.shop import read_shop

    if exam not in (None, "valid", "test"):
        raise ConfigError(f"--exam: must be test or valid, got {exam!r}")
    tables, kept = read_shop(shop), cache or out.absolute().parent / "cache"
    done = exam is not None and (out / "result.json").is_file()
    settings = read_cross_config(out) if done else read_layers(CrossConfig, config, sets=sets or ()).settings
    found = None
    with steps(quiet=as_json) as say:
        if done:
            outcome = read_outcome(out)
        else:
            settings = settings.model_copy(update={"shop": str(shop)})
            outcome = train_cross_encoder(
                tables,
                settings,
                out,
                clock=time.perf_counter,
                cache=kept,
                progress=lambda what, step, n: say(what, step, n, None),
            )
        if exam is not None:
            say("measuring", 0, 1, None)
            stage: Literal["valid", "test"] = "valid" if exam == "valid" else "test"
            found = examine_cross(tables, settings, out / CROSS, stage=stage, cache=kept)
    if as_json:
        typer.echo(json.dumps(outcome.to_dict() | ({"exam": found.to_dict()} if found else {})))
        return
    typer.echo(f"{out / CROSS}: {outcome.steps:,} steps, best at {outcome.best_step:,}")
    for name, before in outcome.base.items():
        typer.echo(f"  {name:16} {before:.4f} -> {outcome.tuned[name]:.4f}  (base encoder -> cross-encoder)")
    if found is not None:
        typer.echo(found.as_markdown())
