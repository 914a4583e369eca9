"""What the ranker must know of a catalogue beside the parts: counts of pairs, attributes, prices, cycles, words.

Learned from training events alone and looked up by `second_stage.features`. Nothing here is a score.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from ...profiling.axes import unit_rows
from ...profiling.log import EventLog
from ...profiling.shopper.cycles import CycleModel, fit_cycles
from ...profiling.shopper.prices import usual_prices
from ..histories import Ties, interaction_matrix, keep_largest, step_of_event
from ..scorer import TrainingSet
from .text_features import ItemWords, fit_item_words

Float = NDArray[np.float32]
Ints = NDArray[np.int64]

NEAR = 3
"""Steps within which one item counts as followed by another."""
_KEPT = 300  # pairs kept for each item
_LARGEST_SHARE = 0.1  # attribute values of a larger share of the items tell nothing


@dataclass(frozen=True, eq=False)
class Pairs:
    """Counts of ordered pairs of items, looked up by pair.

    Attributes:
        key: ``first * n_items + second`` of each counted pair, ascending, (n_pairs,)
        count: how often, decayed by distance, (n_pairs,) float32
        n_items: items in the catalogue when they were counted
    """

    key: Ints
    count: Float
    n_items: int

    def of(self, first: Ints, second: Ints) -> Float:
        """Count of each pair of item rows, 0 where it was never seen; arrays of one shape, -1 for no item.

        Rows from ``n_items`` on are items that came after the counting.
        """
        if not len(self.key):
            return np.zeros(first.shape, dtype=np.float32)
        asked = first.astype(np.int64) * self.n_items + second
        place = np.minimum(np.searchsorted(self.key, asked), len(self.key) - 1)
        found = (self.key[place] == asked) & (first >= 0) & (second >= 0) & (second < self.n_items)
        return np.where(found, self.count[place], np.float32(0))


@dataclass(frozen=True, eq=False)
class RankFacts:
    """Facts of a catalogue that features are made of.

    Attributes:
        count: training events that speak for each item, (n_items,) float32
        category, brand: number of each item's category and brand, -1 without one, (n_items,)
        log_price: logarithm of the usual price, NaN where unknown, (n_items,) float32
        attributes: rows of unit length over rare attribute values, (n_items, n_values) CSR
        follows: pairs (earlier, later) within `NEAR` steps
        together: pairs taken at one time
        cycles: how often things are bought again
        ties: whether events at one time are one step
        words: words of the catalogue, where somebody asks in words
    """

    count: Float
    category: NDArray[np.int32]
    brand: NDArray[np.int32]
    log_price: Float
    attributes: sp.csr_matrix
    follows: Pairs
    together: Pairs
    cycles: CycleModel
    ties: Ties
    words: ItemWords | None = None


def fit_rank_facts(train: TrainingSet, *, ties: Ties = "sequence", words: bool = False) -> RankFacts:
    """Learn the facts from a training set; with ``words`` also what queries are matched with."""
    log, items = train.log, train.items
    category, brand = _codes(items, "category"), _codes(items, "brand")
    listed = items["price"].to_numpy(np.float64, na_value=np.nan) if "price" in items else None
    usual = usual_prices(log, listed)
    follows, together = pair_counts(log, ties=ties)
    return RankFacts(
        count=np.bincount(log.item[log.weight > 0], minlength=log.n_items).astype(np.float32),
        category=category,
        brand=brand,
        log_price=np.log(np.where(usual > 0, usual, np.nan)).astype(np.float32),
        attributes=attribute_rows(items),
        follows=follows,
        together=together,
        cycles=fit_cycles(log, category.astype(np.int64)),
        ties=ties,
        words=fit_item_words(items) if words else None,
    )


def pair_counts(log: EventLog, *, ties: Ties, near: int = NEAR, kept: int = _KEPT) -> tuple[Pairs, Pairs]:
    """Pairs (earlier, later) at most ``near`` steps apart, each counting one over its distance, and pairs of one time.

    Of each item's pairs the ``kept`` most frequent stay. Events at one time are always one step here for ``together``;
    for order they are one step only where ``ties`` says so.
    """
    step = step_of_event(log, ties)
    user = np.zeros(int(step[-1]) + 1 if len(step) else 0, dtype=np.int64)
    user[step] = log.user()
    baskets = interaction_matrix(log, step, len(user))
    later = sp.csr_matrix((len(user), len(user)), dtype=np.float32)
    for distance in range(1, min(near, len(user) - 1) + 1):
        row = np.flatnonzero(user[distance:] == user[:-distance])
        one = np.full(len(row), 1.0 / distance, dtype=np.float32)
        later = later + sp.csr_matrix((one, (row, row + distance)), shape=later.shape)
    follows = _pairs(baskets.T.tocsr() @ (later @ baskets), kept)
    at_once = step_of_event(log, "together")
    baskets = interaction_matrix(log, at_once, int(at_once[-1]) + 1 if len(at_once) else 0)
    return follows, _pairs(baskets.T.tocsr() @ baskets, kept)


def attribute_rows(items: pd.DataFrame, *, most: float = _LARGEST_SHARE) -> sp.csr_matrix:
    """Each item's attribute values as a row of unit length, rare values weighing more, (n_items, n_values).

    Values that one item alone has, and those of more than a share ``most`` of the items (at least 20), are left out.
    """
    codes: dict[tuple[str, str], int] = {}
    row, column = [], []
    for place, raw in enumerate(items["attributes"].tolist() if "attributes" in items else []):
        for pair in _values(raw):
            row.append(place)
            column.append(codes.setdefault(pair, len(codes)))
    shape = (len(items), max(len(codes), 1))
    matrix = sp.csr_matrix((np.ones(len(row), dtype=np.float32), (row, column)), shape=shape)
    matrix.data[:] = 1.0
    having = np.bincount(matrix.indices, minlength=shape[1])
    told = (having > 1) & (having <= max(most * len(items), 20))
    weight = np.where(told, np.log(len(items) / np.maximum(having, 1)), 0.0).astype(np.float32)
    matrix = (matrix @ sp.diags(weight)).tocsr()[:, np.flatnonzero(told)]
    norm = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return (sp.diags(1.0 / np.maximum(norm, 1e-12)) @ matrix).tocsr().astype(np.float32)


def text_rows(items: Mapping[str, Float]) -> Float:
    """The item rows whose inner products say how alike two texts are, from the blocks' ``items``, (n_items, d)."""
    return items["taste"] if items["taste"].any() else unit_rows(items["behaviour"])


