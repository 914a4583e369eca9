"""int8 for a network's linear maps, calibrated on the shop's own texts.

Covers static quantisation in four steps, each linear map on its own, from the inputs that fp32 gives it on the
calibration texts:

1. Smoothing (Xiao et al., 2023, SmoothQuant, eq. 4): input channels are divided, and weights multiplied, by
   ``max|x|^a / max|w|^(1-a)``; ``a`` and how much of the input's range is kept are searched per map by the error of its
   output, not fixed for all.
2. Inputs: one scale and zero point a map, 8 bits.
3. Weights: one scale an output channel, rounded column by column so that later columns make up for the error of earlier
   ones (Frantar et al., 2023, GPTQ, algorithm 1).
4. The mean error that is left goes into the bias.

Where that is not near enough, the maps that put the largest errors into the residual stream can stay in fp32. (Largest
relative errors were a worse choice: they name maps whose output is small.)

Weights have 7 bits, not 8: processors without VNNI add pairs of 8-bit products in 16 bits and would saturate. So one
quantised model gives the same result on every processor; step 3 wins back what the bit costs. Attention's own products,
normalisation and pooling stay in floating point: they are a few percent of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional

from ..encoders.weights import LINEARS
from .graph import Graph

SCHEME = "gptq-smooth-3"
"""Name of the arithmetic below, part of the stamp: change it whenever a quantised model would come out differently."""

_LEVELS = 255  # of the inputs
_TINY = 1e-5
_BLOCK = 64
_INTO_STREAM = ("out", "down")  # maps whose errors go straight into the residual stream, all of one scale there


class QuantiseConfig(BaseModel):
    """How a network is quantised."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_texts: int = Field(default=192, ge=1, le=4096, description="texts of the shop it is calibrated on")
    seed: int = Field(default=0, ge=0, description="seed of that sample")
    max_tokens: int = Field(default=16_384, ge=16, description="tokens used of them, for the sake of memory and time")
    weight_bits: int = Field(default=7, ge=4, le=8, description="bits of a weight; 8 needs VNNI on every machine")
    smoothing: tuple[float, ...] = Field(
        default=(0.4, 0.5, 0.6, 0.7, 0.8, 0.9), min_length=1, description="exponents tried for each linear map"
    )
    kept_range: tuple[float, ...] = Field(
        default=(1.0, 0.9), min_length=1, description="shares of the input's range tried for each linear map"
    )
    search_rows: int = Field(default=384, ge=16, description="tokens on which they are tried")
    fp32_maps: int = Field(
        default=0, ge=0, description="linear maps into the residual stream left in fp32, those whose error is largest"
    )
    damping: float = Field(default=0.01, gt=0, le=1, description="share of the mean added to the Hessian's diagonal")


@dataclass(frozen=True)
class _Inputs:
    """How a linear map's inputs are quantised: ``round(x / smooth / scale) + zero`` in 0 to 255."""

    smooth: torch.Tensor
    scale: float
    zero: int

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Inputs (n, n_in), smoothed and rounded."""
        return torch.fake_quantize_per_tensor_affine(inputs / self.smooth, self.scale, self.zero, 0, _LEVELS)


class QuantLinear(nn.Module):
    """A linear map in int8, written as rounding in floating point, which the engines turn into int8 products."""

    def __init__(self, inputs: _Inputs, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> None:
        super().__init__()
        self._scale, self._zero = inputs.scale, inputs.zero
        self.shrink = nn.Buffer(1 / inputs.smooth)
        self.weight = nn.Buffer(weight)
        self.scale = nn.Buffer(scale)
        self.zeros = nn.Buffer(torch.zeros(len(scale), dtype=torch.int32))
        self.bias = nn.Buffer(bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(..., n_in) to (..., n_out)."""
        rounded = torch.fake_quantize_per_tensor_affine(inputs * self.shrink, self._scale, self._zero, 0, _LEVELS)
        # the weights lie on their grid already: this tells the engines which grid
        weight = torch.fake_quantize_per_channel_affine(self.weight, self.scale, self.zeros, 0, -128, 127)
        return functional.linear(rounded, weight, self.bias)


def quantise(graph: Graph, tokens: Sequence[list[int]], config: QuantiseConfig | None = None) -> None:
    """Replace the linear maps of ``graph`` by int8 ones, calibrated on the token ids of some texts.

    Same graph, tokens and configuration give the same result on one machine.
    """
    config = QuantiseConfig() if config is None else config
    with torch.inference_mode():
        hidden, biases = [], []  # of each text
        for text in _within(tokens, config.max_tokens):
            hidden.append(graph.embed(torch.tensor([text])))
            biases.append(graph.bias(torch.ones(1, len(text))))
        changed: list[tuple[float, nn.Module, str, nn.Linear]] = []
        for layer in graph.layers:
            inputs, hidden = _through(layer, hidden, biases)
            for name in LINEARS:  # one layer at a time: the inputs of all would not fit
                exact = getattr(layer, name)
                made = _quantised(exact, inputs[name], config)
                if name in _INTO_STREAM:
                    changed.append((_error(exact, made, inputs[name]), layer, name, exact))
                setattr(layer, name, made)
        for _, layer, name, exact in sorted(changed, key=lambda one: -one[0])[: config.fp32_maps]:
            setattr(layer, name, exact)


