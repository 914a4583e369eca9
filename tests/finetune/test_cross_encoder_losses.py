"""Losses of pairs against other libraries and loops, and their gradients against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.special import log_softmax, softmax
from scipy.stats import entropy
from sklearn.metrics import log_loss

from tasteprint.finetune.cross_encoder.losses import CROSS_LOSSES, CrossLossConfig, PairTargets, cross_loss

OWN = [0, 1, 0, 2, 0, 1, 3, 3]  # anchor 2 has one pair; pairs of an anchor need not stand together
GAIN = [1.0, 0.5, 0.0, 1.0, 0.5, 0.5, 0.25, 1.0]
WEIGHT = [1.0, 2.0, 3.0, 0.5]
CONFIGS = [
    CrossLossConfig(order_weight=0.0),
    CrossLossConfig(order_weight=0.7, sharpness=2.0),
    CrossLossConfig(name="listwise", sharpness=3.0),
    CrossLossConfig(name="pairwise"),
]


@pytest.fixture
def case() -> tuple[torch.Tensor, PairTargets]:
    logits = torch.tensor(np.random.default_rng(3).normal(0, 2, len(OWN)))
    weight = torch.tensor(WEIGHT, dtype=torch.float64)
    return logits, PairTargets(own=torch.tensor(OWN), gain=torch.tensor(GAIN, dtype=torch.float64), weight=weight)


def binary(z: NDArray, c: CrossLossConfig) -> float:
    """scikit-learn's log loss, each soft label as two hard ones."""
    weight, chance = np.array(WEIGHT)[OWN], 1 / (1 + np.exp(-z))
    gain = np.array(GAIN)
    labels, weights = np.repeat([1, 0], len(z)), np.concatenate([gain * weight, (1 - gain) * weight])
    loss = log_loss(labels, np.concatenate([chance, chance]), sample_weight=weights)
    return loss + (c.order_weight * listwise(z, c) if c.order_weight else 0.0)


def listwise(z: NDArray, c: CrossLossConfig) -> float:
    """scipy's relative entropy, anchor by anchor."""
    total = mass = 0.0
    for anchor, weight in enumerate(WEIGHT):
        rows = [row for row, own in enumerate(OWN) if own == anchor]
        if len(rows) > 1:
            total += weight * entropy(softmax(c.sharpness * np.array(GAIN)[rows]), np.exp(log_softmax(z[rows])))
            mass += weight
    return total / mass


def pairwise(z: NDArray, c: CrossLossConfig) -> float:
    """Every better and worse pair in turn, what exchanging them costs from the whole ranking's DCG."""
    total = mass = 0.0
    for anchor, weight in enumerate(WEIGHT):
        rows = [row for row, own in enumerate(OWN) if own == anchor]
        gain, scores = np.array(GAIN)[rows], z[rows]
        order = np.argsort(-scores)
        place = np.empty(len(rows), dtype=int)
        place[order] = np.arange(len(rows))
        ideal = sum(g / np.log2(r + 2) for r, g in enumerate(sorted(gain, reverse=True)))
        each = 0.0
        pairs = [(i, j) for i in range(len(rows)) for j in range(len(rows)) if gain[i] > gain[j]]
        for i, j in pairs:
            swapped = place.copy()
            swapped[[i, j]] = swapped[[j, i]]
            dcg = [(gain / np.log2(p + 2)).sum() for p in (place, swapped)]
            each += np.log1p(np.exp(scores[j] - scores[i])) * abs(dcg[0] - dcg[1]) / ideal
        if pairs:
            total, mass = total + weight * each, mass + weight
    return total / mass


ORACLES = {"pointwise": binary, "listwise": listwise, "pairwise": pairwise}


def test_every_loss_has_an_oracle() -> None:
    assert set(ORACLES) == set(CROSS_LOSSES) == {config.name for config in CONFIGS}


@pytest.mark.parametrize("config", CONFIGS)
def test_values_and_gradients(config: CrossLossConfig, case: tuple[torch.Tensor, PairTargets]) -> None:
    logits, targets = case
    oracle, z = ORACLES[config.name], logits.numpy()
    asked = logits.clone().requires_grad_()
    value = cross_loss(asked, targets, config)
    (gradient,) = torch.autograd.grad(value, asked)
    assert value.item() == pytest.approx(oracle(z, config), rel=1e-9)
    for row in range(len(z)):
        step = np.eye(len(z))[row] * 1e-6
        slope = (oracle(z + step, config) - oracle(z - step, config)) / 2e-6
        assert gradient[row].item() == pytest.approx(slope, abs=1e-6)
    assert torch.autograd.gradcheck(lambda x: cross_loss(x, targets, config), (asked,))


@pytest.mark.parametrize("name", ["listwise", "pairwise"])
def test_one_pair_an_anchor_says_nothing(name: str) -> None:
    logits = torch.tensor([3.0, -2.0], requires_grad=True)
    targets = PairTargets(own=torch.tensor([0, 2]), gain=torch.tensor([1.0, 0.0]), weight=torch.ones(3))
    loss = cross_loss(logits, targets, CrossLossConfig(name=name))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0
    assert not gradient.any()


@pytest.mark.parametrize("name", CROSS_LOSSES)
def test_far_logits_stay_finite(name: str) -> None:
    logits = torch.tensor([-300.0, 300.0], requires_grad=True)
    targets = PairTargets(own=torch.tensor([0, 0]), gain=torch.tensor([1.0, 0.0]), weight=torch.ones(1))
    loss = cross_loss(logits, targets, CrossLossConfig(name=name))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.isfinite(loss)
    assert gradient[0] < 0 < gradient[1]


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(ValidationError, match="must be one of pointwise, listwise, pairwise, got 'hinge'"):
        CrossLossConfig(name="hinge")
