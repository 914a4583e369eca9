"""What a shop gets that has nothing to choose weights on: fixed weights on scaled scores, or reciprocal ranks.

python benchmarks/fallback.py CACHE SHOP:PROTOCOL [SHOP:PROTOCOL ...]

Measured on validation requests, of which none is used to choose anything. The default weights were once chosen on
validation requests of such shops, equal weights on nothing.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from record import record

from tasteprint.evaluation.first_stage import usable_parts
from tasteprint.evaluation.protocol import Options, make_split
from tasteprint.evaluation.rank import measure, rank
from tasteprint.profiling.embedding.embeddings import embed_items
from tasteprint.profiling.encoders.encoder import open_encoder
from tasteprint.profiling.tables.shop import read_shop
from tasteprint.retrieval.recommender import DEFAULT_WEIGHTS, SEARCH_PARTS, fit_recommender
from tasteprint.retrieval.scorer import TrainingSet

REQUESTS = 1000


def main() -> None:
    """Measure every shop and record one table."""
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    encoder, cache = open_encoder(), sys.argv[1]
    lines = ["| shop, protocol | requests | fusion | default weights | equal weights |", "|---|---|---|---|---|"]
    for named in sys.argv[2:]:
        path, _, protocol = named.rpartition(":")
        shop = read_shop(path)
        vectors = embed_items(shop.table("items"), encoder, None, cache).vectors
        split = make_split(shop, protocol, Options(), stage="valid").sample(REQUESTS, np.random.default_rng(0))
        clock = bool(shop.meta.get("absolute_time", True))
        train = TrainingSet(split.train, shop.table("items"), vectors, split.until_s, clock, shop.users)
        asked = bool(split.requests.texts)
        parts = [part for part in usable_parts(train) if (part in SEARCH_PARTS) == asked]
        full = fit_recommender(train, weights=dict.fromkeys(parts, 1.0), encoder=encoder)
        for fusion in ("scaled", "reciprocal_rank"):
            found = []
            for weights in ({p: DEFAULT_WEIGHTS[p] for p in parts if p in DEFAULT_WEIGHTS}, dict.fromkeys(parts, 1.0)):
                model = replace(full, weights=weights, fusion=fusion)
                found.append(float(np.mean(measure(rank(model, split), split)["ndcg@10"])))
            cells = (f"{path.rpartition('/')[2]}, {protocol}", f"{len(split.requests):,}", fusion.replace("_", " "))
            lines.append(f"| {' | '.join(cells)} | {found[0]:.4f} | {found[1]:.4f} |")
    said = " ".join(Path(named).name for named in sys.argv[2:])
    record("Fusion where nothing can be chosen", f"python benchmarks/fallback.py CACHE {said}", "\n".join(lines))


if __name__ == "__main__":
    main()
