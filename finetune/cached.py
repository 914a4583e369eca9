"""Batches larger than memory with exact gradients: encode in pieces without a graph, then once more with one.

The loss sees all vectors at once; each piece is encoded twice and only one piece's graph lives at a time. What a piece
is and how it is encoded is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from ..profiling.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

Piece = TypeVar("Piece")


def cached_step(
    encode: Callable[[Piece], Tensor],
    pieces: Sequence[Piece],
    loss_fn: Callable[[Tensor], Tensor],
    *,
    backward: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """Add the gradients of ``loss_fn`` of all pieces' vectors to the encoder's parameters.

    Gao, Zhang, Han and Callan (2021), Scaling deep contrastive learning batch size under memory limited setup, section
    3.2: the gradient of each vector is kept (equation 7), then each piece is encoded again and receives its own. Random
    numbers (dropout) are the same both times, and afterwards as if each piece had been encoded once.

    Args:
        encode: a piece to vectors, (n, d)
        pieces: at least one; encoded in order
        loss_fn: all vectors, (sum of n, d), to a scalar
        backward: called once a piece with the scalar to differentiate; ``Tensor.backward`` if None

    Returns:
        The loss, detached.

    Raises:
        ConfigError: there is no piece.
    """
    import torch

    if not pieces:
        raise ConfigError("pieces must hold at least one piece, got none; skip empty batches")
    states, parts = [], []
    with torch.no_grad():
        for piece in pieces:
            states.append(_random_state())
            parts.append(encode(piece))
    vectors = torch.cat(parts).detach().requires_grad_()
    with torch.enable_grad():
        loss = loss_fn(vectors)
        (gradient,) = torch.autograd.grad(loss, vectors)
    for piece, state, own in zip(pieces, states, gradient.split([len(part) for part in parts]), strict=True):
        with _replayed(state):
            again = encode(piece)
        value = (again * own).sum()
        if backward is None:
            value.backward()
        else:
            backward(value)
    return loss.detach()


def _random_state() -> tuple[Tensor, list[Tensor]]:
    """State of the generators of the processor and of every accelerator in use."""
    import torch

    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []


@contextmanager
def _replayed(state: tuple[Tensor, list[Tensor]]) -> Iterator[None]:
    """Random numbers as they were then; afterwards as they were before this."""
    import torch

    with torch.random.fork_rng(devices=range(len(state[1]))):
        torch.set_rng_state(state[0])
        if state[1]:
            torch.cuda.set_rng_state_all(state[1])
        yield
