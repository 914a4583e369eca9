"""Saving a trained adapter with all that proves it is the one, and opening it again for more training.

Covers golden probes, the merged checkpoint and its comparison with the unmerged model, the model card, and one
publication that leaves nothing half-written. Importing this module imports torch and transformers.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..artefact import write_artefact
from ..encoders.checkpoint import tokenizer_digest, weights_digest
from ..encoders.stamp import EncoderStamp
from ..encoders.transformer import TransformerEncoder
from ..errors import EncoderError
from ..files import sha256_of
from .card import model_card
from .kinds import ADAPTERS, AdapterConfig, adapter_state, load_adapter_state, n_trainable
from .merge import write_merged
from .saved import (
    CARD,
    KIND,
    MERGED,
    MIN_COSINE,
    WEIGHTS,
    SavedAdapter,
    adapter_digest,
    check_effect,
    check_probes,
    open_adapter,
)  # fmt: skip
from .text_model import TextModel, open_text_model

_LONGEST = 32
_FEWEST, _MOST = 2, 64


def save_adapter(
    model: TextModel,
    folder: str | Path,
    *,
    base: EncoderStamp,
    probes: Sequence[str],
    data_digest: str,
    config: AdapterConfig | None = None,
    settings: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> str:
    """Save a trained adapter; returns its digest, which an encoder's stamp carries.

    Args:
        model: with the adapter attached
        folder: made if absent; what was saved there before is replaced once all is written
        base: stamp of the encoder the model was opened from
        probes: golden texts, 2 to 64, best from the shop; each is cut to 32 tokens' worth of words
        data_digest: names the data it was trained on
        config: must be the model's own; None = that
        settings: JSON values: how it was trained
        metrics: JSON values: what it reached

    Raises:
        EncoderError: the adapter does nothing, ``base`` or ``config`` is not the model's, there are too few or too many
            probes, or the merged checkpoint gives other vectors than the model.
        ArtefactError: ``folder`` cannot be written.
    """
    config = _checked_config(model, config)
    texts = _short(model, probes)
    plain = open_text_model(str(model.folder))
    if weights_digest(model.checkpoint.encoder) != base.weights:
        raise EncoderError(
            f"adapter: base must be the encoder in {model.folder}, whose weights are not {base.weights}; "
            "give the stamp of the encoder the model was opened from"
        )
    vectors, before = golden_vectors(model, texts), golden_vectors(plain, texts)
    check_effect("adapter", vectors, before)
    n_tokens = np.array([len(ids) for ids in model.tokens(texts)], dtype=np.int32)
    n_trained, n_all = n_trainable(model)
    meta: dict[str, Any] = {
        "config": config.model_dump(mode="json"),
        "probes": texts,
        "data_digest": data_digest,
        "settings": dict(settings or {}),
        "metrics": dict(metrics or {}),
        "n_trained": n_trained,
        "n_all": n_all,
    }
    with tempfile.TemporaryDirectory(prefix="tasteprint-") as scratch:
        made = Path(scratch)
        digest = _make(model, made, meta, texts, vectors)
        stamp = replace(base, adapter=digest, tokenizer=tokenizer_digest(model.checkpoint.encoder))
        (made / CARD).write_text(model_card(stamp, meta, vectors, before), encoding="utf-8")

        def write(version: Path) -> dict[str, str]:
            shutil.copytree(made, version, dirs_exist_ok=True)
            return {}

        arrays = {"vectors": vectors, "base_vectors": before, "n_tokens": n_tokens}
        inputs = {"data": data_digest}
        write_artefact(folder, kind=KIND, stamp=stamp, inputs=inputs, arrays=arrays, meta=meta, files=write)
    return digest


def restore_adapter(
    folder: str | Path, name: str, *, max_length: int | None = None, dropout: float | None = None
) -> TextModel:
    """The model an adapter was saved from, its base opened by ``name``, checked and ready for more training.

    Args:
        folder: where it was saved
        name: package, folder or hub name of its base
        max_length: tokens kept of a text, None = what the checkpoint says
        dropout: of the network, None = what the checkpoint says

    Raises:
        EncoderError: the adapter is missing, corrupted, made for another base or does nothing, or its probes do not
            match; the message says which.
    """
    from safetensors.torch import load_file

    model = open_text_model(name, max_length=max_length, dropout=dropout)
    found = open_adapter(folder, base=TransformerEncoder(model.folder, name=name).stamp)
    return load_saved(model, found, load_file(found.folder / WEIGHTS))


def load_saved(model: TextModel, found: SavedAdapter, state: Mapping[str, torch.Tensor]) -> TextModel:
    """Attach a saved adapter to its bare base, in place, and check the golden probes; returns the model.

    Raises:
        EncoderError: the state is not of that adapter, or the probes do not match.
    """
    from .kinds import attach_adapter

    attach_adapter(model, found.config)
    load_adapter_state(model, state)
    check_probes(found, lambda texts: golden_vectors(model, texts), max_length=model.max_length)
    return model


def golden_vectors(model: TextModel, texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors of ``texts``, (n, dim), in evaluation mode; the model's mode stays as it was."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return model.encode_tokens(model.tokens(texts)).float().cpu().numpy()
    finally:
        model.train(training)


def _checked_config(model: TextModel, config: AdapterConfig | None) -> AdapterConfig:
    """The configuration of the model's adapter."""
    own = model.adapter
    if own is None:
        raise EncoderError(
            "adapter: the model has none; open it with an AdapterConfig, kind 'full' to train everything"
        )
    if config is not None and config != own:
        raise EncoderError(f"adapter: config must be the model's own {own!r}, got {config!r}; leave it out")
    return own


def _short(model: TextModel, probes: Sequence[str]) -> list[str]:
    """Distinct probes of few enough tokens that every length an encoder keeps leaves them whole."""
    found = []
    for probe in dict.fromkeys(" ".join(probe.split()) for probe in probes):
        words = probe.split()
        while len(words) > 1 and len(model.tokens([" ".join(words)])[0]) > min(_LONGEST, model.max_length - 1):
            words.pop()
        found.append(" ".join(words))
    found = [probe for probe in dict.fromkeys(found) if probe]
    if not _FEWEST <= len(found) <= _MOST:
        raise EncoderError(
            f"adapter: probes must be {_FEWEST} to {_MOST} different texts, got {len(found)}; take some of the shop's"
        )
    return found


def _make(
    model: TextModel, folder: Path, meta: Mapping[str, Any], probes: list[str], vectors: NDArray[np.float32]
) -> str:
    """Write weights and, where it can be, the merged checkpoint, and compare that with the model; the digest."""
    from safetensors.torch import save_file

    save_file(adapter_state(model), folder / WEIGHTS, {"format": "pt"})
    digest = adapter_digest(meta["config"], sha256_of(folder / WEIGHTS))
    if not ADAPTERS[meta["config"]["kind"]].mergeable:
        return digest
    merged = write_merged(model, folder / MERGED)
    found = TransformerEncoder(merged, device="cpu").bare_vectors(probes)
    lowest = float(np.einsum("nd,nd->n", found, vectors).min())
    if not lowest >= MIN_COSINE["fp32"]:
        raise EncoderError(
            f"adapter: the merged checkpoint strays from the model, lowest cosine {lowest:.5f} on the probes; "
            "it was not saved: report this with the adapter's kind and the base"
        )
    return digest
