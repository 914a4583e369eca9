"""The cross-encoder as it is trained: a text model reading pairs, with a head that gives one logit; and saving it.

Covers opening one from any checkpoint of the family and publishing it with all that proves it is the one. Running a
saved one is `retrieval.cross_encoder`'s work, training `cross_encoder.run`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...profiling.adapters.kinds import AdapterConfig
from ...profiling.adapters.merge import write_merged
from ...profiling.adapters.text_model import TextModel, open_text_model
from ...profiling.artefact import write_artefact
from ...profiling.encoders.checkpoint import weights_digest
from ...profiling.encoders.stamp import EncoderStamp
from ...profiling.errors import EncoderError
from ...retrieval.second_stage.cross_encoder import (
    KIND,
    NETWORK,
    CrossEncoder,
    Float,
    Pair,
    PairTokens,
    check_scores,
    check_trained,
    open_cross_encoder,
)  # fmt: skip
from .config import CrossConfig

SCALE = 20.0
"""The head's weights are trained as so many times smaller, so that one learning rate suits head and network."""


class CrossModel(nn.Module):
    """A text model that reads pairs, and its head; to a trainer it is as a `TextModel` whose vectors are logits.

    Attributes:
        text: the network; the unit vector it gives of a pair is what the head reads
        head: from that vector, (dim,), to a logit divided by `SCALE`; zero until it is trained
        pairs: the tokenizer of pairs
    """

    def __init__(self, text: TextModel) -> None:
        super().__init__()
        self.text, self.pairs = text, PairTokens(text.checkpoint, text.max_length)
        self.head = nn.Linear(text.dim, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @property
    def adapter(self) -> AdapterConfig | None:
        """The configuration of the attached adapter."""
        return self.text.adapter

    def forward(self, tokens: Sequence[list[int]]) -> torch.Tensor:
        """Logits of token ids of pairs, (n, 1)."""
        return self.encode_tokens(tokens)

    def encode_tokens(self, tokens: Sequence[list[int]], *, batch_tokens: int | None = None) -> torch.Tensor:
        """Logits of token ids of pairs, (n, 1), in their order; see `TextModel.encode_tokens`."""
        return SCALE * self.head(self.text.encode_tokens(tokens, batch_tokens=batch_tokens))

    def scores(self, pairs: Sequence[Pair], *, batch_tokens: int | None = None) -> Float:
        """Logits of pairs, (n,), in evaluation mode; the model's mode stays as it was."""
        training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                found = self.encode_tokens(self.pairs(pairs), batch_tokens=batch_tokens)
                return found[:, 0].float().cpu().numpy()
        finally:
            self.train(training)


def open_cross_model(config: CrossConfig) -> CrossModel:
    """An untrained cross-encoder on the CPU, in training mode.

    Raises:
        EncoderError: the checkpoint cannot be found or read, is not of the BERT family, or lacks what running pairs
            without padding needs.
    """
    train = config.train
    text = open_text_model(
        config.base,
        config.adapter,
        seed=train.seed,
        dropout=train.dropout,
        max_length=train.max_length,
        checkpointing=train.checkpointing,
    )
    if text.checkpoint.shape is None:
        raise EncoderError(
            f"base: a cross-encoder needs a checkpoint of the BERT family with model.safetensors and tokenizer.json, "
            f"got {text.checkpoint.encoder}; save it once with transformers in today's form"
        )
    return CrossModel(text)


def save_cross_model(
    model: CrossModel,
    folder: str | Path,
    *,
    base: EncoderStamp,
    probes: Sequence[Pair],
    data_digest: str,
    weight: float,
    settings: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> CrossEncoder:
    """Publish a trained cross-encoder; returns it, opened again and compared with the model on the probes.

    Args:
        model: trained
        folder: made if absent; what was saved there before is replaced once all is written
        base: stamp of the encoder it was opened from
        probes: golden pairs, best from the shop
        data_digest: names the data it was trained on
        weight: beside the fused score of a search
        settings: JSON values: how it was trained
        metrics: JSON values: what it reached

    Raises:
        EncoderError: ``base`` is not the model's, it does nothing, or what was written scores otherwise.
        ArtefactError: ``folder`` cannot be written.
    """
    text, distinct = model.text, list(dict.fromkeys(probes))
    if weights_digest(text.checkpoint.encoder) != base.weights:
        raise EncoderError(f"cross-encoder: base must be the encoder in {text.folder}; give the stamp of that one")
    scores, before = model.scores(distinct), _untrained(model).scores(distinct)
    check_trained("cross-encoder", scores, before)

    def write(version: Path) -> dict[str, str]:
        write_merged(text, version / NETWORK)
        return {}

    write_artefact(
        folder,
        kind=KIND,
        stamp=base,
        inputs={"data": data_digest},
        arrays={
            "head": SCALE * model.head.weight.detach().cpu().numpy()[0].astype(np.float32),
            "bias": SCALE * model.head.bias.detach().cpu().numpy().astype(np.float32),
            "probe_scores": scores,
            "base_scores": before,
        },
        meta={
            "probes": [list(pair) for pair in distinct],
            "weight": float(weight),
            "max_length": text.max_length,
            "settings": dict(settings or {}),
            "metrics": dict(metrics or {}),
            "data_digest": data_digest,
        },
        files=write,
    )
    saved = open_cross_encoder(folder, base=base, device="cpu")
    check_scores(f"cross-encoder {folder}", scores, saved.scores(distinct))
    return saved


def _untrained(model: CrossModel) -> CrossModel:
    """The base's network under the trained head."""
    bare = CrossModel(open_text_model(str(model.text.folder), max_length=model.text.max_length))
    bare.head.load_state_dict(model.head.state_dict())
    return bare
