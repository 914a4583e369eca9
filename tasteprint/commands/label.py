"""``tasteprint label``: which queries to judge next, what choosing them brings, and labels by a teacher."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import ConfigOption, JsonOption, SetOption
from .progress import steps

if TYPE_CHECKING:
    from ..profiling.tables.shop import Shop

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

ShopArgument = Annotated[Path, typer.Argument(help="Folder of a shop in the data contract.", show_default=False)]
QueriesOption = Annotated[
    Path | None,
    typer.Option("--queries", help="Text file, a query a line; default: the shop's unjudged searches."),
]
CacheOption = Annotated[
    Path | None, typer.Option("--cache", help="Folder of a vector cache of 'tasteprint embed'.", show_default=False)
]
EncoderOption = Annotated[
    str | None, typer.Option("--encoder", help="Package, checkpoint folder or hub name.", show_default=False)
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Of every draw.")]


@app.callback()
def label() -> None:
    """Get more out of fewer judgements.

    Examples:

      tasteprint label queue shops/grocery --out sheet.csv --strategy badge

      tasteprint label curve shops/grocery --json

      tasteprint label pseudo shops/grocery --out pseudo.parquet
    """


@app.command("queue")
def queue(
    shop: ShopArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Sheet to fill in, .csv or .parquet.", show_default=False)],
    strategy: Annotated[
        str, typer.Option("--strategy", help="How queries are chosen; 'random' is hard to beat.")
    ] = "random",
    n: Annotated[int, typer.Option("--n", min=1, help="Queries to judge.")] = 50,
    depth: Annotated[int, typer.Option("--depth", min=1, help="Items to judge for each.")] = 10,
    queries: QueriesOption = None,
    encoder: EncoderOption = None,
    cache: CacheOption = None,
    seed: SeedOption = 0,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a sheet of queries and items for a person to grade, most worth judging first.

    For each query, the first items of dense search and of BM25 in turn. Fill in the column ``grade`` on the shop's own
    scale; what stays empty counts as not judged.

    Strategies: random uncertainty disagreement expected_change diversity typical badge.

    Examples:

      tasteprint label queue shops/grocery --out sheet.csv --n 100 --cache work/embeddings/cache

      tasteprint label queue shops/grocery --out sheet.parquet --strategy uncertainty --queries asked.txt
    """
    import numpy as np

    from ..finetune.labelling.active import STRATEGIES, Pool, choose_queries, judging_sheet, make_pool, write_sheet
    from ..finetune.labelling.label_curve import best_by_words
    from ..profiling.embedding.embeddings import embed_texts
    from ..profiling.encoders.encoder import open_encoder
    from ..profiling.errors import ConfigError
    from ..profiling.tables.shop import read_shop
    from ..profiling.templates import item_texts
    from ..retrieval.lexical import Bm25Config, index_words, texts_of

    if strategy not in STRATEGIES:
        raise ConfigError(f"--strategy: must be one of {', '.join(STRATEGIES)}, got {strategy!r}")
    settings = _settings(config, sets, encoder)
    read = read_shop(shop, tables=["items", "judgements", "events"])
    asked, opened, items = unjudged(read, queries), open_encoder(settings.encoder), read.table("items")
    with steps(quiet=as_json) as say:
        tell = lambda done, total: say("Encoding", done, total, None)  # noqa: E731
        catalogue = embed_texts(item_texts(items, settings.template), opened, cache, progress=tell)
        vectors = embed_texts(asked, opened, cache, kind="query", progress=tell)
    words = best_by_words(index_words(texts_of(items, Bm25Config().fields)), asked, max(depth, 10))
    judged = read.judgements["query"].unique().tolist() if read.judgements is not None else []
    known = embed_texts(judged, opened, cache, kind="query")
    pool = make_pool(vectors, catalogue, words, judged=known)
    rows = choose_queries(pool, n, strategy, np.random.default_rng(seed))
    some = Pool(vectors[rows], pool.items[rows], pool.scores[rows], pool.words[rows], catalogue, known)
    sheet = judging_sheet([asked[row] for row in rows], some, words[rows], items, depth=depth)
    write_sheet(sheet, out)
    said = {"out": str(out), "strategy": strategy, "queries": len(rows), "of": len(asked), "pairs": len(sheet)}
    typer.echo(
        json.dumps(said) if as_json else f"{out}: {len(sheet):,} pairs of {len(rows):,} queries, of {len(asked):,} "
        f"unjudged ones, by {strategy}; fill in the column grade"
    )  # fmt: skip


