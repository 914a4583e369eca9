"""Taking layers, attention heads and feed-forward units out of an encoder, those a shop's own texts miss least.

Layers go one at a time, each time the one without which the vectors stay nearest to the whole network's (measured, not
estimated). Heads and units are rated first, then the lowest rated of each layer are cut out of the matrices, the same
number in every layer, because configurations can say one number only. Cutting is structured: the network is smaller and
faster on any machine. What is left of a layer can be refitted in closed form; training it is `distil_encoder`'s work.

Rating by `activation` goes with the refit, by `taylor` without: taylor gladly cuts units that fire at the delimiters
alone, where vectors do not feel it, and least squares over all tokens would then spread their large mean over the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from ...profiling.errors import ConfigError
from .slim import Slim, forward, vectors_of

Tokens = Sequence[list[int]]
Part = Literal["heads", "units"]
Rated = tuple[torch.Tensor, ...]
"""Importance of each head or unit, (n,) >= 0, one tensor a layer."""

_MAP: Mapping[str, str] = {"heads": "out", "units": "down"}
"""The linear map that what is cut feeds."""


class PruneConfig(BaseModel):
    """How heads and units are rated and cut."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    importance: Literal["activation", "taylor"] = Field(default="activation", description="a key of IMPORTANCE")
    refit: bool = Field(default=True, description="refit the maps that lost inputs, by least squares on the texts")
    ridge: float = Field(default=0.01, gt=0, description="of that refit, as a share of the inputs' mean square")
    draws: int = Field(default=4, ge=1, le=64, description="random directions that taylor looks in, a batch each")
    batch: int = Field(default=32, ge=1, description="texts run at once")
    seed: int = Field(default=0, ge=0, description="of the random directions")


def keep_layers(slim: Slim, kept: Sequence[int]) -> Slim:
    """The network with only these layers, in this order.

    Raises:
        ConfigError: none, one twice, or one that is not there.
    """
    if not kept or len(set(kept)) < len(kept) or not set(kept) <= set(range(slim.n_layers)):
        raise ConfigError(
            f"layers: keep distinct numbers from 0 to {slim.n_layers - 1}, at least one, got {list(kept)}"
        )
    return slim.with_layers([slim.weights.layers[number] for number in kept])


def layers_to_keep(slim: Slim, tokens: Tokens, n_layers: int, *, batch: int = 32) -> tuple[int, ...]:
    """Which ``n_layers`` layers to keep so that the vectors of some texts move least, ascending; see `drop_order`.

    Raises:
        ConfigError: ``n_layers`` is not 1 to the number there are, or there is no text.
    """
    gone = drop_order(slim, tokens, least=n_layers, batch=batch)
    return tuple(number for number in range(slim.n_layers) if number not in gone)


def drop_order(slim: Slim, tokens: Tokens, *, least: int = 1, batch: int = 32) -> tuple[int, ...]:
    """The order in which to drop layers until ``least`` are left.

    Greedy: each layer left is tried without, and the one is dropped without which the mean cosine to the whole
    network's vectors is highest; of equals the last one.

    Args:
        slim: the network
        tokens: token ids of the texts it is measured on
        least: 1 to the number of layers
        batch: texts run at once

    Raises:
        ConfigError: another number, or no text.
    """
    if not 1 <= least <= slim.n_layers or not tokens:
        raise ConfigError(f"layers: 1 to {slim.n_layers} can be kept, with a text to measure on, got {least}")
    whole = vectors_of(slim, tokens, batch=batch)  # (n, dim)
    kept, gone = list(range(slim.n_layers)), []
    while len(kept) > least:
        near = [
            float((vectors_of(keep_layers(slim, left), tokens, batch=batch) * whole).sum(dim=1).mean())
            for left in ([number for number in kept if number != out] for out in kept)
        ]
        gone.append(kept.pop(max(range(len(near)), key=lambda at: (near[at], at))))
    return tuple(gone)


