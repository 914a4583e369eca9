"""Losses as plain functions of two matrices of unit vectors: no model, no state, no sampling in here.

Covers InfoNCE, the graded listwise loss, margin-MSE and distillation, all over (anchors x documents) with graded
links, spared pairs, logQ correction and guided masking. Cutting vectors to shorter lengths is `matryoshka`'s work,
encoding a batch larger than memory `cached`'s, which documents are in a batch `examples`' and `negatives`'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..profiling.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

_OUT = float("-inf")
_NOTHING = -1e30  # log of no mass at all, finite so that gradients stay numbers


class LossConfig(BaseModel):
    """What training makes smaller."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="listwise", description="key of LOSSES")
    temperature: float = Field(default=0.05, gt=0, le=1, description="cosines are divided by it before the softmax")
    symmetric: bool = Field(default=False, description="info_nce: ask for the anchor of each document too")
    graded_weight: float = Field(
        default=0.5, ge=0, le=10, description="listwise: weight of the order among an anchor's own judged documents"
    )
    guide_margin: float | None = Field(
        default=None,
        ge=-2,
        le=2,
        description="leave out negatives that the teacher scores above its positives minus this; null = keep all",
    )
    margin_scale: float = Field(
        default=1.0, gt=0, description="margin_mse, distil: how many units of the teacher are one of cosine"
    )
    teacher_weight: float = Field(
        default=0.0, ge=0, le=100, description="weight of distil beside another loss; 0 = without"
    )
    dims: tuple[int, ...] = Field(
        default=(), description="Matryoshka: leading lengths that must work too; empty = the whole vector only"
    )

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in LOSSES:
            raise ValueError(f"must be one of {', '.join(LOSSES)}, got {name!r}")
        return name

    @field_validator("dims")
    @classmethod
    def _lengths(cls, dims: tuple[int, ...]) -> tuple[int, ...]:
        if any(dim < 1 for dim in dims) or len(set(dims)) < len(dims):
            raise ValueError(f"must be distinct lengths of at least 1, got {list(dims)}")
        return dims


@dataclass(frozen=True, eq=False)
class Targets:
    """What is known of n anchors against m documents.

    Attributes:
        gain: >= 0; above 0 = positive, (n, m)
        judged: pairs that are linked; the rest of the batch counts as negative, (n, m) bool
        weight: how much each anchor counts, (n,)
        document_log_q: log of how probably each document is in a batch, up to a constant, (m,)
        teacher: scores of a better model, NaN where it was not asked, (n, m)
        spared: pairs that are neither positives nor negatives, (n, m) bool
    """

    gain: Tensor
    judged: Tensor
    weight: Tensor
    document_log_q: Tensor | None = None
    teacher: Tensor | None = None
    spared: Tensor | None = None


Loss = Callable[["Tensor", "Tensor", Targets, LossConfig], "Tensor"]
"""(anchors (n, d), documents (m, d), targets, config) -> scalar; vectors are unit rows."""


def info_nce(anchors: Tensor, documents: Tensor, targets: Targets, config: LossConfig) -> Tensor:
    """Each positive against all negatives of its anchor; other positives stay out of its denominator.

    van den Oord, Li and Vinyals (2018), Representation learning with contrastive predictive coding, equation 4, for
    each positive; positives of one anchor count by their share of its gain. ``symmetric`` adds the same over columns
    and halves the sum (Radford et al., 2021, CLIP, figure 3). logQ: Yi et al. (2019), Sampling-bias-corrected neural
    modeling, equation 3; rows only, as anchors are drawn evenly.

    >>> import torch
    >>> eye, config = torch.eye(2), LossConfig(name="info_nce", temperature=1.0)
    >>> one = Targets(gain=eye, judged=eye > 0, weight=torch.ones(2))
    >>> round(float(info_nce(eye, eye, one, config)), 4)  # log(e + 1) - 1
    0.3133
    """
    scores = anchors @ documents.T / config.temperature  # (n, m)
    positive = targets.judged & (targets.gain > 0)
    negative = ~positive & ~_left_out(targets, config)
    rows = _against_negatives(_corrected(scores, targets), positive, negative)
    share = _share(targets.gain * positive)
    loss = weighted_mean((rows * share).sum(dim=1), targets.weight, positive.any(dim=1))
    if not config.symmetric:
        return loss
    columns = _against_negatives(scores.T, positive.T, negative.T)  # (m, n)
    backward = _share((targets.gain * positive * targets.weight[:, None]).T)
    return (
        loss + weighted_mean((columns * backward).sum(dim=1), backward.new_ones(len(columns)), positive.any(dim=0))
    ) / 2