@app.command("curve")
def curve(
    shop: ShopArgument,
    strategies: Annotated[
        str | None, typer.Option("--strategies", help="Comma-separated; default: all.", show_default=False)
    ] = None,
    budgets: Annotated[
        str, typer.Option("--budgets", help="Judged queries, rising; the first are random.")
    ] = "50,100,200,400,800",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Curves of each strategy.")] = 3,
    pool: Annotated[int, typer.Option("--pool", min=2, help="Training queries to ask for at most.")] = 1500,
    items: Annotated[int, typer.Option("--items", min=2, help="Items searched at most, judged ones first.")] = 15_000,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="CSV of the table, beside the words.", show_default=False)
    ] = None,
    encoder: EncoderOption = None,
    cache: CacheOption = None,
    seed: SeedOption = 0,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hide a judged shop's training judgements, reveal them as strategies ask, and measure on validation queries.

    The learner is a linear map of the query's vector, fitted in a second. The test stays closed.

    Examples:

      tasteprint label curve shops/grocery --cache work/embeddings/cache

      tasteprint label curve shops/grocery --strategies badge,typical --budgets 25,50,100 --json
    """
    import numpy as np

    from ..finetune.labelling.label_curve import CurveConfig, curve_data, curve_table, curve_tests, learning_curve
    from ..profiling.encoders.encoder import open_encoder
    from ..profiling.tables.shop import read_shop

    settings = _settings(config, sets, encoder)
    options = CurveConfig(budgets=_numbers(budgets), seeds=seeds, pool=pool, items=items)
    read, rng = read_shop(shop, tables=["items", "judgements"]), np.random.default_rng(seed)
    named = [name.strip() for name in strategies.split(",") if name.strip()] if strategies else None
    with steps(quiet=as_json) as say:
        say("Encoding", 0, 0, None)
        opened = open_encoder(settings.encoder)
        data = curve_data(read, opened, options, template=settings.template, cache=cache, rng=rng)
        points = learning_curve(
            data, named, config=options, seed=seed, tell=lambda what: say(f"Learning: {what}", 0, 0, None)
        )
    table, tests = curve_table(points), curve_tests(points)
    if out is not None:
        table.to_csv(out, index=False)
    if as_json:
        typer.echo(json.dumps({"rows": table.to_dict("records"), "tests": tests}))
        return
    for line in curve_lines(table, tests):
        typer.echo(line)
    typer.echo(f"\n{len(data.queries):,} training queries to ask for, {len(data.asked):,} validation queries, "
               f"{len(data.catalogue):,} items, {seeds} seeds")  # fmt: skip


@app.command("pseudo")
def pseudo(
    shop: ShopArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Parquet of the labels.", show_default=False)],
    precision: Annotated[
        float | None,
        typer.Option("--precision", min=0.0, max=1.0, help="Share of trusted pairs that are relevant; default: 0.8."),
    ] = None,
    cross_encoder: Annotated[
        str | None,
        typer.Option("--cross-encoder", help="Folder or hub name of the teacher; default: BM25 + meaning."),
    ] = None,
    queries: QueriesOption = None,
    encoder: EncoderOption = None,
    cache: CacheOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Label the best candidates of unjudged queries by a teacher, as far as validation judgements say to trust it.

    OUT holds query, item_id, grade, split, score and trusted; the trusted rows read as judgements.

    Examples:

      tasteprint label pseudo shops/grocery --out pseudo.parquet --cache work/embeddings/cache

      tasteprint label pseudo shops/grocery --out pseudo.parquet --queries asked.txt --precision 0.9
    """
    from ..finetune.labelling.pseudo import Catalogue, PseudoConfig, cross_encoder_judge, fused_judge, pseudo_labels
    from ..profiling.embedding.embeddings import embed_texts
    from ..profiling.encoders.encoder import open_encoder
    from ..profiling.tables.shop import read_shop
    from ..profiling.templates import item_texts

    settings = _settings(config, sets, encoder)
    options = PseudoConfig() if precision is None else PseudoConfig(precision=precision)
    read = read_shop(shop, tables=["items", "judgements", "events"])
    asked, opened = unjudged(read, queries), open_encoder(settings.encoder)
    texts = item_texts(read.table("items"), settings.template)
    with steps(quiet=as_json) as say:
        vectors = embed_texts(texts, opened, cache, progress=lambda done, total: say("Encoding", done, total, None))
        catalogue = Catalogue(
            read.table("items"), texts, vectors, lambda some: embed_texts(list(some), opened, cache, kind="query")
        )
        say("Judging", 0, 0, None)
        judge = fused_judge(catalogue) if cross_encoder is None else cross_encoder_judge(catalogue, cross_encoder)
        made = pseudo_labels(read, asked, catalogue, judge, options)
    made.table.to_parquet(out, index=False)
    trusted = int(made.table["trusted"].sum())
    rest = made.threshold
    if as_json:
        typer.echo(json.dumps({"out": str(out), "trusted": trusted, "of": len(made.table)} | rest.to_dict()))
        return
    typer.echo(
        f"{out}: {trusted:,} of {len(made.table):,} candidate pairs trusted (score {rest.score:.3f} and more: "
        f"{rest.precision:.3f} of {rest.n:,} validation pairs are relevant, at least {rest.low:.3f})"
    )


