"""A network of the BERT family as one torch module from token ids to unit vectors: what is exported and quantised.

Covers padded batches with pooling and normalisation inside. Running in torch itself is faster in `bert`.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ..encoders.bert import pool
from ..encoders.weights import LINEARS, Weights, relative_bias

_MASKED = -10_000.0  # added to the scores of padding: nothing is left of it after the softmax, in bf16 too


class Graph(nn.Module):
    """Token ids (n, length) int64 and mask (n, length) float32, 1 at tokens, to unit vectors (n, dim) float32.

    Args:
        weights: in float32, on the CPU
        pooling: ``mean``, ``cls`` or ``max``
        norm_eps: added to the variance in layer normalisation
    """

    def __init__(self, weights: Weights, pooling: str) -> None:
        super().__init__()
        eps = weights.shape.norm_eps
        self._pooling = pooling
        self.words = nn.Embedding.from_pretrained(weights.words)
        self.positions = nn.Buffer(weights.positions)
        self.norm = _norm(weights.norm[0], weights.norm[1], eps)
        self.layers = nn.ModuleList(_Layer(layer, weights.shape.heads, eps) for layer in weights.layers)
        self.relative = None if weights.relative is None else nn.Buffer(weights.relative)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Unit vectors of a padded batch."""
        hidden, bias = self.embed(ids), self.bias(mask)
        for layer in self.layers:
            hidden = layer(hidden, bias)
        return functional.normalize(pool(hidden, mask, self._pooling))

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """What enters the first layer, (n, length, dim)."""
        return self.norm(self.words(ids) + self.positions[: ids.shape[1]])

    def bias(self, mask: torch.Tensor) -> torch.Tensor:
        """What is added to the attention scores, (n, 1 or heads, 1 or length, length)."""
        bias = (1 - mask)[:, None, None, :] * _MASKED
        return bias if self.relative is None else bias + relative_bias(self.relative, mask.shape[1])


class _Layer(nn.Module):
    """One encoder layer over a padded batch."""

    def __init__(self, weights: dict[str, torch.Tensor], heads: int, eps: float) -> None:
        super().__init__()
        self._heads = heads
        self._width = weights["out.weight"].shape[1]  # narrower than the stream where heads were taken out
        made = {name: _linear(weights[f"{name}.weight"], weights[f"{name}.bias"]) for name in LINEARS}
        made["qkv"] = _with_scaled_query(made["qkv"], heads)
        self.qkv, self.out, self.up, self.down = (made[name] for name in LINEARS)
        self.norm1 = _norm(weights["norm1.weight"], weights["norm1.bias"], eps)
        self.norm2 = _norm(weights["norm2.weight"], weights["norm2.bias"], eps)

    def forward(self, hidden: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Token vectors (n, length, dim) to the same; ``bias`` is added to the attention scores."""
        n, length, _ = hidden.shape
        three = self.qkv(hidden).split(self._width, dim=-1)
        size = self._width // self._heads
        query, key, value = (part.view(n, length, self._heads, size).transpose(1, 2) for part in three)
        # written out and not scaled again: the engines see the whole pattern and run it as one
        seen = torch.softmax(query @ key.transpose(2, 3) + bias, dim=-1) @ value  # (n, heads, length, d)
        attended = self.out(seen.transpose(1, 2).reshape(n, length, self._width))
        hidden = self.norm1(hidden + attended)
        return self.norm2(hidden + self.down(functional.gelu(self.up(hidden))))


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    """A linear map with these weights (n_out, n_in) and (n_out,)."""
    made = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    made.weight, made.bias = nn.Parameter(weight, requires_grad=False), nn.Parameter(bias, requires_grad=False)
    return made


def _with_scaled_query(qkv: nn.Linear, heads: int) -> nn.Linear:
    """Query, key and value side by side, the query divided by the root of the heads' width as attention wants it."""
    width = len(qkv.weight) // 3
    scale = torch.ones(3 * width)
    scale[:width] = (width // heads) ** -0.5
    return _linear(qkv.weight * scale[:, None], qkv.bias * scale)


def _norm(weight: torch.Tensor, bias: torch.Tensor, eps: float) -> nn.LayerNorm:
    """Layer normalisation with these weights, both (dim,)."""
    made = nn.LayerNorm(len(weight), eps=eps, device="meta")
    made.weight, made.bias = nn.Parameter(weight, requires_grad=False), nn.Parameter(bias, requires_grad=False)
    return made
