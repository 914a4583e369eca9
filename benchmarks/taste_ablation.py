"""What each part of the taste model is worth: one option changed at a time, on validation requests.

python benchmarks/taste_ablation.py SHOP PROTOCOL CACHE [NAME ...]

SHOP is a shop's folder, PROTOCOL leave_one_out or time_split, CACHE a folder of item vectors, NAME rows of `ROWS` (all
without). Every row trains as long as it gains, from the same seed; the test stage is not looked at.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from record import record

from tasteprint.evaluation.protocol import Options, make_split
from tasteprint.evaluation.rank import mean, measure, rank, slice_means
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
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    folder, protocol, cache, *names = sys.argv[1:]
    wrong = sorted(set(names) - set(ROWS))
    if wrong:
        sys.exit(f"rows: must be among {', '.join(ROWS)}; got {', '.join(wrong)}")
    shop = read_shop(folder)
    split = make_split(shop, protocol, Options(stage="valid"))
    vectors = embed_items(shop.table("items"), open_encoder(EncoderConfig()), cache_dir=Path(cache)).vectors
    clock = bool(shop.meta.get("absolute_time", True))
    train = TrainingSet(split.train, shop.table("items"), vectors, split.until_s, clock, shop.users)
    sample = known_requests(split).sample(SAMPLE, np.random.default_rng(SEED))

    def worth(model: TasteModel) -> float:
        return mean(measure(rank(model, sample), sample)["ndcg@10"])

    lines = [f"| changed | epochs | minutes | ndcg@10 | recall@10 | {' | '.join(SLICES)} |", "|---" * 8 + "|"]
    for name in names or ROWS:
        began = time.monotonic()
        config = TasteConfig().model_copy(update=dict(ROWS[name]))
        model = fit_taste(train, config, rng=np.random.default_rng(SEED), objective=worth)
        minutes = (time.monotonic() - began) / 60
        ranked = rank(model, split)
        found, inside = measure(ranked, split), slice_means(measure(ranked, split), ranked, split)
        values = [mean(found[key]) for key in ("ndcg@10", "recall@10")]
        values += [inside[key]["ndcg@10"] if key in inside else float("nan") for key in SLICES]
        row = " | ".join(f"{value:.4f}" for value in values)
        lines.append(f"| {name} | {model.epochs} | {minutes:.1f} | {row} |")
        print(lines[-1], flush=True)
    title = f"{Path(folder).name}: the taste block alone, one option at a time, {protocol}, validation"
    command = " ".join(["python benchmarks/taste_ablation.py", Path(folder).name, protocol, "CACHE", *names])
    record(title, command, "\n".join(lines), notes=f"{len(split.requests):,} validation requests; seed {SEED}.")


if __name__ == "__main__":
    main()
