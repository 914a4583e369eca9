"""Neighbours by words: items whose titles share rare words with a history's."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field

from ..histories import keep_largest
from ..scorer import TrainingSet
from ..sources.neighbours import NeighboursModel, popular_tie_break
from .bm25 import texts_of, words


class TextNeighboursConfig(BaseModel):
    """Options of neighbours by words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fields: tuple[str, ...] = Field(("title",), description="item columns whose words count")
    max_share: float = Field(0.02, gt=0, le=1, description="words in a larger share of the items are left out")
    neighbours: int = Field(200, ge=1, description="neighbours kept for each item")
    decay: float = Field(0.6, gt=0, le=1, description="weight of a history event for each step of age")
    last: int = Field(50, ge=1, description="newest history events that count")


def fit_text_neighbours(
    train: TrainingSet, config: TextNeighboursConfig | None = None, *, rng: np.random.Generator | None = None
) -> NeighboursModel:
    """Neighbours by cosine of TF-IDF vectors (sublinear counts, unigrams), an item never its own neighbour."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    config = config or TextNeighboursConfig()
    texts = texts_of(train.items, config.fields)
    n_items = len(texts)
    if not any(words(text) for text in texts):
        empty = sp.csr_matrix((n_items, n_items), dtype=np.float32)
        return NeighboursModel(empty, popular_tie_break(train), config.decay, config.last, "sequence")
    counter = TfidfVectorizer(sublinear_tf=True, tokenizer=words, token_pattern=None, dtype=np.float32)
    rows = counter.fit_transform(texts)
    common = np.bincount(rows.indices, minlength=rows.shape[1]) > max(config.max_share * n_items, 20)
    rows = (rows @ sp.diags((~common).astype(np.float32))).tocsr()
    weights = similar_rows(rows, k=config.neighbours)
    return NeighboursModel(weights, popular_tie_break(train), config.decay, config.last, "sequence")


def similar_rows(rows: sp.csr_matrix, *, k: int, block: int = 1000) -> sp.csr_matrix:
    """Inner products of rows with each other, ``k`` largest a row kept, diagonal 0, (n, n) CSR."""
    columns, parts = rows.T.tocsr(), []
    for first in range(0, rows.shape[0], block):
        product = (rows[first : first + block] @ columns).tocoo()
        keep = product.row + first != product.col
        shape = product.shape
        product = sp.csr_matrix((product.data[keep], (product.row[keep], product.col[keep])), shape=shape)
        parts.append(keep_largest(product, k))
    return sp.vstack(parts, format="csr").astype(np.float32)
