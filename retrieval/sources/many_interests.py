"""Several interests a shopper: a few medoids of the history, each candidate scored by the one it is nearest to.

A mean of a history full of different things is near none of them. Up to ``most`` distinct items of the history are
chosen so that every item of it is near one of them (greedy facility location, weights fade with age); the items nearest
to each medoid make its interest, the weighted mean of their vectors. One interest is then the plain mean. Source of the
idea: Pal et al., "PinnerSage", KDD 2020, with another clustering. Learned vectors are `TasteModel`'s work, not here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ...profiling.axes import whiten
from ...profiling.log import Requests
from ..histories import history_matrix, steps_ago
from ..scorer import TrainingSet

Float = NDArray[np.float32]


class ManyInterestsConfig(BaseModel):
    """Options of several interests."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    most: int = Field(3, ge=1, le=20, description="interests of a shopper at most")
    decay: float = Field(0.9, gt=0, le=1, description="weight of a history event for each step of age")
    last: int = Field(60, ge=1, description="newest history events that count")
    share_power: float = Field(0.25, ge=0, le=2, description="exponent of an interest's share of the history")
    gain: float = Field(0.02, ge=0, description="least a further medoid must add, as a share of the history's weight")
    dim: int = Field(192, ge=1, description="whitened dimensions of item text")


@dataclass(frozen=True, eq=False)
class ManyInterestsModel:
    """Interests on the spot: nothing about shoppers is stored.

    Attributes:
        vectors: unit-length item vectors, (n_items, d)
        config: see `ManyInterestsConfig`
    """

    vectors: Float
    config: ManyInterestsConfig

    def scores(self, requests: Requests) -> Float:
        """Best over interests of ``share ** share_power * cosine``, (n_requests, n_items); 0 without a history."""
        out = np.zeros((len(requests), requests.log.n_items), dtype=np.float32)
        for row, interests in enumerate(self.interests(requests)):
            if len(interests):
                out[row] = np.maximum((interests @ self.vectors.T).max(axis=0), 0.0)
        return out

    def interests(self, requests: Requests) -> list[Float]:
        """Interests of each request, strongest first, (k, d) with k in 0..most; their length is their strength."""
        config = self.config
        request, event, age = steps_ago(requests, "together", last=config.last)
        liked = np.maximum(requests.log.weight[event], 0.0) * config.decay ** age.astype(np.float64)
        weights = history_matrix(requests, request, event, liked)
        return [
            interests_of(
                self.vectors[weights.indices[first:last]],
                weights.data[first:last].astype(np.float64),
                most=config.most,
                share_power=config.share_power,
                gain=config.gain,
            )
            for first, last in zip(weights.indptr[:-1], weights.indptr[1:], strict=True)
        ]


def fit_many_interests(
    train: TrainingSet, config: ManyInterestsConfig | None = None, *, rng: np.random.Generator | None = None
) -> ManyInterestsModel:
    """Whiten the item vectors; all zero without an encoder."""
    config = config or ManyInterestsConfig()
    if train.vectors is None:
        return ManyInterestsModel(np.zeros((train.log.n_items, 1), dtype=np.float32), config)
    return ManyInterestsModel(whiten(train.vectors, config.dim), config)


def interests_of(vectors: Float, weights: NDArray[np.float64], *, most: int, share_power: float, gain: float) -> Float:
    """Interests of one history of distinct items, (k, d), strongest first.

    Args:
        vectors: unit-length vectors of the items, (n, d)
        weights: what each item counts, >= 0, (n,)
        most: interests at most
        share_power: exponent of an interest's share of the weight, which becomes its length
        gain: least rise of the covered share of the weight that a further medoid must bring
    """
    if not weights.sum() > 0:
        return np.zeros((0, vectors.shape[1]), dtype=np.float32)
    share = weights / weights.sum()
    chosen, near = medoids(vectors, share, most=most, gain=gain)
    nearest = near[:, chosen].argmax(axis=1)
    strength = np.bincount(nearest, share, minlength=len(chosen))
    totals = np.zeros((len(chosen), vectors.shape[1]))
    np.add.at(totals, nearest, share[:, None] * vectors)
    length = np.linalg.norm(totals, axis=1, keepdims=True)
    unit = np.divide(totals, length, out=np.zeros_like(totals), where=length > 1e-12)
    order = np.argsort(-strength, kind="stable")
    return np.asarray((unit * strength[:, None] ** share_power)[order], dtype=np.float32)


def medoids(
    vectors: Float, share: NDArray[np.float64], *, most: int, gain: float
) -> tuple[list[int], NDArray[np.float64]]:
    """Greedy facility location: items that cover the others best, and how near all are to each other, (n, n).

    Covered is ``sum_i share_i * max_m max(cosine(i, m), 0)``; each further medoid is the one that adds most, and at
    least ``gain``. Nemhauser, Wolsey and Fisher 1978: at least 63 % of what the best ``most`` medoids cover.
    """
    near = np.maximum(vectors.astype(np.float64) @ vectors.T.astype(np.float64), 0.0)
    covered = np.zeros(len(share))
    chosen: list[int] = []
    for _ in range(min(most, len(share))):
        added = share @ np.maximum(near - covered[:, None], 0.0)
        added[chosen] = -1.0
        best = int(added.argmax())
        if chosen and added[best] < gain:
            break
        chosen.append(best)
        covered = np.maximum(covered, near[:, best])
    return chosen, near
