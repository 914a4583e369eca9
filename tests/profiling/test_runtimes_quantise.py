"""Quantising one linear map: the grid, the error it leaves, and what the compensation is worth."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from tasteprint.profiling.runtimes.quantise import (  # noqa: E402
    QuantiseConfig,
    QuantLinear,
    _compensated,
    _quantised,
    _rounded,
    _scale,
    _within,
)


@pytest.fixture(scope="module")
def linear() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(96, 24).requires_grad_(False)


@pytest.fixture(scope="module")
def inputs() -> torch.Tensor:
    """Correlated inputs with one channel far larger than the others, as transformers have."""
    generator = torch.Generator().manual_seed(1)
    made = torch.randn(800, 12, generator=generator) @ torch.randn(12, 96, generator=generator)
    made += 0.3 * torch.randn(800, 96, generator=generator)
    made[:, 5] *= 40
    return made


def error(linear: torch.nn.Linear, made: torch.nn.Module, inputs: torch.Tensor) -> float:
    """Mean squared error of the outputs as a share of their variance."""
    truth = linear(inputs)
    return float((made(inputs) - truth).square().mean() / truth.var())


@pytest.mark.parametrize("bits", [7, 8])
def test_near_the_linear_map(linear: torch.nn.Linear, inputs: torch.Tensor, bits: int):
    made = _quantised(linear, inputs[:600], QuantiseConfig(weight_bits=bits))
    assert error(linear, made, inputs[600:]) < 1e-3
    assert abs(float((made(inputs[:600]) - linear(inputs[:600])).mean())) < 1e-3  # the bias took the mean error


@pytest.mark.parametrize("bits", [4, 7, 8])
def test_weights_lie_on_their_grid(linear: torch.nn.Linear, inputs: torch.Tensor, bits: int):
    made = _quantised(linear, inputs, QuantiseConfig(weight_bits=bits))
    steps = made.weight / made.scale[:, None]
    assert torch.allclose(steps, steps.round(), atol=1e-4)
    assert int(steps.round().abs().max()) <= 2 ** (bits - 1) - 1


def test_seven_bits_never_saturate():
    """Two products of an 8-bit input and a weight fit into 16 bits, whatever they are."""
    top = 2 ** (QuantiseConfig().weight_bits - 1) - 1
    assert 2 * 255 * top <= 2**15 - 1


def test_compensation_beats_rounding(linear: torch.nn.Linear, inputs: torch.Tensor):
    config = QuantiseConfig(weight_bits=4)
    scale = _scale(linear.weight, 4)
    hessian = inputs.T @ inputs / len(inputs)
    rounded = _rounded(linear.weight, scale, config)
    made = _compensated(linear.weight, scale, hessian, config)

    def left(weight: torch.Tensor) -> float:
        wrong = (weight - linear.weight).double()
        return float(torch.einsum("oi,ij,oj->", wrong, hessian.double(), wrong))

    assert left(made) < 0.5 * left(rounded)


def test_compensation_of_independent_columns_is_rounding(linear: torch.nn.Linear):
    config = QuantiseConfig(weight_bits=6)
    scale = _scale(linear.weight, 6)
    made = _compensated(linear.weight, scale, torch.eye(96), config)
    assert torch.allclose(made, _rounded(linear.weight, scale, config), atol=1e-6)


def test_smoothing_tames_the_large_channel(linear: torch.nn.Linear, inputs: torch.Tensor):
    plain = _quantised(linear, inputs, QuantiseConfig(smoothing=(0.0,), kept_range=(1.0,)))
    smoothed = _quantised(linear, inputs, QuantiseConfig(kept_range=(1.0,)))
    assert error(linear, smoothed, inputs) < 0.3 * error(linear, plain, inputs)
    assert isinstance(smoothed, QuantLinear)


def test_tokens_are_capped():
    assert _within([[1] * 5, [1] * 5, [1] * 5], 11) == [[1] * 5, [1] * 5]
    assert _within([[1] * 5, [1] * 5], 3) == [[1] * 5]
