"""``tasteprint embed``: vectors of a shop's catalogue, computed once and published as a stamped artefact."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..profiling.embeddings import Progress


def embed(
    shop: Annotated[Path, typer.Argument(help="Folder of a shop in the data contract.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the embeddings.", show_default=False)],
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder", help="Installed package, checkpoint folder, hub name, or hash:DIM.", show_default=False
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache", help="Folder of the vector cache; shared by all runs. Default: OUT/cache.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of words.")] = False,
) -> None:
    """Embed a shop's catalogue; texts embedded before are not embedded again.

    The folder OUT holds the item ids and their vectors under the stamp of the encoder and the item template. A run that
    was interrupted goes on where it stopped.

    Examples:

      tasteprint embed shops/grocery --out work/embeddings

      tasteprint embed shops/grocery --out work/embeddings --encoder hash:64 --json
    """
    from ..profiling.embeddings import embed_items, save_embeddings
    from ..profiling.encoder import EncoderConfig, open_encoder
    from ..profiling.shop import read_shop

    items = read_shop(shop, tables=["items"]).table("items")
    opened = open_encoder(EncoderConfig() if encoder is None else EncoderConfig(name=encoder))
    with _progress() as (report, run):
        embeddings = embed_items(items, opened, cache_dir=cache or out / "cache", progress=report)
    digest = save_embeddings(embeddings, out, inputs={"items": _sha256(shop / "items.parquet")})
    said = {
        "shop": str(shop),
        "out": str(out),
        "items": len(items),
        "encoded_texts": run["total"],
        "encode_s": round(run["elapsed_s"], 3),
        "dim": opened.dim,
        "stamp": embeddings.stamp.to_dict() | {"digest": embeddings.stamp.digest},
        "digest": digest,
    }
    if as_json:
        typer.echo(json.dumps(said))
        return
    rate = f" in {run['elapsed_s']:.1f} s" if run["total"] else ""
    typer.echo(f"{len(items):,} items, {run['total']:,} new texts encoded{rate}, {opened.dim} dimensions: {out}")
    typer.echo(f"encoder {embeddings.stamp}")


@contextmanager
def _progress() -> Iterator[tuple[Progress, dict[str, Any]]]:
    """A progress bar on stderr with texts a second; what it counted is in the dictionary."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Texts a second."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f} texts/s")

    run: dict[str, Any] = {"total": 0, "elapsed_s": 0.0}
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn()]
    with Progress(*columns, console=Console(file=sys.stderr)) as bar:
        task = bar.add_task("Encoding", total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)
            run.update(total=total, elapsed_s=bar.tasks[0].elapsed or 0.0)

        yield report, run


def _sha256(file: Path) -> str:
    """sha256 of a file's content."""
    import hashlib

    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
