"""The kinds of heads in one table, and how heads are trained, calibrated and made to abstain.

Covers settings only; nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["auto", "linear", "mlp", "words", "mixed"]
Score = Literal["auto", "confidence", "max_logit", "energy", "likeness", "outside", "sum"]


@dataclass(frozen=True)
class HeadKind:
    """A kind of head.

    Attributes:
        vectors: whether it looks at the encoder's vectors
        hidden: whether a hidden layer lies between them and the classes
        words: whether it looks at the text's words
        about: what it is, in a few words
        source: where it is from
    """

    vectors: bool
    hidden: bool
    words: bool
    about: str
    source: str


HEADS: Mapping[str, HeadKind] = {
    "linear": HeadKind(True, False, False, "logistic regression on vectors", "Reimers and Gurevych 2019, section 5"),
    "mlp": HeadKind(True, True, False, "one hidden layer on vectors", "Casanueva et al. 2020"),
    "words": HeadKind(False, False, True, "logistic regression on TF-IDF; no encoder", "Wang and Manning 2012"),
    "mixed": HeadKind(True, True, True, "a hidden layer on vectors and TF-IDF, added", "Cheng et al. 2016"),
}
"""Kinds by name; ``auto`` trains each and keeps the one with the least log loss on held-out sentences."""


class HeadConfig(BaseModel):
    """How a head is trained, calibrated and made to abstain."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind = Field(default="auto", description="a key of HEADS, or auto = the best of them on held-out sentences")
    hidden: int = Field(default=1024, ge=1, le=16384, description="width of the hidden layer")
    dropout: float = Field(default=0.5, ge=0, lt=1, description="of the hidden layer; half of it on the vectors")
    epochs: tuple[int, ...] = Field(
        default=(20, 6),
        min_length=1,
        description="passes over the training sentences: the first chooses the kind, the others are tried with it",
    )
    min_steps: int = Field(default=300, ge=1, description="steps at least, however few the sentences are")
    batch: int = Field(default=128, ge=1, description="sentences a step")
    lr: float = Field(default=1e-3, gt=0, description="highest learning rate of the dense layers")
    word_lr: float = Field(default=1e-2, gt=0, description="highest learning rate of the words' weights")
    weight_decay: float = Field(default=1e-2, ge=0, description="of the dense layers")
    max_terms: int = Field(default=50_000, ge=1, description="words and pairs of words kept")
    held_out: float = Field(
        default=0.1, gt=0, le=0.5, description="share of each class that chooses and calibrates, without a valid split"
    )
    score: Score = Field(default="auto", description="a key of OUT_SCORES, or auto = the best on held-out sentences")
    outside_from: int = Field(
        default=20, ge=1, description="out-of-scope training sentences from which they are a class of their own"
    )
    abstain: float = Field(
        default=0.02, ge=0, lt=1, description="share of in-scope sentences that may be turned away; 0 = always answers"
    )
    max_train: int | None = Field(default=None, ge=2, description="training sentences at most; null = all")
