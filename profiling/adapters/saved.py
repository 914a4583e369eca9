"""Adapters on disk that cannot be silently ignored: stamped, with golden probes, refused when they are not as recorded.

Covers reading and checking; writing is `saving`'s work. Layout of a saved adapter, an artefact (see `artefact`)::

    adapter.safetensors   the trained parameters
    arrays.safetensors    the probes' vectors with the adapter and without it, and their lengths in tokens
    merged/               the checkpoint with the adapter inside, for kinds that can be merged
    MODEL_CARD.md         the same for people

Nothing here imports torch: opening an encoder with a merged adapter costs no more than opening the base.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..artefact import read_artefact
from ..encoders.stamp import EncoderStamp
from ..errors import ArtefactError, EncoderError
from .kinds import AdapterConfig

KIND = "adapter"
WEIGHTS = "adapter.safetensors"
MERGED = "merged"
CARD = "MODEL_CARD.md"

NO_OP = 1e-5
"""Largest difference of a probe's vector from the base's, in any dimension, at which an adapter does nothing."""

MIN_COSINE: Mapping[str, float] = {"fp32": 0.9999, "bf16": 0.998, "int8": 0.9}
"""Lowest cosine of a probe's vector to the recorded one, by precision; what int8 loses is `fidelity`'s to judge."""


@dataclass(frozen=True, eq=False)
class SavedAdapter:
    """A saved adapter, its files unchanged and its vectors different from the base's.

    Attributes:
        path: as it was named
        folder: its files
        digest: sha256 of its configuration and weights
        base: stamp of the encoder it was trained on
        config: its kind and size
        probes: golden texts
        vectors: theirs with the adapter, (n_probes, dim), unit rows
        base_vectors: theirs without, (n_probes, dim)
        n_tokens: tokens of each probe, (n_probes,)
        about: ``settings``, ``metrics``, ``data_digest``, ``n_trained`` and ``n_all``
    """

    path: Path
    folder: Path
    digest: str
    base: EncoderStamp
    config: AdapterConfig
    probes: tuple[str, ...]
    vectors: NDArray[np.float32]
    base_vectors: NDArray[np.float32]
    n_tokens: NDArray[np.int32]
    about: Mapping[str, Any]

    @property
    def merged(self) -> Path | None:
        """The merged checkpoint, None for a kind that cannot be merged."""
        folder = self.folder / MERGED
        return folder if folder.is_dir() else None


def open_adapter(folder: str | Path, *, base: EncoderStamp | None = None, verify: bool = True) -> SavedAdapter:
    """Read and check a saved adapter.

    Args:
        folder: where it was saved
        base: the encoder it is to adapt; its weights must be those the adapter was trained on. None = any
        verify: compare the sha256 of every file, not sizes alone

    Raises:
        EncoderError: it is missing, corrupted, made for another base, or does nothing; the message says which.
    """
    path = Path(folder)
    try:
        held = read_artefact(path, kind=KIND, verify=verify)
    except ArtefactError as error:
        state = "corrupted" if (path / "CURRENT").is_file() else "missing"
        raise EncoderError(
            f"adapter {path}: it is {state} ({error}); copy it there again, or train it again"
        ) from error
    stamp, about = held.stamp, dict(held.meta)
    digest = adapter_digest(about["config"], held.files[WEIGHTS]["sha256"])
    if stamp is None or stamp.adapter != digest:
        raise EncoderError(f"adapter {path}: it is corrupted (its weights are not those of its stamp); copy it again")
    config = AdapterConfig(**about.pop("config"))
    vectors, before, n_tokens = (held.arrays[name] for name in ("vectors", "base_vectors", "n_tokens"))
    probes = tuple(about.pop("probes"))
    found = SavedAdapter(path, held.folder, digest, stamp, config, probes, vectors, before, n_tokens, about)
    if base is not None:
        check_base(found, base)
    check_effect(f"adapter {path}", vectors, before)
    return found


def check_base(adapter: SavedAdapter, base: EncoderStamp) -> None:
    """Refuse an adapter for another encoder than the one it was trained on.

    Raises:
        EncoderError: weights, tokenizer or pooling differ; the message says which.
    """
    for what in ("weights", "tokenizer", "pooling"):
        mine, theirs = getattr(adapter.base, what), getattr(base, what)
        if mine != theirs:
            raise EncoderError(
                f"adapter {adapter.path}: wrong base, trained on {adapter.base.name or 'an encoder'} with {what} "
                f"{mine}, but {base.name or 'the encoder'} has {theirs}; name the encoder it was trained on, or train "
                "it on this one"
            )


def check_effect(what: str, vectors: NDArray[np.float32], base_vectors: NDArray[np.float32]) -> None:
    """Refuse an adapter whose vectors equal the base's.

    Args:
        what: named in the message
        vectors: with the adapter, (n, dim)
        base_vectors: without, (n, dim)

    Raises:
        EncoderError: no difference is above `NO_OP`.
    """
    largest = float(np.abs(vectors - base_vectors).max(initial=0.0))
    if not largest > NO_OP:
        raise EncoderError(
            f"{what}: it does nothing (no-op): its vectors equal the base's on all {len(vectors)} probes, the largest "
            f"difference is {largest:.1g}; train it, or use the base without it"
        )


def check_probes(
    adapter: SavedAdapter,
    encode: Callable[[Sequence[str]], NDArray[np.float32]],
    *,
    precision: str = "fp32",
    max_length: int,
) -> None:
    """Encode the golden probes again and refuse an encoder that gives other vectors.

    Args:
        adapter: whose probes they are
        encode: texts to unit vectors, (n, dim), with the adapter at work
        precision: a key of `MIN_COSINE`
        max_length: tokens the encoder keeps of a text; probes that are longer are left out

    Raises:
        EncoderError: a probe's vector is not the recorded one, it is the base's, or every probe is too long.
    """
    rows = np.flatnonzero(adapter.n_tokens <= max_length)
    if not len(rows):
        raise EncoderError(
            f"adapter {adapter.path}: max_length must be at least {adapter.n_tokens.min()} to check its probes, "
            f"got {max_length}; keep more tokens"
        )
    found = encode([adapter.probes[row] for row in rows])  # (n_rows, dim)
    cosines = np.einsum("nd,nd->n", found, adapter.vectors[rows], dtype=np.float64)  # (n_rows,)
    worst = int(np.argmin(np.nan_to_num(cosines, nan=-2.0)))
    if cosines[worst] >= MIN_COSINE[precision]:
        return
    near = np.abs(found - adapter.base_vectors[rows]).max() <= 10 * NO_OP
    why = "it gets the base's vectors, so the adapter is not at work" if near else "weights or libraries changed"
    raise EncoderError(
        f"adapter {adapter.path}: golden probes do not match: {adapter.probes[rows[worst]]!r} has cosine "
        f"{cosines[worst]:.5f} to its recorded vector, in {precision} it must be at least {MIN_COSINE[precision]:g} "
        f"({why}); train and save it again with these libraries, or go back to those it was saved with"
    )


def check_runs(adapter: SavedAdapter, stamp: EncoderStamp) -> None:
    """Refuse an engine or a precision that an adapter cannot run in.

    Raises:
        EncoderError: it cannot be merged, and the encoder is not torch in fp32 or bf16.
    """
    if adapter.merged is None and (stamp.runtime or stamp.precision == "int8"):
        raise EncoderError(
            f"adapter {adapter.path}: {adapter.config.kind} cannot be merged and runs in torch in fp32 or bf16, got "
            f"{stamp.precision} in {stamp.runtime or 'torch'}; use runtime torch, or train lora"
        )


def kept_length(adapter: SavedAdapter, max_length: int, positions: int) -> int:
    """Tokens that an encoder with an adapter can keep of a text: virtual tokens of prompt tuning take positions."""
    return min(max_length, positions - (adapter.config.n_virtual if adapter.config.kind == "prompt" else 0))


def adapter_digest(config: Mapping[str, Any], weights: str) -> str:
    """sha256 of an adapter: of its configuration and of the sha256 of its weights' file, 64 hex digits."""
    text = AdapterConfig(**config).model_dump_json()
    return hashlib.sha256(f"{text}\0{weights}".encode()).hexdigest()