def prune(slim: Slim, part: Part, n: int, tokens: Tokens, config: PruneConfig | None = None) -> Slim:
    """The network with ``n`` heads or units in each layer, those that the texts need most.

    Args:
        slim: the network
        part: ``heads`` or ``units``
        n: how many are kept in each layer, 1 to the number there are
        tokens: token ids of the shop's texts; some hundreds are enough
        config: how they are rated, and whether what is left is refitted

    Raises:
        ConfigError: another number, no text, or heads of a network whose layers share a bias for each head.
    """
    config = PruneConfig() if config is None else config
    there = slim.heads if part == "heads" else slim.units
    if not 1 <= n <= there or not tokens:
        raise ConfigError(f"{part}: must keep 1 to {there} in each layer, with texts to rate them on, got {n}")
    if n == there:
        return slim
    if part == "heads" and slim.weights.relative is not None:
        raise ConfigError(
            "heads: the layers of this network share an attention bias for each head; prune units instead"
        )
    kept = [best(rated, n) for rated in IMPORTANCE[config.importance](slim, tokens, part, config)]
    cut = cut_heads(slim, kept) if part == "heads" else cut_units(slim, kept)
    return _refitted(slim, cut, part, kept, tokens, config) if config.refit else cut


def best(rated: torch.Tensor, n: int) -> list[int]:
    """Positions of the ``n`` highest of (m,), ascending; of equals the first.

    >>> best(torch.tensor([0.5, 2.0, 0.5, 1.0]), 3)
    [0, 1, 3]
    """
    return sorted(torch.argsort(rated, descending=True, stable=True)[:n].tolist())


def cut_heads(slim: Slim, kept: Sequence[Sequence[int]]) -> Slim:
    """Only these heads of each layer, the same number in all.

    Raises:
        ConfigError: not one list of the same length for each layer.
    """
    _check_kept(slim, kept)
    size = slim.head_size
    layers = []
    for layer, heads in zip(slim.weights.layers, kept, strict=True):
        at = torch.tensor([head * size + column for head in heads for column in range(size)])  # (n * size,)
        three = torch.cat([at + which * slim.heads * size for which in range(3)])
        cut = {f"qkv.{kind}": layer[f"qkv.{kind}"][three] for kind in ("weight", "bias")}
        layers.append({**layer, **cut, "out.weight": layer["out.weight"][:, at]})
    return slim.with_layers(layers, heads=len(kept[0]))


def cut_units(slim: Slim, kept: Sequence[Sequence[int]]) -> Slim:
    """Only these feed-forward units of each layer, the same number in all.

    Raises:
        ConfigError: not one list of the same length for each layer.
    """
    _check_kept(slim, kept)
    layers = []
    for layer, units in zip(slim.weights.layers, kept, strict=True):
        at = torch.tensor(list(units))
        cut = {f"up.{kind}": layer[f"up.{kind}"][at] for kind in ("weight", "bias")}
        layers.append({**layer, **cut, "down.weight": layer["down.weight"][:, at]})
    return slim.with_layers(layers)


def taylor(slim: Slim, tokens: Tokens, part: Part, config: PruneConfig) -> Rated:
    """How far a text's unit vector would move if the head or unit were taken out, squared, to first order.

    With a gate g in front of it, the move is the derivative of the vector by g; its squared length is the mean over
    random directions r ~ N(0, 1) of (d(r . vector) / dg)^2 (Hutchinson), and the derivative is the sum over the text's
    tokens of activation times gradient. Gates: Michel et al., "Are sixteen heads really better than one?", 2019,
    eq. 6; first-order Taylor: Molchanov et al., "Importance estimation for neural network pruning", 2019, eq. 8. Taken
    of the vector, because the loss that compares it with itself is flat there.
    """
    draw = torch.Generator().manual_seed(config.seed)
    total = [torch.zeros(slim.heads if part == "heads" else slim.units) for _ in range(slim.n_layers)]
    for some in _batches(tokens, config.batch):
        taps: dict[int, torch.Tensor] = {}
        vectors = forward(slim, some, tap=_keep(taps, part, grow=True))  # (n, dim)
        for number in range(config.draws):
            towards = torch.randn(vectors.shape, generator=draw)
            grown = torch.autograd.grad(
                (vectors * towards).sum(), list(taps.values()), retain_graph=number + 1 < config.draws
            )
            for layer, (given, slope) in enumerate(zip(taps.values(), grown, strict=True)):
                moved = (given.detach() * slope).sum(dim=1)  # (n, n_in)
                moved = moved.view(len(some), len(total[layer]), -1).sum(dim=2)
                total[layer] += moved.square().sum(dim=0)
    return tuple(one / (len(tokens) * config.draws) for one in total)


