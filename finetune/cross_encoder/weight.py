"""How much a cross-encoder counts beside the fused score of a search: chosen on validation judgements.

Covers the best candidates of each query, read once, and every weight tried on them. The same table measures a
cross-encoder that is finished (`reread`); the test judgements are read by nobody else here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...evaluation.metrics import METRICS, Relevance, look_up
from ...evaluation.rank import mean
from ...evaluation.ranking import top_k
from ...evaluation.search_split import search_split
from ...evaluation.splits import Stage
from ...profiling.embedding.embeddings import embed_items, embed_texts
from ...profiling.encoders.encoder import Encoder
from ...profiling.errors import ShopError
from ...profiling.tables.shop import Shop
from ...profiling.templates import TemplateConfig, item_texts
from ...retrieval.second_stage.cross_encoder import Pair
from ..labelling.pseudo import Catalogue, fused_scores
from .config import CrossConfig

Float = NDArray[np.float32]
Scores = Callable[[Sequence[Pair]], Float]
"""Pairs to logits."""

_HELD_SEED = 20_101
_BLOCK = 128


@dataclass(frozen=True)
class Chosen:
    """A weight, and what was seen when it was chosen.

    Attributes:
        weight: beside the fused score
        reached: weight -> mean of NDCG@10 over the reread catalogue and over the judged items alone; empty where
            nothing could be measured
        queries: validation queries asked
    """

    weight: float
    reached: Mapping[str, float]
    queries: int

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Reread:
    """The best items of each query and its judged items, as a search and as a cross-encoder scores them.

    Attributes:
        queries: texts, (n_queries,)
        truth: what is known of each
        items: item rows, (n_queries, width)
        fused: fused scores, (n_queries, width)
        cross: logits, (n_queries, width)
        read: best by the search: what is read again, (n_queries, width)
        judged: (n_queries, width)
    """

    queries: tuple[str, ...]
    truth: Relevance
    items: NDArray[np.int32]
    fused: Float
    cross: Float
    read: NDArray[np.bool_]
    judged: NDArray[np.bool_]

    def each(self, weight: float, *, judged: bool, metric: str = "ndcg", k: int = 10) -> NDArray[np.float64]:
        """A metric of every query with this weight, over what is read again or over the judged items, (n_queries,).

        An infinite weight is the cross-encoder alone.
        """
        whole = np.isinf(weight)
        scores = self.cross if whole else self.fused + np.float32(weight) * self.cross
        shown = np.where(self.judged if judged else self.read, scores, -np.inf).astype(np.float32)
        best = top_k(shown, k)
        items = np.where(best.valid, np.take_along_axis(self.items, best.items, axis=1), 0)
        return np.asarray(METRICS[metric](look_up(items, best.valid, self.truth), self.truth, k))

    def score(self, weight: float) -> float:
        """What weights are chosen by: the mean of NDCG@10 over what is read again and over the judged items alone."""
        return (mean(self.each(weight, judged=False)) + mean(self.each(weight, judged=True))) / 2


def choose_weight(
    shop: Shop, config: CrossConfig, scores: Scores, encoder: Encoder, *, cache: str | Path | None = None
) -> Chosen:
    """The weight that is best on a sample of the validation judgements; of equal ones the smallest.

    Args:
        shop: the tables
        config: which weights are tried, on how many queries
        scores: of the trained cross-encoder
        encoder: of the search it stands beside
        cache: folder of a vector cache, None = none
    """
    options = config.rerank
    try:
        table = reread(
            shop,
            scores,
            encoder,
            template=config.template,
            depth=options.depth,
            queries=options.queries,
            stage="valid",
            cache=cache,
        )
    except ShopError:
        return Chosen(options.fallback, {}, 0)
    reached = {weight: table.score(weight) for weight in options.weights}
    best = max(options.weights, key=lambda weight: (reached[weight], -weight))
    return Chosen(best, {f"{w:g}": round(value, 6) for w, value in reached.items()}, len(table.items))


def reread(
    shop: Shop,
    scores: Scores,
    encoder: Encoder,
    *,
    template: TemplateConfig,
    depth: int,
    queries: int | None = None,
    stage: Stage = "valid",
    cache: str | Path | None = None,
) -> Reread:
    """Search each judged query, read its best and its judged items again.

    Args:
        shop: with judgements of this stage
        scores: pairs to logits
        encoder: of the search
        template: how an item becomes a text
        depth: best items of the search that are read
        queries: drawn from those of the stage, always the same ones; None = all
        stage: test to report, valid to choose
        cache: folder of a vector cache, None = none

    Raises:
        ShopError: no judgements of this stage.
    """
    split = search_split(shop, mode="full", stage=stage)
    if queries is not None and queries < len(split.requests):
        split = split.sample(queries, np.random.default_rng(_HELD_SEED))
    truth, asked = split.truth, split.requests.texts
    items = shop.table("items")
    texts = item_texts(items, template)
    vectors = embed_items(items, encoder, template, cache).vectors
    search = fused_scores(
        Catalogue(items, texts, vectors, lambda some: embed_texts(list(some), encoder, cache, kind="query"))
    )
    blocks = []
    for start in range(0, len(asked), _BLOCK):
        some = truth.take(np.arange(start, min(start + _BLOCK, len(asked))))
        blocks.append(_candidates(search(asked[start : start + _BLOCK]), some.request(), some.items, depth))
    width = max(block[0].shape[1] for block in blocks)
    table = [np.concatenate([_wide(part, width) for part in parts]) for parts in zip(*blocks, strict=True)]
    wanted = table[2] | table[3]
    query, place = np.nonzero(wanted)
    cross = np.zeros(wanted.shape, dtype=np.float32)
    named = table[0][query, place]
    cross[query, place] = scores([(asked[q], texts[i]) for q, i in zip(query.tolist(), named.tolist(), strict=True)])
    return Reread(asked, truth, table[0], table[1], cross, table[2], table[3])


def _candidates(
    scores: Float, request: NDArray[np.integer], item: NDArray[np.integer], depth: int
) -> tuple[NDArray[np.int32], Float, NDArray[np.bool_], NDArray[np.bool_]]:
    """Item rows, fused scores, and whether each is among the best, and judged; all (n, width)."""
    best = top_k(scores, min(depth, scores.shape[1]))
    near, known = np.zeros(scores.shape, dtype=bool), np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(near, best.items.astype(np.int64), best.valid, axis=1)
    known[request, item] = True
    row, column = np.nonzero(near | known)
    place = np.arange(len(row)) - np.searchsorted(row, row)
    shape = (len(scores), int(place.max(initial=0)) + 1)
    items, fused = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.float32)
    read, judged = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    items[row, place], fused[row, place] = column, scores[row, column]
    read[row, place], judged[row, place] = near[row, column], known[row, column]
    return items, fused, read, judged


def _wide(part: NDArray[Any], width: int) -> NDArray[Any]:
    """Rows filled up with nothing."""
    return np.pad(part, ((0, 0), (0, width - part.shape[1])))
