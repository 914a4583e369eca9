"""``tasteprint evaluate``: methods measured on one protocol of a shop, as JSON, a table and values of every request."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .progress import steps

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..evaluation.protocol import Options
    from ..evaluation.results import Results
    from ..profiling.encoders.encoder import Encoder
    from ..profiling.tables.shop import Shop

Tell = Callable[[str, int, int], None]

NO_ENCODER = "none"


def evaluate(
    shop: Annotated[Path, typer.Argument(help="Folder of a shop in the data contract.", show_default=False)],
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            "-p",
            help="leave_one_out, time_split, search_full, search_rerank or labels.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.", show_default=False)],
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--methods",
            "-m",
            help="Names, separated by commas or repeated. Default: all that serve the protocol.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Runs of methods that are random.")] = 1,
    tune: Annotated[bool, typer.Option("--tune", help="Search the options of each method on valid first.")] = False,
    split: Annotated[str, typer.Option("--split", help="test to report, valid while working.")] = "test",
    fit_on: Annotated[
        str | None,
        typer.Option(
            "--fit-on",
            help="Training events: train or train+valid. Default: train for leave_one_out, train+valid for time_split.",
            show_default=False,
        ),
    ] = None,
    window: Annotated[
        str, typer.Option("--window", help="time_split: rolling (each basket) or period (all at once).")
    ] = "rolling",
    keep_seen: Annotated[
        bool | None,
        typer.Option(
            "--keep-seen/--exclude-seen",
            help="Rank items a shopper has already. Default: kept where 1 % of the events or more repeat one.",
            show_default=False,
        ),
    ] = None,
    only_new: Annotated[
        bool,
        typer.Option("--only-new", help="Remove repeat purchases: only items new to the shopper are ranked and right."),
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", help="Method that all others are tested against. Default: tasteprint, else the best."
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            help="Installed package, checkpoint folder, hub name, hash:DIM, or none.",
            show_default=False,
        ),
    ] = None,
    adapter: Annotated[
        Path | None,
        typer.Option("--adapter", help="Adapter folder of a fine-tuning run on that encoder.", show_default=False),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            help="Folder of the vector cache; shared by all runs. Default: cache beside OUT.",
            show_default=False,
        ),
    ] = None,
    minutes: Annotated[
        float,
        typer.Option("--minutes", min=0, help="Minutes that a taste model may train a seed; 0 = none is trained."),
    ] = 10.0,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="One setting of the tasteprint methods, KEY=VALUE, such as ranking.regime=train. Repeatable.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json instead of the table.")] = False,
) -> None:
    """Measure methods on a shop: full ranking, paired tests, slices.

    OUT gets results.json, report.html, table.md, per_request.parquet and examples.parquet.

    Methods: random popular recent-popular own-most-bought own+transitions item-knn user-knn transitions ease als svd
    bpr neural-cf sasrec sasrec-softmax content interests taste for leave_one_out and time_split; random bm25 dense for
    search_full and search_rerank; tasteprint-blocks tasteprint for all four; majority tfidf prototype logreg for
    labels.

    Examples:

      tasteprint evaluate shops/grocery --protocol time_split --out results/grocery

      tasteprint evaluate shops/grocery -p time_split -m popular,own-most-bought,tasteprint --tune --out results/few

      tasteprint evaluate shops/grocery -p time_split --only-new -m transitions,tasteprint --out results/new

      tasteprint evaluate shops/hardware -p search_full -m bm25 -m dense -m tasteprint --out results/search --json
    """
    from ..evaluation.report import write_report
    from ..evaluation.results import as_json as to_json
    from ..evaluation.results import as_markdown, per_request, write_results
    from ..profiling.errors import ConfigError
    from ..profiling.tables.shop import read_shop

    if split not in ("valid", "test"):
        raise ConfigError(f"--split: must be test or valid, got {split!r}")
    stage: Literal["valid", "test"] = "valid" if split == "valid" else "test"
    names = [name.strip() for text in methods or [] for name in text.split(",") if name.strip()] or None
    tables = read_shop(shop)
    vectors_in = cache or out.absolute().parent / "cache"
    with steps(quiet=as_json) as tell:
        if protocol == "labels":
            results = _labels(tables, names, stage, (encoder, adapter), vectors_in, tell)
        else:
            options = _options(stage, fit_on, window, keep_seen, only_new, seeds, tune, against)
            changed = [f"minutes={minutes}", *(sets or ())]
            results = _ranking(tables, protocol, names, options, (encoder, adapter), vectors_in, tell, sets=changed)
    write_results(results, out)
    write_report(to_json(results), per_request(results), out)
    if as_json:
        typer.echo(json.dumps(to_json(results), ensure_ascii=False))
        return
    typer.echo(as_markdown(results))
    typer.echo(f"Written to {out}")


def _options(
    stage: Literal["valid", "test"],
    fit_on: str | None,
    window: str,
    keep_seen: bool | None,
    only_new: bool,
    seeds: int,
    tune: bool,
    against: str | None,
) -> Options:
    """Checked options of a ranking protocol."""
    from ..evaluation.protocol import Options
    from ..profiling.errors import ConfigError

    if fit_on not in (None, "train", "train+valid"):
        raise ConfigError(f"--fit-on: must be train or train+valid, got {fit_on!r}")
    if window not in ("rolling", "period"):
        raise ConfigError(f"--window: must be rolling or period, got {window!r}")
    return Options(
        stage=stage,
        fit_on="train" if fit_on == "train" else "train+valid" if fit_on else None,
        window="rolling" if window == "rolling" else "period",
        exclude_seen=None if keep_seen is None else not keep_seen,
        only_new=only_new,
        seeds=seeds,
        tune=tune,
        against=against,
    )


def _ranking(
    shop: Shop,
    protocol: str,
    names: Sequence[str] | None,
    options: Options,
    encoder: tuple[str | None, Path | None],
    cache: Path,
    tell: Tell,
    *,
    sets: Sequence[str],
) -> Results:
    """A protocol that ranks items; the catalogue is embedded only where a method needs vectors."""
    from ..evaluation.first_stage import TasteprintConfig
    from ..evaluation.harness import evaluate as measure
    from ..evaluation.methods import METHODS, chosen_methods
    from ..profiling.layers import read_layers

    chosen = chosen_methods(names, protocol)
    opened, vectors = embedded(shop, chosen, encoder[0], cache, tell, adapter=encoder[1])
    kinds = {name: METHODS[name].config for name in chosen}
    trained = {
        n: read_layers(kind, sets=sets).settings for n, kind in kinds.items() if issubclass(kind, TasteprintConfig)
    }
    if opened is not None and any(config.taste.said for config in trained.values()):
        from ..profiling.embedding.embeddings import embed_said

        told = embed_said(shop.table("events"), opened, cache, progress=lambda n, m: tell("embedding words", n, m))
        shop = replace(shop, said=told)
    return measure(
        shop,
        protocol,
        names,
        options=options,
        configs=trained,
        encoder=opened,
        vectors=vectors,
        progress=tell,
        models=cache / "models",
    )


def embedded(
    shop: Shop,
    methods: Sequence[str],
    encoder: str | None,
    cache: Path,
    tell: Tell,
    *,
    adapter: Path | None = None,
) -> tuple[Encoder | None, NDArray[np.float32] | None]:
    """The encoder and the catalogue's vectors, (n_items, d); both None where no named method needs them."""
    from ..evaluation.methods import METHODS
    from ..profiling.embedding.embeddings import embed_items

    needed = any(METHODS[name].needs & {"vectors", "encoder"} for name in methods if name in METHODS)
    opened = _opened(encoder, adapter) if needed else None
    if opened is None:
        return None, None
    tell("embedding the catalogue", 0, 1)
    found = embed_items(
        shop.table("items"), opened, cache_dir=cache, progress=lambda n, m: tell("embedding the catalogue", n, m)
    )
    return opened, found.vectors


