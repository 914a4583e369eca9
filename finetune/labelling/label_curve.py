"""What choosing queries well is worth: judgements of a shop hidden, revealed in the order a strategy asks for them.

At each budget a learner (`query_map`) is fitted to what is revealed and measured on validation queries; the test stays
closed. Every strategy starts from the same random queries and goes on from its own learner. A curve of a quick learner
on fixed vectors: it ranks strategies, and does not say what fine-tuning the encoder would reach.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from ...evaluation.gains import grade_gain
from ...evaluation.metrics import Relevance, look_up, ndcg, recall
from ...evaluation.ranking import top_k
from ...evaluation.search_split import search_split
from ...evaluation.significance import compare
from ...profiling.embedding.embeddings import embed_texts
from ...profiling.encoders.encoder import Encoder
from ...profiling.errors import ConfigError, ShopError
from ...profiling.tables.shop import Shop
from ...profiling.templates import TemplateConfig, item_texts
from ...retrieval.lexical import Bm25Model, index_words, texts_of
from .active import STRATEGIES, choose_queries, make_pool
from .query_map import Float, Links, MapConfig, fit_map, mapped

RANDOM = "random"
METRICS = ("recall@100", "ndcg@10")
_FIELDS = ("title", "description", "brand")


class CurveConfig(BaseModel):
    """How a learning curve is drawn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    budgets: tuple[int, ...] = Field(
        default=(50, 100, 200, 400, 800), min_length=2, description="judged queries, rising; the first are random"
    )
    pool: int = Field(default=1500, ge=2, description="training queries that can be asked for at most")
    items: int = Field(default=15_000, ge=2, description="items searched: judged ones first, others drawn beside them")
    depth: int = Field(default=20, ge=2, le=1000, description="best items of a query that strategies look at")
    seeds: int = Field(default=3, ge=1, description="curves of each strategy")
    learner: MapConfig = MapConfig()

    @field_validator("budgets")
    @classmethod
    def _rising(cls, budgets: tuple[int, ...]) -> tuple[int, ...]:
        if list(budgets) != sorted(set(budgets)) or budgets[0] < 1:
            raise ValueError(f"budgets must rise from 1 or more, got {budgets}")
        return budgets


@dataclass(frozen=True, eq=False)
class CurveData:
    """A judged shop for curves.

    Attributes:
        queries: unit vectors of the pool's queries, (n_pool, d)
        links: their judgements, hidden until asked for
        words: BM25's best items of each, -1 where it has fewer, (n_pool, k)
        catalogue: unit vectors of the items, (n_items, d)
        asked: unit vectors of the validation queries, (n_asked, d)
        truth: their judgements
    """

    queries: Float
    links: Links
    words: NDArray[np.int64]
    catalogue: Float
    asked: Float
    truth: Relevance


@dataclass(frozen=True, eq=False)
class Point:
    """One learner on a curve.

    Attributes:
        strategy, seed: whose curve
        n_queries, n_judgements: what was revealed
        each: every metric of every validation query, NaN where it has none, (n_asked,)
    """

    strategy: str
    seed: int
    n_queries: int
    n_judgements: int
    each: Mapping[str, NDArray[np.float64]]

    def mean(self, key: str) -> float:
        """Mean of a metric over the validation queries."""
        return float(np.nanmean(self.each[key]))


def curve_data(
    shop: Shop,
    encoder: Encoder,
    config: CurveConfig,
    *,
    template: TemplateConfig,
    cache: Path | None,
    rng: np.random.Generator,
) -> CurveData:
    """Vectors and judgements of a shop's training and validation queries over a sample of its items.

    Raises:
        ShopError: the shop has no training queries with a positive gain, or no such validation queries.
    """
    table, items = shop.table("judgements"), shop.table("items")
    training = table[table["split"] == "train"]
    gain = grade_gain(training["grade"].to_numpy(np.float64), shop.meta.get("grade_gain"))
    useful = np.unique(training["query"].to_numpy(object)[gain > 0].astype(str))
    if len(useful) < 2:
        raise ShopError(f"shop {shop.name!r}: a learning curve needs two judged training queries, got {len(useful)}")
    texts = [str(text) for text in rng.permutation(useful)[: config.pool]]
    chosen = training["query"].isin(set(texts)).to_numpy()
    valid = table[table["split"] == "valid"]
    needed = set(training["item_id"][chosen]) | set(valid["item_id"])
    rows = _some_items(items, needed, config.items, rng)
    items = items.iloc[rows].reset_index(drop=True)
    part = Shop(name=shop.name, items=items, judgements=valid.reset_index(drop=True), meta=shop.meta)
    split = search_split(part, stage="valid")
    links = Links(
        pd.Index(texts).get_indexer(pd.Index(training["query"].to_numpy(object)[chosen])).astype(np.int64),
        pd.Index(items["item_id"]).get_indexer(pd.Index(training["item_id"].to_numpy(object)[chosen])).astype(np.int64),
        gain[chosen],
    )
    return CurveData(
        queries=embed_texts(texts, encoder, cache, kind="query"),
        links=links,
        words=best_by_words(index_words(texts_of(items, _FIELDS)), texts, config.depth),
        catalogue=embed_texts(item_texts(items, template), encoder, cache),
        asked=embed_texts(list(split.requests.texts), encoder, cache, kind="query"),
        truth=split.truth,
    )


