"""Block vectors: the named blocks that shoppers and items share, side by side in one dense vector.

``score(shopper, item) = sum_b w_b <shopper_b, item_b>``. The item side is computed once; weights scale the shopper side
only, so they change with every request and never touch an index. Blocks: ``meaning`` (text vector of the item; the
encoded query), ``taste`` (whitened text vector; decayed sums of what the shopper did), ``taste_learned`` (item and
shopper vectors of a trained `TasteModel`; no columns before training), ``behaviour`` (category, brand, price level and
popularity axes), ``context`` (when and where an item sells; when and where the request is made). A missing block is
zeros. Which weights are good is decided elsewhere; nothing here searches or ranks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from .axes import unit_rows
from .context import (
    ContextAxes,
    ContextConfig,
    context_from_state,
    context_state,
    context_vectors,
    fit_context,
    item_contexts,
)
from .item_axes import ItemAxes, fit_item_axes, item_axes_from_state, item_axes_state
from .log import EventLog, Requests
from .shopper.interest_batch import interests_of
from .taste_model import TasteModel, taste_from_state, taste_state

BLOCKS: tuple[str, ...] = ("meaning", "taste", "taste_learned", "behaviour", "context")
DAY_S = 86_400.0
_LEARNED = "taste_learned"

Float = NDArray[np.float32]


class BlocksConfig(BaseModel):
    """Sizes and memories of the blocks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    taste_dim: int = Field(192, ge=1, description="whitened dimensions kept for the taste block")
    category_dim: int = Field(24, ge=2, description="dimensions of the category axes")
    brand_dim: int = Field(12, ge=2, description="dimensions of the brand axes")
    price_levels: int = Field(6, ge=2, description="price levels, by quantile of the catalogue's prices")
    long_half_life_days: float = Field(180.0, gt=0, description="half-life of long-term interest")
    short_half_life_days: float = Field(7.0, gt=0, description="half-life of short-term interest")
    context: ContextConfig = Field(default_factory=ContextConfig, description="which axes a shop's context has")


@dataclass(frozen=True, eq=False)
class BlockSpace:
    """The item side of every block, and what is needed to put a shopper on the same axes.

    Attributes:
        items: block name -> item rows, each (n_items, d_b) float32
        behaviour_mean: what an average event looks like on the behaviour axes, (d_behaviour,)
        context: the shop's context axes
        long_half_life_s, short_half_life_s: memories of the two interests
        taste_model: makes the shopper side of ``taste_learned``; None = not trained
        axes: puts items that come later on the axes of ``taste`` and ``behaviour``; None = this space was made by hand
    """

    items: Mapping[str, Float]
    behaviour_mean: Float
    context: ContextAxes
    long_half_life_s: float
    short_half_life_s: float
    taste_model: TasteModel | None = None
    axes: ItemAxes | None = None

    @property
    def dims(self) -> dict[str, int]:
        """Width of each block."""
        return {name: self.items[name].shape[1] for name in BLOCKS}

    @property
    def memories(self) -> dict[str, float]:
        """Half-life in seconds of each part that is an interest."""
        return {
            "taste_long": self.long_half_life_s,
            "taste_short": self.short_half_life_s,
            "behaviour": self.long_half_life_s,
        }

    def shoppers(self, requests: Requests, parts: Collection[str] | None = None) -> dict[str, Float]:
        """Shopper side of each part of a profile but ``meaning``, which is the encoded query; of ``parts`` only.

        Returns:
            ``taste_long``, ``taste_short`` (n_requests, d_taste), unit length or zero where nothing is known;
            ``taste_learned`` (n_requests, d_learned), only where a taste model was trained;
            ``behaviour`` (n_requests, d_behaviour), difference from the average event;
            ``context`` (n_requests, d_context), how the request's circumstances differ from the shop's usual ones
        """
        wanted = PART_BLOCK if parts is None else parts
        asked = [(name, half_life_s) for name, half_life_s in self.memories.items() if name in wanted]
        found = interests_of(requests, [(self.items[PART_BLOCK[name]], half_life_s) for name, half_life_s in asked])
        return self.sides(requests, {name: one for (name, _), one in zip(asked, found, strict=True)}, parts)

    def sides(
        self,
        requests: Requests,
        interests: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
        parts: Collection[str] | None = None,
    ) -> dict[str, Float]:
        """As `shoppers` from interests worked out: part -> totals (n_requests, d_b) and weights (n_requests,)."""
        wanted = PART_BLOCK if parts is None else parts
        told = {}
        for name, (total, weight) in interests.items():
            if name in wanted:
                told[name] = self._affinity(total, weight) if name == "behaviour" else unit_rows(total)
        if self.taste_model is not None and _LEARNED in wanted:
            told[_LEARNED] = self.taste_model.shoppers(requests)
        if "context" in wanted:
            told["context"] = context_vectors(self.context, requests.now_s, requests.where).astype(np.float32)
        return {name: told[name] for name in PART_BLOCK if name in told}

    def _affinity(self, behaviour: NDArray[np.float64], weight: NDArray[np.float64]) -> Float:
        """How what was chosen differs from the average event, shrunk by one event."""
        known = np.maximum(weight, 0.0)[:, None]
        away = np.where(known > 0, (behaviour - known * self.behaviour_mean) / (known + 1.0), 0.0)
        return away.astype(np.float32)


