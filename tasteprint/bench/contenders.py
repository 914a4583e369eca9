"""The ways to run an encoder that `bench.encoder` times: sentence-transformers, and each of ours.

Covers opening one, the best settings of sentence-transformers on this machine, and saying what to do about one that
cannot run here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..profiling.encoders.checkpoint import checkpoint_folder
from ..profiling.encoders.encoder import STATIC, Encoder, EncoderConfig, open_encoder, prepare_encoder
from ..profiling.encoders.peak import Clock, best_of
from ..profiling.errors import EncoderError, ExtraMissingError
from .texts import BenchTexts

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BASELINE = "sentence-transformers"
"""What the others are compared with: its ``encode`` with nothing set."""

_BATCHES = (8, 16, 32, 64, 128)
_PROBES = 32
_WORTH = 1.05


@dataclass(frozen=True)
class Contender:
    """One way to run an encoder, opened.

    Attributes:
        encode: many texts to unit vectors
        query: one query to its vector
        device: ``cpu`` or ``cuda``
        precision: of its matrix products; empty where it has none
        settings: how it runs, in words
    """

    encode: Callable[[Sequence[str]], NDArray[np.float32]]
    query: Callable[[str], object]
    device: str
    precision: str
    settings: str


@dataclass(frozen=True)
class Bench:
    """What contenders are opened with.

    Attributes:
        config: the encoder
        texts: the timed texts and those for calibrating
        work: folder for what has to be built
        clock: times the search for the best settings
        device: ``cpu`` or ``cuda``
        static: folder of a static encoder, None = none
        peaks: operations a second of the device by precision
        forced: run bf16 even where the processor is slower in it
        rough: calibrate int8 with hardly any search: right for its speed, not for its fidelity
    """

    config: EncoderConfig
    texts: BenchTexts
    work: Path
    clock: Clock
    device: str = "cpu"
    static: Path | None = None
    peaks: Mapping[str, float] = field(default_factory=dict)
    forced: bool = False
    rough: bool = False

    def network(self, runtime: str, precision: str) -> EncoderConfig:
        """The configuration with another runtime and precision.

        Raises:
            EncoderError: the encoder is no network.
        """
        if not is_network(self.config):
            raise EncoderError(f"encoder {self.config.name!r} is no network and runs one way only; name a checkpoint")
        return EncoderConfig.model_validate(self.config.model_dump() | {"precision": precision, "runtime": runtime})

    def check_worth(self, precision: str) -> None:
        """Refuse a precision in which this machine is slower than in fp32.

        Raises:
            EncoderError: it is.
        """
        fast, plain = self.peaks.get(precision), self.peaks.get("fp32")
        if not self.forced and fast is not None and plain is not None and fast < _WORTH * plain:
            raise EncoderError(
                f"{precision} products run at {fast / 1e9:.0f} GFLOP/s here, fp32 at {plain / 1e9:.0f}: left out; "
                "name it in --runtimes to time it all the same"
            )


def is_network(config: EncoderConfig) -> bool:
    """Whether a configuration names a checkpoint, not a hash or static encoder."""
    return not (config.name.startswith(STATIC) or config.name.split(":")[0] == "hash")


def _ours(bench: Bench, *, runtime: str, precision: str) -> Contender:
    """One of our runtimes."""
    from ..profiling.runtimes.quantise import QuantiseConfig

    config = bench.network(runtime, precision)
    if precision == "bf16":
        bench.check_worth(precision)
    quantise = QuantiseConfig(n_texts=32, smoothing=(0.5,), kept_range=(1.0,), search_rows=256) if bench.rough else None
    encoder = prepare_encoder(config, bench.texts.others, bench.work, quantise=quantise)
    device = bench.device if runtime == "torch" else "cpu"
    return _contender(encoder, device, precision, str(encoder.stamp))


def _configured(bench: Bench) -> Contender:
    """What the configuration says, as it stands."""
    encoder = open_encoder(bench.config)
    return _contender(encoder, bench.device, encoder.stamp.precision.split()[0], str(encoder.stamp))


def _static(bench: Bench) -> Contender:
    """A static encoder made before."""
    if bench.static is None:
        raise EncoderError("no static encoder was named: make one with 'tasteprint distil' and name it with --static")
    encoder = open_encoder(EncoderConfig(name=f"{STATIC}{bench.static}"))
    return _contender(encoder, "cpu", "", f"{encoder.dim} dimensions")


def _contender(encoder: Encoder, device: str, precision: str, settings: str) -> Contender:
    """An encoder of ours as a contender."""
    return Contender(
        lambda texts: encoder.encode(texts, "item"),
        lambda text: encoder.encode([text], "query"),
        device,
        precision,
        settings,
    )


def _defaults(bench: Bench) -> Contender:
    """sentence-transformers with nothing set."""
    model = _sentence_transformer(bench, "fp32")
    return Contender(
        lambda texts: _unit(model.encode(list(texts))), lambda text: model.encode([text]), bench.device, "fp32",
        "batch 32, fp32",
    )  # fmt: skip


def _best(bench: Bench) -> Contender:
    """sentence-transformers with the batch size and precision that a few texts are encoded fastest with."""
    precisions = ["fp32"]
    if bench.peaks.get("bf16", 0.0) > _WORTH * bench.peaks.get("fp32", np.inf):
        precisions.append("bf16")
    models = {precision: _sentence_transformer(bench, precision) for precision in precisions}
    sample = list(bench.texts.items[: max(_PROBES, len(bench.texts.items) // 8)])
    taken = {}
    for precision, batch in product(precisions, [n for n in _BATCHES if n <= len(sample)]):
        run = partial(models[precision].encode, sample, batch_size=batch)
        taken[precision, batch] = best_of(run, clock=bench.clock, seconds=0, least=2)
    precision, batch = min(taken, key=lambda one: taken[one])
    model = models[precision]
    return Contender(
        lambda texts: _unit(model.encode(list(texts), batch_size=batch)), lambda text: model.encode([text]),
        bench.device, precision, f"batch {batch}, {precision}: the fastest of what was tried",
    )  # fmt: skip


def _sentence_transformer(bench: Bench, precision: str) -> SentenceTransformer:
    """The checkpoint opened by sentence-transformers."""
    bench.network("auto", "fp32")
    try:
        import torch
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ExtraMissingError("sentence-transformers is not installed: pip install sentence-transformers") from error
    options: dict[str, Any] = {"dtype": torch.bfloat16} if precision == "bf16" else {}
    folder = str(checkpoint_folder(bench.config.name))
    with _no_bars():
        model = SentenceTransformer(folder, device=bench.device, local_files_only=True, model_kwargs=options)
    if bench.config.max_length is not None:
        model.max_seq_length = min(bench.config.max_length, model.max_seq_length or bench.config.max_length)
    return model


@contextmanager
def _no_bars() -> Iterator[None]:
    """Keep transformers from drawing bars while it loads."""
    from transformers.utils import logging

    drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if drawn:
            logging.enable_progress_bar()


def _unit(vectors: Any) -> NDArray[np.float32]:
    """Rows of unit length: not every checkpoint ends in a normalisation."""
    rows = np.asarray(vectors, dtype=np.float32)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


RUNTIMES: Mapping[str, Callable[[Bench], Contender]] = {
    BASELINE: _defaults,
    "sentence-transformers-best": _best,
    "torch-fp32": partial(_ours, runtime="torch", precision="fp32"),
    "torch-bf16": partial(_ours, runtime="torch", precision="bf16"),
    "openvino-fp32": partial(_ours, runtime="openvino", precision="fp32"),
    "openvino-bf16": partial(_ours, runtime="openvino", precision="bf16"),
    "openvino-int8": partial(_ours, runtime="openvino", precision="int8"),
    "onnx-fp32": partial(_ours, runtime="onnx", precision="fp32"),
    "onnx-int8": partial(_ours, runtime="onnx", precision="int8"),
    "static": _static,
    "configured": _configured,
}
"""What can be timed, by name."""


def worth_timing(config: EncoderConfig, *, quick: bool = False) -> list[str]:
    """Names of the contenders to time where none are named.

    Args:
        config: the encoder; ``configured`` is left out where it is the default
        quick: leave out what would hardly be chosen: the engines' own fp32, and the slower engine for int8

    >>> worth_timing(EncoderConfig(name="hash:64"))
    ['static', 'configured']
    """
    if not is_network(config):
        return ["static", "configured"]
    left = {"openvino-fp32", "onnx-fp32", _slower_int8()} if quick else set()
    if config.precision == "fp32" and config.runtime in ("auto", "torch"):  # torch-fp32 is that already
        left.add("configured")
    return [name for name in RUNTIMES if name not in left]


def _slower_int8() -> str:
    """The int8 contender that ``runtime = auto`` does not mean here; the second one where neither is there."""
    from ..profiling.runtimes.choose import choose

    try:
        chosen = choose("int8", "auto", "cpu").runtime
    except ExtraMissingError:
        chosen = "openvino"
    return "onnx-int8" if chosen == "openvino" else "openvino-int8"
