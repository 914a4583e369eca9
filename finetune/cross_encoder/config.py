"""What may be chosen about training a cross-encoder.

The tree is that of a fine-tuning run (`train_config`), with its own losses and with defaults that suit pairs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ...profiling.adapters.kinds import ADAPTERS, AdapterConfig, Kind
from ...profiling.encoders.checkpoint import DEFAULT_ENCODER
from ...profiling.templates import TemplateConfig
from ...retrieval.second_stage.cross_encoder import DEPTH
from ..negatives import NegativesConfig
from ..pairs_config import PairsConfig
from ..train_config import LEARNING_RATES, TrainConfig, ValidationConfig
from .losses import CrossLossConfig

CROSS_RATES: Mapping[str, float] = {**LEARNING_RATES, "full": 1e-4}
"""Highest learning rate of each kind of adapter where the configuration names none."""


class CrossAdapterConfig(AdapterConfig):
    """Which part of the network is trained."""

    kind: Kind = Field(default="full", description="a key of ADAPTERS that can be merged")

    @field_validator("kind")
    @classmethod
    def _merged(cls, kind: Kind) -> Kind:
        able = [name for name, spec in ADAPTERS.items() if spec.mergeable and name != "adalora"]
        if kind not in able:
            raise ValueError(f"must be one of {', '.join(able)}: a cross-encoder is saved merged, got {kind!r}")
        return kind


class CrossNegativesConfig(NegativesConfig):
    """Which items an anchor is read with beside its own; in_batch = none."""

    kind: Literal["in_batch", "uniform", "hard", "judged"] = Field(
        default="uniform", description="key of NEGATIVES; hard where links have no grades, such as clicks"
    )
    n: int = Field(default=1, ge=1, le=1000, description="further items for an anchor")


class CrossTrainConfig(TrainConfig):
    """How training runs."""

    epochs: float = Field(default=2.0, gt=0, le=1000, description="passes over the anchors")
    batch_anchors: int = Field(
        default=32, ge=2, le=65_536, description="anchors in a batch, over all processes together"
    )
    max_length: int = Field(default=96, ge=4, le=8192, description="tokens kept of a pair")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="of the network while training")


class RerankConfig(BaseModel):
    """How the weight beside the fused score of a search is chosen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    depth: int = Field(default=DEPTH, ge=1, le=1000, description="best items of a search that are read again")
    queries: int = Field(default=200, ge=2, description="validation queries asked at most, drawn evenly")
    weights: tuple[float, ...] = Field(
        default=(0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0),
        min_length=1,
        description="weights of the logit that are tried",
    )
    fallback: float = Field(default=0.1, ge=0, description="weight where the shop has no validation judgements")

    @field_validator("weights")
    @classmethod
    def _least(cls, weights: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 <= weight < float("inf") for weight in weights):
            raise ValueError(f"must be finite and >= 0, got {list(weights)}")
        return tuple(sorted(set(weights)))


class CrossConfig(BaseModel):
    """Every setting of the training of a cross-encoder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shop: str | None = Field(default=None, description="folder of a shop in the data contract")
    base: str = Field(
        default=DEFAULT_ENCODER, min_length=1, description="installed package, checkpoint folder or hub name"
    )
    adapter: CrossAdapterConfig = CrossAdapterConfig()
    pairs: PairsConfig = PairsConfig()
    negatives: CrossNegativesConfig = CrossNegativesConfig()
    loss: CrossLossConfig = CrossLossConfig()
    template: TemplateConfig = TemplateConfig()
    train: CrossTrainConfig = CrossTrainConfig()
    validation: ValidationConfig = ValidationConfig()
    rerank: RerankConfig = RerankConfig()

    @property
    def learning_rate(self) -> float:
        """The highest learning rate: as configured, else what suits the adapter.

        >>> CrossConfig().learning_rate
        0.0001
        """
        return self.train.learning_rate or CROSS_RATES[self.adapter.kind]

    def arm(self) -> str:
        """Digest of all settings but seed and shop, 12 hex digits; runs of one arm and shop differ by chance only."""
        settings = self.model_dump(mode="json", exclude={"shop": True, "train": {"seed", "report_to"}})
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def read_cross_config(folder: str | Path) -> CrossConfig:
    """The effective settings of a run.

    Raises:
        ConfigError: the folder holds no such run.
    """
    from ..run_folder import read_settings

    return read_settings(folder, CrossConfig)
