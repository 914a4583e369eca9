"""``tasteprint heads``: classifiers trained from a shop's labels, calibrated, able to abstain, used by intents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import JsonOption
from .progress import steps

if TYPE_CHECKING:
    from ..evaluation.results import Results
    from ..finetune.heads.config import HeadConfig
    from ..profiling.adapters.kinds import AdapterConfig
    from ..profiling.encoders.encoder import EncoderConfig

NONE = "none"


def heads(
    shop: Annotated[Path, typer.Argument(help="Folder of a shop with a labels table.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the heads.", show_default=False)],
    task: Annotated[
        list[str] | None,
        typer.Option("--task", "-t", help="A task of the labels, repeatable. Default: all.", show_default=False),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder", help="Package, checkpoint folder, hub name, static:DIR, hash:DIM, or none.", show_default=False
        ),
    ] = None,
    adapter: Annotated[
        str, typer.Option("--adapter", help="Adapter to train below the heads first, such as lora, or none.")
    ] = NONE,
    kind: Annotated[
        str, typer.Option("--kind", help="linear, mlp, words, mixed, or auto = the best of them on held-out sentences.")
    ] = "auto",
    test: Annotated[
        bool, typer.Option("--test", help="Open the test split: the heads beside the baselines, with paired tests.")
    ] = False,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Folder of the vector cache. Default: cache beside OUT.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything drawn.")] = 0,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", help="One setting, such as hidden=512, adapt.epochs=2, adapter.rank=8. Repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train heads from a shop's labels: intents, stages, categories, sentiment, aspects, whatever its tasks are.

    Each head is chosen, calibrated and taught when to abstain on held-out sentences: the shop's valid split, else a
    part of train. OUT is opened by 'tasteprint intent --head OUT', or by every query once intent.heads names it.

    Examples:

      tasteprint heads shops/grocery --out work/heads

      tasteprint heads shops/bank --task intent --adapter lora --out work/bank --test

      tasteprint heads shops/reviews --kind words --encoder none --out work/aspects --set abstain=0.05 --json
    """
    from ..finetune.heads.run import measure_heads, needs_encoder, train_heads
    from ..profiling.tables.shop import read_shop

    settings, adapt, own = _settings(kind, sets or ())
    chosen = _encoder(encoder) if needs_encoder(settings) else None
    tables = read_shop(shop, tables=["labels"])
    where = cache or out.absolute().parent / "cache"
    results = None
    with steps(quiet=as_json) as say:
        run = train_heads(
            tables,
            out,
            tasks=task or (),
            encoder=chosen,
            adapter=_adapter(adapter, adapt, own),
            config=settings,
            adapt=adapt,
            cache=where,
            seed=seed,
            progress=lambda what, done, of: say(what, done, of),
        )
        if test:
            results = measure_heads(
                tables, {"heads": out}, base=chosen, cache=where, progress=lambda what, done, of: say(what, done, of)
            )
    if as_json:
        typer.echo(json.dumps({"shop": str(shop), **run.to_dict(), "test": _test_rows(results)}, ensure_ascii=False))
        return
    _show("Held-out sentences (they chose the head, so it does a little worse on new ones)", run.to_dict()["held_out"])
    if results is not None:
        _show("Test sentences", _test_rows(results))
    typer.echo(_LEGEND)
    typer.echo(f"Saved {out}: try  tasteprint intent TEXT --head {out} --workspace ... (or --shop ...)")


def _settings(kind: str, sets: Sequence[str]) -> tuple[HeadConfig, dict[str, Any], dict[str, Any]]:
    """Settings of the heads, of the adapter's training (``adapt.``) and of the adapter itself (``adapter.``)."""
    import tomllib

    from pydantic import ValidationError

    from ..finetune.heads.config import HeadConfig
    from ..profiling.errors import ConfigError

    values: dict[str, Any] = {"kind": kind}
    for text in sets:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set must be KEY=VALUE such as hidden=512, got {text!r}")
        try:
            values[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            values[key.strip()] = value.strip()
    adapt, own = (
        {key.removeprefix(prefix): values.pop(key) for key in list(values) if key.startswith(prefix)}
        for prefix in ("adapt.", "adapter.")
    )
    try:
        return HeadConfig.model_validate(values), adapt, own
    except ValidationError as error:
        raise ConfigError(_in_words(error)) from error


def _adapter(kind: str, adapt: Mapping[str, Any], own: Mapping[str, Any]) -> AdapterConfig | None:
    """The adapter to train; checks the settings of its training too, before anything is done."""
    from pydantic import ValidationError

    from ..profiling.errors import ConfigError

    if kind == NONE:
        if adapt or own:
            raise ConfigError("adapt.* and adapter.* need an adapter, got none; name one (--adapter lora)")
        return None
    from ..finetune.heads.adapt import HeadAdaptConfig

    try:
        return HeadAdaptConfig.model_validate({"adapter": {"kind": kind, **own}, **adapt}).adapter
    except ValidationError as error:
        raise ConfigError(_in_words(error)) from error


def _in_words(error: Any) -> str:
    """A validation error as one line."""
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}, got {one['input']!r}" for one in error.errors())


def _encoder(name: str | None) -> EncoderConfig | None:
    """The encoder of that name, the default one without a name, None for ``none``."""
    from ..profiling.encoders.encoder import EncoderConfig

    return None if name == NONE else EncoderConfig() if name is None else EncoderConfig(name=name)


def _test_rows(results: Results | None) -> list[dict[str, Any]]:
    """One row a method and task."""
    from ..finetune.heads.report import rows_of

    if results is None:
        return []
    return [
        {"method": name} | row
        for name, run in results.runs.items()
        for row in rows_of(run.per_slice)  # in its order
    ]


COLUMNS = {
    "method": "method",
    "task": "task",
    "n": "n",
    "accuracy": "acc",
    "accuracy_forced": "forced",
    "macro_f1": "F1",
    "ece": "ECE",
    "out_of_scope_auroc": "AUROC",
    "out_of_scope_recall": "out",
    "kind": "kind",
}
"""What the table shows of a row, and under which heading; the rest stays for ``--json``."""

_LEGEND = (
    "acc: accuracy in scope, abstaining counts as wrong; forced: had it to answer; F1: macro; ECE: calibration error; "
    "AUROC: in scope against out of it; out: share of out-of-scope sentences found"
)


def _show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as a table."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    shown = {key: heading for key, heading in COLUMNS.items() if any(key in row for row in rows)}
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for key, heading in shown.items():
        numeric = any(isinstance(row.get(key), int | float) for row in rows)
        table.add_column(heading, justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(row.get(key)) for key in shown))
    Console().print(table)


def _cell(value: Any) -> str:
    """A value for people.

    >>> _cell(0.12345), _cell(1234), _cell(None)
    ('0.123', '1,234', '')
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
