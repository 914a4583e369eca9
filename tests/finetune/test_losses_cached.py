"""Gradient caching gives the gradients of the plain step, dropout included."""

from __future__ import annotations

import pytest
import torch

from tasteprint.finetune.cached import cached_step
from tasteprint.finetune.losses import LossConfig, Targets, compute_loss
from tasteprint.profiling.errors import ConfigError


def network() -> torch.nn.Module:
    torch.manual_seed(3)
    return torch.nn.Sequential(
        torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Dropout(0.4), torch.nn.Linear(8, 4)
    ).double()


def loss_of(vectors: torch.Tensor) -> torch.Tensor:
    vectors = torch.nn.functional.normalize(vectors, dim=1)
    gain = torch.eye(4, 6, dtype=torch.float64)
    targets = Targets(gain=gain, judged=gain > 0, weight=torch.ones(4, dtype=torch.float64))
    return compute_loss(vectors[:4], vectors[4:], targets, LossConfig(name="info_nce", symmetric=True))


@pytest.mark.parametrize("sizes", [[10], [3, 3, 4], [1] * 10])
def test_same_gradients_and_random_numbers(sizes: list[int]) -> None:
    texts = torch.randn(10, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    pieces = texts.split(sizes)
    plain, cached = network().train(), network().train()
    torch.manual_seed(9)
    loss = loss_of(torch.cat([plain(piece) for piece in pieces]))
    loss.backward()
    after = torch.rand(3)
    torch.manual_seed(9)
    calls: list[torch.Tensor] = []

    def backward(value: torch.Tensor) -> None:
        calls.append(value)
        value.backward()

    again = cached_step(cached, pieces, loss_of, backward=backward)
    assert torch.equal(torch.rand(3), after)
    assert len(calls) == len(sizes)
    assert not again.requires_grad
    assert again.item() == pytest.approx(loss.item(), rel=1e-12)
    for one, other in zip(plain.parameters(), cached.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-10, atol=1e-12)


def test_gradients_add_up_over_steps() -> None:
    model = network().eval()
    texts = torch.randn(10, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    cached_step(model, texts.split(5), loss_of)
    once = [p.grad.clone() for p in model.parameters()]
    cached_step(model, texts.split(5), loss_of)
    for parameter, grad in zip(model.parameters(), once, strict=True):
        torch.testing.assert_close(parameter.grad, 2 * grad)


def test_no_piece_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one piece"):
        cached_step(network(), [], loss_of)
