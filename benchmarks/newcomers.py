"""What known attributes are worth for a shopper without history: popularity among shoppers alike against plain.

python benchmarks/newcomers.py SHOP

Half of the shoppers, drawn at random, are hidden from training; their validation requests are asked without history.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from record import record

from tasteprint.evaluation.protocol import Options, make_split
from tasteprint.evaluation.rank import measure, rank
from tasteprint.evaluation.significance import compare
from tasteprint.profiling.tables.shop import read_shop
from tasteprint.retrieval.scorer import TrainingSet
from tasteprint.retrieval.sources.alike import fit_alike
from tasteprint.retrieval.sources.popularity import fit_popular, fit_recent_popular

SEED = 0


def main() -> None:
    """Measure plain popularity and popularity among shoppers alike, and record both."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    shop = read_shop(sys.argv[1])
    if shop.users is None:
        sys.exit(f"shop {shop.name} has no users table; there are no attributes to measure")
    split = make_split(shop, "time_split", Options(), stage="valid")
    hidden = np.random.default_rng(SEED).random(split.train.n_users) < 0.5
    shown = split.train.select(~hidden[split.train.user()])
    asks = split.requests.log.user()[split.requests.stop]
    known = np.array([bool(a) for a in split.requests.attributes]) & hidden[asks]
    few = split.take(np.flatnonzero(known))
    few = replace(few, requests=replace(few.requests, start=few.requests.stop))
    train = TrainingSet(shown, shop.table("items"), None, split.until_s, users=shop.users)
    lines = [
        "| popularity | plain | among shoppers alike | attributes that tell something | p |",
        "|---|---|---|---|---|",
    ]
    for name, popular in (("all time", fit_popular(train)), ("recent", fit_recent_popular(train))):
        alike = fit_alike(train, popular)
        each = {n: measure(rank(m, few), few)["ndcg@10"] for n, m in (("plain", popular), ("alike", alike))}
        test = compare(each, "plain", few.cluster, metric="ndcg@10")[0]
        told = ", ".join(getattr(alike, "log_lift", {})) or "none"
        lines.append(
            f"| {name} | {each['plain'].mean():.4f} | {each['alike'].mean():.4f} | {told} | {test['p_holm']:.2g} |"
        )
    title = f"{Path(sys.argv[1]).name}: newcomers of whom only attributes are known, ndcg@10"
    notes = f"{len(few.requests):,} validation requests of hidden shoppers."
    record(title, f"python benchmarks/newcomers.py {Path(sys.argv[1]).name}", "\n".join(lines), notes=notes)


if __name__ == "__main__":
    main()