def activation(slim: Slim, tokens: Tokens, part: Part, config: PruneConfig) -> Rated:
    """Mean squared length of what the head or unit adds to the stream beyond its mean, over the texts' tokens."""
    means, products = _moments(slim, tokens, part, config.batch)
    rated = []
    for layer, mean, product in zip(slim.weights.layers, means, products, strict=True):
        spread = product - torch.outer(mean, mean)  # (n_in, n_in)
        weight = layer[f"{_MAP[part]}.weight"].double()  # (dim, n_in)
        n = slim.heads if part == "heads" else slim.units
        size = len(mean) // n
        blocks = [slice(number * size, (number + 1) * size) for number in range(n)]
        if size == 1:
            rated.append((spread.diagonal() * weight.square().sum(dim=0)).float())
        else:
            rated.append(torch.stack([(weight[:, b] @ spread[b, b] * weight[:, b]).sum() for b in blocks]).float())
    return tuple(rated)


IMPORTANCE: Mapping[str, Callable[[Slim, Tokens, Part, PruneConfig], Rated]] = {
    "activation": activation,
    "taylor": taylor,
}
"""Ways to rate heads and units."""


def _refitted(
    whole: Slim, cut: Slim, part: Part, kept: Sequence[Sequence[int]], tokens: Tokens, config: PruneConfig
) -> Slim:
    """What is left of each map fitted to what the whole one gave on the texts, by ridge regression towards its own
    weights, and the mean of what is gone added to the bias."""
    means, products = _moments(whole, tokens, part, config.batch)
    name, layers = _MAP[part], []
    size = whole.head_size if part == "heads" else 1
    for number, layer in enumerate(cut.weights.layers):
        at = torch.tensor([one * size + column for one in kept[number] for column in range(size)])
        weight, mean = whole.weights.layers[number][f"{name}.weight"].double(), means[number]
        spread = products[number] - torch.outer(mean, mean)
        penalty = config.ridge * spread.diagonal().mean() * torch.eye(len(at), dtype=torch.double)
        wanted = spread[at] @ weight.T + penalty @ weight[:, at].T  # (n_kept, dim)
        fitted = torch.linalg.solve(spread[at][:, at] + penalty, wanted).T  # (dim, n_kept)
        bias = layer[f"{name}.bias"].double() + weight @ mean - fitted @ mean[at]
        layers.append({**layer, f"{name}.weight": fitted.float().contiguous(), f"{name}.bias": bias.float()})
    return cut.with_layers(layers)


def _moments(slim: Slim, tokens: Tokens, part: Part, batch: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Mean (n_in,) and mean product (n_in, n_in) of what enters the map after heads or units, a layer each."""
    n = slim.n_layers
    sums: list[torch.Tensor | float] = [0.0] * n
    products: list[torch.Tensor | float] = [0.0] * n
    count = 0
    for some in _batches(tokens, batch):
        taps: dict[int, torch.Tensor] = {}
        with torch.no_grad():
            forward(slim, some, tap=_keep(taps, part, grow=False))
        there = torch.cat([torch.arange(len(text)) + row * max(map(len, some)) for row, text in enumerate(some)])
        count += len(there)
        for layer, given in taps.items():
            rows = given.flatten(0, 1)[there]  # (n_tokens, n_in): no padding
            sums[layer] = sums[layer] + rows.double().sum(dim=0)
            products[layer] = products[layer] + (rows.T @ rows).double()
    return [torch.as_tensor(one) / count for one in sums], [torch.as_tensor(one) / count for one in products]


def _keep(taps: dict[int, torch.Tensor], part: Part, *, grow: bool) -> Callable[[int, str, torch.Tensor], torch.Tensor]:
    """A tap that keeps what enters the map after heads or units, with a gradient where asked for."""

    def tap(number: int, name: str, given: torch.Tensor) -> torch.Tensor:
        if name == _MAP[part]:
            taps[number] = given.requires_grad_() if grow else given
        return given

    return tap


def _batches(tokens: Tokens, batch: int) -> list[list[list[int]]]:
    """The texts by length, ``batch`` at a time."""
    ordered = sorted(tokens, key=len)
    return [list(ordered[start : start + batch]) for start in range(0, len(ordered), batch)]


def _check_kept(slim: Slim, kept: Sequence[Sequence[int]]) -> None:
    """One list for each layer, all of one length and not empty."""
    if len(kept) != slim.n_layers or len({len(one) for one in kept}) != 1 or not len(kept[0]):
        raise ConfigError(
            f"kept: must be {slim.n_layers} lists of one length, one a layer, got {[len(one) for one in kept]}"
        )
