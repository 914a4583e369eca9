"""Losses of the taste model: which item came next, against items that did not.

Each takes what positions expect and the items of the step, and gives one number. `LOSSES` is the list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .config import Loss

_NEVER = -1e9


@dataclass(frozen=True, eq=False)
class Compared:
    """Scores of one step.

    Attributes:
        right: score of each position's target, (n,)
        others: score of the shared items, (n, n_others)
        target: the targets, (n,)
        other: the shared items, (n_others,)
        weight: how much each position counts, (n,)
    """

    right: Tensor
    others: Tensor
    target: Tensor
    other: Tensor
    weight: Tensor


def softmax_loss(scores: Compared) -> Tensor:
    """Cross entropy of the target among itself and the shared items, which do not count where they are the target.

    With the whole catalogue shared this is the full softmax. With uniform negatives it is a sampled softmax whose
    correction is the same for all items and cancels: Jean et al., "On using very large target vocabulary", 2015.
    """
    others = scores.others.masked_fill(scores.target[:, None] == scores.other[None, :], _NEVER)
    every = torch.logaddexp(scores.right, others.logsumexp(dim=1))
    return _mean(every - scores.right, scores.weight)


def bce_loss(scores: Compared) -> Tensor:
    """Binary cross entropy of the target against one shared item a position, as SASRec does (equation 6).

    Position ``p`` is held against shared item ``p``, counted round.
    """
    place = torch.arange(len(scores.right)) % len(scores.other)
    other = scores.others[torch.arange(len(place)), place]
    other = other.masked_fill(scores.target == scores.other[place], _NEVER)
    return _mean(functional.softplus(-scores.right) + functional.softplus(other), scores.weight)


LOSSES: dict[Loss, Callable[[Compared], Tensor]] = {"softmax": softmax_loss, "bce": bce_loss}
"""Losses by name."""


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum()
