"""Heads on disk: one stamped artefact for all tasks of a shop, with golden probes, opened only on the encoder it knows.

Covers saving, reading and the checks: damage (checksums), another encoder (stamp), an encoder or a program that gives
something else than it gave then (probes). The folder of an adapter trained with the heads lies inside, as ``adapter``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..artefact import Artefact, check_stamp, read_artefact, write_artefact
from ..encoders.encoder import Encoder, EncoderConfig, open_encoder
from ..encoders.stamp import EncoderStamp
from ..errors import ArtefactError, ConfigError
from .head import HeadAnswer, Network, TaskHead
from .words import WordFeatures

KIND = "heads"
ADAPTER = "adapter"
_FORMAT = 1
_ALIKE = 0.999  # cosine of a probe's vector to the recorded one; runtimes round differently
_NEAR = 1e-3  # difference of a probe's probability from the recorded one


@dataclass(frozen=True, eq=False)
class Heads:
    """Heads and the encoder whose vectors they read.

    Attributes:
        heads: one a task
        encoder: None where no head reads vectors
        path: where they were opened
        about: how they were made: settings, digests of the data, metrics
    """

    heads: tuple[TaskHead, ...]
    encoder: Encoder | None
    path: Path
    about: Mapping[str, Any]

    def answer(self, texts: Sequence[str], *, most: int | None = None) -> list[tuple[HeadAnswer, ...]]:
        """What each head says about each text: a tuple of answers in the order of ``heads`` a text."""
        vectors = None if self.encoder is None else self.encoder.encode(list(texts), "query")
        said = [list(head.answer(texts, vectors).each(most=most)) for head in self.heads]
        return [tuple(one[row] for one in said) for row in range(len(texts))]


def save_heads(
    path: str | Path,
    heads: Sequence[TaskHead],
    *,
    encoder: Encoder | None,
    config: EncoderConfig | None = None,
    probes: Sequence[str],
    inputs: Mapping[str, str] | None = None,
    about: Mapping[str, Any] | None = None,
) -> str:
    """Publish heads at ``path``; returns the artefact's digest.

    Args:
        path: folder, made if absent
        heads: one a task, all over the same encoder
        encoder: whose vectors they read, None where no head reads any
        config: how to open that encoder again; an adapter inside ``path`` is written down as such
        probes: golden texts, one at least
        inputs: digests of what they were trained on, by task
        about: JSON values: settings, metrics

    Raises:
        ConfigError: there is no head or no probe, or heads read vectors and there is no encoder.
        ArtefactError: ``path`` cannot be written.
    """
    needs = any(head.needs_vectors for head in heads)
    if not heads or not probes or (needs and (encoder is None or config is None)):
        raise ConfigError("save_heads: heads and probes must not be empty, and an encoder is needed for vectors")
    used, config = (encoder, config) if needs else (None, None)
    arrays: dict[str, NDArray[Any]] = {}
    tables: dict[str, pd.DataFrame] = {}
    says = []
    vectors = None if used is None else used.encode(list(probes), "query")
    if vectors is not None:
        arrays["probe_vectors"] = vectors
    for place, head in enumerate(heads):
        arrays |= {f"h{place}_{name}": array for name, array in _arrays(head).items()}
        arrays[f"h{place}_probes"] = head.answer(probes, vectors).probability
        if head.words is not None:
            tables[f"h{place}_terms"] = pd.DataFrame({"term": list(head.words.terms)})
        says.append(_says(head))
    meta = {"format": _FORMAT, "heads": says, "probes": list(probes), "about": dict(about or {})}
    meta["encoder"] = None if config is None else _portable(config, Path(path))
    stamp = None if used is None else used.stamp
    return write_artefact(path, kind=KIND, stamp=stamp, inputs=inputs, arrays=arrays, tables=tables, meta=meta)


def open_heads(path: str | Path, *, encoder: Encoder | None = None, verify: bool = True) -> Heads:
    """Open saved heads.

    Args:
        path: folder they were saved at
        encoder: to be used; its stamp must be theirs. None = theirs is opened
        verify: compare checksums and probes

    Raises:
        ArtefactError: they are absent, damaged or of another version, ``encoder`` has another stamp, or a probe gets
            another vector or another answer than when they were saved.
        EncoderError: their encoder cannot be opened.
    """
    path = Path(path)
    held = read_artefact(path, kind=KIND, verify=verify)
    if held.meta.get("format") != _FORMAT:
        raise ArtefactError(
            f"heads {path}: format must be {_FORMAT}, got {held.meta.get('format')!r}; train them again"
        )
    if held.stamp is None:
        encoder = None
    else:
        encoder = encoder or open_encoder(_encoder_config(held, path))
        check_stamp(f"heads {path}", held.stamp, encoder.stamp)
    heads = tuple(_head(held, place) for place in range(len(held.meta["heads"])))
    if verify:
        _check_probes(path, held, heads, encoder)
    return Heads(heads, encoder, path, held.meta["about"])


def stamp_of_heads(path: str | Path) -> EncoderStamp | None:
    """Stamp of the encoder that saved heads read, None where they read none.

    Raises:
        ArtefactError: they are absent or damaged.
    """
    return read_artefact(path, kind=KIND, verify=False).stamp


def _check_probes(path: Path, held: Artefact, heads: Sequence[TaskHead], encoder: Encoder | None) -> None:
    """Golden texts must get the vectors and the answers they got when the heads were saved."""
    probes = held.meta["probes"]
    vectors = None
    if encoder is not None:
        recorded, vectors = held.arrays["probe_vectors"], encoder.encode(probes, "query")
        cosine = (recorded * vectors).sum(axis=1)
        empty = ~recorded.any(axis=1) & ~vectors.any(axis=1)
        if not (empty | (cosine >= _ALIKE)).all():
            worst = int(np.where(empty, 1.0, cosine).argmin())
            raise ArtefactError(
                f"heads {path}: probe {probes[worst]!r} must get its recorded vector, but the cosine to it is "
                f"{cosine[worst]:.4f}; the encoder is not the one they were trained on: train them again"
            )
    for place, head in enumerate(heads):
        off = np.abs(head.answer(probes, vectors).probability - held.arrays[f"h{place}_probes"]).max(initial=0.0)
        if not off <= 10 * _NEAR:
            raise ArtefactError(
                f"heads {path}: task {head.task!r} answers its probes otherwise than when it was saved "
                f"(probabilities differ by {off:.3f}); train it again"
            )


def _portable(config: EncoderConfig, path: Path) -> dict[str, Any]:
    """The configuration, an adapter inside ``path`` named relative to it."""
    values = config.model_dump(mode="json")
    if config.adapter is not None and Path(config.adapter).resolve() == (path / ADAPTER).resolve():
        values["adapter"] = ADAPTER
    return values


def _encoder_config(held: Artefact, path: Path) -> EncoderConfig:
    values = dict(held.meta["encoder"])
    if values.get("adapter") == ADAPTER:
        values["adapter"] = str(path / ADAPTER)
    return EncoderConfig.model_validate(values)


def _arrays(head: TaskHead) -> dict[str, NDArray[Any]]:
    """Everything numeric of a head but single numbers."""
    network = head.network
    arrays: dict[str, NDArray[Any] | None] = {"centre": network.centre, "usual": head.usual, "means": network.means}
    for place, (matrix, bias) in enumerate(network.layers):
        arrays |= {f"matrix{place}": matrix, f"bias{place}": bias}
    if head.words is not None:
        arrays |= {"idf": head.words.idf, "words": network.word_weights, "word_bias": network.word_bias}
    return {name: array for name, array in arrays.items() if array is not None}


def _says(head: TaskHead) -> dict[str, Any]:
    """The rest of a head."""
    return {
        "task": head.task,
        "kind": head.kind,
        "classes": list(head.classes),
        "out_label": head.out_label,
        "temperature": head.temperature,
        "out_score": head.out_score,
        "spread": list(head.spread),
        "abstain_below": head.abstain_below,
        "scale": head.network.scale,
        "n_layers": len(head.network.layers),
    }


def _head(held: Artefact, place: int) -> TaskHead:
    """Back from `_arrays` and `_says`."""
    says = held.meta["heads"][place]

    def array(name: str) -> NDArray[Any]:
        return held.arrays[f"h{place}_{name}"]

    def perhaps(name: str) -> NDArray[Any] | None:
        return held.arrays.get(f"h{place}_{name}")

    terms = held.tables.get(f"h{place}_terms")
    layers = tuple((array(f"matrix{n}"), array(f"bias{n}")) for n in range(says["n_layers"]))
    weights = Network(array("centre"), says["scale"], layers, perhaps("words"), perhaps("word_bias"), perhaps("means"))
    return TaskHead(
        task=says["task"],
        kind=says["kind"],
        classes=tuple(says["classes"]),
        out_label=says["out_label"],
        network=weights,
        words=None if terms is None else WordFeatures(tuple(terms["term"]), array("idf")),
        temperature=says["temperature"],
        out_score=says["out_score"],
        spread=(says["spread"][0], says["spread"][1]),
        usual=array("usual"),
        abstain_below=says["abstain_below"],
    )
