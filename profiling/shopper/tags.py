"""Interest tags: readable names of what a profile holds.

Candidates are the catalogue's own names: category steps, brands, short attribute values, title words and phrases. One
is kept for a shopper when it is clearly more frequent among their items than among everybody's: log-odds with an
informative Dirichlet prior (Monroe, Colaresi & Quinn 2008, eqs. 15-22). Tags are ordered by share times log-odds, their
part in what tells the shopper from the crowd, and tags that say the same of the same items are merged. Tags name what
is there; they are no classifier and never used for ranking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import sparse

from ..readable import singular, words_of
from .tag_names import item_names, plainness


class TagConfig(BaseModel):
    """Which names may become tags and how sure they must be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    least_items: int = Field(default=3, ge=1, description="items a name must be on")
    most_share: float = Field(
        default=0.4, gt=0, le=1, description="names on a larger share of what is sold say nothing"
    )
    max_names: int = Field(default=40_000, ge=1, description="most names kept, the most frequent first")
    prior_items: float = Field(default=20.0, gt=0, description="items of background behind the Dirichlet prior")
    least_z: float = Field(default=2.0, description="standard errors a name must be over the background")
    least_lift: float = Field(default=1.5, ge=1, description="times more frequent than in the background")
    least_share: float = Field(default=0.02, ge=0, lt=1, description="share of the shopper's weight a tag must carry")
    fewest: int = Field(default=3, ge=0, description="with fewer tags than this, half the certainty will do")
    least_support: float = Field(default=2.0, gt=0, description="different items of the shopper a tag must be on")
    overlap: float = Field(default=0.6, gt=0, le=1, description="share of its items another tag may already cover")


@dataclass(frozen=True)
class Tag:
    """One readable name of what a shopper holds.

    Attributes:
        name: what to show
        kind: ``category``, ``term``, ``attribute`` or ``brand``
        share: share of the shopper's weight that carries it, in [0, 1]
        lift: that share over everybody's, after shrinking
        z: standard errors of the log-odds ratio over 0
        items: different items of the shopper that carry it
    """

    name: str
    kind: str
    share: float
    lift: float
    z: float
    items: int


@dataclass(frozen=True, eq=False)
class TagModel:
    """A catalogue's names, on which items each is, and how common each is.

    Attributes:
        names, kinds: display name and kind of each candidate, (n_names,)
        keys: words of each candidate, to see that one contains another, (n_names,)
        plain: how well each reads, 1 = as it should, (n_names,)
        carries: which items carry which name, sparse (n_items, n_names) of ones
        background: share of everybody's items that carry each name, (n_names,)
        config: thresholds
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    keys: tuple[frozenset[str], ...]
    plain: NDArray[np.float64]
    carries: sparse.csr_array
    background: NDArray[np.float64]
    config: TagConfig


def fit_tags(
    items: pd.DataFrame, *, sold: NDArray[np.floating] | None = None, config: TagConfig | None = None
) -> TagModel:
    """Collect a catalogue's names.

    Args:
        items: the catalogue
        sold: how many shoppers took each item, (n_items,); every item counts once if None
        config: thresholds
    """
    config = config or TagConfig()
    weight = np.ones(len(items)) if sold is None else np.asarray(sold, dtype=np.float64) + 0.1
    names, carries = item_names(items, least_items=config.least_items, most=config.max_names)
    background = (weight @ carries) / max(weight.sum(), 1.0)
    telling = np.flatnonzero((background > 0) & (background <= config.most_share))
    kept = [names[k] for k in telling]
    categorised = "category" in items and items["category"].notna().mean() > 0.5
    return TagModel(
        names=tuple(name.display for name in kept),
        kinds=tuple(name.kind for name in kept),
        keys=tuple(frozenset(singular(w) for w in words_of(name.display) if w) for name in kept),
        plain=np.asarray([plainness(name, categorised=categorised) for name in kept]),
        carries=sparse.csr_array(carries[:, telling]),
        background=background[telling],
        config=config,
    )


def interest_tags(
    model: TagModel, rows: Sequence[int] | NDArray[np.integer], weights: NDArray[np.floating], *, top: int = 8
) -> tuple[Tag, ...]:
    """Readable names of a weighted set of items, most telling first.

    Args:
        model: the catalogue's names
        rows: different item rows of the shopper, (n,)
        weights: how much each counts, (n,); items of weight <= 0 are left out, the rest scaled to mean 1
        top: most tags to return
    """
    liked = np.asarray(weights, dtype=np.float64) > 0
    row, weight = np.asarray(rows)[liked], np.asarray(weights, dtype=np.float64)[liked]
    if not len(row):
        return ()
    weight = weight * len(weight) / weight.sum()
    carries = model.carries[row]  # (n, n_names)
    mass = weight @ carries
    support = np.asarray(carries.sum(axis=0)).ravel()
    lift, z = log_odds(mass, weight.sum(), model.background, model.config.prior_items)
    share = mass / weight.sum()
    config = model.config
    chosen: list[int] = []
    for ease in (1.0, 0.5):
        if len(chosen) < min(config.fewest, top):
            fit = (z >= ease * config.least_z) & (lift >= ease * np.log(config.least_lift))
            best = np.flatnonzero(fit & (support >= config.least_support) & (share >= config.least_share))
            best = best[np.lexsort((best, -(share * lift * model.plain)[best]))]
            chosen = _distinct(model, best[:400], carries, weight, top)
    return tuple(
        Tag(
            name=model.names[k],
            kind=model.kinds[k],
            share=float(share[k]),
            lift=float(np.exp(lift[k])),
            z=float(z[k]),
            items=int(support[k]),
        )
        for k in chosen
    )


def log_odds(
    mass: NDArray[np.float64], total: float, background: NDArray[np.float64], prior_items: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log of the shrunk odds over the background's, and the same in standard errors, both (n_names,).

    Monroe, Colaresi & Quinn 2008, eqs. 15, 20 and 22, against a background known exactly:
    ``log((y + a) / (n + a0 - y - a)) - log(p / (1 - p))`` with ``a = a0 p``;
    variance ``1/(y + a) + 1/(n + a0 - y - a)``.
    """
    p = np.clip(background, 1e-9, 1 - 1e-9)
    yes = mass + prior_items * p
    no = np.maximum(total + prior_items - yes, 1e-9)
    ratio = np.log(yes / no) - np.log(p / (1 - p))
    return ratio, ratio / np.sqrt(1 / yes + 1 / no)


def _distinct(
    model: TagModel, best: NDArray[np.int64], carries: sparse.csr_array, weight: NDArray[np.float64], top: int
) -> list[int]:
    """The first ``top`` candidates that each say something the ones before do not."""
    columns = sparse.csc_array(carries[:, best])
    chosen: list[int] = []
    covers: list[NDArray[np.bool_]] = []
    for place, k in enumerate(best):
        mine = np.zeros(len(weight), dtype=bool)
        mine[columns.indices[columns.indptr[place] : columns.indptr[place + 1]]] = True
        own = weight[mine].sum()
        same = any(
            weight[mine & other].sum() >= model.config.overlap * min(own, weight[other].sum())
            or (model.keys[k] and (model.keys[k] <= model.keys[c] or model.keys[c] <= model.keys[k]))
            for c, other in zip(chosen, covers, strict=True)
        )
        if not same:
            chosen.append(int(k))
            covers.append(mine)
        if len(chosen) == top:
            break
    return chosen
