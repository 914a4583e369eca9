"""What each part of the taste model is worth: one option changed at a time, on validation requests.

python benchmarks/taste_ablation.py SHOP PROTOCOL CACHE [NAME ...] [--epochs N] [--requests N] [--no-record]

SHOP is a shop's folder, PROTOCOL leave_one_out or time_split, CACHE a folder of item vectors, NAME rows of `ROWS` (all
without). Every row trains from the same seed as long as it gains, or with ``--epochs`` that long at most, its step
falling to 0 by then; the test stage is not looked at. Each row is compared with ``default``, request by request.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from record import record

from tasteprint.evaluation.protocol import Options, make_split
from tasteprint.evaluation.rank import mean, measure, rank, slice_means
from tasteprint.evaluation.significance import clustered_t
from tasteprint.evaluation.splits import Split
from tasteprint.evaluation.taste_learning import known_requests
from tasteprint.profiling.embedding.embeddings import embed_items
from tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder
from tasteprint.profiling.tables.shop import read_shop
from tasteprint.profiling.taste_model import TasteModel
from tasteprint.retrieval.scorer import TrainingSet
from tasteprint.retrieval.taste.config import TasteConfig
from tasteprint.retrieval.taste.training import fit_taste

SEED = 0
SAMPLE = 3000
"""Validation requests that end the training; the table is measured on all of them."""
SLICES = ("other_day", "rare", "cold")

ROWS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "width 64": {"width": 64, "inner": 64},
    "width 256": {"width": 256, "inner": 256},
    "no text": {"text": 0},
    "no words": {"words": 0, "vocabulary": 0},
    "ids alone": {"text": 0, "words": 0, "vocabulary": 0, "alike": False},
    "no ids": {"ids": False},
    "likeness counts by itself": {"alike": True},
    "words with vectors of their own": {"vocabulary": 20_000},
    "compared by inner product": {"cosine": False},
    "256 negatives": {"negatives": 256},
    "4,096 negatives": {"negatives": 4096},
    "dropout .2": {"dropout": 0.2},
    "dropout .5": {"dropout": 0.5},
    "id dropout .25": {"id_dropout": 0.25},
    "no time": {"gaps": False},
    "places": {"positions": "absolute"},
    "fixed order within a day": {"shuffle": False},
    "days without order": {"ties": "together"},
    "no averaging": {"ema": 0.0},
    "one block": {"layers": 1},
    "no blocks": {"layers": 0},
}
"""What each row changes."""


def main() -> None:
    """Train every row and record the table."""
    told = _told()
    train, split = _stage(told)
    sample = known_requests(split).sample(SAMPLE, np.random.default_rng(SEED))
    measured = _some(split, told.requests)

    def worth(model: TasteModel) -> float:
        return mean(measure(rank(model, sample), sample)["ndcg@10"])

    head = ["changed", "epochs", "processor s", "ndcg@10", "recall@10", *SLICES, "against default"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    first = None
    for name in told.names or ROWS:
        began = time.process_time()
        config = TasteConfig().model_copy(update=dict(ROWS[name]))
        config = config if told.epochs is None else config.model_copy(update={"epochs": told.epochs})
        model = fit_taste(train, config, rng=np.random.default_rng(SEED), objective=worth)
        seconds = time.process_time() - began
        ranked = rank(model, measured)
        found = measure(ranked, measured)
        first = found["ndcg@10"] if name == "default" else first
        inside = slice_means(found, ranked, measured)
        values = [mean(found[key]) for key in ("ndcg@10", "recall@10")]
        values += [inside[key]["ndcg@10"] if key in inside else float("nan") for key in SLICES]
        cells = [f"{value:.4f}" for value in values]
        if first is None or name == "default":
            cells.append("")
        else:
            test = clustered_t(found["ndcg@10"] - first, measured.cluster)
            cells.append(f"{test.difference:+.4f} ({test.low:+.4f} to {test.high:+.4f})")
        lines.append(f"| {name} | {model.epochs} | {seconds:.0f} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    title = f"{told.shop.name}: the taste block alone, one option at a time, {told.protocol}, validation"
    told_of = [*told.names, *(["--epochs", str(told.epochs)] if told.epochs else [])]
    command = " ".join(["python benchmarks/taste_ablation.py", told.shop.name, told.protocol, "CACHE", *told_of])
    command += f" --requests {told.requests}"
    notes = f"{len(measured.requests):,} validation requests; seed {SEED}; 95 % intervals are paired, not corrected."
    if told.record:
        record(title, command, "\n".join(lines), notes=notes)


def _told() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("shop", type=Path, help="folder of the shop")
    parser.add_argument("protocol", choices=("leave_one_out", "time_split"))
    parser.add_argument("cache", type=Path, help="folder of item vectors")
    parser.add_argument("names", nargs="*", help="rows, all without", metavar="NAME")
    parser.add_argument("--epochs", type=int, help="epochs of every row at most")
    parser.add_argument("--requests", type=int, default=1_000_000, help="validation requests measured at most")
    parser.add_argument("--no-record", dest="record", action="store_false", help="print the table, do not append it")
    told = parser.parse_args()
    if wrong := sorted(set(told.names) - set(ROWS)):
        parser.error(f"rows: must be among {', '.join(ROWS)}; got {', '.join(wrong)}")
    return told


def _stage(told: argparse.Namespace) -> tuple[TrainingSet, Split]:
    """The validation stage."""
    shop = read_shop(told.shop)
    split = make_split(shop, told.protocol, Options(stage="valid"))
    vectors = embed_items(shop.table("items"), open_encoder(EncoderConfig()), cache_dir=told.cache).vectors
    clock = bool(shop.meta.get("absolute_time", True))
    return TrainingSet(split.train, shop.table("items"), vectors, split.until_s, clock, shop.users), split


def _some(split: Split, most: int) -> Split:
    """At most so many of the requests of shoppers with a history, with their slices."""
    known = np.flatnonzero(split.requests.stop > split.requests.start)
    drawn = np.random.default_rng(SEED + 1).permutation(len(known))[:most]
    rows = np.sort(known[drawn])
    counted = np.isin(split.truth.request(), rows)
    return replace(
        split.take(rows),
        slices={name: inside[rows] for name, inside in split.slices.items()},
        target_slices={name: inside[counted] for name, inside in split.target_slices.items()},
    )


if __name__ == "__main__":
    main()