def _values(raw: Any) -> Iterator[tuple[str, str]]:
    """(name, value) of each attribute of an item; what is no JSON object has none."""
    try:
        table = json.loads(raw) if isinstance(raw, str) else {}
    except ValueError:
        return
    for name, value in table.items() if isinstance(table, dict) else ():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str | int | float):
                yield str(name), str(one).strip().lower()


def _codes(items: pd.DataFrame, column: str) -> NDArray[np.int32]:
    """Numbers of a column's distinct values, -1 for null."""
    if column not in items:
        return np.full(len(items), -1, dtype=np.int32)
    return pd.factorize(items[column].to_numpy(object), sort=False)[0].astype(np.int32)


def _pairs(counts: sp.csr_matrix, kept: int) -> Pairs:
    """The most frequent pairs of each row but those of an item with itself."""
    n_items = counts.shape[1]
    counts = sp.csr_matrix(counts)
    row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    off = row != counts.indices
    apart = sp.csr_matrix((counts.data[off], (row[off], counts.indices[off])), shape=counts.shape)
    best = keep_largest(apart, kept).sorted_indices()
    row = np.repeat(np.arange(n_items, dtype=np.int64), np.diff(best.indptr))
    return Pairs(row * n_items + best.indices, best.data.astype(np.float32), n_items)
