"""The command line. Wires commands to functions in `commands`; every heavy import waits until a command runs."""

from __future__ import annotations

import sys

import typer

from .commands import (
    ask,
    bench,
    build,
    curves,
    data,
    distil,
    doctor,
    embed,
    evaluate,
    finetune,
    heads,
    index,
    ingest,
    intent,
    items,
    label,
    live,
    load,
    profile,
    serve,
    settings,
    smaller,
    train,
    turned,
)
from .commands import demo as demo_command
from .profiling.errors import TasteprintError

app = typer.Typer(
    name="tasteprint",
    help="Open semantic profiling for e-commerce: reads what shoppers mean and finds the items that match.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command("demo")(demo_command.demo)
app.command("import")(data.import_)
app.command("validate")(data.validate)
app.command("embed")(embed.embed)
app.command("distil")(distil.distil)
app.command("frontier")(smaller.frontier)
app.command("build")(build.build)
app.command("search")(ask.search)
app.command("recommend")(ask.recommend)
app.command("similar")(turned.similar)
app.command("complements")(turned.complements)
app.command("audience")(turned.audience)
app.command("profile")(profile.profile)
app.command("intent")(intent.intent)
app.command("heads")(heads.heads)
app.command("serve")(serve.serve)
app.command("serve-key")(serve.serve_key)
app.command("ingest")(ingest.ingest)
app.command("forget")(live.forget)
app.command("verify-store")(live.verify_store)
app.command("load")(load.load)
app.command("evaluate")(evaluate.evaluate)
app.command("curves")(curves.curves)
app.add_typer(items.app, name="items")
app.add_typer(index.app, name="index")
app.add_typer(train.app, name="train")
app.add_typer(finetune.app, name="finetune")
app.add_typer(label.app, name="label")
app.add_typer(bench.app, name="bench")
bench.app.command("index")(index.bench_index_command)
app.command("config")(settings.config)
app.command("doctor")(doctor.doctor)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and stop.", is_eager=True),
) -> None:
    """Open semantic profiling for e-commerce: reads what shoppers mean and finds the items that match."""
    if version:
        from . import __version__

        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; errors a user can mend are one line on stderr and exit code 1."""
    try:
        app()
    except TasteprintError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
