"""``tasteprint finetune``: train an encoder for a shop, measure it on judged queries, compare runs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from .options import JsonOption, SetOption
from .progress import steps

if TYPE_CHECKING:
    from ..finetune.run import Outcome
    from ..finetune.train_config import FinetuneConfig


class _RunByDefault(TyperGroup):
    """``finetune CONFIG.toml`` is ``finetune run CONFIG.toml``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            args = ["run", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=_RunByDefault, no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def finetune() -> None:
    """Fine-tune the encoder for a shop: train an adapter, measure it on judged queries, compare runs.

    A configuration without a command is a run: 'finetune CONFIG.toml' is 'finetune run CONFIG.toml'.

    Examples:

      tasteprint finetune configs/finetune/judged.toml --shop shops/hardware --out runs/lora-0

      tasteprint finetune exam runs/lora-0 --json

      tasteprint finetune compare runs/lora-0 runs/lora-1 runs/full-0 --out reports/compare
    """


CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder of a vector cache. Default: cache beside the run.", show_default=False),
]


@app.command("run")
def run(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the run; an unfinished one is resumed.", show_default=False)
    ],
    config: Annotated[
        Path | None, typer.Argument(help="TOML file of the experiment; default: all defaults.", show_default=False)
    ] = None,
    shop: Annotated[
        Path | None, typer.Option("--shop", help="Folder of a shop, instead of the file's.", show_default=False)
    ] = None,
    exam: Annotated[
        str | None,
        typer.Option("--exam", help="Measure afterwards on judged queries: valid or test.", show_default=False),
    ] = None,
    cache: CacheOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train an adapter for a shop's encoder, keep the best state, and save it so that it cannot be silently ignored.

    RUN gets config.json, curve.csv, checkpoints/, adapter/, result.json and report.html. Killed at any point, the same
    command goes on where it was and ends with the same weights. Use the result as encoder.adapter=RUN/adapter.

    Examples:

      tasteprint finetune configs/finetune/judged.toml --shop shops/hardware --out runs/lora-0

      tasteprint finetune configs/finetune/judged.toml --shop shops/hardware --out runs/lora-1 --set train.seed=1

      tasteprint build shops/hardware --set encoder.adapter=runs/lora-0/adapter
    """
    from ..finetune.run import run as train
    from ..finetune.train_config import read_config
    from ..profiling.errors import ConfigError
    from ..profiling.tables.shop import read_shop

    stage = _stage(exam) if exam else None
    settings = read_config(config, sets=sets or ())
    if shop is not None:
        settings = settings.model_copy(update={"shop": str(shop)})
    if settings.shop is None:
        raise ConfigError('shop: none is named; add shop = "FOLDER" to the configuration or give --shop')
    tables = read_shop(settings.shop)
    with steps(quiet=as_json) as say:
        outcome = train(
            tables, settings, out, clock=time.perf_counter, progress=lambda what, done, n: say(what, done, n, None)
        )
    if as_json:
        typer.echo(json.dumps(outcome.to_dict()))
    else:
        _show(outcome)
    if stage:
        _examine(out, settings, stage, cache, as_json)


@app.command("exam")
def exam(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.", show_default=False)],
    stage: Annotated[str, typer.Option("--stage", help="test to report, valid while working.")] = "test",
    shop: Annotated[
        Path | None, typer.Option("--shop", help="Folder of the shop, where it has moved.", show_default=False)
    ] = None,
    cache: CacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a run's encoder on a shop's judged queries beside its base and BM25, over the whole catalogue.

    Examples:

      tasteprint finetune exam runs/lora-0

      tasteprint finetune exam runs/lora-0 --stage valid --json
    """
    from ..finetune.run import read_run_config

    settings = read_run_config(run_folder)
    if shop is not None:
        settings = settings.model_copy(update={"shop": str(shop)})
    _examine(run_folder, settings, _stage(stage), cache, as_json)


@app.command("compare")
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for compare.html, .md and .json.", show_default=False),
    ] = None,
    stage: Annotated[str, typer.Option("--stage", help="Measurements compared: test or valid.")] = "test",
    as_json: JsonOption = False,
) -> None:
    """Compare runs: seeds of one configuration are one arm, arms are tested against the first one, paired by query.

    Examples:

      tasteprint finetune compare runs/lora-0 runs/lora-1 runs/full-0 runs/full-1 --out reports/compare
    """
    from ..finetune.compare import as_json as to_json
    from ..finetune.compare import as_markdown, compare_runs, comparison_page
    from ..profiling.files import write_whole

    found = compare_runs(runs, stage=_stage(stage))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / "compare.html", comparison_page(found).encode())
        write_whole(out / "compare.md", as_markdown(found).encode())
        write_whole(out / "compare.json", json.dumps(to_json(found), indent=2).encode())
    typer.echo(json.dumps(to_json(found)) if as_json else as_markdown(found))


def _examine(
    folder: Path, settings: FinetuneConfig, stage: Literal["valid", "test"], cache: Path | None, as_json: bool
) -> None:
    """Measure a run and keep the figures in its folder."""
    from ..evaluation.results import as_json as to_json
    from ..evaluation.results import as_markdown
    from ..finetune.compare import EXAM
    from ..finetune.exam import examine, write_exam
    from ..profiling.errors import ConfigError
    from ..profiling.tables.shop import read_shop

    if settings.shop is None:
        raise ConfigError("shop: the run names none; give --shop")
    kept = cache or folder.absolute().parent / "cache"
    with steps(quiet=as_json) as say:
        found = examine(
            read_shop(settings.shop),
            settings,
            folder / "adapter",
            stage=stage,
            cache=kept,
            progress=lambda what, done, n: say(what, done, n, None),
        )
    write_exam(found, folder / EXAM / stage)
    if as_json:
        typer.echo(json.dumps({name: to_json(one) for name, one in found.items()}))
    else:
        typer.echo("\n".join(as_markdown(one) for one in found.values()))


def _stage(stage: str) -> Literal["valid", "test"]:
    from ..profiling.errors import ConfigError

    if stage not in ("valid", "test"):
        raise ConfigError(f"stage: must be test or valid, got {stage!r}")
    return "valid" if stage == "valid" else "test"


def _show(outcome: Outcome) -> None:
    """What a run gave, for people."""
    share = 100 * outcome.trained / max(outcome.parameters, 1)
    typer.echo(
        f"trained {outcome.trained:,} of {outcome.parameters:,} parameters ({share:.2f} %) in {outcome.steps:,} steps"
    )
    for key, before in outcome.base.items():
        after = outcome.tuned[key]
        typer.echo(f"  {key:16} {before:.4f} -> {after:.4f}  ({after - before:+.4f})")
    typer.echo(f"Held-out figures; best state at step {outcome.best_step:,}. Adapter: {outcome.folder}/adapter")
