"""BM25 over fields with weights, with spelling and sizes forgiven: the words half of hybrid search.

An item's word counts are added over its fields, each held against its field's usual length and weighted, before they
saturate. Scores of all words in all items are one sparse matrix, so that a batch of queries is one product.

Source: Robertson, Zaragoza and Taylor, "Simple BM25 extension to multiple weighted fields", CIKM 2004.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Annotated

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ...profiling.intent.units import UNITS, stem
from ...profiling.log import Requests
from ..largest import rows_summed
from ..readings import KEPT
from ..scorer import TrainingSet
from .analysis import field_texts, item_terms, plain_words
from .spelling import Spelling, can_be_read, fit_spelling

Float = NDArray[np.float32]

FIELDS: Mapping[str, float] = {"title": 1.0, "brand": 0.5, "category": 0.5, "attributes": 0.3, "description": 0.3}
"""Item columns that are searched, and what a word in each counts against one in the title."""

_NOTHING = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)


class LexicalConfig(BaseModel):
    """Options of search by words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fields: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=lambda: dict(FIELDS), description="item columns that are searched, with their weights, each > 0"
    )
    k1: float = Field(0.3, ge=0, description="how fast repeated words stop counting")
    k1_alone: float = Field(1.2, ge=0, description="the same for a query of one word, which has no others to cover")
    b: float = Field(0.5, ge=0, le=1, description="how much long texts are held back, field by field")
    readings: int = Field(3, ge=0, description="known words that an unknown one is read as at most; 0 = none")
    reading_weight: float = Field(0.8, gt=0, le=1, description="weight of the likeliest of them, against a known word")
    joined_weight: float = Field(0.5, ge=0, le=1, description="weight of two neighbouring words as one; 0 = never")


@dataclass(frozen=True)
class AskedTerm:
    """A word that is searched for.

    Attributes:
        term: as the index has it
        weight: 1 for a word of the query, less for a guess
        said: the query's word or words where they were read as something else, else ""
    """

    term: str
    weight: float
    said: str = ""