def unjudged(shop: Shop, file: Path | None) -> list[str]:
    """Distinct queries of a file, or the shop's searches, that nobody has judged, in their order.

    Raises:
        ShopError: there are none.
    """
    from ..profiling.errors import ShopError
    from ..profiling.templates import query_text

    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ShopError(f"--queries: {file} cannot be read ({error}); name a text file, a query a line") from error
    else:
        lines = [] if shop.events is None else shop.events["query"].dropna().tolist()
    judged = set() if shop.judgements is None else {query_text(query) for query in shop.judgements["query"]}
    found = [text for line in lines if (text := query_text(line)) and text not in judged]
    if not found:
        raise ShopError(
            f"shop {shop.name!r} has no unjudged searches; name a text file with a query a line (--queries)"
        )
    return list(dict.fromkeys(found))


def curve_lines(table: Any, tests: list[dict[str, Any]]) -> list[str]:
    """The curve as a Markdown table, a row a strategy, and its tests in words."""
    budgets = list(dict.fromkeys(table["queries"]))
    lines = [f"| Recall@100 after | {' | '.join(f'{budget} queries' for budget in budgets)} | gain over random |"]
    lines.append("|" + "---|" * (len(budgets) + 2))
    found = {row["b"]: row for row in tests}
    for name, rows in table.groupby("strategy", sort=False):
        values = " | ".join(f"{value:.4f}" for value in rows["recall@100"])
        test = found.get(name)
        gain = (
            f"{-test['difference']:+.4f} ({-test['high']:+.4f} to {-test['low']:+.4f}), p {test['p_holm']:.2g}"
            if test
            else "-"
        )
        lines.append(f"| {name} | {values} | {gain} |")
    return lines


def _numbers(said: str) -> tuple[int, ...]:
    """Whole numbers between commas."""
    from ..profiling.errors import ConfigError

    try:
        return tuple(int(part) for part in said.split(",") if part.strip())
    except ValueError as error:
        raise ConfigError(f"--budgets: must be whole numbers between commas, got {said!r}") from error


def _settings(config: Path | None, sets: list[str] | None, encoder: str | None) -> Any:
    """Settings, with the encoder named on the command line."""
    from ..config import load_settings

    named = [] if encoder is None else [f"encoder.name={json.dumps(encoder)}"]
    return load_settings(config, sets=[*(sets or ()), *named]).settings
