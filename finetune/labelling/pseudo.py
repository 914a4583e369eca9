"""Pseudo-labels: judgements by a teacher where no person judged, kept only where the teacher can be trusted.

The teacher is the shop's own fused ranker (BM25 + meaning) or a cross-encoder. How far to trust it is read off the
validation judgements: the lowest score above which enough of the judged pairs are relevant, and what grade a score
stands for. Candidates it is not sure of are marked as spared: neither positives nor negatives. The test judgements are
never read. Training on the result is `train`'s work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ...evaluation.gains import grade_gain
from ...evaluation.search_split import search_split
from ...profiling.errors import ConfigError, ExtraMissingError, ShopError
from ...profiling.tables.shop import Shop
from ...retrieval.fusion import inverse_scale
from ...retrieval.lexical import index_words, texts_of
from ...retrieval.recommender import DEFAULT_WEIGHTS
from ...retrieval.second_stage.cross_encoder import is_cross_encoder, open_cross_encoder
from ..examples import Examples, link
from ..leaks import later_queries
from ..splits import without_near

Float = NDArray[np.float32]
Judge = Callable[[Sequence[str], NDArray[np.int64], NDArray[np.int64]], Float]
"""(queries, query row of each pair, item row of each pair) -> a score of each pair, higher is better, (n_pairs,)."""

SOURCE = "pseudo"
_FIELDS = ("title", "description", "brand")
_Z = 1.6448536269514722  # one-sided 95 %


class PseudoConfig(BaseModel):
    """Which pairs get a pseudo-label."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: float = Field(
        default=0.8, gt=0, le=1, description="share of trusted validation pairs that are relevant, at least, 95 % sure"
    )
    depth: int = Field(default=20, ge=1, le=1000, description="candidates a query, best by the fused ranker")
    most: int = Field(default=5, ge=1, description="pseudo-labels a query at most, best first")
    least_pairs: int = Field(default=30, ge=1, description="validation pairs a threshold has to rest on")