def learning_curve(
    data: CurveData,
    strategies: Sequence[str] | None = None,
    *,
    config: CurveConfig,
    seed: int = 0,
    tell: Callable[[str], object] = str,
) -> list[Point]:
    """Points of every strategy at every budget, `RANDOM` always among them, ``config.seeds`` times.

    Raises:
        ConfigError: an unknown strategy, or a budget larger than the pool.
    """
    names = list(dict.fromkeys([RANDOM, *(STRATEGIES if strategies is None else strategies)]))
    for name in names:
        if name not in STRATEGIES:
            raise ConfigError(f"strategies: must be among {', '.join(STRATEGIES)}, got {name!r}")
    if config.budgets[-1] > len(data.queries):
        raise ConfigError(f"budgets: at most the pool's {len(data.queries)} queries, got {config.budgets[-1]}")
    points = []
    for run in range(seed, seed + config.seeds):
        start = np.random.default_rng(run).permutation(len(data.queries))[: config.budgets[0]]
        first = _learned(data, start, config, run)
        for name in names:
            tell(f"{name}, seed {run}")
            points += _curve(data, name, start, first, config, run)
    return points


def curve_table(points: Sequence[Point]) -> pd.DataFrame:
    """A row a strategy and budget: mean judgements and metrics over the seeds, and what each gains over chance."""
    lines = [
        {"strategy": p.strategy, "seed": p.seed, "queries": p.n_queries, "judgements": p.n_judgements}
        | {key: p.mean(key) for key in METRICS}
        for p in points
    ]
    frame = pd.DataFrame(lines)
    means = frame.groupby(["strategy", "queries"], sort=False)[["judgements", *METRICS]].mean().reset_index()
    chance = means[means["strategy"] == RANDOM].set_index("queries")
    for key in METRICS:
        means[f"{key} over random"] = means[key] - means["queries"].map(chance[key])
    return means


def curve_tests(points: Sequence[Point], *, metric: str = METRICS[0]) -> list[dict[str, Any]]:
    """Paired tests of each strategy against chance on the mean over budgets and seeds, query by query, Holm-corrected.

    The first budget, which all share, does not count.
    """
    first = min(point.n_queries for point in points)
    later = [point for point in points if point.n_queries > first]
    names = list(dict.fromkeys(point.strategy for point in later))
    each = {name: np.mean([p.each[metric] for p in later if p.strategy == name], axis=0) for name in names}
    if len(each) < 2:
        return []
    return compare(each, RANDOM, np.arange(len(each[RANDOM])), metric=metric)


def best_by_words(index: Bm25Model, texts: Sequence[str], k: int) -> NDArray[np.int64]:
    """Rows of BM25's best ``k`` items of each text, best first, ties by row, -1 after the last that matches, (n, k)."""
    found = index.match(texts).tocsr()
    best = np.full((len(texts), k), -1, dtype=np.int64)
    for row in range(len(texts)):
        start, stop = found.indptr[row], found.indptr[row + 1]
        items, scores = found.indices[start:stop], found.data[start:stop]
        order = np.lexsort((items, -scores))[:k]
        best[row, : len(order)] = items[order]
    return best


def _curve(
    data: CurveData, name: str, start: NDArray[np.int64], first: Float, config: CurveConfig, run: int
) -> list[Point]:
    """One strategy's curve with one seed."""
    revealed, weights = start, first
    points = [_point(data, name, run, revealed, weights)]
    for budget in config.budgets[1:]:
        free = np.setdiff1d(np.arange(len(data.queries)), revealed)
        pool = make_pool(
            mapped(data.queries[free], weights),
            data.catalogue,
            data.words[free],
            judged=mapped(data.queries[revealed], weights),
        )
        rng = np.random.default_rng([run, budget])
        more = free[choose_queries(pool, budget - len(revealed), name, rng)]
        revealed = np.concatenate([revealed, more])
        weights = _learned(data, revealed, config, run)
        points.append(_point(data, name, run, revealed, weights))
    return points


def _learned(data: CurveData, revealed: NDArray[np.int64], config: CurveConfig, run: int) -> Float:
    """The learner of what is revealed."""
    links = data.links.of(revealed)
    return fit_map(data.queries, data.catalogue, links, config.learner, rng=np.random.default_rng(run))


def _point(data: CurveData, name: str, run: int, revealed: NDArray[np.int64], weights: Float) -> Point:
    """The learner measured."""
    parts: dict[str, list[NDArray[np.float64]]] = {key: [] for key in METRICS}
    asked = mapped(data.asked, weights)
    for start in range(0, len(asked), 256):
        rows = np.arange(start, min(start + 256, len(asked)))
        best, truth = top_k(asked[rows] @ data.catalogue.T, 100), data.truth.take(rows)
        found = look_up(best.items, best.valid, truth)
        parts["recall@100"].append(recall(found, truth, 100))
        parts["ndcg@10"].append(ndcg(found, truth, 10))
    each = {key: np.concatenate(values) for key, values in parts.items()}
    return Point(name, run, len(revealed), len(data.links.of(revealed)), each)


def _some_items(items: pd.DataFrame, needed: set[Any], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of the items needed and of others beside them, ascending."""
    inside = items["item_id"].isin(needed).to_numpy()
    others = rng.permutation(np.flatnonzero(~inside))[: max(0, most - int(inside.sum()))]
    return np.sort(np.concatenate([np.flatnonzero(inside), others]))