def _within(tokens: Sequence[list[int]], most: int) -> list[list[int]]:
    """The first texts that have ``most`` tokens together, one at least."""
    ends = torch.tensor([len(text) for text in tokens]).cumsum(0)
    return list(tokens[: max(1, int((ends <= most).sum()))])


def _through(
    layer: nn.Module, hidden: list[torch.Tensor], biases: list[torch.Tensor]
) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """What enters each linear map of a layer, (n_tokens, n_in), and what leaves the layer, text by text."""
    found: dict[str, list[torch.Tensor]] = {name: [] for name in LINEARS}

    def keep(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        return lambda _, given: found[name].append(given[0].flatten(0, 1))

    hooks = [getattr(layer, name).register_forward_pre_hook(keep(name)) for name in LINEARS]
    left = [layer(text, bias) for text, bias in zip(hidden, biases, strict=True)]
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(inputs) for name, inputs in found.items()}, left


def _quantised(linear: nn.Linear, inputs: torch.Tensor, config: QuantiseConfig) -> QuantLinear:
    """One linear map in int8, calibrated on its inputs (n_tokens, n_in)."""
    how = _searched(linear, inputs, config)
    rounded = how(inputs)  # (n_tokens, n_in)
    weight = linear.weight * how.smooth  # (n_out, n_in)
    scale = _scale(weight, config.weight_bits)
    weight = _compensated(weight, scale, rounded.T @ rounded / len(rounded), config)
    error = functional.linear(rounded, weight) - functional.linear(inputs, linear.weight)
    return QuantLinear(how, weight, scale, linear.bias - error.mean(dim=0))


def _error(exact: nn.Linear, made: QuantLinear, inputs: torch.Tensor) -> float:
    """Mean squared error of a map's outputs."""
    return float((made(inputs) - exact(inputs)).square().mean())


def _searched(linear: nn.Linear, inputs: torch.Tensor, config: QuantiseConfig) -> _Inputs:
    """The smoothing and range that leave the smallest error in a linear map's outputs."""
    rows = torch.linspace(0, len(inputs) - 1, min(config.search_rows, len(inputs))).long()
    tried = inputs[rows]  # (n_rows, n_in)
    truth = functional.linear(tried, linear.weight)
    largest = inputs.abs().amax(dim=0).clamp(min=_TINY)  # (n_in,)
    heaviest = linear.weight.abs().amax(dim=0).clamp(min=_TINY)
    best: tuple[float, _Inputs] | None = None
    for exponent in config.smoothing:
        smooth = largest**exponent / heaviest ** (1 - exponent)
        weight = _rounded(linear.weight * smooth, _scale(linear.weight * smooth, config.weight_bits), config)
        smoothed = inputs / smooth
        low, high = min(0.0, float(smoothed.min())), max(_TINY, float(smoothed.max()))
        for share in config.kept_range:
            scale = share * (high - low) / _LEVELS
            how = _Inputs(smooth, scale, round(-share * low / scale))
            error = float((functional.linear(how(tried), weight) - truth).square().mean())
            if best is None or error < best[0]:
                best = error, how
    if best is None:
        raise ValueError("nothing to try")  # the configuration's bounds rule it out
    return best[1]


def _compensated(
    weight: torch.Tensor, scale: torch.Tensor, hessian: torch.Tensor, config: QuantiseConfig
) -> torch.Tensor:
    """Weights (n_out, n_in) on their grid, each column's error spread over the columns after it.

    Source: Frantar et al., 2023, GPTQ, algorithm 1, columns in order of falling Hessian diagonal.
    """
    n = len(hessian)
    hessian = hessian.double() + torch.eye(n, dtype=torch.double) * config.damping * hessian.diagonal().mean()
    order = torch.argsort(hessian.diagonal(), descending=True, stable=True)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian[order][:, order]))
    upper = torch.linalg.cholesky(inverse, upper=True)  # (n_in, n_in)
    left, made = weight[:, order].double(), torch.empty(weight.shape, dtype=torch.double)
    for start in range(0, n, _BLOCK):  # what lies after a block waits for the whole block: one product, not many
        stop = min(start + _BLOCK, n)
        block, errors = left[:, start:stop], torch.empty(len(left), stop - start, dtype=torch.double)
        for at in range(stop - start):
            column = start + at
            made[:, column] = _rounded(block[:, at, None], scale, config)[:, 0]
            errors[:, at] = (block[:, at] - made[:, column]) / upper[column, column]
            block[:, at:] -= errors[:, at, None] * upper[column, column:stop]
        left[:, stop:] -= errors @ upper[start:stop, stop:]
    return made[:, torch.argsort(order)].float()


def _scale(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """Step of each output channel's grid, (n_out,), for weights (n_out, n_in)."""
    return weight.abs().amax(dim=1).clamp(min=_TINY) / (2 ** (bits - 1) - 1)


def _rounded(weight: torch.Tensor, scale: torch.Tensor, config: QuantiseConfig) -> torch.Tensor:
    """Weights (n_out, m) on the grid of step ``scale`` (n_out,)."""
    top = 2 ** (config.weight_bits - 1) - 1
    return (weight / scale[:, None]).round().clamp(-top, top) * scale[:, None]
