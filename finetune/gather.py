"""Texts shared among the processes of a launch, and their vectors gathered again, with gradients where there are any.

With one process everything here is the identity. Launching is accelerate's work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..profiling.adapters.text_model import TextModel


def encode_shared(model: TextModel, tokens: Sequence[list[int]], *, batch_tokens: int) -> NDArray[np.float32]:
    """Vectors of texts without gradients, (n, d); the processes of a launch share the work and all get the whole."""
    with torch.no_grad():
        own = model.encode_tokens(share(tokens), batch_tokens=batch_tokens).float()
        return gathered(own, len(tokens)).cpu().numpy()


def share(texts: Sequence[list[int]]) -> list[list[int]]:
    """This process's part of some texts: every so many'th."""
    rank, world = _world()
    return list(texts[rank::world])


def gathered(own: Tensor, n: int) -> Tensor:
    """The vectors of all ``n`` texts in their order, from every process's share, differentiable."""
    world = _world()[1]
    if world == 1:
        return own
    most = -(-n // world)
    room = torch.cat([own, own.new_zeros(most - len(own), own.shape[1])])  # shares differ by one at most
    parts = _AllGather.apply(room)  # (world, most, d)
    return parts.transpose(0, 1).reshape(most * world, -1)[:n]


class _AllGather(torch.autograd.Function):
    """Tensors of one shape from all processes, stacked; the gradient of each goes back to where it came from."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        """(...) -> (world, ...)."""
        parts = [torch.empty_like(own) for _ in range(_world()[1])]
        torch.distributed.all_gather(parts, own.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Every process has the same loss, so their gradients are added: DistributedDataParallel divides again."""
        summed = gradient.contiguous().clone()
        torch.distributed.all_reduce(summed)
        return summed[_world()[0]]


def _world() -> tuple[int, int]:
    """This process's number, and how many there are."""
    here = torch.distributed
    if here.is_available() and here.is_initialized():
        return here.get_rank(), here.get_world_size()
    return 0, 1