@dataclass(frozen=True, eq=False)
class LexicalModel:
    """Scores of every word in every item.

    Attributes:
        config: as fitted
        vocabulary: word -> row of ``weights`` and place in ``idf``
        idf: how rare each word is, (n_terms,)
        lengths: usual length of each field, in words
        weights: score of one asked word in an item, (n_terms, n_items) CSR
        spelling: words that unknown ones may stand for
    """

    config: LexicalConfig
    vocabulary: Mapping[str, int]
    idf: Float
    lengths: Mapping[str, float]
    weights: sp.csr_matrix
    spelling: Spelling

    def scores(self, requests: Requests) -> Float:
        """Score of each request's text in every item, (n_requests, n_items); zeros without text."""
        if not requests.texts:
            return np.zeros((len(requests), self.weights.shape[1]), dtype=np.float32)
        if len(requests.texts) > 1:
            return self.match(requests.texts).toarray()
        rows, weight = self._rows(requests.texts[0])  # one request: no matrix to make
        if not self._is_alone(requests.texts[0]):
            return rows_summed(self.weights, rows, weight)[None]
        return rows_summed(self._alone(rows), np.arange(len(rows)), weight)[None]

    def match(self, texts: Sequence[str]) -> sp.csr_matrix:
        """Score of each text, sparse (n_texts, n_items)."""
        asked, alone = [self._rows(text) for text in texts], [self._is_alone(text) for text in texts]
        said = [_NOTHING if one else each for each, one in zip(asked, alone, strict=True)]
        found = _asked_matrix(said, self.weights.shape[0]) @ self.weights
        if not any(alone):
            return found
        said = [each if one else _NOTHING for each, one in zip(asked, alone, strict=True)]
        rows = np.unique(np.concatenate([rows for rows, _ in said]))
        said = [(np.searchsorted(rows, each), weight) for each, weight in said]
        return found + _asked_matrix(said, len(rows)) @ self._alone(rows)

    def _is_alone(self, text: str) -> bool:
        """Whether a text is one word; what it may stand for instead counts no more than a word, two parts of it do."""
        return 0 < sum(asked.weight for asked in self.read(text)) <= 1 + 1e-6

    def _alone(self, rows: NDArray[np.int64]) -> sp.csr_matrix:
        """Rows of ``weights`` as they count in a query of one word, (n_rows, n_items): with ``k1_alone`` as k1."""
        k1, part = self.config.k1, self.weights[rows]
        if k1 and k1 != self.config.k1_alone:
            idf = np.repeat(self.idf[rows].astype(np.float64), np.diff(part.indptr))
            share = np.minimum(part.data / idf, 1 - 1e-6)  # t / (k1 + t), see `term_weights`
            times = k1 * share / (1 - share)
            part.data = (idf * times / (self.config.k1_alone + times)).astype(np.float32)
        return part

    def _rows(self, text: str) -> tuple[NDArray[np.int64], Float]:
        """Rows of ``weights`` that a text asks for, and how much each counts."""
        known = [(self.vocabulary[a.term], a.weight) for a in self.read(text) if a.term in self.vocabulary]
        return np.array([row for row, _ in known], dtype=np.int64), np.array([w for _, w in known], dtype=np.float32)

    def read(self, text: str) -> tuple[AskedTerm, ...]:
        """What is searched for when ``text`` is asked: its words, and what unknown ones may stand for."""
        return self._remembered(text)

    def slips(self, text: str) -> tuple[tuple[str, str], ...]:
        """Words of ``text`` that no item has, each with the likeliest that it was read as."""
        read: dict[str, str] = {}
        for asked in self.read(text):
            if asked.said and " " not in asked.said:
                apart = asked.said in read and asked.weight == 1.0  # words run together have two parts
                read[asked.said] = f"{read[asked.said]} {asked.term}" if apart else read.get(asked.said, asked.term)
        return tuple(read.items())

    @cached_property
    def _remembered(self) -> Callable[[str], tuple[AskedTerm, ...]]:
        """`_read` with the latest texts remembered: shoppers ask the same few things again and again."""
        return lru_cache(maxsize=KEPT)(self._read)

    def _read(self, text: str) -> tuple[AskedTerm, ...]:
        config, said = self.config, plain_words(text)
        found: list[AskedTerm] = []
        for word in said:
            term = stem(word)
            unit = UNITS.get(word, word)  # "milk gallon" where items say "1 gal"
            if term in self.vocabulary or unit in self.vocabulary or not config.readings or not can_be_read(word):
                found.append(AskedTerm(term if term in self.vocabulary else unit, 1.0))
                continue
            parts = self.spelling.parts(word)
            if parts is not None:
                found += [AskedTerm(stem(part), 1.0, word) for part in parts]
                continue
            read = self.spelling.readings(word, most=config.readings)
            found += [AskedTerm(stem(other), config.reading_weight * share, word) for other, share in read]
        return (*found, *self._joined(said))

    def _joined(self, said: Sequence[str]) -> list[AskedTerm]:
        """Neighbouring words that the catalogue writes as one."""
        if not self.config.joined_weight:
            return []
        pairs = [(a, b) for a, b in pairwise(said) if (a + b).isalpha()]
        known = [(stem(a + b), f"{a} {b}") for a, b in pairs]
        return [AskedTerm(term, self.config.joined_weight, both) for term, both in known if term in self.vocabulary]


def _asked_matrix(asked: Sequence[tuple[NDArray[np.int64], Float]], n_columns: int) -> sp.csr_matrix:
    """What each text asks for and how much each counts, (n_texts, n_columns)."""
    indptr = np.r_[0, np.cumsum([len(rows) for rows, _ in asked])]
    rows, weight = (np.concatenate(each) for each in zip(_NOTHING, *asked, strict=True))
    return sp.csr_matrix((weight, rows, indptr), shape=(len(asked), n_columns))


def fit_lexical(
    train: TrainingSet, config: LexicalConfig | None = None, *, rng: np.random.Generator | None = None
) -> LexicalModel:
    """Index the catalogue's words; behaviour is not used."""
    return index_items(train.items, config)


def index_items(items: pd.DataFrame, config: LexicalConfig | None = None) -> LexicalModel:
    """The words of a catalogue in the data contract, ready to be searched."""
    config = config or LexicalConfig()
    said = {name: [plain_words(text) for text in field_texts(items, name)] for name in config.fields}
    coded = {name: [item_terms(words) for words in column] for name, column in said.items()}
    vocabulary = {term: row for row, term in enumerate(sorted({t for c in coded.values() for row in c for t in row}))}
    counts = {name: _counts(column, vocabulary) for name, column in coded.items()}
    n_items = len(items)
    idf = _rarity(counts, n_items, len(vocabulary))
    lengths = {name: float(each.sum() / max(np.count_nonzero(each.getnnz(1)), 1)) for name, each in counts.items()}
    held = ([word for column in said.values() for word in column[row]] for row in range(n_items))
    weights = term_weights(counts, idf, lengths, config)
    return LexicalModel(config, vocabulary, idf, lengths, weights, fit_spelling(held))


