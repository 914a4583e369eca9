"""Plain BM25 over item texts: the yardstick that `fielded` is measured against, and quick to index.

Source: Robertson and Zaragoza, "The probabilistic relevance framework: BM25 and beyond", 2009, as Lucene computes it.
Indexing is bm25s's; its term-document scores are kept as one sparse matrix, so that a batch of queries is one product.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ...profiling.log import Requests
from ..scorer import TrainingSet

_WORD = re.compile(r"\w+")


class Bm25Config(BaseModel):
    """Options of BM25."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    k1: float = Field(1.2, ge=0, description="how fast repeated words stop counting")
    b: float = Field(0.75, ge=0, le=1, description="how much long texts are held back")
    fields: tuple[str, ...] = Field(("title", "description", "brand"), description="item columns that are searched")


def words(text: str) -> list[str]:
    """Lower-case runs of letters and digits.

    >>> words("3/4-in. Brass Ball-Valve")
    ['3', '4', 'in', 'brass', 'ball', 'valve']
    """
    return _WORD.findall(text.lower())


def texts_of(items: pd.DataFrame, fields: Sequence[str]) -> list[str]:
    """The named columns of each item joined by blanks, null as nothing."""
    columns = [items[name].fillna("").astype(str) for name in fields if name in items]
    return [" ".join(parts) for parts in zip(*columns, strict=True)] if columns else [""] * len(items)


@dataclass(frozen=True, eq=False)
class Bm25Model:
    """BM25 scores of every word in every item.

    Attributes:
        vocabulary: word -> row of ``weights``
        weights: score of one occurrence of a query word in an item, (n_words, n_items) CSR
    """

    vocabulary: Mapping[str, int]
    weights: sp.csr_matrix

    def scores(self, requests: Requests) -> NDArray[np.float32]:
        """BM25 of each request's text, (n_requests, n_items); zeros without text."""
        if not requests.texts:
            return np.zeros((len(requests), self.weights.shape[1]), dtype=np.float32)
        return self.match(requests.texts).toarray()

    def match(self, texts: Sequence[str]) -> sp.csr_matrix:
        """BM25 of each text, sparse (n_texts, n_items)."""
        found = [[self.vocabulary[w] for w in words(text) if w in self.vocabulary] for text in texts]
        column = np.fromiter((w for row in found for w in row), dtype=np.int64)
        indptr = np.r_[0, np.cumsum([len(row) for row in found])]
        ones = np.ones(len(column), dtype=np.float32)
        return sp.csr_matrix((ones, column, indptr), shape=(len(texts), self.weights.shape[0])) @ self.weights


def fit_bm25(
    train: TrainingSet, config: Bm25Config | None = None, *, rng: np.random.Generator | None = None
) -> Bm25Model:
    """Index the catalogue's words; behaviour is not used."""
    config = config or Bm25Config()
    return index_words(texts_of(train.items, config.fields), k1=config.k1, b=config.b)


def index_words(texts: Sequence[str], *, k1: float = 1.2, b: float = 0.75) -> Bm25Model:
    """BM25 index of these texts, in their order."""
    import bm25s

    documents = [words(text) for text in texts]
    vocabulary = {word: row for row, word in enumerate(sorted({w for document in documents for w in document}))}
    if not vocabulary:
        return Bm25Model({}, sp.csr_matrix((0, len(texts)), dtype=np.float32))
    index = bm25s.BM25(method="lucene", k1=k1, b=b)
    coded = [[vocabulary[w] for w in document] for document in documents]
    index.index((coded, vocabulary), show_progress=False)
    stored = index.scores
    shape = (len(stored["indptr"]) - 1, len(texts))
    weights = sp.csr_matrix((stored["data"], stored["indices"], stored["indptr"]), shape=shape)[: len(vocabulary)]
    return Bm25Model(vocabulary, weights.astype(np.float32))
