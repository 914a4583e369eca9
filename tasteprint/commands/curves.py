"""``tasteprint curves``: quality against the number of events, staleness and how much is known of an item."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .options import JsonOption
from .progress import steps

if TYPE_CHECKING:
    from ..evaluation.curve_run import Curves


def curves(
    shop: Annotated[Path, typer.Argument(help="Folder of a shop in the data contract.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.", show_default=False)],
    kinds: Annotated[
        str | None,
        typer.Option("--kinds", "-k", help="Comma-separated curves. Default: all.", show_default=False),
    ] = None,
    methods: Annotated[
        str, typer.Option("--methods", "-m", help="Comma-separated methods; segments is popularity by attributes.")
    ] = "popular,segments,own-most-bought,transitions,tasteprint",
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            "-p",
            help="time_split or leave_one_out. Default: time_split where the shop's times allow it.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="test to report, valid while working.")] = "test",
    only_new: Annotated[
        bool, typer.Option("--only-new", help="Remove repeat purchases: only items new to the shopper count.")
    ] = False,
    metric: Annotated[str, typer.Option("--metric", help="ndcg@10, recall@10, recall@100, mrr@10...")] = "ndcg@10",
    against: Annotated[str, typer.Option("--against", help="Method the others are tested against.")] = "popular",
    requests: Annotated[
        int, typer.Option("--requests", min=30, help="Requests measured at most, drawn once at random.")
    ] = 3000,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder", help="Installed package, checkpoint folder, hub name, hash:DIM, or none.", show_default=False
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", help="Folder of the vector cache. Default: cache beside OUT.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of every draw.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Measure quality against how much is known of shopper and item, with paired intervals.

    Curves: history (newest 0, 1, 2 ... events kept of shoppers who have more), shoppers (events they really have),
    staleness (profiles rebuilt at every event, hourly, daily, weekly), items (training events of the right item; 0 =
    new items, found by their text). A star marks a difference to --against beyond chance; for staleness, to every
    event. OUT gets curves.json, curves.csv, curves.md and curves.html.

    Examples:

      tasteprint curves shops/grocery --out results/curves

      tasteprint curves shops/grocery --out results/new --kinds history,items --only-new --json

      tasteprint curves shops/beauty -m popular,item-knn,tasteprint --split valid --out results/look
    """
    import time

    from ..evaluation.curve_run import run_curves
    from ..evaluation.protocol import Options
    from ..profiling.errors import ConfigError
    from ..profiling.tables.shop import read_shop
    from .evaluate import embedded

    if split not in ("valid", "test"):
        raise ConfigError(f"--split: must be test or valid, got {split!r}")
    stage: Literal["valid", "test"] = "valid" if split == "valid" else "test"
    tables = read_shop(shop)
    names = _names(methods) or []
    vectors_in = cache or out.absolute().parent / "cache"
    with steps(quiet=as_json) as say:

        def tell(what: str, done: int, of: int) -> None:
            say(what, done, of)

        opened, vectors = embedded(tables, names, encoder, vectors_in, tell)
        found = run_curves(
            tables,
            names,
            _names(kinds),
            protocol=protocol,
            options=Options(stage=stage, only_new=only_new, sample=requests),
            metric=metric,
            against=against,
            encoder=opened,
            vectors=vectors,
            seed=seed,
            clock=time.perf_counter,
            models=vectors_in / "models",
            progress=tell,
        )
    said = _written(found, out)
    if as_json:
        typer.echo(said)
        return
    from ..evaluation.curve_page import curve_table

    typer.echo(curve_table(found.points))
    typer.echo(f"Written to {out}")


def _names(text: str | None) -> list[str] | None:
    """Names separated by commas, None where there are none."""
    return [name.strip() for name in (text or "").split(",") if name.strip()] or None


def _written(found: Curves, out: Path) -> str:
    """Write every form of the curves into ``out``; the JSON."""
    from ..evaluation.curve_page import curve_frame, curve_table, curves_html

    frame = curve_frame(found.points)
    rows = json.loads(frame.to_json(orient="records"))  # NaN becomes null
    about = {"shop": found.shop, "protocol": found.protocol, "metric": found.metric}
    said = json.dumps({**about, "points": rows, "notes": list(found.notes)}, indent=1, ensure_ascii=False)
    out.mkdir(parents=True, exist_ok=True)
    (out / "curves.csv").write_text(frame.to_csv(index=False), encoding="utf-8")
    (out / "curves.md").write_text(curve_table(found.points), encoding="utf-8")
    (out / "curves.html").write_text(curves_html(found.shop, found.metric, found.points, found.notes), encoding="utf-8")
    (out / "curves.json").write_text(said + "\n", encoding="utf-8")
    return said
