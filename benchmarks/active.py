"""Learning curves of active learning against chance on a judged shop, and how right pseudo-labels are.

python benchmarks/active.py CACHE SHOP

Pseudo-labels are made for training queries whose judgements are hidden from the teacher, and compared with them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from record import record

from tasteprint.commands.label import curve_lines
from tasteprint.evaluation.splits import options_of
from tasteprint.finetune.labelling.label_curve import CurveConfig, curve_data, curve_table, curve_tests, learning_curve
from tasteprint.finetune.labelling.pseudo import Catalogue, PseudoConfig, fused_judge, pseudo_labels
from tasteprint.profiling.embedding.embeddings import embed_texts
from tasteprint.profiling.encoders.encoder import Encoder, open_encoder
from tasteprint.profiling.tables.shop import Shop, read_shop
from tasteprint.profiling.templates import TemplateConfig, item_texts

_QUERIES = 500


def main() -> None:
    """Draw the curves, check the labels, record both."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    cache, shop, encoder = Path(sys.argv[1]), read_shop(sys.argv[2]), open_encoder()
    config, rng = CurveConfig(), np.random.default_rng(0)
    data = curve_data(shop, encoder, config, template=TemplateConfig(), cache=cache, rng=rng)
    points = learning_curve(data, config=config, tell=lambda what: print(what, file=sys.stderr, flush=True))
    table = curve_table(points)
    lines = curve_lines(table, curve_tests(points))
    sizes = (
        f"{len(data.queries):,} training queries, {len(data.asked):,} validation queries, {len(data.catalogue):,} items"
    )
    notes = f"{sizes}, {config.seeds} seeds. {pseudo_precision(shop, encoder, cache)}"
    record(
        f"Fewer labels: {shop.name}", f"python benchmarks/active.py CACHE {shop.name}", "\n".join(lines), notes=notes
    )


def pseudo_precision(shop: Shop, encoder: Encoder, cache: Path) -> str:
    """How many pseudo-labels of training queries are right, where a person judged them too, in words."""
    texts = item_texts(shop.table("items"), TemplateConfig())
    vectors = embed_texts(texts, encoder, cache)
    catalogue = Catalogue(
        shop.table("items"), texts, vectors, lambda some: embed_texts(list(some), encoder, cache, kind="query")
    )
    judged = shop.table("judgements")
    judged = judged[judged["split"] == "train"]
    queries = judged["query"].drop_duplicates().head(_QUERIES).tolist()
    config = PseudoConfig()
    made = pseudo_labels(shop, queries, catalogue, fused_judge(catalogue), config)
    both = made.judgements().merge(judged, on=["query", "item_id"], suffixes=("", "_person"))
    relevant = both["grade_person"] >= float(options_of(shop, "search").get("relevant_from", 1e-9))
    trusted = int(made.table["trusted"].sum())
    return (
        f"Pseudo-labels by BM25 + meaning at precision {config.precision:g}: {trusted:,} trusted pairs of "
        f"{len(queries):,} training queries; a person had judged {len(both):,} of them, {relevant.mean():.3f} relevant "
        f"(validation said {made.threshold.precision:.3f}, at least {made.threshold.low:.3f})."
    )


if __name__ == "__main__":
    main()
