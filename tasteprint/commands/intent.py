"""``tasteprint intent``: what a query asks for, read against a shop's catalogue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..profiling.encoders.encoder import Encoder
    from ..profiling.heads.head import HeadAnswer
    from ..profiling.intent.intent import Intent, IntentModel


def intent(
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="Queries.", show_default=False)],
    workspace: Annotated[
        Path | None, typer.Option("--workspace", "-w", help="Workspace built by 'tasteprint build'.")
    ] = None,
    shop: Annotated[
        Path | None, typer.Option("--shop", help="Folder of a shop, to fit to on the fly instead of a workspace.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="With --shop: installed package, checkpoint, hub name or hash:DIM.")
    ] = None,
    sample: Annotated[
        int, typer.Option("--sample", min=0, help="With --shop: fit to this many items at most; 0 = all of them.")
    ] = 20_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="With --shop: seed of everything drawn.")] = 0,
    head: Annotated[
        list[Path] | None,
        typer.Option("--head", help="Folder of heads made by 'tasteprint heads', repeatable. Default: intent.heads."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout: an object, or a list for several.")] = False,
) -> None:
    """Show the intent of queries: category, brand, price, attributes, stage, specificity, confidence.

    Nothing needs training. A workspace answers at once; a shop's folder is embedded and fitted to first. Trained heads
    replace category and stage where they answer, and add classes of their own.

    Examples:

      tasteprint intent "wireless mouse under 20" --workspace work/grocery

      tasteprint intent "cheap red wine" "gift ideas" --shop shops/grocery --encoder hash:64 --json

      tasteprint intent "where is my parcel" --workspace work/grocery --head work/heads
    """
    from ..profiling.errors import ConfigError

    if (workspace is None) == (shop is None):
        raise ConfigError("give one of --workspace (a built workspace) or --shop (a shop's folder)")
    if workspace is not None:
        model, opened = _from_workspace(workspace)
    else:
        model, opened = _from_shop(Path(str(shop)), encoder, sample=sample, seed=seed, quiet=as_json)
    if head:
        model = model.with_heads(opened, head)
    found = model.infer(texts, opened.encode(model.plain(texts), "query"))
    if as_json:
        objects = [one.to_json() for one in found]
        typer.echo(json.dumps(objects[0] if len(objects) == 1 else objects, ensure_ascii=False))
        return
    for one in found:
        _show(one, model.prototypes.source)


def _from_workspace(path: Path) -> tuple[IntentModel, Encoder]:
    """The model and encoder of a built workspace."""
    from ..workspace import open_workspace

    opened = open_workspace(path)
    return opened.intent_model, opened.encoder


def _from_shop(path: Path, encoder: str | None, *, sample: int, seed: int, quiet: bool) -> tuple[IntentModel, Encoder]:
    """A model fitted here and now to (a sample of) a shop's items, and its encoder."""
    import numpy as np
    from rich.console import Console

    from ..profiling.encoders.encoder import EncoderConfig, open_encoder
    from ..profiling.intent.facets import FacetConfig
    from ..profiling.intent.intent import IntentConfig, fit_intent
    from ..profiling.tables.shop import read_shop
    from ..profiling.templates import item_texts

    rng = np.random.default_rng(seed)
    opened_shop = read_shop(path, tables=["items"])
    items = opened_shop.table("items")
    config = IntentConfig(facets=FacetConfig(currency=opened_shop.meta.get("currency")))
    n_items = len(items)
    if 0 < sample < n_items:
        items = items.iloc[np.sort(rng.choice(n_items, sample, replace=False))].reset_index(drop=True)
    opened = open_encoder(EncoderConfig() if encoder is None else EncoderConfig(name=encoder))
    console = Console(stderr=True, quiet=quiet)
    with console.status(f"Fitting to {len(items):,} of {n_items:,} items with {opened.stamp.name}"):
        model = fit_intent(items, opened.encode(item_texts(items), "item"), config, rng=rng, encoder=opened)
    return model, opened


def _show(intent: Intent, source: str) -> None:
    """One intent as a table on stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(intent.text or "(empty)", style="bold"), title_justify="left", show_header=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    rows = [("means", intent.explain()), ("confidence", f"{_bar(intent.confidence)} {intent.confidence:.2f}")]
    rows.append(("specificity", f"{_bar(intent.specificity)} {intent.specificity:.2f}"))
    likely = sorted(intent.stages.items(), key=lambda pair: -pair[1])
    rows.append(("stage", ", ".join(f"{name} {p:.0%}" for name, p in likely if p >= 0.01)))
    shares = [f"{c.probability:5.1%}  {c.path}" for c in intent.categories]
    rows.append((f"category ({source})", "\n".join([*shares, f"{intent.unknown:5.1%}  (unknown)"])))
    facets = intent.facets
    rows += [("brand", f"{b.brand} ({b.probability:.0%})") for b in facets.brands]
    rows += [("price", str(facets.price))] if facets.price else []
    rows += [(a.name.replace("_", " "), a.value) for a in facets.attributes]
    rows += [("model", ", ".join(facets.models))] if facets.models else []
    rows += [(f"head {a.task}", _answer(a)) for a in intent.answers]
    rows += [("signals", "; ".join(intent.signals))] if intent.signals else []
    for name, value in rows:
        table.add_row(name, Text(value))
    Console().print(table)


def _answer(answer: HeadAnswer) -> str:
    """What a head says, its likeliest classes, and how familiar the query looks to it."""
    likely = ", ".join(f"{label} {p:.0%}" for label, p in answer.likely[:3])
    said = answer.label if answer.label is not None else "does not know"
    return f"{said}  ({likely}; familiarity {answer.familiarity:.2f})"


def _bar(value: float, width: int = 20) -> str:
    """A number in [0, 1] as a bar.

    >>> _bar(0.5, 4)
    '██░░'
    """
    full = round(value * width)
    return "█" * full + "░" * (width - full)
