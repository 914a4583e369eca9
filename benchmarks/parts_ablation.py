"""What each part and stage of the pipeline is worth in a shop: left out, the rest chosen anew, on validation requests.

python benchmarks/parts_ablation.py SHOP PROTOCOL CACHE [--only-new] [--requests N] [--minutes M] [--no-record]

SHOP is a shop's folder, PROTOCOL leave_one_out, time_split or search_full, CACHE a folder of item vectors, in which
the taste models are kept too. Parts are fitted once; weights, gate and ranker of every line are chosen on half of the
users and measured on the other half, and the other way round. The test stage is not looked at.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from record import record

from tasteprint.evaluation.ablation import Bench, Measured, measure_rows
from tasteprint.evaluation.ablation_rows import Row, rows_of
from tasteprint.evaluation.first_stage import TasteprintConfig, candidate_parts, choose_settings
from tasteprint.evaluation.gathered import Gathered, alone, gather_parts
from tasteprint.evaluation.pipeline import wants_taste
from tasteprint.evaluation.protocol import Options, validation_of
from tasteprint.evaluation.rank_learning import RankLearningConfig, ties_of
from tasteprint.evaluation.search_split import judged_to_learn
from tasteprint.evaluation.significance import clustered_t, holm
from tasteprint.evaluation.splits import Split
from tasteprint.evaluation.taste_learning import known_requests, train_taste
from tasteprint.profiling.embedding.embeddings import embed_items
from tasteprint.profiling.encoders.encoder import Encoder, EncoderConfig, open_encoder
from tasteprint.profiling.tables.shop import Shop, read_shop
from tasteprint.profiling.taste_model import TasteModel
from tasteprint.retrieval.lexical import LexicalConfig, fit_lexical
from tasteprint.retrieval.recommender import fit_recommender
from tasteprint.retrieval.scorer import Scorer, TrainingSet
from tasteprint.retrieval.second_stage.facts import fit_rank_facts
from tasteprint.retrieval.second_stage.ranker import RankerConfig
from tasteprint.retrieval.sources.many_interests import fit_many_interests
from tasteprint.retrieval.taste.config import TasteConfig

SEED = 0
NEAREST = 50
"""Best items of each part that are candidates."""
QUICK = {"trees": 120, "learning_rate": 0.1, "patience": 20}
"""Trees of the rankers: fewer and larger steps than the defaults, the same for every line."""


def main() -> None:
    """Fit the parts, measure every line and record the table."""
    told = _told()
    began = time.monotonic()
    shop, encoder = read_shop(told.shop), open_encoder(EncoderConfig())
    vectors = embed_items(shop.table("items"), encoder, cache_dir=told.cache).vectors
    found = validation_of(shop, told.protocol, Options(only_new=told.only_new), vectors)
    if found is None:
        raise SystemExit(f"{told.shop}: has no validation requests for {told.protocol}")
    train, split = found
    bench, instead = _bench(shop, train, split, encoder, told)
    rows = rows_of(
        [name for name in bench.found.parts if name not in instead],
        instead=instead,
        asked=bool(split.requests.texts),
        ranking=RankLearningConfig(options=RankerConfig(**QUICK)),
    )
    wanted = [name.strip() for name in told.lines.split(";") if name.strip()]
    rows = tuple(row for row in rows if not wanted or row.name in {"everything", *wanted})
    print(f"fitted and gathered in {(time.monotonic() - began) / 60:.1f} min", flush=True)
    measured = {}
    for row, one in zip(rows, measure_rows(bench, rows), strict=True):
        measured[row.name] = one
        first = measured["everything"].ndcg
        difference = measured[row.name].ndcg.mean() - first.mean()
        print(f"{row.name}: {measured[row.name].ndcg.mean():.4f} ({difference:+.4f})", flush=True)
    table = "\n".join(_lines(rows, measured, bench))
    only = ", only new items" if told.only_new else ""
    title = f"{told.shop.name}: every part and stage left out, {told.protocol}{only}, validation"
    flags = " --only-new" if told.only_new else ""
    command = f"python benchmarks/parts_ablation.py {told.shop.name} {told.protocol} CACHE{flags}"
    command += f" --requests {told.requests} --minutes {told.minutes:g}"
    notes = f"{len(bench.found.requests):,} requests; {(time.monotonic() - began) / 60:.0f} min; seed {SEED}."
    if told.record:
        record(title, command, table, notes=notes)
    else:
        print(f"\n## {title}\n\n`{command}`\n\n{table}\n\n{notes}")


def _told() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("shop", type=Path, help="folder of the shop")
    parser.add_argument("protocol", choices=("leave_one_out", "time_split", "search_full"))
    parser.add_argument("cache", type=Path, help="folder of item vectors and taste models")
    parser.add_argument("--only-new", action="store_true", help="rank and count only items new to the shopper")
    parser.add_argument("--requests", type=int, default=3000, help="validation requests at most")
    parser.add_argument("--minutes", type=float, default=10.0, help="minutes that each taste model may train")
    parser.add_argument("--no-retraining", action="store_true", help="leave out the line that trains a taste model")
    parser.add_argument("--lines", default="", help="names of lines, separated by ; (all without)")
    parser.add_argument("--no-record", dest="record", action="store_false", help="print the table, do not append it")
    return parser.parse_args()


def _bench(
    shop: Shop, train: TrainingSet, split: Split, encoder: Encoder, told: argparse.Namespace
) -> tuple[Bench, dict[str, str | None]]:
    """All parts fitted and their candidates gathered, and what each further scorer comes in place of."""
    config, rng = TasteprintConfig(minutes=told.minutes), np.random.default_rng(SEED)
    asked = bool(split.requests.texts)
    sample = (split if asked else known_requests(split)).sample(told.requests, rng)
    settings = config.recommender
    if len(train.log):
        settings = choose_settings(train, sample, settings, rng=rng)
    more = _further(train, asked=asked)
    learned = None
    if wants_taste(config, train, split):
        learned, order = _taste(train, split, config.taste, told)
        if not told.no_retraining:
            other, _ = _taste(train, split, config.taste.model_copy(update={"ids": False, "shuffle": order}), told)
            more["taste without ids"] = (other, "taste_learned")
    parts = dict.fromkeys(candidate_parts(train, settings, asked=asked), 1.0)
    model = fit_recommender(
        train, settings, weights=parts, exclude_seen=split.exclude_seen, encoder=encoder, taste_model=learned
    )
    extra = {name: scorer for name, (scorer, _) in more.items()}
    answers = judged_to_learn(shop, split)

    def gathered(some: Split) -> Gathered:
        return gather_parts(model, some, extra=extra, n=NEAREST)

    taught = None if answers is None else gathered(answers.sample(told.requests, rng))
    facts = fit_rank_facts(train, ties=ties_of(model), words=asked)
    bench = Bench(gathered(sample), facts, model.text_rows, taught)
    return bench, {name: place for name, (_, place) in more.items()}


def _further(train: TrainingSet, *, asked: bool) -> dict[str, tuple[Scorer, str | None]]:
    """Scorers that the pipeline does not have, and the part in whose place each is tried; None = it is added."""
    if not asked:
        return {"several interests": (fit_many_interests(train), None)}
    config = LexicalConfig()
    some = {"titles alone": {"title": 1.0}, "all fields alike": dict.fromkeys(config.fields, 1.0)}
    words: dict[str, tuple[Scorer, str | None]] = {
        f"bm25 over {name}": (fit_lexical(train, config.model_copy(update={"fields": fields})), "bm25")
        for name, fields in some.items()
    }
    plain = config.model_copy(update={"readings": 0, "joined_weight": 0.0})
    return {**words, "bm25 without spelling": (fit_lexical(train, plain), "bm25")}


def _taste(
    train: TrainingSet, split: Split, config: TasteConfig, told: argparse.Namespace
) -> tuple[TasteModel, bool | str]:
    """A taste model, as `tasteprint evaluate` trains it (its checkpoints are found), and what its race ended with."""
    trained = train_taste(
        train,
        (train, split),
        config,
        seed=int(np.random.default_rng(SEED).integers(2**31)),
        minutes=told.minutes,
        clock=time.monotonic,
        folder=told.cache / "models",
    )
    print(f"taste, ids {config.ids}: {dict(trained.about)}", flush=True)
    return trained.before, trained.config.shuffle


def _lines(rows: Sequence[Row], measured: Mapping[str, Measured], bench: Bench) -> list[str]:
    """The table: what each line loses against everything, and whether that can be luck."""
    first = measured["everything"]
    tests = [clustered_t(first.ndcg - measured[row.name].ndcg, bench.found.cluster) for row in rows]
    raised = [float("nan"), *holm([test.p for test in tests[1:]])]
    single = alone(bench.found)
    lines = [
        "| line | ndcg@10 | everything's lead | 95 % interval | p (Holm) | weights | alone | rankers |",
        "|---" * 8 + "|",
    ]
    for row, test, p in zip(rows, tests, raised, strict=True):
        name = row.name.removeprefix("without ")
        found = measured[row.name]
        lead = ["", "", ""]
        if row is not rows[0]:
            lead = [f"{test.difference:+.4f}", f"{test.low:+.4f} to {test.high:+.4f}", f"{p:.2g}"]
        part = name if name in single else next((n for n in single if row.name.startswith((f"with {n}", n))), "")
        weights = " ".join(f"{w.get(part, 0.0):.2g}" for w in (first if part in first.weights[0] else found).weights)
        cells = [f"{found.ndcg.mean():.4f}", *lead, weights if part else "", f"{single[part]:.4f}" if part else ""]
        lines.append(f"| {row.name} | {' | '.join(cells)} | {', '.join(dict.fromkeys(found.rankers))} |")
    return lines


if __name__ == "__main__":
    main()
