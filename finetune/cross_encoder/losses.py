"""Losses of a cross-encoder as plain functions of one logit a pair: no model, no state, no sampling in here.

Covers pointwise cross-entropy on scaled gain, and listwise and pairwise losses inside each anchor's own pairs. Losses
of vectors are in `losses`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..losses import weighted_mean

if TYPE_CHECKING:
    from torch import Tensor

_OUT = -1e30  # log of no mass at all, finite so that gradients stay numbers


class CrossLossConfig(BaseModel):
    """What training a cross-encoder makes smaller."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="pointwise", description="key of CROSS_LOSSES")
    order_weight: float = Field(
        default=1.0, ge=0, le=100, description="pointwise: weight of the listwise loss beside it; 0 = without"
    )
    sharpness: float = Field(
        default=6.0, gt=0, le=100, description="listwise: the wanted shares are the softmax of so many times the gain"
    )

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in CROSS_LOSSES:
            raise ValueError(f"must be one of {', '.join(CROSS_LOSSES)}, got {name!r}")
        return name


@dataclass(frozen=True, eq=False)
class PairTargets:
    """What is known of p pairs of n anchors.

    Attributes:
        own: anchor of each pair, (p,) int64
        gain: how good the item is for the anchor, in [0, 1]; 0 for a negative, (p,)
        weight: how much each anchor counts, > 0, (n,)
    """

    own: Tensor
    gain: Tensor
    weight: Tensor


CrossLoss = Callable[["Tensor", PairTargets, CrossLossConfig], "Tensor"]
"""(logits (p,), targets, config) -> scalar."""


def pointwise(logits: Tensor, targets: PairTargets, config: CrossLossConfig) -> Tensor:
    """Cross-entropy of each pair's logit with its gain as the wanted chance, plus ``order_weight`` of `listwise`.

    Nogueira and Cho (2019), Passage re-ranking with BERT, equation 1, with soft labels.

    >>> import torch
    >>> one = PairTargets(own=torch.tensor([0, 0]), gain=torch.tensor([1.0, 0.5]), weight=torch.ones(1))
    >>> config = CrossLossConfig(order_weight=0.0)
    >>> round(float(pointwise(torch.zeros(2), one, config)), 4)  # log 2
    0.6931
    """
    from torch.nn import functional

    each = functional.binary_cross_entropy_with_logits(logits, targets.gain, reduction="none")
    weight = targets.weight[targets.own]
    loss = (each * weight).sum() / weight.sum().clamp_min(1e-30)
    return loss + config.order_weight * listwise(logits, targets, config) if config.order_weight else loss


def listwise(logits: Tensor, targets: PairTargets, config: CrossLossConfig) -> Tensor:
    """Divergence between the softmax of an anchor's gains, sharpened, and that of its logits, mean over anchors.

    ListNet's top-one loss (Cao et al., 2007, equation 4) less its constant; anchors with one pair say nothing.

    >>> import torch
    >>> one = PairTargets(own=torch.tensor([0, 0]), gain=torch.tensor([1.0, 0.0]), weight=torch.ones(1))
    >>> float(listwise(torch.tensor([6.0, 0.0]), one, CrossLossConfig()))
    0.0
    """
    scores, there = _by_anchor(logits, targets)  # (n, width)
    wanted = _by_anchor(targets.gain * config.sharpness, targets)[0].log_softmax(dim=1)
    apart = (wanted - scores.log_softmax(dim=1)).masked_fill(~there, 0.0)
    return weighted_mean((wanted.exp() * apart).sum(dim=1), targets.weight, there.sum(dim=1) > 1)


def pairwise(logits: Tensor, targets: PairTargets, config: CrossLossConfig) -> Tensor:
    """Each better item above each worse one of the same anchor, weighted by what exchanging them costs in NDCG.

    RankNet's loss (Burges et al., 2005, equation 3) with LambdaRank's weights (Burges et al., 2006), as the
    metric-driven loss of Wang et al. (2018), The LambdaLoss framework, equation 12. Ranks are those of the logits.

    >>> import torch
    >>> one = PairTargets(own=torch.tensor([0, 0]), gain=torch.tensor([1.0, 0.0]), weight=torch.ones(1))
    >>> config = CrossLossConfig(name="pairwise")
    >>> round(float(pairwise(torch.zeros(2), one, config)), 4)  # log 2 times 1 - 1 / log2(3)
    0.2558
    """
    from torch.nn import functional

    scores, there = _by_anchor(logits, targets)
    gain = _by_anchor(targets.gain, targets)[0].masked_fill(~there, 0.0)
    rank = scores.detach().argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    discount = 1.0 / (rank.to(scores.dtype) + 2.0).log2()
    ideal = (gain.sort(dim=1, descending=True).values * discount.sort(dim=1, descending=True).values).sum(dim=1)
    costs = (gain[:, :, None] - gain[:, None, :]) * (discount[:, :, None] - discount[:, None, :]).abs()
    better = (gain[:, :, None] > gain[:, None, :]) & there[:, :, None] & there[:, None, :]
    each = functional.softplus((scores[:, None, :] - scores[:, :, None]).masked_fill(~better, 0.0)) * better * costs
    loss = each.sum(dim=(1, 2)) / ideal.clamp_min(1e-30)
    return weighted_mean(loss, targets.weight, better.any(dim=2).any(dim=1))


CROSS_LOSSES: Mapping[str, CrossLoss] = {"pointwise": pointwise, "listwise": listwise, "pairwise": pairwise}
"""Name in `CrossLossConfig.name` -> loss."""


def cross_loss(logits: Tensor, targets: PairTargets, config: CrossLossConfig) -> Tensor:
    """The configured loss, a scalar."""
    return CROSS_LOSSES[config.name](logits, targets, config)


def _by_anchor(values: Tensor, targets: PairTargets) -> tuple[Tensor, Tensor]:
    """Values of pairs, a row an anchor, nothing (`_OUT`) where there is no pair, and where there is one, (n, width)."""
    own = targets.own
    count = own.bincount(minlength=len(targets.weight))
    order = own.argsort(stable=True)
    start = count.cumsum(dim=0) - count
    place = own.new_empty(len(own))
    place[order] = own.new_tensor(range(len(own))) - start[own[order]]
    rows = values.new_full((len(count), max(1, int(count.max()))), _OUT).index_put((own, place), values)
    there = rows.new_zeros(rows.shape).index_put((own, place), rows.new_ones(len(own))) > 0
    return rows, there
