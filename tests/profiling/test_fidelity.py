"""Fidelity: the measures by hand, and a gate that planted damage does not pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tasteprint.profiling.encoders.encoder import Encoder
from tasteprint.profiling.encoders.fidelity import (
    BARS,
    FidelityConfig,
    check_fidelity,
    compare_vectors,
    fidelity,
    held_out_texts,
    sample_texts,
)
from tasteprint.profiling.encoders.hashing import HashEncoder
from tasteprint.profiling.encoders.stamp import EncoderStamp
from tasteprint.profiling.errors import EncoderError
from tasteprint.profiling.texts import TextKind

TEXTS = [f"lamp {n} of {n % 7} kinds in room {n % 11}" for n in range(300)]


class Noisy:
    """The hash encoder with noise of a known size on every vector."""

    def __init__(self, noise: float) -> None:
        self._inner, self._noise = HashEncoder(dim=64), noise
        self.dim, self.stamp = 64, EncoderStamp(weights="noisy")

    def encode(self, texts: Sequence[str | None], kind: TextKind = "item") -> NDArray[np.float32]:
        rng = np.random.default_rng(0)
        vectors = self._inner.encode(texts, kind)
        damaged = vectors + self._noise / 8 * rng.standard_normal(vectors.shape)  # 8 = the root of 64
        return (damaged / np.linalg.norm(damaged, axis=1, keepdims=True)).astype(np.float32)


def test_the_same_encoder_is_perfect():
    measured = fidelity(HashEncoder(dim=64), HashEncoder(dim=64), TEXTS)
    assert measured.cosine_mean == pytest.approx(1, abs=1e-6)
    assert (measured.overlap, measured.overlap_ties, measured.n_texts, measured.k) == (1, 1, 300, 10)
    for bars in BARS.values():
        check_fidelity(measured, bars)


def test_noise_lowers_the_cosine_as_geometry_says():
    measured = fidelity(HashEncoder(dim=64), Noisy(0.5), TEXTS)
    assert measured.cosine_mean == pytest.approx(1 / np.sqrt(1 + 0.5**2), abs=0.02)
    assert measured.cosine_min <= measured.cosine_mean
    assert measured.overlap <= measured.overlap_ties < 1


@pytest.mark.parametrize(("precision", "noise"), [("fp32", 0.02), ("bf16", 0.05), ("int8", 0.3)])
def test_a_damaged_encoder_is_refused_with_the_figures(precision: str, noise: float):
    measured = fidelity(HashEncoder(dim=64), Noisy(noise), TEXTS)
    figures = f"mean cosine must be at least {BARS[precision].min_cosine:g}, got {measured.cosine_mean:.5f}"
    with pytest.raises(EncoderError) as refused:
        check_fidelity(measured, BARS[precision], encoder="encoder X")
    assert figures in str(refused.value)
    assert str(measured) in str(refused.value)
    assert str(refused.value).startswith("encoder X strays too far from fp32")


def test_no_number_is_refused():
    lost = compare_vectors(np.eye(4, dtype=np.float32), np.full((4, 4), np.nan, dtype=np.float32), k=1)
    with pytest.raises(EncoderError, match="got nan"):
        check_fidelity(lost, FidelityConfig(min_overlap=0, min_overlap_ties=0))


def test_overlap_by_hand():
    angles = np.radians([0, 10, 30, 60, 60.1])
    near = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    moved = near.copy()
    moved[[3, 4]] = near[[4, 3]]  # the two that stand almost together change places
    exact = compare_vectors(near, moved, k=3)
    # nearest three of text 0: 1, 2, 3 and not 4, which now stands where 3 stood; likewise for texts 1 and 2
    assert exact.overlap == pytest.approx((3 * 2 / 3 + 2) / 5, abs=1e-6)
    assert exact.overlap_ties == 1
    assert compare_vectors(near, moved, k=3, tie=0.0).overlap_ties == exact.overlap


def test_samples_are_seeded_distinct_and_apart():
    texts = [*TEXTS, *TEXTS, "", None]
    used = sample_texts(texts, 50, seed=3)
    assert used == sample_texts(texts, 50, seed=3) != sample_texts(texts, 50, seed=4)
    assert len(set(used)) == 50
    others = held_out_texts(texts, used, 1000)
    assert len(others) == 250
    assert not set(others) & set(used)
    assert held_out_texts(TEXTS[:5], TEXTS[:5], 10) == TEXTS[:5]  # nothing else is left to measure on


@pytest.mark.parametrize("texts", [[], ["one"], ["one", "one ", None]])
def test_too_few_texts_are_said(texts: list[str | None]):
    with pytest.raises(EncoderError, match="two distinct texts, got"):
        fidelity(HashEncoder(), HashEncoder(), texts)


def test_few_texts_have_few_neighbours():
    assert fidelity(HashEncoder(), HashEncoder(), TEXTS[:4]).k == 3


def test_another_model_is_refused():
    with pytest.raises(EncoderError, match="64 and 32 dimensions"):
        fidelity(HashEncoder(dim=64), HashEncoder(dim=32), TEXTS)
    assert isinstance(Noisy(0), Encoder)
