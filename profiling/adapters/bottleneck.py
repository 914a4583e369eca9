"""Bottleneck adapters: small networks put into each layer, Houlsby's two in series or one beside the feed-forward half.

Both end in zeros, so that they change nothing until they are trained. They cannot be merged into the base's maps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .kinds import AdapterConfig
from .text_model import TextModel

_START = 0.01  # standard deviation of the first weights (Houlsby et al., 2019, section 3.6)


class Bottleneck(nn.Module):
    """Down, GELU, up: (..., dim) to (..., dim), zeros at first.

    Args:
        dim: of the token vectors
        width: inside
        dropout: of what enters
    """

    def __init__(self, dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.down, self.up = nn.Linear(dim, width), nn.Linear(width, dim)
        nn.init.trunc_normal_(self.down.weight, std=_START, a=-2 * _START, b=2 * _START)
        for zeros in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zeros)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """What is to be added."""
        return self.up(functional.gelu(self.down(self.dropout(hidden))))


class Serial(nn.Module):
    """A map whose result a bottleneck corrects: y + b(y), y = base(x) (Houlsby et al., 2019, figure 2)."""

    def __init__(self, base: nn.Module, bottleneck: Bottleneck) -> None:
        super().__init__()
        self.base, self.bottleneck = base, bottleneck

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., inner) to (..., dim)."""
        found = self.base(hidden)
        return found + self.bottleneck(found)


class Parallel(nn.Module):
    """A feed-forward half whose bottleneck reads what enters that half: ffn(x) + b(x) (He et al., 2022, table 1).

    ``base`` is the module that makes the half's result: given x alone, or, as in BERT, the inner units and x, which it
    adds as the residual; adding b(x) to that is the same.
    """

    def __init__(self, base: nn.Module, bottleneck: Bottleneck) -> None:
        super().__init__()
        self.base, self.bottleneck = base, bottleneck

    def forward(self, hidden: torch.Tensor, entering: torch.Tensor | None = None) -> torch.Tensor:
        """(n, t, dim) from (n, t, dim), or from the inner units (n, t, inner) and what entered (n, t, dim)."""
        if entering is None:
            return self.base(hidden) + self.bottleneck(hidden)
        return self.base(hidden, entering + self.bottleneck(entering))


def attach_bottleneck(model: TextModel, config: AdapterConfig) -> None:
    """Attach ``bottleneck`` or ``parallel`` adapters to a frozen model, in place."""
    whole: Any
    if config.kind == "bottleneck":
        names, whole = model.map_names(("out", "down"), first_layer=config.first_layer), Serial
    else:  # the module around the feed-forward half's last map
        maps = model.map_names(("down",), first_layer=config.first_layer)
        names, whole = [name.rpartition(".")[0] for name in maps], Parallel
    for name in names:
        made = Bottleneck(model.dim, config.width, config.dropout)
        model.transformer.set_submodule(name, whole(model.transformer.get_submodule(name), made))