def term_weights(
    counts: Mapping[str, sp.csr_matrix], idf: Float, lengths: Mapping[str, float], config: LexicalConfig
) -> sp.csr_matrix:
    """Score of each word in each item, (n_terms, n_items) CSR.

    ``idf * t / (k1 + t)`` with ``t = sum_f weight_f * count_f / (1 - b + b * length_f / usual length of f)``, over the
    largest weight, so that a word once in a title of usual length has t = 1.

    Args:
        counts: field -> how often each item has each word there, (n_items, n_terms) each
        idf: rarity of each word, (n_terms,)
        lengths: field -> usual length
        config: weights of the fields, k1 and b
    """
    if not counts:
        return sp.csr_matrix((len(idf), 0), dtype=np.float32)
    top, total = max(config.fields.values()), None
    for name, matrix in counts.items():
        length = np.asarray(matrix.sum(axis=1)).ravel()
        held = 1 - config.b + config.b * length / max(lengths[name], 1e-9)
        share = config.fields[name] / top / np.maximum(held, 1e-9)
        part = sp.diags(share.astype(np.float32)) @ matrix
        total = part if total is None else total + part
    out = sp.csr_matrix(total, dtype=np.float32)
    out.data = out.data / (config.k1 + out.data) * idf[out.indices]
    return out.T.tocsr().astype(np.float32)


def extended(model: LexicalModel, items: pd.DataFrame, rows: NDArray[np.int64], n_items: int) -> LexicalModel:
    """The model with more or other items, without reading the catalogue again: rarity and usual lengths stay.

    New words weigh like the rarest; spelling learns them at the next rebuild.

    Args:
        model: over the catalogue so far
        items: those that come, in the data contract, (n,)
        rows: row of each, old where it replaces one, (n,)
        n_items: rows from now on
    """
    coded = {name: [item_terms(plain_words(text)) for text in field_texts(items, name)] for name in model.config.fields}
    vocabulary = dict(model.vocabulary)
    for column in coded.values():
        for row in column:
            for term in row:
                vocabulary.setdefault(term, len(vocabulary))
    rarest = model.idf.max(initial=0.0) or 1.0
    idf = np.concatenate([model.idf, np.full(len(vocabulary) - len(model.idf), rarest, dtype=np.float32)])
    counts = {name: _counts(column, vocabulary) for name, column in coded.items()}
    fresh = term_weights(counts, idf, model.lengths, model.config).tocoo()
    old = model.weights.tocoo()
    kept = ~np.isin(old.col, rows)
    data = np.concatenate([old.data[kept], fresh.data])
    place = (np.concatenate([old.row[kept], fresh.row]), np.concatenate([old.col[kept], rows[fresh.col]]))
    weights = sp.csr_matrix((data, place), shape=(len(vocabulary), n_items), dtype=np.float32)
    return replace(model, vocabulary=vocabulary, idf=idf, weights=weights)


def _counts(rows: Sequence[Sequence[str]], vocabulary: Mapping[str, int]) -> sp.csr_matrix:
    """How often each row has each word, (n_rows, n_terms)."""
    column = np.fromiter((vocabulary[term] for row in rows for term in row), dtype=np.int64)
    indptr = np.r_[0, np.cumsum([len(row) for row in rows])]
    ones = np.ones(len(column), dtype=np.float32)
    matrix = sp.csr_matrix((ones, column, indptr), shape=(len(rows), len(vocabulary)))
    matrix.sum_duplicates()
    return matrix


def _rarity(counts: Mapping[str, sp.csr_matrix], n_items: int, n_terms: int) -> Float:
    """``log(1 + (n - m + .5) / (m + .5))`` of each word that m of n items have in any field, (n_terms,)."""
    anywhere = sum(counts.values(), sp.csr_matrix((n_items, n_terms), dtype=np.float32)).tocsr()
    having = np.bincount(anywhere.indices, minlength=n_terms)
    return np.log1p((n_items - having + 0.5) / (having + 0.5)).astype(np.float32)
