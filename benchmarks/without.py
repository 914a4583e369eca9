"""What the pipeline reaches without some of its parts; weights are chosen again on validation.

python benchmarks/without.py SHOP PROTOCOL PART,PART,... [CACHE]
"""

from __future__ import annotations

import sys
from pathlib import Path

from record import record

from tasteprint.evaluation.first_stage import TasteprintConfig
from tasteprint.evaluation.harness import evaluate
from tasteprint.profiling.embedding.embeddings import embed_items
from tasteprint.profiling.encoders.encoder import open_encoder
from tasteprint.profiling.tables.shop import read_shop
from tasteprint.retrieval.recommender import PARTS, RecommenderConfig


def main() -> None:
    """Evaluate the pipeline without the named parts and record it."""
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    path, protocol, left_out = Path(sys.argv[1]), sys.argv[2], sys.argv[3].split(",")
    unknown = sorted(set(left_out) - set(PARTS))
    if unknown:
        sys.exit(f"PART must be among {', '.join(PARTS)}, got {', '.join(unknown)}")
    shop, encoder = read_shop(path), open_encoder()
    vectors = embed_items(shop.table("items"), encoder, None, sys.argv[4] if len(sys.argv) > 4 else None).vectors
    settings = RecommenderConfig(parts=tuple(part for part in PARTS if part not in left_out))
    configs = {"tasteprint": TasteprintConfig(recommender=settings)}
    run = evaluate(shop, protocol, ["tasteprint"], configs=configs, encoder=encoder, vectors=vectors).runs["tasteprint"]
    lines = ["| ndcg@10 | recall@10 | other_day ndcg@10 | weights |", "|---|---|---|---|"]
    other_day = run.per_slice.get("other_day", {}).get("ndcg@10", float("nan"))
    weights = ", ".join(f"{name} {value}" for name, value in run.settings.items())
    lines.append(f"| {run.metrics['ndcg@10']:.4f} | {run.metrics['recall@10']:.4f} | {other_day:.4f} | {weights} |")
    command = f"python benchmarks/without.py {path.name} {protocol} {','.join(left_out)}"
    record(f"{path.name}, {protocol}, without {', '.join(left_out)}", command, "\n".join(lines))


if __name__ == "__main__":
    main()
