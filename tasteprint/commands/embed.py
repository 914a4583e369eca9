"""``tasteprint embed``: vectors of a shop's catalogue, computed once and published as stamped shards."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import ConfigOption, JsonOption, SetOption
from .progress import Say, steps

if TYPE_CHECKING:
    from ..profiling.embedding.run import EmbedReport


class Where(StrEnum):
    """What encodes."""

    LOCAL = "local"
    RAY = "ray"


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
    on: Annotated[Where, typer.Option("--on", help="Encode in this process, or on Ray.")] = Where.LOCAL,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Ray actors; default: one a GPU, or one a CPU.", show_default=False),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", help="Ray cluster to join; default: one on this machine.", show_default=False),
    ] = None,
    chunk: Annotated[
        int | None,
        typer.Option(
            "--chunk", min=1, max=1 << 14, help="Texts encoded and kept together; default: as fits.", show_default=False
        ),
    ] = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Embed a shop's catalogue; texts embedded before are not embedded again.

    The folder OUT holds item ids and vectors in shards, under one manifest with the stamp of the encoder and the item
    template and a checksum of every file. A run that was interrupted, even killed, goes on where it stopped, and its
    result is the same to the last byte. Memory does not grow with the texts.

    Examples:

      tasteprint embed shops/grocery --out work/embeddings

      tasteprint embed shops/grocery --out work/embeddings --encoder hash:64 --json

      tasteprint embed shops/grocery --out work/embeddings --on ray --workers 2
    """
    from ..config import load_settings
    from ..profiling.embedding.plan import EmbedConfig
    from ..profiling.embedding.ready import ready_encoder
    from ..profiling.embedding.run import embed_shop, encode_here
    from ..profiling.errors import ConfigError

    if on is Where.LOCAL and (workers or address):
        raise ConfigError("--workers and --address say how to use Ray; add --on ray, or leave them out")
    named = [] if encoder is None else [f"encoder.name={json.dumps(encoder)}"]
    settings = load_settings(config, sets=[*(sets or ()), *named]).settings
    began_s = time.monotonic()
    with steps(quiet=as_json) as say:
        timed = _Timed(say)
        ready = ready_encoder(
            settings.encoder, shop / "items.parquet", cache or out / "cache", settings.template, tell=timed
        )
        if on is Where.RAY:
            from ..profiling.embedding.on_ray import encode_on_ray

            encode = encode_on_ray(ready.opener, ready.encoder.stamp.digest, workers=workers, address=address)
        else:
            encode = encode_here(ready.encoder)
        fidelity = None if ready.fidelity is None else ready.fidelity.to_dict()
        sizes = EmbedConfig(chunk_texts=chunk)
        report = embed_shop(
            shop,
            out,
            ready.encoder,
            settings.template,
            cache,
            config=sizes,
            encode=encode,
            fidelity=fidelity,
            tell=timed,
        )
    run = {"took_s": round(time.monotonic() - began_s, 3), **timed.figures(report.n_encoded)}
    if as_json:
        stamp = report.stamp.to_dict() | {"digest": report.stamp.digest}
        about = _about(shop, out, report, ready.encoder.dim)
        typer.echo(json.dumps(about | run | {"fidelity": fidelity, "stamp": stamp}))
        return
    typer.echo(_words(out, report, run, ready.encoder.dim))
    if ready.fidelity is not None:
        typer.echo(f"against fp32: {ready.fidelity}")
    typer.echo(f"encoder {report.stamp}")


def _about(shop: Path, out: Path, report: EmbedReport, dim: int) -> dict[str, Any]:
    """What JSON output says of a run."""
    return {
        "shop": str(shop),
        "out": str(out),
        "items": report.n_items,
        "texts": report.n_texts,
        "encoded_texts": report.n_encoded,
        "resumed_texts": report.n_resumed,
        "up_to_date": report.up_to_date,
        "shards": report.n_shards,
        "dim": dim,
        "digest": report.digest,
    }


def _words(out: Path, report: EmbedReport, run: Mapping[str, float], dim: int) -> str:
    """What a person is told of a run."""
    size = f"{report.n_items:,} items, {dim} dimensions, shards: {report.n_shards}"
    if report.up_to_date:
        return f"{out}: up to date, nothing to do; {size}"
    tokens = f" and {run['tokens_per_s']:,.0f} tokens/s" if run["tokens_per_s"] else ""
    rate = f" at {run['texts_per_s']:,.0f} texts/s{tokens}" if report.n_encoded else ""
    before = f", {report.n_resumed:,} by the run that was interrupted" if report.n_resumed else ""
    return f"{out}: {report.n_encoded:,} texts encoded{rate}{before}; {size}"


class _Timed:
    """Passes progress on, and times the encoding."""

    def __init__(self, say: Say) -> None:
        self._say, self._first_s, self._last_s = say, 0.0, 0.0
        self._tokens = 0

    def __call__(self, what: str, done: int, total: int, counts: Mapping[str, int] | None = None) -> None:
        if counts is not None:
            self._last_s = time.monotonic()
            self._first_s = self._first_s or self._last_s
            self._tokens = counts.get("tokens", 0)
        self._say(what, done, total, counts)

    def figures(self, n_texts: int) -> dict[str, float]:
        """Seconds of encoding, texts and tokens a second, the loading of the model included; 0 where not known."""
        took_s = self._last_s - self._first_s
        rates = {"texts_per_s": n_texts, "tokens_per_s": self._tokens}
        return {"encode_s": round(took_s, 3)} | {n: round(c / took_s, 1) if took_s else 0.0 for n, c in rates.items()}
