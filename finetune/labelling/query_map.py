"""A learner that fits in seconds: a linear map of the query's vector, on vectors that stay as they are.

The score of an item is the cosine of its vector with ``query + query @ W``; W starts at zero, so nothing learned is the
encoder as it is. Enough to see what judgements are worth, and no more: fine-tuning the encoder is `train`'s work.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ...profiling.errors import ConfigError

Float = NDArray[np.float32]


class MapConfig(BaseModel):
    """How the map is fitted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=60, ge=1, description="steps of Adam")
    lr: float = Field(default=1e-3, gt=0, description="its learning rate")
    batch: int = Field(default=256, ge=2, description="queries in a step; their items are each other's negatives")
    temperature: float = Field(default=0.05, gt=0, description="divides cosines before the softmax")
    pull: float = Field(default=0.03, ge=0, description="weight of the squared entries of W in the loss")


@dataclass(frozen=True, eq=False)
class Links:
    """Judged pairs.

    Attributes:
        query, item: rows of the query and of the item, (n,)
        gain: >= 0, (n,)
    """

    query: NDArray[np.int64]
    item: NDArray[np.int64]
    gain: Float

    def of(self, queries: NDArray[np.int64]) -> Links:
        """The pairs of these queries."""
        kept = np.isin(self.query, queries)
        return Links(self.query[kept], self.item[kept], self.gain[kept])

    def __len__(self) -> int:
        return len(self.query)


def fit_map(
    queries: Float, items: Float, links: Links, config: MapConfig | None = None, *, rng: np.random.Generator
) -> Float:
    """The map W, (d, d), that the judged pairs ask for.

    Cross-entropy between the softmax over the batch's items and each query's gains as shares (InfoNCE with graded
    targets; van den Oord et al., 2018, eq. 4), items judged worthless among the negatives. Queries without a positive
    gain teach nothing.

    Args:
        queries: unit vectors, (n_queries, d)
        items: unit vectors, (n_items, d)
        links: judged pairs
        config: how
        rng: chooses the batches

    Raises:
        ConfigError: rows of the links are not there.
    """
    import torch

    config = MapConfig() if config is None else config
    dim = queries.shape[1]
    if len(links) and (links.query.max() >= len(queries) or links.item.max() >= len(items)):
        raise ConfigError("links: rows must be of the queries and the items given; align them")
    links = links.of(np.unique(links.query[links.gain > 0]))
    asked, place = np.unique(links.query, return_inverse=True)
    if not len(asked):
        return np.zeros((dim, dim), dtype=np.float32)
    weights = torch.zeros(dim, dim, requires_grad=True)
    optimiser = torch.optim.Adam([weights], lr=config.lr)
    total = np.bincount(place, weights=links.gain)
    given = torch.from_numpy(queries[asked].astype(np.float32))
    waiting = np.zeros(0, dtype=np.int64)
    for _ in range(config.steps):
        if len(waiting) < min(config.batch, len(asked)):
            waiting = rng.permutation(len(asked))
        rows, waiting = np.sort(waiting[: config.batch]), waiting[config.batch :]
        inside = np.isin(place, rows)
        shown, column = np.unique(links.item[inside], return_inverse=True)
        target = np.zeros((len(rows), len(shown)), dtype=np.float32)
        at = np.searchsorted(rows, place[inside])
        np.add.at(target, (at, column), links.gain[inside] / total[place[inside]])
        asking = given[rows]
        mapped = torch.nn.functional.normalize(asking + asking @ weights)
        logits = mapped @ torch.from_numpy(items[shown].astype(np.float32)).T / config.temperature
        loss = -(torch.from_numpy(target) * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()
        optimiser.zero_grad()
        (loss + config.pull * weights.square().sum()).backward()
        optimiser.step()
    return weights.detach().numpy()


def mapped(queries: Float, weights: Float) -> Float:
    """Unit vectors of the mapped queries, (n, d)."""
    moved = queries + queries @ weights
    return np.asarray(moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12), dtype=np.float32)
