"""Vectors whose beginnings work too: any loss, also over the leading numbers of each vector made unit again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..profiling.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from .losses import Loss, LossConfig, Targets


def matryoshka(loss: Loss, anchors: Tensor, documents: Tensor, targets: Targets, config: LossConfig) -> Tensor:
    """Mean of ``loss`` over the whole vectors and over each leading length in ``config.dims``, a scalar.

    Kusupati et al. (2022), Matryoshka representation learning, equation 1, with equal weights; cut vectors are made
    unit again, as they are when used.

    Raises:
        ConfigError: a length is not below that of the vectors.
    """
    dim = anchors.shape[1]
    if any(length > dim for length in config.dims):
        raise ConfigError(f"dims must be at most the vectors' {dim}, got {list(config.dims)}; leave longer ones out")
    total = loss(anchors, documents, targets, config)
    lengths = [length for length in config.dims if length < dim]
    for length in lengths:
        total = total + loss(leading(anchors, length), leading(documents, length), targets, config)
    return total / (1 + len(lengths))


def leading(vectors: Tensor, length: int) -> Tensor:
    """The first ``length`` numbers of each row, made unit, (n, length)."""
    cut = vectors[:, :length]
    return cut / cut.norm(dim=1, keepdim=True).clamp_min(1e-12)
