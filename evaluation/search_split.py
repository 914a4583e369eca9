"""Protocols over judged queries: the whole catalogue (``search_full``) or only the judged items (``search_rerank``).

NDCG reads the graded gain, the binary metrics read ``relevant_from``. A query without any positive gain is left out, as
NDCG is undefined there; a query without a relevant item counts for NDCG only. An unjudged item has gain 0 in full mode:
read ``judged@10`` beside it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..profiling.errors import ShopError
from ..profiling.log import EventLog, Requests
from ..profiling.tables.shop import Shop
from .gains import DEFAULT_GAIN, grade_gain
from .metrics import Relevance, relevance
from .slices import query_slices
from .splits import AnyStage, Split, options_of, timed_log

Mode = Literal["full", "rerank"]


def search_split(shop: Shop, *, mode: Mode = "full", stage: AnyStage = "test") -> Split:
    """Each judged query of the stage is a request without a shopper.

    Relevant for the binary metrics: ``relevant_from`` of the shop's search protocol, without it any positive gain.
    Judgements without a split count as test.

    Raises:
        ShopError: no judgements, none at this stage, or an item outside the catalogue.
    """
    table = _at_stage(shop, stage)
    item = shop.item_rows(table["item_id"], "judgements")
    queries, texts = pd.factorize(table["query"], sort=True)
    grade = table["grade"].to_numpy(np.float64)
    gain = grade_gain(grade, shop.meta.get("grade_gain"))
    relevant_from = options_of(shop, "search").get("relevant_from", shop.meta.get("relevant_from"))
    relevant = gain > 0 if relevant_from is None else grade >= float(relevant_from)
    truth, kept = _with_gain(queries, item, gain, relevant, len(texts))
    asked = tuple(str(texts[q]) for q in kept)
    log = _log(shop)
    nothing = np.zeros(len(asked), dtype=np.int64)
    until_s = float(log.at_s.max(initial=0.0)) + 1.0
    return Split(
        protocol=f"search_{mode}",
        stage=stage,
        fit_on="train",
        train=log,
        until_s=until_s,
        requests=Requests(log, nothing, nothing, np.full(len(asked), until_s), asked),
        truth=truth,
        cluster=np.arange(len(asked), dtype=np.int64),
        slices=query_slices(asked, truth),
        target_slices={},
        judged_only=mode == "rerank",
        settings={
            "grade_gain": shop.meta.get("grade_gain") or DEFAULT_GAIN,
            "relevant_from": relevant_from,
            "queries_without_gain": len(texts) - len(asked),
        },
        notes=_notes(mode, relevant_from, len(texts) - len(asked)),
    )


def judged_to_learn(shop: Shop, split: Split) -> Split | None:
    """The judged training queries of a shop under the protocol of ``split``; None where there are none."""
    if not split.protocol.startswith("search_"):
        return None
    try:
        return search_split(shop, mode="rerank" if split.judged_only else "full", stage="train")
    except ShopError:
        return None


def _at_stage(shop: Shop, stage: AnyStage) -> pd.DataFrame:
    """The judgements of one stage."""
    table = shop.table("judgements")
    split = table["split"].fillna("test")
    chosen = table[split == stage]
    if chosen.empty:
        counts = {str(name): int(n) for name, n in split.value_counts().items()}
        raise ShopError(f"judgements: shop {shop.name!r} has none with split {stage!r}; it has {counts}")
    return chosen


def _with_gain(
    query: NDArray[np.intp],
    item: NDArray[np.intp],
    gain: NDArray[np.float32],
    relevant: NDArray[np.bool_],
    n_queries: int,
) -> tuple[Relevance, NDArray[np.int64]]:
    """Truth over the queries that have a positive gain, and those queries' numbers."""
    every = relevance(query, item, n_queries, gain=gain, relevant=relevant)
    total = np.bincount(every.request(), weights=every.gain, minlength=n_queries)
    kept = np.flatnonzero(total > 0)
    if not len(kept):
        raise ShopError("judgements: no query of this stage has a positive grade; there is nothing to find")
    return every.take(kept), kept


def _log(shop: Shop) -> EventLog:
    """All timed events of the shop, or an empty log over its catalogue."""
    if shop.events is not None and shop.events["item_id"].notna().any():
        return timed_log(shop, {})[0]
    item_ids = shop.table("items")["item_id"].to_numpy(object)
    none = np.zeros(0, dtype=np.float32)
    return EventLog(
        user_ids=np.zeros(0, dtype=object),
        item_ids=item_ids,
        user_start=np.zeros(1, dtype=np.int64),
        item=none.astype(np.int32),
        at_s=none.astype(np.float64),
        kind=none.astype(np.int8),
        weight=none,
        quantity=none,
        price=none,
    )


def _notes(mode: Mode, relevant_from: object, dropped: int) -> tuple[str, ...]:
    ranked = "the whole catalogue; unjudged items count as not relevant" if mode == "full" else "judged items only"
    relevant = "a positive gain" if relevant_from is None else f"a grade of at least {relevant_from}"
    return (
        f"Ranked: {ranked}.",
        f"Relevant for recall, MRR, MAP and hit rate: {relevant}.",
        f"Queries without any positive gain, left out: {dropped}.",
    )
