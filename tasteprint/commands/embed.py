"""``tasteprint embed``: vectors of a shop's catalogue, computed once and published as a stamped artefact."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import ConfigOption, JsonOption, SetOption

if TYPE_CHECKING:
    from ..profiling.embeddings import Progress


def embed(
    shop: Annotated[Path, typer.Argument(help="Folder of a shop in the data contract.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the embeddings.", show_default=False)],
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", help="Package, checkpoint folder, hub name or hash:DIM.", show_default=False),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", help="Folder of the vector cache; default: OUT/cache.", show_default=False),
    ] = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Embed a shop's catalogue; texts embedded before are not embedded again.

    The folder OUT holds the item ids and their vectors under the stamp of the encoder and the item template. A run that
    was interrupted goes on where it stopped.

    Examples:

      tasteprint embed shops/grocery --out work/embeddings

      tasteprint embed shops/grocery --out work/embeddings --encoder hash:64 --json
    """
    from ..config import load_settings
    from ..profiling.embeddings import embed_items, save_embeddings
    from ..profiling.encoder import open_encoder
    from ..profiling.shop import read_shop

    named = [] if encoder is None else [f"encoder.name={json.dumps(encoder)}"]
    settings = load_settings(config, sets=[*(sets or ()), *named]).settings
    items = read_shop(shop, tables=["items"]).table("items")
    opened = open_encoder(settings.encoder)
    with _progress(quiet=as_json) as (report, run):
        made = embed_items(items, opened, settings.template, cache or out / "cache", progress=report)
    digest = save_embeddings(made, out, inputs={"items": _sha256(shop / "items.parquet")})
    if as_json:
        stamp = made.stamp.to_dict() | {"digest": made.stamp.digest}
        about = {"shop": str(shop), "out": str(out), "items": len(items), "dim": opened.dim, "digest": digest}
        typer.echo(json.dumps(about | run | {"stamp": stamp}))
        return
    rate = f" at {run['texts_per_s']:,.0f} texts/s" if run["encoded_texts"] else ""
    typer.echo(f"{out}: {len(items):,} items, {run['encoded_texts']:,.0f} texts encoded{rate}, {opened.dim} dimensions")
    typer.echo(f"encoder {made.stamp}")


@contextmanager
def _progress(*, quiet: bool) -> Iterator[tuple[Progress, dict[str, float]]]:
    """A function that draws a bar with texts a second on stderr, and what it counted."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    run = {"encoded_texts": 0, "encode_s": 0.0, "texts_per_s": 0.0}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr, quiet=quiet)) as bar:
        task = bar.add_task("Embedding items", total=None, rate="")

        def report(done: int, total: int) -> None:
            took = bar.tasks[task].elapsed or 0.0
            rate = done / took if took else 0.0
            run.update(encoded_texts=total, encode_s=round(took, 3), texts_per_s=round(rate, 1))
            bar.update(task, completed=done, total=total, rate=f"{rate:,.0f} texts/s" if done else "")

        yield report, run


def _sha256(file: Path) -> str:
    """sha256 of a file's content."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
