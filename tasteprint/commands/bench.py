"""``tasteprint bench``: what this machine makes of each part, against its own measured limits and what others use."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import ConfigOption, JsonOption, SetOption

if TYPE_CHECKING:
    from ..bench.encoder import BenchResult, BenchRow

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_PAUSE_S = 0.05
_QUICK = {"texts": 48, "rounds": 3, "queries": 20, "calibration": 32}
_FULL = {"texts": 512, "rounds": 5, "queries": 200, "calibration": 192}


@app.callback()
def bench() -> None:
    """Time parts of Tasteprint on this machine, in turn with what they are compared to.

    Examples:

      tasteprint bench encoder --quick

      tasteprint bench encoder --shop shops/grocery --json
    """


@app.command("encoder")
def encoder(
    shop: Annotated[
        Path | None,
        typer.Option("--shop", help="Shop whose item texts and queries are used; default: generated texts."),
    ] = None,
    runtimes: Annotated[
        str | None,
        typer.Option("--runtimes", help="Comma-separated names; default: all that are worth running here."),
    ] = None,
    texts: Annotated[int | None, typer.Option("--texts", min=2, help="Item texts in a round; default: 512.")] = None,
    rounds: Annotated[int | None, typer.Option("--rounds", min=1, help="Timed rounds; default: 5.")] = None,
    queries: Annotated[int | None, typer.Option("--queries", min=0, help="Single queries; default: 200.")] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Few texts and runtimes, int8 hardly calibrated: about a minute on two slow cores."
        ),
    ] = False,
    static: Annotated[
        Path | None, typer.Option("--static", help="Static encoder made by 'tasteprint distil', to time as well.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="Package, checkpoint folder or hub name.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Chooses the texts.")] = 0,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Time each way to run the encoder, beside sentence-transformers, on the same texts.

    All run in turn, round by round, so a slow minute hits all alike; ratios are taken inside each round. The share of
    peak compares the arithmetic a runtime needs with the machine's own fastest matrix products in the same precision.
    Fidelity is measured on the timed texts, against our fp32.

    Runtimes: sentence-transformers sentence-transformers-best torch-fp32 torch-bf16 openvino-fp32 openvino-bf16
    openvino-int8 onnx-fp32 onnx-int8 static configured.

    Examples:

      tasteprint bench encoder --quick

      tasteprint bench encoder --shop shops/grocery --rounds 7 --json

      tasteprint bench encoder --runtimes sentence-transformers,torch-fp32 --texts 128
    """
    import time

    import numpy as np

    from ..bench.contenders import worth_timing
    from ..bench.encoder import bench_encoder
    from ..bench.texts import bench_texts
    from ..config import load_settings

    named = [] if encoder is None else [f"encoder.name={json.dumps(encoder)}"]
    settings = load_settings(config, sets=[*(sets or ()), *named]).settings
    sizes = _QUICK if quick else _FULL
    read = bench_texts(
        shop,
        sizes["texts"] if texts is None else texts,
        n_others=sizes["calibration"],
        n_queries=2 * (sizes["queries"] if queries is None else queries),  # some are too long
        template=settings.template,
        rng=np.random.default_rng(seed),
    )
    asked = [name.strip() for name in (runtimes or "").split(",") if name.strip()]
    with _telling(quiet=as_json) as tell, tempfile.TemporaryDirectory(prefix="tasteprint-bench-") as work:
        result = bench_encoder(
            settings.encoder,
            read,
            Path(work),
            names=asked or worth_timing(settings.encoder, quick=quick),
            rounds=sizes["rounds"] if rounds is None else rounds,
            n_queries=sizes["queries"] if queries is None else queries,
            clock=time.perf_counter,
            pause=lambda: time.sleep(_PAUSE_S),
            static=static,
            peak_s=0.05 if quick else 0.5,
            forced=bool(asked),
            rough=quick,
            tell=tell,
        )
    if as_json:
        typer.echo(json.dumps(result.to_dict()))
    else:
        _show(result)


@contextmanager
def _telling(*, quiet: bool) -> Iterator[Callable[[str], object]]:
    """A function that says on stderr what is being done, in one line."""
    from rich.console import Console

    with Console(file=sys.stderr, quiet=quiet).status("starting") as status:
        yield status.update


def _show(result: BenchResult) -> None:
    """The table, in Markdown so that it can be kept as it is, and what it was measured on."""
    for peak in result.peaks:
        typer.echo(
            f"{peak.device} {peak.precision}: {peak.flops_per_s / 1e9:,.0f} GFLOP/s in matrix products "
            f"({peak.by}, {peak.rows:,} tokens at a time)"
        )
    typer.echo()
    timed = [row for row in result.rows if not row.absent]
    for line in _markdown([_HEADS, *map(_cells, timed)]):
        typer.echo(line)
    typer.echo()
    for row in result.rows:
        if row.absent or row.settings:
            typer.echo(f"{row.runtime}: {row.absent or row.settings}")
    mean = f", {result.n_tokens / result.n_texts:.1f} tokens each" if result.n_tokens else ""
    typer.echo(
        f"\n{result.n_texts:,} {result.source}{mean}; {len(timed[0].seconds)} rounds in turn, medians (lowest "
        f"to highest) against {result.against}; {result.n_queries} queries one at a time"
    )


_HEADS = (
    "runtime", "times faster", "texts/s", "tokens/s", "of peak", "cosine", "lowest", "top-10", "with ties",
    "query ms", "p99",
)  # fmt: skip


def _cells(row: BenchRow) -> tuple[str, ...]:
    """One row in words; a dash where there is no figure."""
    ratio, near, query = row.ratio, row.fidelity, row.query_ms
    return (
        row.runtime,
        f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})" if ratio else "-",
        _number(row.texts_per_s, ",.0f"),
        _number(row.tokens_per_s, ",.0f"),
        _number(row.share, ".0%"),
        _number(near.cosine_mean if near else None, ".5f"),
        _number(near.cosine_min if near else None, ".4f"),
        _number(near.overlap if near else None, ".3f"),
        _number(near.overlap_ties if near else None, ".3f"),
        _number(query[0] if query else None, ".2f"),
        _number(query[1] if query else None, ".2f"),
    )


def _number(value: float | None, how: str) -> str:
    """A number in words, a dash for none."""
    return "-" if value is None else format(value, how)


def _markdown(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a table, its first row the heads, the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        cells = [
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield f"| {' | '.join(cells)} |"
        if not number:
            yield "|" + "|".join("-" * (width + 1) + (":" if at else "-") for at, width in enumerate(widths)) + "|"
