"""Virtual tokens: trained embeddings before the text (prompt tuning), or keys and values in each layer (prefix tuning).

Covers the family's four kinds of attention and first values taken from real words. Pooling sees the text's own tokens
only. They cannot be merged, and each costs the room and the time of tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..errors import EncoderError
from .kinds import AdapterConfig
from .text_model import TextModel

_FEWEST = 8  # tokens of a text that must have room beside the virtual ones


class Prompt(nn.Module):
    """Embeddings of virtual tokens, (v, dim)."""

    def __init__(self, start: torch.Tensor) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(start.clone())

    def forward(self) -> torch.Tensor:
        """The embeddings."""
        return self.embeddings


class PrefixAttention(nn.Module):
    """An attention whose tokens also look at trained keys and values.

    Source: Li & Liang, 2021, section 4.2: [P_k; K] and [P_v; V] stand for K and V; P_k and P_v are trained as they
    are, without the network that the authors train them through.

    Args:
        base: the attention of one layer as transformers has it; its maps are used
        maps: its query, key and value, and the map of its result where that is inside, else None
        heads: how many
        keys, values: first values of the prefix, (v, dim)
    """

    def __init__(
        self,
        base: nn.Module,
        maps: tuple[str, str, str, str | None],
        heads: int,
        keys: torch.Tensor,
        values: torch.Tensor,
    ) -> None:
        super().__init__()
        self.base, self._maps, self._heads = base, maps, heads
        self._dropout: Any = base.dropout
        self.keys, self.values = nn.Parameter(keys.clone()), nn.Parameter(values.clone())

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_bias: torch.Tensor | None = None,
        output_attentions: bool = False,
        **rest: Any,
    ) -> tuple[torch.Tensor, None]:
        """(n, t, dim) to (n, t, dim) in a tuple, as the base's; the masks are what the base's would get."""
        n, length, _ = hidden_states.shape
        base = self.base
        query, key, value = (self._split(base.get_submodule(name)(hidden_states)) for name in self._maps[:3])
        key = torch.cat([self._split(self.keys.to(key.dtype).expand(n, -1, -1)), key], dim=2)  # (n, heads, v + t, d)
        value = torch.cat([self._split(self.values.to(value.dtype).expand(n, -1, -1)), value], dim=2)
        seen = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=self._mask(attention_mask, position_bias, query.dtype),
            dropout_p=self._dropout.p if self.training else 0.0,
        )  # fmt: skip
        found = seen.transpose(1, 2).reshape(n, length, -1)
        return (found if self._maps[3] is None else base.get_submodule(self._maps[3])(found), None)

    def _split(self, rows: torch.Tensor) -> torch.Tensor:
        """(n, t, dim) to (n, heads, t, d)."""
        return rows.unflatten(-1, (self._heads, -1)).transpose(1, 2)

    def _mask(self, mask: torch.Tensor | None, bias: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
        """What is added to the scores, zeros for the prefix, (n, heads or 1, t, v + t); None where nothing is."""
        if mask is not None and mask.dtype == torch.bool:
            mask = torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)
        parts = [part for part in (mask, bias) if part is not None]
        return functional.pad(sum(parts[1:], parts[0]).to(dtype), (len(self.keys), 0)) if parts else None


def attach_virtual(model: TextModel, config: AdapterConfig) -> None:
    """Attach ``prompt`` or ``prefix`` to a frozen model, in place.

    Raises:
        EncoderError: virtual tokens leave no room for texts.
    """
    words = model.transformer.get_input_embeddings().weight  # type: ignore[operator]
    special = set(model.tokenizer.all_special_ids)
    real = torch.tensor([token for token in range(len(words)) if token not in special])
    ids = real[torch.randint(len(real), (config.n_virtual,))]
    room = model.checkpoint.positions - config.n_virtual
    if room < _FEWEST:
        raise EncoderError(
            f"adapter: n_virtual must be at most {model.checkpoint.positions - _FEWEST} for a network with "
            f"{model.checkpoint.positions} positions, got {config.n_virtual}; take fewer"
        )
    if config.kind == "prompt":
        model.max_length = min(model.max_length, room)
        model.prompt = Prompt(words[ids])
        return
    found = _first_values(model, ids)
    heads = int(model.transformer.config.num_attention_heads)  # type: ignore[union-attr, arg-type]
    family = model.family
    for name in model.map_names(("query",), first_layer=config.first_layer):
        around = name.rpartition(".")[0]
        short = tuple(getattr(family, part).rpartition(".")[2] for part in ("query", "key", "value"))
        inside = family.out.rpartition(".")[0] == family.query.rpartition(".")[0]
        maps = (*short, family.out.rpartition(".")[2] if inside else None)
        keys, values = (found[f"{around}.{part}"] for part in short[1:])
        attention = model.transformer.get_submodule(around)
        model.transformer.set_submodule(around, PrefixAttention(attention, maps, heads, keys, values))  # type: ignore[arg-type]


def _first_values(model: TextModel, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """Results of each layer's key and value maps for the text of tokens ``ids`` (v,), each (v, dim), by name."""
    found: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda module, given, result: found.__setitem__(name, result[0].detach())

    names = model.map_names(("key", "value"))
    hooks = [model.transformer.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    training = model.training
    model.eval()
    with torch.no_grad():
        model.transformer(input_ids=ids[None])
    model.train(training)
    for hook in hooks:
        hook.remove()
    return found
