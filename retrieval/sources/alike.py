"""What shoppers with the same known attributes choose more often than others: where a shopper without history starts.

Each value of each attribute has a lift an item: distinct buyers observed over expected, shrunk by the scatter that
chance leaves unexplained, so an attribute that tells nothing changes nothing. The lifts of a shopper's attributes
multiply (naive Bayes). Which attributes may be used is the shop's policy: `RecommenderConfig.attributes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...profiling.log import Requests
from ...profiling.shopper.shrinkage import ratio_strength, shrunk_ratio
from ..scorer import TrainingSet
from .popularity import PopularModel

_MOST_VALUES = 50  # a column with more different values makes no segments
_NO_SIGNAL = 1e3  # pseudo-buyers at which an attribute counts as telling nothing


@dataclass(frozen=True, eq=False)
class AlikeModel:
    """Popularity, and how it differs among shoppers of each attribute value.

    Attributes:
        popular: score of each item for a shopper of whom nothing is known
        log_lift: attribute -> value -> natural logarithm of the lift of each item, (n_items,)
    """

    popular: PopularModel
    log_lift: Mapping[str, Mapping[str, NDArray[np.float32]]]

    def scores(self, requests: Requests) -> NDArray[np.float32]:
        """Popularity among shoppers alike, (n_requests, n_items); plain where nothing is known of the shopper."""
        plain = self.popular.scores(requests)
        if not any(requests.attributes):
            return plain
        out = np.array(plain)
        for row, attributes in enumerate(requests.attributes):
            if (lift := self.lift(attributes)) is not None:
                out[row] *= lift
        return out

    def lift(self, attributes: Mapping[str, str]) -> NDArray[np.float32] | None:
        """How many times as often shoppers alike choose each item, (n_items,); None where that is not known."""
        lifts = [self.log_lift.get(name, {}).get(value) for name, value in attributes.items()]
        known = [lift for lift in lifts if lift is not None]
        return np.exp(np.sum(known, axis=0, dtype=np.float32)) if known else None


def fit_alike(
    train: TrainingSet, popular: PopularModel, *, attributes: tuple[str, ...] | None = None
) -> PopularModel | AlikeModel:
    """Learn the lifts of every attribute that tells something; ``popular`` itself where none does.

    Args:
        train: with the shop's ``users`` table; without one nothing is learned
        popular: what the lifts multiply
        attributes: columns that may be used, None = all
    """
    if train.users is None or not len(train.log):
        return popular
    log = train.log
    liked = log.weight > 0
    pairs = np.unique(log.user()[liked].astype(np.int64) * log.n_items + log.item[liked])  # each buyer once an item
    user, item = np.divmod(pairs, log.n_items)
    table = train.users.set_index("user_id").reindex(log.user_ids)
    lifts = {}
    for name in table.columns if attributes is None else [a for a in attributes if a in table.columns]:
        code, values = pd.factorize(table[name].map(str, na_action="ignore").to_numpy(object), sort=True)
        if 2 <= len(values) <= _MOST_VALUES and (code[user] >= 0).any():
            lift = _log_lift(code[user], item, (len(values), log.n_items))
            if lift is not None:
                lifts[str(name)] = dict(zip(map(str, values), lift, strict=True))
    return AlikeModel(popular, lifts) if lifts else popular


def _log_lift(
    value: NDArray[np.integer], item: NDArray[np.integer], shape: tuple[int, int]
) -> NDArray[np.float32] | None:
    """Logarithm of shrunk observed over expected buyers, (n_values, n_items); None where chance explains it all."""
    known = value >= 0
    cells = value[known].astype(np.int64) * shape[1] + item[known]
    observed = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
    share = observed.sum(axis=1, keepdims=True) / observed.sum()
    expected = share * observed.sum(axis=0)
    chance = expected * (1 - share)  # binomial: the buyers of an item are dealt to the values
    strength = ratio_strength(observed.ravel(), expected.ravel(), chance=chance.ravel(), highest=_NO_SIGNAL)
    if strength >= _NO_SIGNAL:
        return None
    return np.log(shrunk_ratio(observed, expected, strength)).astype(np.float32)