def listwise(anchors: Tensor, documents: Tensor, targets: Targets, config: LossConfig) -> Tensor:
    """Cross-entropy between each anchor's share of gain and the softmax over the whole batch, plus the judged order.

    ListNet's top-one loss (Cao et al., 2007, Learning to rank: from pairwise approach to listwise approach, equation
    4) with ``gain / sum of gain`` as the wanted distribution and all documents of the batch in the softmax; then
    ``graded_weight`` times the divergence KL(wanted || softmax) over the anchor's own judged documents alone.

    >>> import torch
    >>> eye, config = torch.eye(2), LossConfig(temperature=1.0)
    >>> one = Targets(gain=eye, judged=eye > 0, weight=torch.ones(2))
    >>> round(float(listwise(eye, eye, one, config)), 4)
    0.3133
    """
    scores = anchors @ documents.T / config.temperature  # (n, m)
    positive = targets.judged & (targets.gain > 0)
    share = _share(targets.gain * positive)
    some = positive.any(dim=1)
    out = _left_out(targets, config) & ~positive
    loss = weighted_mean(-(share * _log_softmax(_corrected(scores, targets), ~out)).sum(dim=1), targets.weight, some)
    if not config.graded_weight:
        return loss
    entropy = (share * share.clamp_min(1e-30).log()).sum(dim=1)
    within = entropy - (share * _log_softmax(scores, targets.judged)).sum(dim=1)
    return loss + config.graded_weight * weighted_mean(within, targets.weight, some & (targets.judged.sum(dim=1) > 1))


def margin_mse(anchors: Tensor, documents: Tensor, targets: Targets, config: LossConfig) -> Tensor:
    """Squared difference between the margins of the model and those of a teacher, positive minus negative.

    Hofstaetter et al. (2020), Improving efficient neural ranking models with cross-architecture knowledge
    distillation, equation 6, over every positive and negative of an anchor in the batch, cosines as scores.

    Raises:
        ConfigError: the targets have no teacher.

    >>> import torch
    >>> eye = torch.eye(2)
    >>> one = Targets(gain=eye, judged=eye > 0, weight=torch.ones(2), teacher=3 * eye)
    >>> float(margin_mse(eye, eye, one, LossConfig(name="margin_mse")))  # margins of 1 where the teacher has 3
    4.0
    """
    if targets.teacher is None:
        raise ConfigError("margin_mse needs targets.teacher, got none; score the pairs first or choose info_nce")
    asked = ~targets.teacher.isnan()
    away = anchors @ documents.T - targets.teacher.nan_to_num(0.0) / config.margin_scale  # (n, m)
    positive = asked & targets.judged & (targets.gain > 0)
    negative = asked & ~positive & ~_left_out(targets, config)
    p, q = positive.to(away.dtype), negative.to(away.dtype)
    n_p, n_q = p.sum(dim=1).clamp_min(1), q.sum(dim=1).clamp_min(1)
    mean_p, mean_q = (away * p).sum(dim=1) / n_p, (away * q).sum(dim=1) / n_q
    square_p, square_q = (away**2 * p).sum(dim=1) / n_p, (away**2 * q).sum(dim=1) / n_q
    loss = square_p + square_q - 2 * mean_p * mean_q  # mean over pairs of (away_p - away_q)^2
    return weighted_mean(loss, targets.weight, positive.any(dim=1) & negative.any(dim=1))


def distil(anchors: Tensor, documents: Tensor, targets: Targets, config: LossConfig) -> Tensor:
    """Divergence between a teacher's softmax over the documents it scored for an anchor and the model's.

    Ren et al. (2021), RocketQAv2, equation 5, KL(teacher || model), the teacher divided by ``margin_scale`` so that
    both softmaxes have the one temperature.

    Raises:
        ConfigError: the targets have no teacher.

    >>> import torch
    >>> eye = torch.eye(2)
    >>> one = Targets(gain=eye, judged=eye > 0, weight=torch.ones(2), teacher=3 * eye)
    >>> float(distil(eye, eye, one, LossConfig(name="distil", margin_scale=3.0)))
    0.0
    """
    if targets.teacher is None:
        raise ConfigError("distil needs targets.teacher, got none; score the pairs first or choose listwise")
    asked = ~targets.teacher.isnan()
    wanted = _log_softmax(targets.teacher.nan_to_num(0.0) / (config.margin_scale * config.temperature), asked)
    apart = (wanted - _log_softmax(anchors @ documents.T / config.temperature, asked)).masked_fill(~asked, 0.0)
    return weighted_mean((wanted.exp() * apart).sum(dim=1), targets.weight, asked.sum(dim=1) > 1)


