"""What may be chosen about a fine-tuning run: the run's own knobs, and the tree that joins them with everyone else's.

Covers reading the tree from a TOML file with ``KEY=VALUE`` changes. Defaults of pairs, losses, negatives and adapters
live beside their own code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ..profiling.adapters.kinds import AdapterConfig
from ..profiling.encoders.checkpoint import DEFAULT_ENCODER
from ..profiling.layers import read_layers
from ..profiling.templates import TemplateConfig
from .losses import LossConfig
from .negatives import NegativesConfig
from .pairs_config import PairsConfig

LEARNING_RATES: Mapping[str, float] = {
    "lora": 5e-4,
    "dora": 5e-4,
    "adalora": 1e-3,
    "ia3": 5e-3,
    "prefix": 5e-3,
    "prompt": 2e-2,
    "bottleneck": 5e-4,
    "parallel": 5e-4,
    "bitfit": 1e-3,
    "full": 5e-5,
}
"""Highest learning rate of each kind of adapter where the configuration names none."""


class TrainConfig(BaseModel):
    """How training runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: float = Field(default=2.0, gt=0, le=1000, description="passes over the anchors")
    max_steps: int | None = Field(default=None, ge=1, description="optimiser steps at most; null = what epochs say")
    batch_anchors: int = Field(
        default=48, ge=2, le=65_536, description="anchors in a batch, over all processes together"
    )
    documents_per_anchor: int = Field(
        default=8, ge=1, le=1000, description="linked documents of an anchor in a batch, drawn anew each epoch"
    )
    learning_rate: float | None = Field(
        default=None, gt=0, le=1, description="highest learning rate; null = what suits the adapter's kind"
    )
    warmup: float = Field(default=0.1, ge=0, lt=1, description="share of the steps in which the rate rises from 0")
    weight_decay: float = Field(default=0.01, ge=0, le=1, description="of AdamW")
    max_grad_norm: float = Field(default=1.0, gt=0, description="gradients are cut to this length")
    max_length: int = Field(default=64, ge=4, le=8192, description="tokens kept of a text while training")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="of the network while training")
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="bf16 = mixed precision by autocast")
    checkpointing: bool = Field(default=False, description="less memory, a third more time")
    cached_tokens: int | None = Field(
        default=None,
        ge=64,
        description="gradient caching: tokens encoded at once, for batches larger than memory; null = without",
    )
    batch_tokens: int = Field(
        default=2048, ge=64, description="tokens that go through the network at once, padding included"
    )
    seed: int = Field(default=0, ge=0, description="draws order, documents, negatives and the adapter's first values")
    evaluations: int = Field(default=4, ge=1, le=1000, description="looks at validation during training")
    patience: int | None = Field(
        default=None, ge=1, description="stop after this many looks without a new best; null = never stop early"
    )
    report_to: tuple[Literal["tensorboard", "mlflow"], ...] = Field(
        default=(), description="further places for the learning curve, which always is in curve.csv"
    )


class ValidationConfig(BaseModel):
    """What is looked at during training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(
        default=0.1, gt=0, lt=1, description="anchors kept for validation where the shop has no validation judgements"
    )
    anchors: int = Field(default=500, ge=2, description="anchors asked at most")
    documents: int = Field(default=4000, ge=2, description="documents ranked: theirs, then others drawn at random")


class FinetuneConfig(BaseModel):
    """Every setting of a fine-tuning run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shop: str | None = Field(default=None, description="folder of a shop in the data contract")
    base: str = Field(
        default=DEFAULT_ENCODER, min_length=1, description="installed package, checkpoint folder or hub name"
    )
    teacher: str | None = Field(
        default=None,
        min_length=1,
        description="cross-encoder's folder, or encoder, whose scores margin_mse and distil learn and guide_margin "
        "trusts; null = the base",
    )
    adapter: AdapterConfig = AdapterConfig()
    pairs: PairsConfig = PairsConfig()
    negatives: NegativesConfig = NegativesConfig()
    loss: LossConfig = LossConfig()
    template: TemplateConfig = TemplateConfig()
    train: TrainConfig = TrainConfig()
    validation: ValidationConfig = ValidationConfig()

    @property
    def learning_rate(self) -> float:
        """The highest learning rate: as configured, else what suits the adapter.

        >>> FinetuneConfig(adapter=AdapterConfig(kind="full")).learning_rate
        5e-05
        """
        return self.train.learning_rate or LEARNING_RATES[self.adapter.kind]

    def arm(self) -> str:
        """Digest of all settings but seed and shop, 12 hex digits; runs of one arm and shop differ by chance only."""
        settings = self.model_dump(mode="json", exclude={"shop": True, "train": {"seed", "report_to"}})
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def read_config(path: str | Path | None = None, *, sets: Sequence[str] = ()) -> FinetuneConfig:
    """Settings of a run from a TOML file with the differences from the defaults and ``KEY=VALUE`` strings.

    Raises:
        ConfigError: the file is unreadable, a key is unknown (the nearest is named), or a value is out of range.
    """
    return read_layers(FinetuneConfig, path, sets=sets).settings