def _labels(
    shop: Shop,
    names: Sequence[str] | None,
    stage: Literal["valid", "test"],
    encoder: tuple[str | None, Path | None],
    cache: Path,
    tell: Tell,
) -> Results:
    """The protocol over labelled sentences."""
    from ..evaluation.label_methods import NEED_VECTORS
    from ..evaluation.labels import evaluate_labels

    opened = _opened(*encoder) if not names or NEED_VECTORS & set(names) else None
    encode = None if opened is None else _encode_with(opened, cache, tell)
    return evaluate_labels(shop, names, stage=stage, encoder=opened, encode=encode, progress=tell)


def _encode_with(encoder: Encoder, cache: Path, tell: Tell) -> Callable[[Sequence[str]], NDArray[np.float32]]:
    """Vectors of texts by this encoder, each text encoded once and kept in ``cache``."""
    from ..profiling.embedding.embeddings import embed_texts

    return lambda texts: embed_texts(texts, encoder, cache, kind="query", progress=lambda n, m: tell("embedding", n, m))


def _opened(name: str | None, adapter: Path | None) -> Encoder | None:
    """The encoder of that name with an adapter, the default one without a name, None for ``none``."""
    from ..profiling.encoders.encoder import EncoderConfig, open_encoder

    if name == NO_ENCODER:
        return None
    config = EncoderConfig() if name is None else EncoderConfig(name=name)
    return open_encoder(config if adapter is None else config.model_copy(update={"adapter": str(adapter)}))
