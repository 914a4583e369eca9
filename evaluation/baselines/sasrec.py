"""SASRec: a causal transformer over item ids alone, trained with one negative (the paper) or many (sampled softmax).

Sources: Kang and McAuley, "Self-attentive sequential recommendation", ICDM 2018; Klenitskiy and Vasilev, "Turning dross
into gold loss: is BERT4Rec really better than SASRec?", RecSys 2023, for the softmax over many uniform negatives.
The taste model's network with text, words, kinds and time switched off. Epochs are chosen on validation where there is
one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from ...profiling.taste_model import TasteModel
from ...retrieval.scorer import TrainingSet
from ...retrieval.taste.config import Loss, TasteConfig
from ..taste_learning import train_taste

if TYPE_CHECKING:
    from ..methods import Resources


class SasrecConfig(BaseModel):
    """Options of SASRec; the defaults are the paper's for sparse data, but for the longer patience of its rerun."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(64, ge=2, description="length of the vectors")
    layers: int = Field(2, ge=1, le=12, description="transformer blocks")
    heads: int = Field(1, ge=1, description="attention heads; must divide width")
    last: int = Field(50, ge=1, description="newest history events that are read")
    dropout: float = Field(0.5, ge=0, lt=1, description="share of activations left out in training")
    loss: Loss = Field("bce", description="bce against one negative, or softmax over the target and negatives")
    negatives: int = Field(2048, ge=1, description="uniform items a step shares")
    learning_rate: float = Field(1e-3, gt=0, description="step size")
    epochs: int = Field(100, ge=1, description="passes over the training events, at most")
    without_validation: int = Field(20, ge=1, description="passes where there is no validation to choose them")
    patience: int = Field(8, ge=1, description="epochs without a better NDCG@10 on validation after which it ends")
    minutes: float = Field(20.0, gt=0, description="training time, at most")


class SasrecSoftmaxConfig(SasrecConfig):
    """The same network under the softmax over many negatives."""

    width: int = Field(128, ge=2, description="length of the vectors")
    loss: Loss = Field("softmax", description="bce against one negative, or softmax over the target and negatives")


def network_options(config: SasrecConfig) -> TasteConfig:
    """The taste model's options that make it SASRec."""
    shared = ("width", "layers", "heads", "last", "dropout", "loss", "negatives", "learning_rate", "epochs", "patience")
    return TasteConfig(
        **{name: getattr(config, name) for name in shared},
        inner=config.width,
        text=0,
        words=0,
        vocabulary=0,
        alike=False,
        cosine=False,
        kinds=False,
        gaps=False,
        positions="absolute",
        ties="sequence",
        shuffle=False,
        ema=0.0,
    )


def fit_sasrec(train: TrainingSet, config: SasrecConfig, resources: Resources) -> TasteModel:
    """Train until validation gains nothing more, then as long on all of ``train``."""
    from ...retrieval.taste.training import fit_taste

    options = network_options(config)
    validation = None if resources.validation is None else resources.validation()
    if validation is None:
        short = options.model_copy(update={"epochs": config.without_validation})
        return fit_taste(train, short, rng=resources.rng)
    return train_taste(
        train,
        validation,
        options,
        seed=int(resources.rng.integers(2**31)),
        minutes=None if resources.clock is None else config.minutes,
        clock=resources.clock,
        folder=resources.models,
        progress=resources.tell,
    ).final
