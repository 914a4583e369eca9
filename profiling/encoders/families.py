"""The BERT family: how each relative's configuration and weights translate into one common shape.

Covers BERT (Devlin et al., 2019), RoBERTa, XLM-R and CamemBERT (positions count from the padding id on), MPNet (one
relative attention bias shared by all layers, no token types) and DistilBERT (own names, no token types). Anything else,
and a relative with a later variation (another activation, a decoder), has no `Shape` here and goes through `network`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OFFSET_MODELS = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer")
"""Models whose positions count from the padding id on."""


@dataclass(frozen=True)
class Shape:
    """The shape of a network of the family.

    Attributes:
        family: a key of `FAMILIES`
        layers, heads: how many
        norm_eps: added to the variance in layer normalisation
        offset: position of a text's first token
    """

    family: str
    layers: int
    heads: int
    norm_eps: float
    offset: int = 0


@dataclass(frozen=True)
class Family:
    """Where a family's checkpoints keep what, relative to the encoder and to ``layer``.

    Attributes:
        prefixes: what a head around the encoder puts before the names
        layer: prefix of one layer, with ``{n}`` for its number
        query, key, value, out, norm1, up, down, norm2: linear maps and norms of a layer
        types: the table of token types, empty without one
        relative: the table of the relative attention bias, empty without one
    """

    prefixes: tuple[str, ...]
    layer: str
    query: str
    key: str
    value: str
    out: str
    norm1: str
    up: str
    down: str
    norm2: str
    types: str = ""
    relative: str = ""


def _bert(prefix: str) -> Family:
    """BERT's names, which RoBERTa and its kin kept."""
    return Family(
        prefixes=(prefix,),
        layer="encoder.layer.{n}.",
        query="attention.self.query",
        key="attention.self.key",
        value="attention.self.value",
        out="attention.output.dense",
        norm1="attention.output.LayerNorm",
        up="intermediate.dense",
        down="output.dense",
        norm2="output.LayerNorm",
        types="embeddings.token_type_embeddings.weight",
    )


FAMILIES: Mapping[str, Family] = {
    "bert": _bert("bert."),
    "roberta": _bert("roberta."),
    "xlm-roberta": _bert("roberta."),
    "camembert": _bert("roberta."),
    "mpnet": Family(
        prefixes=("mpnet.",),
        layer="encoder.layer.{n}.",
        query="attention.attn.q",
        key="attention.attn.k",
        value="attention.attn.v",
        out="attention.attn.o",
        norm1="attention.LayerNorm",
        up="intermediate.dense",
        down="output.dense",
        norm2="output.LayerNorm",
        relative="encoder.relative_attention_bias.weight",
    ),
    "distilbert": Family(
        prefixes=("distilbert.",),
        layer="transformer.layer.{n}.",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        out="attention.out_lin",
        norm1="sa_layer_norm",
        up="ffn.lin1",
        down="ffn.lin2",
        norm2="output_layer_norm",
    ),
}
"""The families that run packed, by ``model_type`` of their configuration."""

_USUAL = {"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False}
_ACTIVATIONS = ("hidden_act", "activation")


def shape_of(config: Mapping[str, Any]) -> Shape | None:
    """The shape a ``config.json`` describes, None where it is not of the family.

    >>> shape_of({"model_type": "bert", "num_hidden_layers": 2, "num_attention_heads": 4}).heads
    4
    >>> shape_of({"model_type": "bert", "hidden_act": "relu"}) is None
    True
    """
    family = config.get("model_type")
    usual = all(config.get(key, value) == value for key, value in _USUAL.items())
    usual = usual and all(config.get(key, "gelu") == "gelu" for key in _ACTIVATIONS)
    if not isinstance(family, str) or family not in FAMILIES or not usual:
        return None
    layers, heads = config_value(config, "num_hidden_layers"), config_value(config, "num_attention_heads")
    if not layers or not heads:
        return None
    return Shape(
        family=family,
        layers=int(layers),
        heads=int(heads),
        norm_eps=1e-12 if family == "distilbert" else float(config.get("layer_norm_eps", 1e-12)),
        offset=first_position(config),
    )


def config_value(config: Mapping[str, Any], name: str) -> Any:
    """A value of ``config.json``, under DistilBERT's own name for it if need be; None where it is absent."""
    own = {"hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads"}
    return config.get(name, config.get(own.get(name, name)))


def first_position(config: Mapping[str, Any]) -> int:
    """Position of a text's first token: 0, or after the padding id.

    >>> first_position({"model_type": "roberta", "pad_token_id": 1})
    2
    """
    if config.get("model_type") == "mpnet":
        return 2  # its authors fixed the padding id at 1, whatever the configuration says
    if config.get("model_type") not in OFFSET_MODELS:
        return 0
    padding = config.get("pad_token_id")
    return 2 if padding is None else int(padding) + 1
