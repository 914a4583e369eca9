"""The stamp of an encoder: everything that decides what vector a text gets.

Vectors whose stamps differ must never be compared, so a stamp travels with every stored vector and says itself in words
when two of them disagree. Computing a stamp is the encoders' work; checking one on disk is `artefact`'s.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from ..errors import ArtefactError

_LATER = ("runtime", "calibration")


@dataclass(frozen=True)
class EncoderStamp:
    """What made a vector; equal stamps mean comparable vectors.

    Attributes:
        weights: sha256 of the weights, 64 hex digits
        tokenizer: sha256 of the tokenizer's files, empty where the encoder has none
        adapter: sha256 of the adapter's weights, empty without one
        prompts: what the encoder puts before queries and items, as JSON; empty without any
        template: how an item became a text, as `TemplateConfig.text` says it; empty for a bare encoder
        pooling: how token vectors became one vector: ``mean``, ``cls``, ``max`` or ``sum``
        max_length: tokens kept of a text, 0 = all
        precision: number format of the arithmetic, such as ``fp32``
        runtime: the engine that ran it, empty for torch
        calibration: digest of how and on which texts it was quantised, empty where it was not
        name: what the user called the encoder; shown to people, not compared
    """

    weights: str
    tokenizer: str = ""
    adapter: str = ""
    prompts: str = ""
    template: str = ""
    pooling: str = "mean"
    max_length: int = 0
    precision: str = "fp32"
    runtime: str = ""
    calibration: str = ""
    name: str = field(default="", compare=False)

    @property
    def digest(self) -> str:
        """Short name of this stamp, 16 hex digits; different stamps have different digests.

        >>> EncoderStamp(weights="ab").digest == EncoderStamp(weights="ab", name="other name").digest
        True
        >>> EncoderStamp(weights="ab").digest == EncoderStamp(weights="ab", max_length=8).digest
        False
        """
        # an empty later field is left out, so that stamps made before there was such a field keep their digest
        compared = {k: v for k, v in asdict(self).items() if k != "name" and (v or k not in _LATER)}
        return hashlib.sha256(json.dumps(compared, sort_keys=True).encode()).hexdigest()[:16]

    def with_template(self, template: str) -> EncoderStamp:
        """The stamp of vectors this encoder makes of items written by ``template``."""
        return replace(self, template=template)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EncoderStamp:
        """Back from `to_dict`.

        Raises:
            ArtefactError: a field is unknown or ``weights`` is absent (written by another version).
        """
        known = {f.name for f in fields(cls)}
        if not set(values) <= known or "weights" not in values:
            raise ArtefactError(
                f"encoder stamp: fields must be among {', '.join(sorted(known))}, got {', '.join(sorted(values))}; "
                "it was written by another version of Tasteprint: build it again"
            )
        return cls(**values)

    def difference(self, other: EncoderStamp) -> str:
        """The fields in which two stamps differ, in words; empty where they are equal.

        >>> EncoderStamp(weights="ab").difference(EncoderStamp(weights="ab", pooling="cls"))
        "pooling: 'mean' against 'cls'"
        """
        mine, theirs = asdict(self), asdict(other)
        return "; ".join(
            f"{k}: {mine[k]!r} against {theirs[k]!r}" for k in mine if k != "name" and mine[k] != theirs[k]
        )

    def __str__(self) -> str:
        label = f"{self.name} " if self.name else ""
        adapter = f", adapter {self.adapter[:8]}" if self.adapter else ""
        length = f"{self.max_length} tokens" if self.max_length else "whole texts"
        how = f"{self.precision} by {self.runtime}" if self.runtime else self.precision
        return f"{label}[{self.digest}: weights {self.weights[:8]}{adapter}, {self.pooling}, {length}, {how}]"