@dataclass(frozen=True)
class Threshold:
    """A score above which pairs are trusted.

    Attributes:
        score: pairs with at least this one are trusted
        precision: share of the validation pairs above it that are relevant
        low: its lower 95 % confidence bound
        n, of: validation pairs above it, and all
    """

    score: float
    precision: float
    low: float
    n: int
    of: int

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What teachers look at.

    Attributes:
        items: the shop's items
        texts: text of each, (n_items,)
        vectors: unit vectors, (n_items, d)
        embed: queries to unit vectors, (n, d)
    """

    items: pd.DataFrame
    texts: Sequence[str]
    vectors: Float
    embed: Callable[[Sequence[str]], Float]


def fused_scores(catalogue: Catalogue) -> Callable[[Sequence[str]], Float]:
    """The untrained fused ranker: queries to scores of all items, (n, n_items); see `retrieval.fusion`."""
    index = index_words(texts_of(catalogue.items, _FIELDS))

    def scores(queries: Sequence[str]) -> Float:
        words = index.match(queries).toarray()
        meaning = catalogue.embed(queries) @ catalogue.vectors.T
        parts = {"bm25": words, "meaning": meaning}
        return sum_of(parts)

    return scores


def sum_of(parts: Mapping[str, Float]) -> Float:
    """Parts on one scale, added with the default weights of search, (n, n_items)."""
    scaled = [DEFAULT_WEIGHTS[name] * part * inverse_scale(name, part)[:, None] for name, part in parts.items()]
    return np.asarray(np.sum(scaled, axis=0), dtype=np.float32)


def fused_judge(catalogue: Catalogue) -> Judge:
    """The fused ranker as a teacher."""
    scores = fused_scores(catalogue)

    def judge(queries: Sequence[str], query: NDArray[np.int64], item: NDArray[np.int64]) -> Float:
        found = np.empty(len(query), dtype=np.float32)
        for rows, values in _blocks(queries, scores):
            inside = np.flatnonzero((query >= rows[0]) & (query <= rows[-1]))
            found[inside] = values[query[inside] - rows[0], item[inside]]
        return found

    return judge


def cross_encoder_judge(catalogue: Catalogue, name: str, *, batch: int = 32) -> Judge:
    """A cross-encoder, given as a folder or hub name, as a teacher; one trained here is opened through its checks.

    Raises:
        EncoderError: one trained here does not pass its checks.
        ExtraMissingError: it is another's, and sentence-transformers is not installed.
        ConfigError: there is no such model, or it does not give one score a pair.
    """
    if is_cross_encoder(name):
        ours = open_cross_encoder(name)
        return lambda queries, query, item: ours.judge(queries, catalogue.texts, query, item)
    try:
        from sentence_transformers import CrossEncoder
    except ImportError as error:
        raise ExtraMissingError("sentence-transformers is not installed: pip install sentence-transformers") from error
    try:
        model = CrossEncoder(name, device="cpu")
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"cross-encoder {name!r} cannot be opened ({error}); name a folder or a hub name") from error
    if model.num_labels != 1:
        raise ConfigError(f"cross-encoder {name!r} must give one score a pair, got {model.num_labels}; name another")

    def judge(queries: Sequence[str], query: NDArray[np.int64], item: NDArray[np.int64]) -> Float:
        pairs = [(queries[q], catalogue.texts[i]) for q, i in zip(query.tolist(), item.tolist(), strict=True)]
        if not pairs:
            return np.zeros(0, dtype=np.float32)
        return np.asarray(model.predict(pairs, batch_size=batch, show_progress_bar=False), dtype=np.float32)

    return judge


def choose_threshold(score: Float, relevant: NDArray[np.bool_], config: PseudoConfig | None = None) -> Threshold | None:
    """The lowest score above which pairs can be trusted, None where no score is good enough.

    A score is trusted if the pairs with it or a higher one are `PseudoConfig.least_pairs` or more, and the lower bound
    of their share of relevant ones (Wilson, 1927) is `PseudoConfig.precision` or more.

    Args:
        score: of validation pairs, (n,)
        relevant: whether each is relevant, (n,)
        config: how sure to be
    """
    config = PseudoConfig() if config is None else config
    order = np.argsort(-score, kind="stable")
    hits, n = np.cumsum(relevant[order], dtype=np.int64), np.arange(1, len(order) + 1)
    last = np.append(score[order][1:] != score[order][:-1], True)  # of its equals: ties are trusted together
    low = wilson_low(hits, n)
    good = np.flatnonzero(last & (n >= config.least_pairs) & (low >= config.precision))
    if not len(good):
        return None
    at = int(good[-1])
    return Threshold(float(score[order][at]), float(hits[at] / n[at]), float(low[at]), int(n[at]), len(order))


def wilson_low(hits: NDArray[np.integer], n: NDArray[np.integer]) -> NDArray[np.float64]:
    """Lower end of the one-sided 95 % interval of a share, ``hits`` of ``n`` > 0 (Wilson, 1927).

    >>> float(wilson_low(np.array([9]), np.array([10]))[0].round(3))
    0.652
    """
    share = hits / n
    middle = share + _Z**2 / (2 * n)
    reach = _Z * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return np.asarray((middle - reach) / (1 + _Z**2 / n))


def expected_grade(score: Float, grade: NDArray[np.floating], asked: Float) -> Float:
    """What grade a score stands for: isotonic regression of validation grades, read at ``asked``, (n,)."""
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit(score.astype(np.float64), grade)
    return np.asarray(fitted.predict(asked.astype(np.float64)), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """Pairs that a teacher judged.

    Attributes:
        table: columns query, item_id, grade, split, score and trusted; the trusted ones read as ``judgements``
        threshold: what trust rests on
    """

    table: pd.DataFrame
    threshold: Threshold

    def judgements(self) -> pd.DataFrame:
        """The trusted pairs in the columns of ``judgements``."""
        kept = self.table[self.table["trusted"]]
        return kept[["query", "item_id", "grade", "split"]].reset_index(drop=True)


def pseudo_labels(
    shop: Shop, queries: Sequence[str], catalogue: Catalogue, judge: Judge, config: PseudoConfig | None = None
) -> PseudoLabels:
    """Judge the best candidates of some unjudged queries.

    Args:
        shop: its validation judgements decide what is trusted
        queries: distinct texts; those judged for validation or the test, or nearly so, are left out
        catalogue: aligned with ``shop.items``
        judge: the teacher
        config: how many, and how sure

    Raises:
        ShopError: no validation judgements, or no score of the teacher is good enough on them.
    """
    config = PseudoConfig() if config is None else config
    asked = _unjudged(shop, queries)
    score, grade, relevant = _validated(shop, catalogue, judge)
    threshold = choose_threshold(score, relevant, config)
    if threshold is None:
        raise ShopError(
            f"pseudo-labels: no score of the teacher has precision {config.precision:g} on the {len(score):,} judged "
            "validation pairs; lower the precision knowingly, or name a better teacher"
        )
    query, item = _candidates(asked, catalogue, config.depth)
    given = judge(asked, query, item)
    order = np.lexsort((-given, query))
    query, item, given = query[order], item[order], given[order]
    place = np.arange(len(query)) - np.searchsorted(query, query)  # rank inside a query
    table = pd.DataFrame(
        {
            "query": np.array(asked, dtype=object)[query],
            "item_id": catalogue.items["item_id"].to_numpy(object)[item],
            "grade": expected_grade(score, grade, given).astype(np.float64),
            "split": "train",
            "score": given,
            "trusted": (given >= threshold.score) & (place < config.most),
        }
    )
    return PseudoLabels(table, threshold)


def read_pseudo(file: str | Path) -> pd.DataFrame:
    """The table of `PseudoLabels` from a Parquet file.

    Raises:
        ShopError: it cannot be read or lacks a column.
    """
    try:
        return pd.read_parquet(file, columns=["query", "item_id", "grade", "trusted"])
    except (OSError, ValueError, KeyError) as error:
        raise ShopError(
            f"pairs.pseudo: {file} cannot be read ({error}); name a table made by 'tasteprint label pseudo'"
        ) from error


def pseudo_links(table: pd.DataFrame, shop: Shop, texts: Sequence[str]) -> Examples:
    """What a fine-tune can learn from: trusted pairs linked, their gains from their grades, all others spared.

    Args:
        table: of `PseudoLabels`
        shop: whose items it names
        texts: of each item row

    Raises:
        ShopError: nothing is trusted, or an item is not in the catalogue.
    """
    if not table["trusted"].any():
        raise ShopError(
            "pseudo-labels: no candidate reaches the threshold; ask for more queries or lower the precision"
        )
    row = shop.item_rows(table["item_id"], "pairs.pseudo", remedy="make the table again for this catalogue")
    anchor, names = pd.factorize(table["query"])
    trusted = table["trusted"].to_numpy(bool)
    gain = grade_gain(table["grade"].to_numpy(np.float64), shop.meta.get("grade_gain"))
    return link(
        [str(name) for name in names],
        texts,
        (anchor[trusted], row[trusted]),
        gain=np.maximum(gain[trusted], 1e-6),
        source=SOURCE,
        spared=(anchor[~trusted], row[~trusted]),
    )


def _unjudged(shop: Shop, queries: Sequence[str]) -> list[str]:
    """Distinct queries that are not, even nearly, judged for a later split."""
    distinct = [text for text in dict.fromkeys(queries) if text.strip()]
    later = later_queries(shop, "train")
    if not later or not distinct:
        return distinct
    rows = np.arange(len(distinct))
    as_examples = link(distinct, [f"{row}" for row in rows], (rows, rows), source=SOURCE)
    return list(without_near(as_examples, later).anchors)


def _validated(shop: Shop, catalogue: Catalogue, judge: Judge) -> tuple[Float, NDArray[np.float64], NDArray[np.bool_]]:
    """Score, grade and relevance of the judged validation pairs."""
    split = search_split(shop, mode="rerank", stage="valid")
    query, item = split.truth.request(), split.truth.items.astype(np.int64)
    texts = list(split.requests.texts)
    table = shop.table("judgements")
    table = table[table["split"] == "valid"].drop_duplicates(["query", "item_id"])
    known = table.set_index(["query", "item_id"])["grade"]
    ids = catalogue.items["item_id"].to_numpy(object)
    pairs = pd.MultiIndex.from_arrays([np.array(texts, dtype=object)[query], ids[item]])
    return judge(texts, query, item), known.reindex(pairs).to_numpy(np.float64), split.truth.relevant


def _candidates(
    queries: Sequence[str], catalogue: Catalogue, depth: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Query and item rows of each query's best items by the fused ranker."""
    depth = min(depth, len(catalogue.items))
    item = [np.zeros((0, depth), dtype=np.int64)]
    for _, values in _blocks(queries, fused_scores(catalogue)):
        item.append(np.argsort(-values, axis=1, kind="stable")[:, :depth])
    found = np.concatenate(item)
    return np.repeat(np.arange(len(found), dtype=np.int64), depth), found.ravel().astype(np.int64)


def _blocks(queries: Sequence[str], scores: Callable[[Sequence[str]], Float], size: int = 128) -> Any:
    """Rows of some queries and their scores, a block at a time."""
    for start in range(0, len(queries), size):
        rows = np.arange(start, min(start + size, len(queries)))
        yield rows, scores(list(queries[start : start + size]))
