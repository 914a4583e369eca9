"""The taste network in torch: a causal transformer over events whose items are text, words and an id together.

Only training needs it: `profiling.taste_model` computes the same function in numpy, and `exported` hands the weights
over. The sources are named there.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ...profiling.taste_events import N_AGES, N_KINDS, Events
from ...profiling.taste_model import TasteLayer, TasteModel
from .config import TasteConfig
from .features import Features

_FIRST_SCALE = 12.0
_START = 0.05


class Dropout:
    """Zeroes a share of activations and scales up the others; its noise is numpy's, several times faster than torch's.

    The share is rounded to 256ths. Outside training nothing is dropped.
    """

    def __init__(self, share: float) -> None:
        self._cut = round(256 * share)
        self._noise: np.random.Generator | None = None

    def use(self, noise: np.random.Generator | None) -> None:
        """Take noise from there from now on; None = drop nothing."""
        self._noise = noise

    def __call__(self, x: Tensor) -> Tensor:
        """``x`` with a share of its values zeroed."""
        if self._noise is None or not self._cut:
            return x
        drawn = np.frombuffer(self._noise.bytes(x.numel()), dtype=np.uint8).reshape(x.shape)
        kept = torch.from_numpy(drawn >= self._cut).to(x.dtype)
        return x * (kept * (256 / (256 - self._cut)))


class TasteBlock(nn.Module):
    """One pre-norm transformer block with attention biases by distance and by time."""

    def __init__(self, config: TasteConfig, dropout: Dropout) -> None:
        super().__init__()
        d, relative, aged = config.width, config.positions == "relative", config.gaps
        self._heads, self._drop = config.heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, config.inner), nn.Linear(config.inner, d)
        self.distance = nn.Parameter(torch.zeros(config.last + 1 if relative else 0, config.heads))
        self.age = nn.Parameter(torch.zeros(N_AGES if aged else 0, config.heads))

    def forward(self, x: Tensor, allowed: Tensor, distance: Tensor, age: Tensor) -> Tensor:
        """The block's output, (n_rows, longest, d)."""
        n, longest, d = x.shape
        parts = self.qkv(self.norm1(x)).view(n, longest, 3, self._heads, d // self._heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        weight = q @ k.transpose(-1, -2) / math.sqrt(d // self._heads)
        if len(self.distance):
            weight = weight + self.distance[distance].permute(0, 3, 1, 2)
        if len(self.age):
            weight = weight + self.age[age].permute(0, 3, 1, 2)
        weight = self._drop(weight.masked_fill(~allowed[:, None], -1e9).softmax(-1))
        x = x + self._drop(self.out((weight @ v).transpose(1, 2).reshape(n, longest, d)))
        return x + self._drop(self.down(self._drop(functional.relu(self.up(self.norm2(x))))))


class TasteNetwork(nn.Module):
    """The whole network.

    Args:
        config: its options
        features: what the catalogue says of each item
        seen: items that may have a vector of their own, (n_items,)
        d_said: length of the vectors of what is said in events; 0 = there are none
    """

    features: Tensor
    seen: Tensor

    def __init__(self, config: TasteConfig, features: Features, *, seen: NDArray[np.bool_], d_said: int = 0) -> None:
        super().__init__()
        d, (n_items, n_features) = config.width, features.rows.shape
        self.config, self.dropout, self._n_text, self._bag = (
            config,
            Dropout(config.dropout),
            features.n_text,
            features.bag,
        )
        self.register_buffer("features", torch.from_numpy(np.ascontiguousarray(features.rows)), persistent=False)
        self.register_buffer("seen", torch.from_numpy(seen.astype(np.float32)), persistent=False)
        self.text = nn.Parameter(torch.randn(n_features, d) * _START)
        self.words = nn.Parameter(torch.randn(features.bag.shape[1], d) * _START)
        self.ids = nn.Parameter(torch.randn(n_items if config.ids else 0, d) * (_START / 2))
        self.kind = nn.Parameter(torch.zeros(N_KINDS if config.kinds else 0, d))
        self.gap = nn.Parameter(torch.zeros(N_AGES if config.gaps else 0, d))
        self.place = nn.Parameter(torch.randn(config.last if config.positions == "absolute" else 0, d) * _START)
        self.said = nn.Parameter(torch.zeros(d_said if config.said else 0, d))
        self.blocks = nn.ModuleList(TasteBlock(config, self.dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(d)
        self.scale = nn.Parameter(torch.tensor(math.log(_FIRST_SCALE)), requires_grad=config.cosine)
        pooled = config.alike and n_features > 0
        self.alike_distance = nn.Parameter(-0.5 * torch.arange(config.last + 1.0 if pooled else 0.0))
        self.alike_age = nn.Parameter(torch.zeros(N_AGES if pooled and config.gaps else 0))
        self.alike_gain = nn.Parameter(torch.zeros(2 if pooled else 0))

    def items(self, rows: Tensor | None = None, kept_ids: Tensor | None = None) -> Tensor:
        """Learned vectors of the items at ``rows``, of all if None, (n, d); ``kept_ids`` (n,) is 0 where text counts
        alone."""
        chosen = slice(None) if rows is None else rows
        out = self.features[chosen] @ self.text
        if len(self.words):
            bag = self._bag if rows is None else self._bag[rows.numpy()]
            word, start = (torch.from_numpy(part.astype(np.int64)) for part in (bag.indices, bag.indptr[:-1]))
            weight = torch.from_numpy(bag.data).to(out.dtype)
            out = out + functional.embedding_bag(word, self.words, start, mode="sum", per_sample_weights=weight)
        if len(self.ids):
            own = self.seen[chosen] if kept_ids is None else self.seen[chosen] * kept_ids
            out = out + self.ids[chosen] * own[:, None]
        return functional.normalize(out, dim=-1) if self.config.cosine else out

    def forward(self, events: Events, tokens: Tensor, where: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What each event and those before it lead to expect.

        Args:
            events: the histories
            tokens: learned vectors of their items, (n_rows, longest, d)
            where: which events are asked for, (n_rows, longest) bool; None = all

        Returns:
            compared with learned vectors (n, d), and with features (n, n_features), or (n, 0) where they do not count
        """
        x = tokens * math.sqrt(self.config.width)
        if len(self.kind):
            x = x + self.kind[torch.from_numpy(events.kind.astype(np.int64))]
        if len(self.gap):
            x = x + self.gap[torch.from_numpy(events.gap())]
        if len(self.place):
            x = x + self.place[: x.shape[1]]
        if len(self.said) and (spoken := events.spoken()).any():
            told = torch.from_numpy(events.texts[events.said[spoken]]) @ self.said
            x = x.index_put((torch.from_numpy(spoken),), told, accumulate=True)
        x = self.dropout(x)
        allowed = torch.from_numpy(events.allowed())
        distance = torch.from_numpy(events.distance(self.config.last))
        age = torch.from_numpy(events.age())
        for block in self.blocks:
            x = block(x, allowed, distance, age)
        asked = torch.from_numpy(events.valid) if where is None else where
        learned = self.norm(x[asked])
        if self.config.cosine:
            learned = functional.normalize(learned, dim=-1) * self.scale.exp()
        return learned, self._alike(events, allowed, distance, age, asked)

    def _alike(self, events: Events, allowed: Tensor, distance: Tensor, age: Tensor, asked: Tensor) -> Tensor:
        """Mean features of the history, the newest events counting most, (n, n_features)."""
        if not len(self.alike_gain):
            return torch.zeros(int(asked.sum()), 0)
        weight = self.alike_distance[distance]
        if len(self.alike_age):
            weight = weight + self.alike_age[age]
        weight = weight.masked_fill(~allowed, -1e9).softmax(-1)
        mean = (weight @ self.features[torch.from_numpy(events.item.astype(np.int64))])[asked]
        return mean * self.gains()

    def gains(self) -> Tensor:
        """How much likeness in each feature counts, (n_features,), or (0,)."""
        if not len(self.alike_gain):
            return torch.zeros(0)
        n_words = self.features.shape[1] - self._n_text
        gain = self.alike_gain.exp()
        return torch.cat([gain[:1].expand(self._n_text), gain[1:].expand(n_words)])


def exported(network: TasteNetwork, *, epochs: int) -> TasteModel:
    """The network as a model that needs no torch."""
    config = network.config
    with torch.no_grad():
        learned = network.items().numpy()
        gains = network.gains().numpy().copy()
        scale = float(network.scale.exp()) if config.cosine else 0.0
    features = network.features.numpy() if len(gains) else np.zeros((len(learned), 0), dtype=np.float32)
    return TasteModel(
        items=np.concatenate([learned, features], axis=1),
        kind=_array(network.kind),
        gap=_array(network.gap),
        place=_array(network.place),
        layers=tuple(_layer(block) for block in network.blocks if isinstance(block, TasteBlock)),
        norm=_array(network.norm.weight),
        shift=_array(network.norm.bias),
        alike_distance=_array(network.alike_distance),
        alike_age=_array(network.alike_age),
        alike_gain=gains,
        scale=scale,
        last=config.last,
        together=config.ties == "together",
        epochs=epochs,
        said=_array(network.said),
    )


def _layer(block: TasteBlock) -> TasteLayer:
    """One block's weights as arrays; linear maps are turned to act from the right."""
    return TasteLayer(
        norm1=_array(block.norm1.weight),
        shift1=_array(block.norm1.bias),
        norm2=_array(block.norm2.weight),
        shift2=_array(block.norm2.bias),
        qkv=_array(block.qkv.weight.T),
        qkv_bias=_array(block.qkv.bias),
        out=_array(block.out.weight.T),
        out_bias=_array(block.out.bias),
        up=_array(block.up.weight.T),
        up_bias=_array(block.up.bias),
        down=_array(block.down.weight.T),
        down_bias=_array(block.down.bias),
        distance=_array(block.distance),
        age=_array(block.age),
    )


def _array(parameter: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(parameter.detach().numpy()).copy()
