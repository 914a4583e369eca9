"""Options of the taste model: what an event says, how large the network is, how it is trained."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..histories import Ties

Loss = Literal["softmax", "bce"]
Positions = Literal["absolute", "relative"]


class TasteConfig(BaseModel):
    """Options of the taste model; the defaults were chosen on validation data of real shops."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(128, ge=2, description="length of what is learned of an item and of a shopper")
    layers: int = Field(2, ge=0, le=12, description="transformer blocks")
    heads: int = Field(2, ge=1, description="attention heads; must divide width")
    inner: int = Field(128, ge=1, description="width inside the pointwise networks")
    last: int = Field(50, ge=1, le=1000, description="newest history events that are read")
    ids: bool = Field(True, description="whether each item with training events has a vector of its own")
    text: int = Field(384, ge=0, description="whitened dimensions of the text vectors; 0 = not used")
    words: int = Field(256, ge=0, description="dimensions of the words and attributes of the items; 0 = not used")
    vocabulary: int = Field(0, ge=0, description="words and attributes with a vector of their own; 0 = none")
    alike: bool = Field(False, description="whether likeness to the history in text and words counts by itself")
    cosine: bool = Field(True, description="whether learned vectors are compared by their angle alone")
    kinds: bool = Field(True, description="whether kinds of events and their sign are told apart")
    gaps: bool = Field(True, description="whether the time between events, and until now, is read")
    said: bool = Field(False, description="whether the words of an event, such as a review's, are read")
    positions: Positions = Field("relative", description="how the order is told: by place or by distance")
    ties: Ties | Literal["auto"] = Field(
        "auto",
        description="whether events at one time have no order; auto = what requests ask for, else a sequence",
    )
    shuffle: bool | Literal["auto"] = Field(
        "auto",
        description="whether events at one time come in a new order each epoch; auto = what validation gains by",
    )
    dropout: float = Field(0.35, ge=0, lt=1, description="share of activations left out in training")
    id_dropout: float = Field(0.0, ge=0, lt=1, description="share of a step's items that are text and words alone")
    loss: Loss = Field("softmax", description="softmax over the target and negatives, or bce against one negative")
    negatives: int | None = Field(1024, ge=1, description="uniform items a step shares; null = the whole catalogue")
    batch: int = Field(2048, ge=1, description="places of events in a step, padding included")
    learning_rate: float = Field(2e-3, gt=0, description="first step size; it falls to 0 by the last epoch")
    weight_decay: float = Field(0.01, ge=0, description="decoupled L2 penalty")
    ema: float = Field(0.99, ge=0, lt=1, description="memory of the averaged weights for each step; 0 = no averaging")
    epochs: int = Field(12, ge=0, description="passes over the training events, at most")
    patience: int = Field(4, ge=1, description="epochs without a better objective after which training ends")

    @model_validator(mode="after")
    def _fits(self) -> TasteConfig:
        if self.width % self.heads:
            raise ValueError(f"heads: must divide width {self.width}, got {self.heads}; choose another number")
        if not (self.ids or self.text or self.words or self.vocabulary):
            raise ValueError("ids, text, words, vocabulary: an item needs one at least, got none; switch one on")
        return self
