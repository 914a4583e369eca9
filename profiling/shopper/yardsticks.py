"""Yardsticks: what is normal in a shop, learned once from its training events, for profiles to be measured with.

Norms of behaviour, names for tags, repeat cycles, the prior of new shoppers, how its reviews are meant. Nothing here
looks at one shopper; `profile_build` does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..log import KINDS, EventLog, Requests, event_log, rating_weight
from ..reviews.opinions import OpinionModel, fit_opinions
from ..reviews.reviews import rate_by_words, shop_aspects
from ..tables.shop import Shop
from .behaviour import ShopNorms, behaviour, fit_shop_norms
from .cycles import CycleModel, fit_cycles
from .interest_batch import event_weights, interests
from .interest_set import InterestConfig
from .orders import BehaviourConfig, order_counts
from .prior import PriorModel, fit_prior
from .tags import TagConfig, TagModel, fit_tags


class ProfileConfig(BaseModel):
    """How profiles are built."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    interest: InterestConfig = Field(default_factory=InterestConfig, description="half-lives and weights")
    behaviour: BehaviourConfig = Field(default_factory=BehaviourConfig, description="what an order is")
    tags: TagConfig = Field(default_factory=TagConfig, description="which names become tags")
    top_items: int = Field(default=5, ge=0, description="items named as what an interest is made of")
    top_tags: int = Field(default=8, ge=0, description="tags of a profile")
    recent_half_lives: float = Field(default=2.0, gt=0, description="short half-lives that count as lately")
    utc_offset_s: float = Field(default=0.0, ge=-86_400, le=86_400, description="shop's clock minus UTC, seconds")
    most_reviews: int = Field(default=20_000, ge=0, description="rated reviews the opinion words are learned from")


@dataclass(frozen=True, eq=False)
class Yardsticks:
    """What profiles of a shop are measured with; item rows are those of the catalogue.

    Attributes:
        item_ids, titles: of every item row, (n_items,)
        row_of: item id -> item row
        vectors: unit item vectors that interests are made of, (n_items, d)
        norms, tags, cycles, prior, opinions: fitted on the training events
        aspects: what this shop's reviewers talk about
        usual: what four fifths of the shop's shoppers stay above (``..._low``) or below (``..._high``)
        verb: what an order is in this shop, in the past tense
        meta: the shop's ``shop.json``
        config: how profiles are built
    """

    item_ids: NDArray[np.object_]
    titles: NDArray[np.object_]
    row_of: Mapping[str, int]
    vectors: NDArray[np.floating]
    norms: ShopNorms
    tags: TagModel
    cycles: CycleModel
    prior: PriorModel
    opinions: OpinionModel
    aspects: frozenset[str]
    usual: Mapping[str, float]
    verb: str
    meta: Mapping[str, Any]
    config: ProfileConfig

    @property
    def untimed_kinds(self) -> list[str]:
        """Kinds whose time means nothing."""
        return list(self.meta.get("untimed_kinds") or [])


def fit_yardsticks(
    shop: Shop,
    vectors: NDArray[np.floating],
    *,
    until_s: float = math.inf,
    config: ProfileConfig | None = None,
    rng: np.random.Generator,
) -> Yardsticks:
    """Learn a shop's yardsticks from its events before ``until_s``.

    Args:
        shop: tables; items and events are needed
        vectors: unit vectors, row-aligned with ``shop.items``, (n_items, d)
        until_s: end of visible time, seconds since 1970 UTC
        config: how profiles are built
        rng: which reviews are learned from, and the shuffles of the prior's tests

    Raises:
        ShopError: the shop has no items or no events.
    """
    config = config or ProfileConfig()
    items, events = shop.table("items"), shop.table("events")
    events = events[seconds(events) < until_s]
    scale = shop.meta.get("rating_scale")
    opinions, aspects = _learn_opinions(events, scale, config, rng)
    rated = rate_by_words(events, rating_scale=scale, model=opinions)
    log = event_log(rated, items["item_id"].tolist(), rating_scale=scale, kind_weights=config.interest.kind_weights)
    norms = fit_shop_norms(log, items, config=config.behaviour)
    everyone = Requests(log, log.user_start[:-1], log.user_start[1:], np.full(log.n_users, np.inf))
    sold = np.asarray((order_counts(everyone, config.behaviour) > 0).sum(axis=0), dtype=np.float64).ravel()
    return Yardsticks(
        item_ids=items["item_id"].to_numpy(object),
        titles=items["title"].to_numpy(object),
        row_of={item_id: row for row, item_id in enumerate(items["item_id"])},
        vectors=vectors,
        norms=norms,
        tags=fit_tags(items, sold=sold, config=config.tags),
        cycles=fit_cycles(log, norms.category.groups.code),
        prior=_learn_prior(log, vectors, shop.users, rng),
        opinions=opinions,
        aspects=aspects,
        usual=_usual(everyone, norms, until_s),
        verb="Ordered" if (log.kind == KINDS.index("purchase")).any() else "Reviewed",
        meta=shop.meta,
        config=config,
    )


def _learn_opinions(
    events: pd.DataFrame, scale: str | None, config: ProfileConfig, rng: np.random.Generator
) -> tuple[OpinionModel, frozenset[str]]:
    """Opinion words from rated reviews and aspects from all of them, on a sample where there are very many."""
    reviews = events[events["text"].notna()]
    if len(reviews) > config.most_reviews:
        reviews = reviews.iloc[np.sort(rng.choice(len(reviews), config.most_reviews, replace=False))]
    texts = reviews["text"].tolist()
    ratings = pd.to_numeric(reviews["rating"]).to_numpy(np.float32, na_value=np.nan)
    signs = np.where(np.isnan(ratings), np.nan, rating_weight(ratings, scale))
    return fit_opinions(texts, signs), shop_aspects(texts)


def _learn_prior(
    log: EventLog, vectors: NDArray[np.floating], users: pd.DataFrame | None, rng: np.random.Generator
) -> PriorModel:
    """Prior from every shopper's undecayed mean of what they liked."""
    liked = np.maximum(event_weights(log), 0.0)
    everyone = Requests(log, log.user_start[:-1], log.user_start[1:], np.full(log.n_users, np.inf))
    ever = Requests(log, everyone.start, everyone.stop, np.full(log.n_users, log.at_s.max(initial=0.0)))
    totals, weights = interests(ever, vectors, math.inf, weights=liked)
    means = totals / np.maximum(weights, 1e-12)[:, None]
    known = None if users is None else users.set_index("user_id").reindex(log.user_ids)
    return fit_prior(known, means, weights, rng=rng)


def _usual(everyone: Requests, norms: ShopNorms, until_s: float, *, least_orders: int = 3) -> dict[str, float]:
    """Bounds of what is usual: 20 % and 80 % quantiles over shoppers with a few orders; absent where none is known."""
    end = until_s if math.isfinite(until_s) else float(everyone.log.at_s.max(initial=0.0))
    found = behaviour(replace(everyone, now_s=np.full(len(everyone), end)), norms)
    out = {}
    for name in ("price_level", "novelty", "discount_sensitivity"):
        values = getattr(found, name)[found.orders >= least_orders]
        values = values[~np.isnan(values)]
        if len(values) >= 10:
            out[f"{name}_low"], out[f"{name}_high"] = (float(q) for q in np.quantile(values, (0.2, 0.8)))
    return out


def seconds(events: pd.DataFrame) -> NDArray[np.float64]:
    """Event times in seconds since 1970 UTC, (n_events,)."""
    return events["at"].to_numpy("datetime64[us]").astype(np.int64) / 1e6
