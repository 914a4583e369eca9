"""How near an encoder stays to its fp32 reference on a sample of a shop's own texts, and the gate that stops a bad one.

Covers the measures (cosine, and overlap of each text's nearest neighbours), the bars of each precision, and the refusal
with the figures. Which texts are measured is the caller's to choose: never those a quantised encoder was calibrated on
(`held_out_texts` draws them).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..errors import EncoderError
from ..texts import TextKind, clean_texts
from .encoder import Encoder

_LOWEST = -2.0  # below any cosine


class FidelityConfig(BaseModel):
    """What is measured, and the bars that an encoder must clear."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_texts: int = Field(default=1000, ge=2, le=5000, description="texts in the sample")
    seed: int = Field(default=0, ge=0, description="seed of the sample")
    k: int = Field(default=10, ge=1, le=1000, description="nearest neighbours compared for each text")
    tie: float = Field(default=0.01, ge=0, le=1, description="cosines that near to the k-th neighbour's are ties")
    min_cosine: float = Field(default=0.995, ge=-1, le=1, description="lowest mean cosine to the reference")
    min_overlap: float = Field(default=0.93, ge=0, le=1, description="lowest share of the k neighbours kept")
    min_overlap_ties: float = Field(
        default=0.985, ge=0, le=1, description="the same, neighbours tied with the k-th kept"
    )


BARS: Mapping[str, FidelityConfig] = {
    "fp32": FidelityConfig(min_cosine=0.99999, min_overlap=0.995, min_overlap_ties=0.9995),
    "bf16": FidelityConfig(min_cosine=0.9999, min_overlap=0.98, min_overlap_ties=0.9975),
    "int8": FidelityConfig(),
}
"""Bars by precision: fp32 of another runtime may differ by rounding only, bf16 has to be as good as lossless."""


@dataclass(frozen=True)
class Fidelity:
    """How near an encoder is to its reference on some texts.

    Attributes:
        cosine_mean, cosine_min: cosine of the two vectors of a text, over the texts
        overlap: mean share of a text's k nearest neighbours under the reference that are among its k nearest here
        overlap_ties: the same, where a neighbour also counts if the reference puts it within `FidelityConfig.tie` of
            its k-th one
        n_texts: distinct texts that were measured
        k: neighbours compared, fewer than asked where there are few texts
    """

    cosine_mean: float
    cosine_min: float
    overlap: float
    overlap_ties: float
    n_texts: int
    k: int

    def to_dict(self) -> dict[str, float | int]:
        """The figures as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"cosine {self.cosine_mean:.5f} (lowest {self.cosine_min:.4f}), top-{self.k} overlap {self.overlap:.3f}, "
            f"{self.overlap_ties:.3f} with ties, on {self.n_texts:,} texts"
        )


def fidelity(
    reference: Encoder,
    encoder: Encoder,
    texts: Sequence[str | None],
    config: FidelityConfig | None = None,
    *,
    kind: TextKind = "item",
) -> Fidelity:
    """Compare ``encoder`` with ``reference`` on a seeded sample of the distinct ``texts``.

    Raises:
        EncoderError: fewer than two distinct texts, the encoders differ in dimension, or one cannot be loaded.
    """
    config = FidelityConfig() if config is None else config
    sample = sample_texts(texts, config.n_texts, seed=config.seed, kind=kind)
    if len(sample) < 2:
        raise EncoderError(f"fidelity needs two distinct texts, got {len(sample)}; give more of the shop's texts")
    if reference.dim != encoder.dim:
        raise EncoderError(
            f"fidelity compares encoders of one model, got {reference.dim} and {encoder.dim} dimensions; "
            "name the same checkpoint for both"
        )
    return compare_vectors(
        reference.encode(sample, kind), encoder.encode(sample, kind), k=min(config.k, len(sample) - 1), tie=config.tie
    )


def compare_vectors(
    reference: NDArray[np.float32], vectors: NDArray[np.float32], *, k: int = 10, tie: float = 0.01
) -> Fidelity:
    """The measures on unit vectors of the same texts, both (n, d), n > k.

    >>> three = np.eye(3, dtype=np.float32)
    >>> compare_vectors(three, three, k=1).cosine_mean
    1.0
    """
    cosines = np.einsum("nd,nd->n", reference, vectors, dtype=np.float64)  # (n,)
    truth = _neighbour_scores(reference)  # (n, n)
    kept = np.take_along_axis(truth, _nearest(_neighbour_scores(vectors), k), axis=1)  # (n, k): reference's scores
    near = np.take_along_axis(truth, _nearest(truth, k), axis=1)
    last = near[:, -1:]  # (n, 1): the k-th neighbour's score
    return Fidelity(
        cosine_mean=float(cosines.mean()),
        cosine_min=float(cosines.min()),
        overlap=float((kept >= last).mean()),
        overlap_ties=float((kept >= last - tie).mean()),
        n_texts=len(reference),
        k=k,
    )


def misses(measured: Fidelity, config: FidelityConfig) -> list[str]:
    """The measures that are below their bars, in words; empty where all bars are cleared."""
    bars = {
        "mean cosine": (measured.cosine_mean, config.min_cosine),
        f"top-{measured.k} overlap": (measured.overlap, config.min_overlap),
        f"top-{measured.k} overlap with ties": (measured.overlap_ties, config.min_overlap_ties),
    }
    # NaN compares as False both ways, and must not pass
    return [f"{name} must be at least {bar:g}, got {got:.5f}" for name, (got, bar) in bars.items() if not got >= bar]


def check_fidelity(measured: Fidelity, config: FidelityConfig, *, encoder: object = "encoder") -> None:
    """Refuse an encoder that strays too far.

    Raises:
        EncoderError: a measure is below its bar; the message has all figures and all bars.
    """
    missed = misses(measured, config)
    if missed:
        raise EncoderError(
            f"{encoder} strays too far from fp32: {'; '.join(missed)} (measured: {measured}); "
            "use precision fp32 or bf16, calibrate on more of the shop's texts, or lower the bar knowingly"
        )


def sample_texts(texts: Sequence[str | None], n: int, *, seed: int = 0, kind: TextKind = "item") -> list[str]:
    """At most ``n`` distinct non-blank texts, drawn by ``seed``, in the order given.

    The draw depends on the distinct texts and their order alone.
    """
    distinct = [text for text in dict.fromkeys(clean_texts(texts, kind)) if text]
    if len(distinct) <= n:
        return distinct
    rows = np.random.default_rng(seed).choice(len(distinct), n, replace=False)  # (n,)
    return [distinct[row] for row in np.sort(rows)]


def held_out_texts(
    texts: Sequence[str | None], used: Collection[str], n: int, *, seed: int = 0, kind: TextKind = "item"
) -> list[str]:
    """At most ``n`` distinct texts that are not among ``used``; from all texts where hardly any other is left."""
    without = set(used)
    others = [text for text in dict.fromkeys(clean_texts(texts, kind)) if text and text not in without]
    return sample_texts(others if len(others) > 10 else texts, n, seed=seed, kind=kind)


def _neighbour_scores(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosines of all pairs, (n, n), a text's own below all others."""
    scores: NDArray[np.float32] = vectors @ vectors.T
    np.fill_diagonal(scores, _LOWEST)
    return scores


def _nearest(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Positions of the ``k`` highest scores of each row, highest first, ties by position, (n, k)."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]
