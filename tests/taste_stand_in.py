"""A taste model nobody trained: one transformer block with random weights."""

from __future__ import annotations

import numpy as np

from tasteprint.profiling.taste_events import N_AGES, N_KINDS
from tasteprint.profiling.taste_model import TasteLayer, TasteModel


def random_taste(n_items: int, *, dim: int = 8, last: int = 20, seed: int = 5) -> TasteModel:
    rng = np.random.default_rng(seed)

    def drawn(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)

    ones, zeros = np.ones(dim, np.float32), np.zeros(dim, np.float32)
    layer = TasteLayer(
        norm1=ones, shift1=zeros, norm2=ones, shift2=zeros,
        qkv=drawn(dim, 3 * dim), qkv_bias=np.zeros(3 * dim, np.float32), out=drawn(dim, dim), out_bias=zeros,
        up=drawn(dim, 2 * dim), up_bias=np.zeros(2 * dim, np.float32), down=drawn(2 * dim, dim), down_bias=zeros,
        distance=drawn(last + 1, 2), age=drawn(N_AGES, 2),
    )  # fmt: skip
    features = drawn(n_items, 4)
    return TasteModel(
        items=np.hstack([drawn(n_items, dim) * np.float32(np.sqrt(n_items)), features]), kind=drawn(N_KINDS, dim),
        gap=drawn(N_AGES, dim), place=np.zeros((0, dim), np.float32), layers=(layer,), norm=ones, shift=zeros,
        alike_distance=drawn(last + 1), alike_age=drawn(N_AGES), alike_gain=np.ones(4, np.float32), scale=0.0,
        last=last, together=False, epochs=0,
    )  # fmt: skip
