"""The kinds of adapters in one table, their configuration, and what is done with an attached one.

Covers choosing, counting, stepping and the state of an adapter. How each kind changes the network is in `low_rank`
(through peft), `bottleneck` and `virtual`. Nothing here imports torch until a model is at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..errors import EncoderError

if TYPE_CHECKING:
    import torch

    from .text_model import TextModel

Kind = Literal["lora", "dora", "adalora", "ia3", "prefix", "prompt", "bottleneck", "parallel", "bitfit", "full"]


class AdapterConfig(BaseModel):
    """Which adapter, and its size."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind = Field(default="lora", description="a key of ADAPTERS")
    rank: int = Field(
        default=16,
        ge=1,
        le=1024,
        description="rank of each map's change (lora, dora); the mean rank at the end (adalora)",
    )
    alpha: float = Field(
        default=32.0, gt=0, description="scale of the change, divided by the rank (lora, dora, adalora)"
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout inside the adapter while it trains")
    maps: tuple[Literal["query", "key", "value", "out", "up", "down"], ...] = Field(
        default=("query", "key", "value", "out", "up", "down"),
        min_length=1,
        description="linear maps of each layer that lora, dora and adalora change",
    )
    first_layer: int = Field(default=0, ge=0, description="first layer that is adapted; layers below stay the base's")
    n_virtual: int = Field(default=16, ge=1, le=256, description="virtual tokens of prefix and prompt tuning")
    width: int = Field(default=48, ge=1, le=4096, description="inner width of bottleneck and parallel adapters")
    start_rank: int | None = Field(
        default=None, ge=1, le=2048, description="rank adalora starts with; null = one and a half times the rank"
    )
    total_steps: int = Field(default=1000, ge=10, description="optimiser steps of the training, which adalora plans by")
    warm_share: float = Field(default=0.1, ge=0, lt=1, description="share of the steps before adalora takes ranks away")
    fixed_share: float = Field(default=0.4, ge=0, lt=1, description="share of the steps after adalora's last change")
    orthogonality: float = Field(
        default=0.1, ge=0, description="weight of adalora's regulariser, which keeps its directions apart"
    )

    @model_validator(mode="after")
    def _shares(self) -> AdapterConfig:
        """The three phases of adalora have to fit."""
        if self.warm_share + self.fixed_share >= 1:
            raise ValueError("warm_share and fixed_share must stay below 1 together; make one smaller")
        if self.start_rank is not None and self.start_rank <= self.rank:
            raise ValueError(f"start_rank must be above rank {self.rank}, got {self.start_rank}; leave it out")
        return self

    @property
    def first_rank(self) -> int:
        """The rank that adalora starts with.

        >>> AdapterConfig(kind="adalora", rank=8).first_rank
        12
        """
        return self.start_rank or (3 * self.rank + 1) // 2


@dataclass(frozen=True)
class AdapterSpec:
    """A kind of adapter.

    Attributes:
        attach: changes a model, whose parameters are all frozen, so that exactly the adapter's require gradients
        mergeable: whether its result is an ordinary checkpoint of the same shape
        identity: whether it leaves the vectors as they are until it is trained
        about: what it trains, in a few words
        source: where it is from
        fields: of `AdapterConfig`, those it reads beside its kind
    """

    attach: Callable[[TextModel, AdapterConfig], None]
    mergeable: bool
    identity: bool
    about: str
    source: str
    fields: tuple[str, ...]


def _low_rank(model: TextModel, config: AdapterConfig) -> None:
    from .low_rank import attach_low_rank

    attach_low_rank(model, config)


def _bottleneck(model: TextModel, config: AdapterConfig) -> None:
    from .bottleneck import attach_bottleneck

    attach_bottleneck(model, config)


def _virtual(model: TextModel, config: AdapterConfig) -> None:
    from .virtual import attach_virtual

    attach_virtual(model, config)


def _bitfit(model: TextModel, config: AdapterConfig) -> None:
    _train(model, config.first_layer, lambda name: name.endswith("bias"))


def _full(model: TextModel, config: AdapterConfig) -> None:
    _train(model, config.first_layer, lambda name: True)


_LOW_RANK = ("rank", "alpha", "dropout", "maps", "first_layer")
_ADALORA = (*_LOW_RANK, "start_rank", "total_steps", "warm_share", "fixed_share", "orthogonality")
_INSIDE = ("width", "dropout", "first_layer")

ADAPTERS: Mapping[str, AdapterSpec] = {
    "lora": AdapterSpec(
        _low_rank, True, True, "a low-rank change of each linear map", "Hu et al., 2022", _LOW_RANK),
    "dora": AdapterSpec(
        _low_rank, True, True, "the same, and the length of each output weight", "Liu et al., 2024", _LOW_RANK),
    "adalora": AdapterSpec(
        _low_rank, True, True, "ranks moved to the maps that need them", "Zhang et al., 2023", _ADALORA),
    "ia3": AdapterSpec(
        _low_rank, True, True, "a factor for each key, value and inner unit", "Liu et al., 2022", ("first_layer",)),
    "prefix": AdapterSpec(
        _virtual, False, False, "virtual tokens' keys and values in each layer", "Li & Liang, 2021",
        ("n_virtual", "first_layer")),
    "prompt": AdapterSpec(
        _virtual, False, False, "virtual tokens before the text", "Lester et al., 2021", ("n_virtual",)),
    "bottleneck": AdapterSpec(
        _bottleneck, False, True, "a small network after each half", "Houlsby et al., 2019", _INSIDE),
    "parallel": AdapterSpec(
        _bottleneck, False, True, "one beside each feed-forward network", "He et al., 2022", _INSIDE),
    "bitfit": AdapterSpec(_bitfit, True, True, "all biases", "Ben Zaken et al., 2022", ("first_layer",)),
    "full": AdapterSpec(_full, True, True, "everything", "the reference", ("first_layer",)),
}  # fmt: skip
"""The kinds of adapters by name."""


def attach_adapter(model: TextModel, config: AdapterConfig) -> None:
    """Freeze a bare model and attach an adapter to it, in place.

    Raises:
        EncoderError: the model has an adapter, or its network is not one that adapters know.
    """
    if model.adapter is not None:
        raise EncoderError(
            f"encoder {model.name!r}: the model has a {model.adapter.kind} adapter already; open another model"
        )
    model.requires_grad_(False)
    ADAPTERS[config.kind].attach(model, config)
    model.adapter = config


def n_trainable(model: torch.nn.Module) -> tuple[int, int]:
    """How many parameters are trained, and how many there are."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, trained in sizes if trained), sum(n for n, _ in sizes)


def after_step(model: TextModel, step: int) -> None:
    """What an adapter does on optimiser step ``step`` (0, 1, ...); only adalora does something: it moves ranks.

    Call it after the optimiser's step and before the gradients are cleared: adalora reads them.
    """
    if model.adapter is not None and model.adapter.kind == "adalora":
        from .low_rank import move_ranks

        move_ranks(model, step)


def regulariser(model: TextModel) -> torch.Tensor | None:
    """What an adapter wants added to the loss, a scalar; None for all but adalora."""
    if model.adapter is None or model.adapter.kind != "adalora" or not model.adapter.orthogonality:
        return None
    from .low_rank import orthogonality

    return model.adapter.orthogonality * orthogonality(model)


def adapter_state(model: TextModel) -> dict[str, torch.Tensor]:
    """The trained parameters by name, copied to the CPU."""
    return {n: p.detach().cpu().clone().contiguous() for n, p in model.named_parameters() if p.requires_grad}


def load_adapter_state(model: TextModel, state: Mapping[str, torch.Tensor]) -> None:
    """Set the trained parameters from `adapter_state` of a model with the same adapter.

    Raises:
        EncoderError: names or shapes differ.
    """
    import torch

    own = {n: p for n, p in model.named_parameters() if p.requires_grad}
    shapes = {n: tuple(p.shape) for n, p in own.items()}
    given = {n: tuple(t.shape) for n, t in state.items()}
    if shapes != given:
        odd = sorted(n for n in shapes.keys() | given.keys() if shapes.get(n) != given.get(n))
        raise EncoderError(
            f"adapter: {len(odd)} parameters differ between the model and the state, the first is {odd[0]}: "
            f"{shapes.get(odd[0], 'absent')} in the model, {given.get(odd[0], 'absent')} in the state; "
            "open the model with the configuration that the state was trained with"
        )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(state[name])


def training_state(model: TextModel) -> dict[str, torch.Tensor]:
    """What a resumed training needs beside `adapter_state` and the optimiser's own: adalora's memory, else nothing."""
    if model.adapter is None or model.adapter.kind != "adalora":
        return {}
    from .low_rank import rank_memory

    return rank_memory(model)


def load_training_state(model: TextModel, state: Mapping[str, torch.Tensor]) -> None:
    """Set what `training_state` gave."""
    if state:
        from .low_rank import load_rank_memory

        load_rank_memory(model, state)


def _train(model: TextModel, first_layer: int, wanted: Callable[[str], bool]) -> None:
    """Make the base's parameters of those names trained, from a layer on."""
    model.map_names(first_layer=first_layer)  # refuses a layer that is not there
    for name, parameter in model.named_parameters():
        if wanted(name) and _layer_of(name) >= first_layer:
            parameter.requires_grad_(True)


def _layer_of(name: str) -> int:
    """Layer of a parameter; what is before the layers, and the bias they share, belongs to the first.

    >>> _layer_of("transformer.encoder.layer.3.output.dense.bias"), _layer_of("transformer.embeddings.LayerNorm.bias")
    (3, 0)
    """
    _, found, rest = name.partition(".layer.")
    return int(rest.split(".")[0]) if found else 0