LOSSES: Mapping[str, Loss] = {
    "info_nce": info_nce,
    "listwise": listwise,
    "margin_mse": margin_mse,
    "distil": distil,
}
"""Name in `LossConfig.name` -> loss."""


def compute_loss(anchors: Tensor, documents: Tensor, targets: Targets, config: LossConfig) -> Tensor:
    """The configured loss over the whole vectors and over each leading length in ``dims``, a scalar.

    Raises:
        ConfigError: a length in ``dims`` is not below the vectors', or the loss lacks what it needs.
    """
    from .matryoshka import matryoshka

    return matryoshka(
        _with_teacher if config.teacher_weight else LOSSES[config.name], anchors, documents, targets, config
    )


def asks_teacher(config: LossConfig) -> bool:
    """Whether a loss reads a teacher's scores.

    >>> asks_teacher(LossConfig()), asks_teacher(LossConfig(teacher_weight=1.0))
    (False, True)
    """
    return config.name in ("margin_mse", "distil") or config.guide_margin is not None or config.teacher_weight > 0


def _with_teacher(anchors: Tensor, documents: Tensor, targets: Targets, config: LossConfig) -> Tensor:
    """The configured loss, and so much of what a teacher says of the order."""
    loss = LOSSES[config.name](anchors, documents, targets, config)
    return loss + config.teacher_weight * distil(anchors, documents, targets, config)


def _left_out(targets: Targets, config: LossConfig) -> Tensor:
    """Pairs that may not be negatives: spared ones, and unjudged ones that the teacher takes for positives.

    Solatorio (2024), GISTEmbed, section 3: a candidate the guide scores above the anchor's positive is no negative.
    With several positives their mean score by gain is what counts.
    """
    out = targets.judged.new_zeros(targets.judged.shape) if targets.spared is None else targets.spared
    if config.guide_margin is None:
        return out
    if targets.teacher is None:
        raise ConfigError("guide_margin needs targets.teacher, got none; give a guide's scores or leave it null")
    known = targets.judged & ~targets.teacher.isnan()
    share = _share(targets.gain * known)
    bar = (share * targets.teacher.nan_to_num(0.0)).sum(dim=1, keepdim=True) - config.guide_margin  # (n, 1)
    sure = (targets.gain * known).sum(dim=1, keepdim=True) > 0
    return out | (~targets.judged & sure & (targets.teacher > bar))


def _corrected(scores: Tensor, targets: Targets) -> Tensor:
    """Scores minus log q of each document: frequent documents are negatives too often."""
    return scores if targets.document_log_q is None else scores - targets.document_log_q[None, :]


def _against_negatives(scores: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """-log of each positive's softmax against the negatives of its row and itself, 0 elsewhere, (n, m)."""
    rest = scores.masked_fill(~negative, _NOTHING).logsumexp(dim=1, keepdim=True)  # (n, 1)
    return (rest.logaddexp(scores) - scores).masked_fill(~positive, 0.0)


def _log_softmax(scores: Tensor, inside: Tensor) -> Tensor:
    """Log of the softmax over the columns inside, 0 outside, (n, m)."""
    inside = inside | ~inside.any(dim=1, keepdim=True)  # an empty row would give NaN; callers do not count it
    return scores.masked_fill(~inside, _OUT).log_softmax(dim=1).masked_fill(~inside, 0.0)


def _share(gain: Tensor) -> Tensor:
    """Rows that sum to one, or stay zero, (n, m)."""
    return gain / gain.sum(dim=1, keepdim=True).clamp_min(1e-30)


def weighted_mean(each: Tensor, weight: Tensor, counts: Tensor) -> Tensor:
    """Mean of ``each`` (n,) by ``weight`` over the rows that count; 0 with a gradient of 0 where none does."""
    weight = weight * counts
    return (each * weight).sum() / weight.sum().clamp_min(1e-30)
