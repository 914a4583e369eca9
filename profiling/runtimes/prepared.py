"""Exported and quantised networks kept in a folder: made once, stamped, published whole, opened without torch.

Layout: ``folder/<precision>-<runtime>/`` is an artefact (see `artefact`) that holds the file an engine opens. Covers
making one, using it again while checkpoint, texts and configuration are the same, and opening it later without them.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..artefact import read_artefact, write_artefact
from ..encoders.checkpoint import Checkpoint
from ..encoders.fidelity import sample_texts
from ..encoders.stamp import EncoderStamp
from ..errors import ArtefactError, EncoderError, ExtraMissingError
from ..files import sha256_of
from .base import Runtime
from .choose import RUNTIMES, install_line, model_path

if TYPE_CHECKING:
    from .quantise import QuantiseConfig

_KIND = "encoder-model"


def published_stamp(folder: str | Path, stamp: EncoderStamp) -> EncoderStamp:
    """``stamp`` with the calibration of the network published under ``folder``.

    Raises:
        EncoderError: there is none, it is damaged, or it was made of something else.
    """
    path = model_path(folder, stamp.precision, stamp.runtime)
    try:
        found = read_artefact(path, kind=_KIND, verify=False).stamp
    except ArtefactError as error:
        raise EncoderError(f"encoder {stamp.name!r}: {error}; `tasteprint embed` prepares it") from error
    expected = replace(stamp, calibration="" if found is None else found.calibration)
    if found != expected:
        differs = "no stamp" if found is None else found.difference(expected)
        raise EncoderError(f"encoder {stamp.name!r}: {path} was made of something else ({differs}); prepare it again")
    return expected


def prepare_model(
    checkpoint: Checkpoint, stamp: EncoderStamp, texts: Sequence[str | None], folder: str | Path, config: QuantiseConfig
) -> EncoderStamp:
    """Export, and for int8 quantise, a network into ``folder`` unless the same is there; the stamp of what is there.

    Args:
        checkpoint: the network
        stamp: precision, engine, pooling and length
        texts: the shop's own; int8 is calibrated on ``config.n_texts`` of them
        folder: keeps the networks of several precisions and engines
        config: how it is quantised

    Raises:
        EncoderError: there is no text to calibrate on, or the network is not of the BERT family.
        ArtefactError: ``folder`` cannot be written.
    """
    sample = calibration_texts(texts, config) if stamp.precision == "int8" else []
    if stamp.precision == "int8":
        if not sample:
            raise EncoderError("encoder: int8 is calibrated on the shop's texts, got none; use another precision")
        stamp = replace(stamp, calibration=_calibration(sample, config))
    path = model_path(folder, stamp.precision, stamp.runtime)
    try:
        read_artefact(path, kind=_KIND, stamp=stamp)
    except ArtefactError:  # not there, damaged, or of something else

        def write(version: Path) -> dict[str, str]:
            _make(checkpoint, stamp, sample, version, config)
            return {file.name: sha256_of(file) for file in version.iterdir()}

        write_artefact(path, kind=_KIND, stamp=stamp, files=write, meta={"n_texts": len(sample)})
    return stamp


def calibration_texts(texts: Sequence[str | None], config: QuantiseConfig | None = None) -> list[str]:
    """The texts that int8 is calibrated on; measure its fidelity on others (`fidelity.held_out_texts`)."""
    from .quantise import QuantiseConfig

    config = QuantiseConfig() if config is None else config
    return sample_texts(texts, config.n_texts, seed=config.seed)


def open_runtime(
    checkpoint: Checkpoint, stamp: EncoderStamp, *, folder: str | Path | None, threads: int | None
) -> Runtime:
    """The engine of ``stamp`` with its network from ``folder``; exported on the spot where none is kept.

    Raises:
        EncoderError: an int8 network is not in ``folder``, or the network is not of the BERT family.
    """
    if folder is not None:
        try:
            kept = read_artefact(model_path(folder, stamp.precision, stamp.runtime), kind=_KIND, stamp=stamp)
            return _open(checkpoint, stamp, kept.folder, threads)
        except ArtefactError as error:
            if stamp.precision == "int8":
                raise EncoderError(f"encoder {stamp.name!r}: {error}") from error
    from .quantise import QuantiseConfig

    with tempfile.TemporaryDirectory(prefix="tasteprint-") as temporary:
        _make(checkpoint, stamp, [], Path(temporary), QuantiseConfig())
        return _open(checkpoint, stamp, Path(temporary), threads)


def _open(checkpoint: Checkpoint, stamp: EncoderStamp, folder: Path, threads: int | None) -> Runtime:
    """The engine, its network read from ``folder``."""
    from ..encoders.tokens import Tokens

    if find_spec(RUNTIMES[stamp.runtime].package) is None:
        raise ExtraMissingError(f"runtime {stamp.runtime} is not installed: {install_line(stamp.runtime)}")
    tokens, cores = Tokens(checkpoint, stamp), threads or _cores()
    if stamp.runtime == "openvino":
        from .openvino_engine import OpenVinoRuntime

        return OpenVinoRuntime(folder / "model.xml", tokens, precision=stamp.precision, threads=cores)
    from .onnx_engine import OnnxRuntime

    return OnnxRuntime(folder / "model.onnx", tokens, threads=cores)


def _cores() -> int:
    """Threads to use where none are asked for: what the environment allows torch too, else the process's cores."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told):
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _make(
    checkpoint: Checkpoint, stamp: EncoderStamp, sample: Sequence[str], folder: Path, config: QuantiseConfig
) -> None:
    """Export the network into ``folder``, quantised on ``sample`` for int8."""
    import torch

    from ..encoders.tokens import Tokens
    from ..encoders.weights import read_weights
    from .export import export
    from .graph import Graph
    from .quantise import quantise

    graph = Graph(read_weights(checkpoint, stamp, device="cpu", dtype=torch.float32), stamp.pooling)
    if stamp.precision == "int8":
        prompt = checkpoint.prompts.get("item", "")
        quantise(graph, Tokens(checkpoint, stamp)([prompt + text for text in sample]), config)
    export(graph, stamp.runtime, folder)


def _calibration(sample: Sequence[str], config: QuantiseConfig) -> str:
    """Digest of how and on which texts a network is quantised, 16 hex digits."""
    from .quantise import SCHEME

    told = hashlib.sha256(f"{SCHEME}\0{config.model_dump_json()}".encode())
    for text in sample:
        told.update(b"\0" + text.encode())
    return told.hexdigest()[:16]
