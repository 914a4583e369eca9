"""LoRA, DoRA, AdaLoRA and IA3 by peft, attached to exactly the linear maps that are wanted.

Covers the target maps by family, AdaLoRA's moving ranks and its regulariser. Importing this module imports peft.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from peft import AdaLoraConfig, IA3Config, LoraConfig, PeftConfig, get_peft_model

from ..errors import EncoderError
from .kinds import AdapterConfig
from .text_model import TextModel

_MEMORY = ("exp_avg_ipt", "exp_avg_unc")
_KEPT = "kept."
_IA3 = ("key", "value", "down")


def attach_low_rank(model: TextModel, config: AdapterConfig) -> None:
    """Attach ``lora``, ``dora``, ``adalora`` or ``ia3`` to a frozen model, in place."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft reads what transformers has renamed
        model.tuner = (get_peft_model(model.transformer, _peft_config(model, config)),)


def move_ranks(model: TextModel, step: int) -> None:
    """AdaLoRA's share of an optimiser step: importance is updated, and the least important directions are set to 0.

    Source: Zhang et al., 2023, eqs. 8 to 12 and algorithm 1.

    Raises:
        EncoderError: the gradients were cleared before.
    """
    tuner: Any = model.tuner[0]
    if any(p.requires_grad and p.grad is None for p in model.parameters()):
        raise EncoderError(
            "adapter: adalora reads the gradients, but there are none; call after_step after the optimiser's step and "
            "before the gradients are cleared"
        )
    tuner.base_model.update_and_allocate(step)


def rank_memory(model: TextModel) -> dict[str, torch.Tensor]:
    """AdaLoRA's smoothed importances, and which directions it has kept for good, by name."""
    tuner: Any = model.tuner[0]
    allocator, kept = tuner.base_model.rankallocator, tuner.peft_config["default"].rank_pattern or {}
    found = {f"{_KEPT}{name}": torch.tensor(values) for name, values in kept.items()}
    for what in _MEMORY:
        found |= {f"{what}.{name}": values.detach().cpu().clone() for name, values in getattr(allocator, what).items()}
    return found


def load_rank_memory(model: TextModel, state: Mapping[str, torch.Tensor]) -> None:
    """Set what `rank_memory` gave."""
    tuner: Any = model.tuner[0]
    allocator, config = tuner.base_model.rankallocator, tuner.peft_config["default"]
    device = model.device
    for what in _MEMORY:
        named = {name.removeprefix(f"{what}."): values for name, values in state.items() if name.startswith(f"{what}.")}
        setattr(allocator, what, {name: values.to(device) for name, values in named.items()})
    allocator.ipt = {name: torch.zeros_like(values) for name, values in allocator.exp_avg_ipt.items()}
    kept = {name.removeprefix(_KEPT): values.tolist() for name, values in state.items() if name.startswith(_KEPT)}
    config.rank_pattern = kept or None


def ranks(model: TextModel) -> dict[str, int]:
    """Directions that are left in each adapted map of an AdaLoRA model, by the map's name."""
    tail = ".lora_E.default"
    found = {n.removesuffix(tail): p for n, p in model.transformer.named_parameters() if n.endswith(tail)}
    return {name: int((values != 0).sum()) for name, values in found.items()}


def orthogonality(model: TextModel) -> torch.Tensor:
    """How far AdaLoRA's directions are from orthonormal, the mean over both sides of all maps, a scalar.

    Source: Zhang et al., 2023, eq. 4, with the norm not squared as peft has it.
    """
    far = []
    for name, matrix in model.transformer.named_parameters():
        if ".lora_A." in name or ".lora_B." in name:
            products = matrix @ matrix.T if ".lora_A." in name else matrix.T @ matrix  # (r, r)
            far.append(torch.linalg.norm(products - torch.eye(len(products), device=products.device)))
    return torch.stack(far).mean()


def _peft_config(model: TextModel, config: AdapterConfig) -> PeftConfig:
    """What peft calls the adapter."""
    targets = model.map_names(_IA3 if config.kind == "ia3" else config.maps, first_layer=config.first_layer)
    if config.kind == "ia3":
        inner = [name for name in targets if name.endswith(model.family.down)]
        return IA3Config(target_modules=targets, feedforward_modules=inner)
    if config.kind == "adalora":
        warm = int(config.warm_share * config.total_steps)
        return AdaLoraConfig(
            target_modules=targets,
            init_r=config.first_rank,
            target_r=config.rank,
            lora_alpha=config.alpha,  # type: ignore[arg-type]
            lora_dropout=config.dropout,
            total_step=config.total_steps,
            tinit=warm,
            tfinal=int(config.fixed_share * config.total_steps),
            deltaT=max(1, (config.total_steps - warm) // 100),
            orth_reg_weight=config.orthogonality,
        )
    return LoraConfig(
        target_modules=targets,
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]
        lora_dropout=config.dropout,
        use_dora=config.kind == "dora",
    )
