"""``tasteprint frontier``: smaller encoders made from one, and what each costs and keeps, on a shop's own texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .options import ConfigOption, JsonOption, SetOption
from .progress import steps

_PAUSE_S = 0.05


def frontier(
    shop: Annotated[Path, typer.Argument(help="Folder of a shop in the data contract.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for encoders and report, new.", show_default=False)],
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", help="Package, checkpoint folder or hub name to start from.", show_default=False),
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option("--kinds", help="Comma-separated ways of making it smaller; default: all.", show_default=False),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.01, help="Fitting of each distilled network at most; default: 2.")
    ] = None,
    texts: Annotated[
        int | None, typer.Option("--texts", min=20, help="Texts to fit to at most; default: 8000.")
    ] = None,
    items: Annotated[int | None, typer.Option("--items", min=20, help="Items searched at most; default: 5000.")] = None,
    queries: Annotated[
        int | None, typer.Option("--queries", min=1, help="Validation queries at most; default: 300.")
    ] = None,
    rounds: Annotated[int | None, typer.Option("--rounds", min=1, help="Timed rounds; default: 5.")] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Folder of a vector cache of 'tasteprint embed'.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of every draw.")] = 0,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make smaller encoders from one and measure quality against size against speed.

    Each learns from the shop's texts alone and opens as any other encoder; OUT/frontier.json says how. Quality is
    measured on texts none was fitted to, and on the shop's validation judgements where there are any; the test stays
    closed. Speed is measured in turn with the base, as a ratio. OUT gets frontier.md, frontier.svg, frontier.html and
    frontier.json.

    Kinds: int8 layers heads units distilled distilled-int8 static.

    Examples:

      tasteprint frontier shops/grocery --out work/smaller --cache work/embeddings/cache

      tasteprint frontier shops/grocery --out work/quick --kinds static,int8 --json

      tasteprint frontier shops/grocery --out work/mine --encoder work/tuned/merged --minutes 5
    """
    import time

    from ..config import load_settings
    from ..finetune.smaller.frontier import FrontierConfig, frontier
    from ..finetune.smaller.frontier_page import cells, frontier_html, markdown, scatter
    from ..finetune.smaller.slim import check_new_folder
    from ..profiling.tables.shop import read_shop

    named = [] if encoder is None else [f"encoder.name={json.dumps(encoder)}"]
    settings = load_settings(config, sets=[*(sets or ()), *named]).settings
    given = {"minutes": minutes, "texts": texts, "items": items, "queries": queries, "rounds": rounds, "seed": seed}
    options = FrontierConfig.model_validate({name: value for name, value in given.items() if value is not None})
    check_new_folder(out)
    read = read_shop(shop)
    with steps(quiet=as_json) as say:
        rows, skipped = frontier(
            read,
            settings.encoder,
            out,
            template=settings.template,
            config=options,
            kinds=[kind.strip() for kind in kinds.split(",") if kind.strip()] if kinds else None,
            cache=cache,
            clock=time.perf_counter,
            pause=lambda: time.sleep(_PAUSE_S),
            tell=lambda what: say(what[:1].upper() + what[1:], 0, 0, None),
        )
    notes = _notes(options, judged=bool(rows[0].quality))
    said = {"shop": read.name, "rows": [row.to_dict() for row in rows], "skipped": skipped, "notes": notes}
    out.mkdir(parents=True, exist_ok=True)
    (out / "frontier.json").write_text(json.dumps(said, indent=1), encoding="utf-8")
    (out / "frontier.md").write_text(markdown(rows), encoding="utf-8")
    (out / "frontier.svg").write_text(scatter(rows), encoding="utf-8")
    (out / "frontier.html").write_text(frontier_html(read.name, rows, notes, skipped), encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(said))
        return
    typer.echo(markdown(rows))
    for kind, why in skipped.items():
        typer.echo(f"not made: {kind}: {why}")
    best = ", ".join(cells(row)[0] for row in rows if row.best)
    typer.echo(f"not beaten in quality, speed and size at once: {best}; report: {out / 'frontier.html'}")


def _notes(options: object, *, judged: bool) -> list[str]:
    """How it was measured, in sentences."""
    from ..finetune.smaller.frontier import FrontierConfig

    told = FrontierConfig.model_validate(options)
    lines = [
        f"Cosine and top-10 (neighbours of the base that stay) on {told.measured:,} item texts at most that nothing "
        "was fitted to.",
        f"Speed: {told.timed} texts a round, {told.rounds} rounds, all in turn; median of the ratio to the base in the "
        "same round (lowest to highest). Texts/s are of this machine at this hour.",
        "MB: weights that an engine reads, tokenizer not counted.",
    ]
    if judged:
        lines.append(
            f"NDCG@10 and Recall@100: dense search over {told.items:,} sampled items at most, all judged ones among "
            f"them, for {told.queries:,} validation queries at most; in brackets the paired difference to the base and "
            "its 95 % interval. Fewer items than the catalogue make it easier: compare rows, not with other tables."
        )
    return lines