PART_BLOCK: Mapping[str, str] = {
    "meaning": "meaning",
    "taste_long": "taste",
    "taste_short": "taste",
    "taste_learned": "taste_learned",
    "behaviour": "behaviour",
    "context": "context",
}
"""The block each part of a shopper's vector lives in; parts of one block add up."""


def fit_blocks(
    items: pd.DataFrame,
    vectors: Float,
    log: EventLog,
    config: BlocksConfig | None = None,
    *,
    calendar: bool = True,
    taste_model: TasteModel | None = None,
) -> BlockSpace:
    """Item blocks of a catalogue.

    Args:
        items: catalogue, row-aligned with ``vectors`` and ``log.item_ids``
        vectors: unit-length text vectors, zero rows where there is no text, (n_items, d)
        log: training events, for seasons and popularity
        config: sizes and memories
        calendar: false where the times of different shoppers cannot be compared
        taste_model: trained on this catalogue, in the order of ``items``
    """
    config = config or BlocksConfig()
    axes = fit_item_axes(
        items,
        vectors,
        taste_dim=config.taste_dim,
        category_dim=config.category_dim,
        brand_dim=config.brand_dim,
        price_levels=config.price_levels,
    )
    behaviour = axes.behaviour(items, popularity_axis(log))
    sold = log.weight > 0
    mean = behaviour[log.item[sold]].mean(axis=0) if sold.any() else np.zeros(behaviour.shape[1], np.float32)
    item, at_s, where = log.item[sold], log.at_s[sold], log.where.take(sold)
    there = config.context.model_copy(update={"calendar": config.context.calendar and calendar})
    context = fit_context(at_s, where, config=there)
    blocks = {
        "meaning": np.ascontiguousarray(vectors, dtype=np.float32),
        "taste": axes.whitening.rows(vectors),
        _LEARNED: _learned_rows(taste_model, len(items)),
        "behaviour": behaviour,
        "context": item_contexts(context, item, at_s, where, n_items=len(items)).astype(np.float32),
    }
    memories = (config.long_half_life_days * DAY_S, config.short_half_life_days * DAY_S)
    return BlockSpace(blocks, mean.astype(np.float32), context, *memories, taste_model, axes)


def popularity_axis(log: EventLog) -> Float:
    """Logarithm of how often each item was taken, over the largest, 0 to 1, (n_items,)."""
    popularity = np.log1p(np.bincount(log.item[log.weight > 0], minlength=log.n_items).astype(np.float64))
    return (popularity / max(float(popularity.max(initial=0.0)), 1e-9)).astype(np.float32)


def blocks_state(space: BlockSpace) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and JSON-able values that `blocks_from_state` turns back into the same space."""
    arrays: dict[str, NDArray[Any]] = {f"items.{name}": space.items[name] for name in BLOCKS if name != _LEARNED}
    context, said = context_state(space.context)
    arrays |= {"behaviour_mean": space.behaviour_mean} | {f"context.{name}": array for name, array in context.items()}
    meta = {"context": said, "long_half_life_s": space.long_half_life_s, "short_half_life_s": space.short_half_life_s}
    if space.axes is not None:
        axes, meta["axes"] = item_axes_state(space.axes)
        arrays |= {f"axes.{name}": array for name, array in axes.items()}
    if space.taste_model is not None:
        learned, meta["taste"] = taste_state(space.taste_model)
        arrays |= {f"taste.{name}": array for name, array in learned.items()}
    return arrays, meta


def blocks_from_state(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> BlockSpace:
    """The space that `blocks_state` took apart."""
    items = {name: np.asarray(arrays[f"items.{name}"]) for name in BLOCKS if name != _LEARNED}
    model = taste_from_state(_within(arrays, "taste."), meta["taste"]) if "taste" in meta else None
    axes = item_axes_from_state(_within(arrays, "axes."), meta["axes"]) if "axes" in meta else None
    items[_LEARNED] = _learned_rows(model, len(items["meaning"]))
    context = context_from_state({name: arrays[f"context.{name}"] for name in ("mean", "spread")}, meta["context"])
    memories = (meta["long_half_life_s"], meta["short_half_life_s"])
    return BlockSpace(items, np.asarray(arrays["behaviour_mean"]), context, *memories, model, axes)


def _learned_rows(model: TasteModel | None, n_items: int) -> Float:
    """Item rows of the learned block, (n_items, d); no columns without a model."""
    return np.zeros((n_items, 0), dtype=np.float32) if model is None else model.items


def _within(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """The arrays whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
