"""What a saved cross-encoder is worth on a shop's judged queries: beside the search it rereads, paired by query.

Covers the search alone, with the cross-encoder at its saved weight, and the cross-encoder alone, over the items that
are read again and over the judged items. Opens it as any user does, through its checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...evaluation.rank import mean
from ...evaluation.results import markdown_table
from ...evaluation.significance import compare
from ...evaluation.splits import Stage
from ...profiling.encoders.encoder import EncoderConfig, open_encoder
from ...profiling.tables.shop import Shop
from ...retrieval.second_stage.cross_encoder import open_cross_encoder
from .config import CrossConfig
from .weight import reread

METRICS: Mapping[str, tuple[str, int, bool]] = {
    "ndcg@10 full": ("ndcg", 10, False),
    "mrr@10 full": ("mrr", 10, False),
    "ndcg@10 rerank": ("ndcg", 10, True),
}
"""Name -> metric, cut-off, and whether the judged items alone are ranked."""


@dataclass(frozen=True)
class CrossExam:
    """Figures of the three ways to order.

    Attributes:
        stage: valid or test
        queries, depth: how many were asked, and how many items were read again for each
        weight: of the cross-encoder beside the search
        figures: way -> metric -> mean over queries; ways are ``search``, ``search + cross`` and ``cross``
        tests: each of the others against ``search + cross``
    """

    stage: Stage
    queries: int
    depth: int
    weight: float
    figures: Mapping[str, Mapping[str, float]]
    tests: tuple[Mapping[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {"tests": list(self.tests)}

    def as_markdown(self) -> str:
        """A table for people."""
        rows = [[way, *(f"{values[name]:.4f}" for name in METRICS)] for way, values in self.figures.items()]
        tests = [
            f"{test['metric']}: {test['a']} against {test['b']} {test['difference']:+.4f} "
            f"({test['low']:+.4f} to {test['high']:+.4f}), p {test['p_holm']:.2g}"
            for test in self.tests
        ]
        said = f"{self.queries:,} {self.stage} queries, best {self.depth} read again, weight {self.weight:g}."
        return "\n".join([markdown_table(["order", *METRICS], rows), "", *tests, "", said])


def examine_cross(
    shop: Shop,
    config: CrossConfig,
    folder: str | Path,
    *,
    stage: Stage = "test",
    queries: int | None = None,
    cache: str | Path | None = None,
) -> CrossExam:
    """Measure a saved cross-encoder.

    Args:
        shop: with judgements of this stage
        config: of the run
        folder: of the saved cross-encoder
        stage: test, or valid while working
        queries: a sample of so many, None = all
        cache: folder of a vector cache, None = none

    Raises:
        EncoderError: the cross-encoder does not pass its checks.
        ShopError: no judgements of this stage.
    """
    encoder = open_encoder(EncoderConfig(name=config.base))
    cross = open_cross_encoder(folder, base=encoder.stamp)
    depth = config.rerank.depth
    table = reread(
        shop, cross.scores, encoder, template=config.template, depth=depth, queries=queries, stage=stage, cache=cache
    )
    ways = {"search": 0.0, "search + cross": cross.weight, "cross": float("inf")}
    each = {
        name: {way: table.each(weight, judged=judged, metric=metric, k=k) for way, weight in ways.items()}
        for name, (metric, k, judged) in METRICS.items()
    }
    cluster = np.arange(len(table.queries))
    tests = [row for name in METRICS for row in compare(each[name], "search + cross", cluster, metric=name)]
    figures = {way: {name: mean(each[name][way]) for name in METRICS} for way in ways}
    return CrossExam(stage, len(table.queries), depth, cross.weight, figures, tuple(tests))
