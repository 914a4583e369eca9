"""Losses against closed forms written apart in numpy, and their gradients against finite differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tasteprint.finetune.losses import LOSSES, LossConfig, Targets, compute_loss
from tasteprint.finetune.matryoshka import leading
from tasteprint.profiling.errors import ConfigError

N, M, D = 4, 7, 5


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def case() -> tuple[torch.Tensor, torch.Tensor, Targets]:
    rng = np.random.default_rng(5)
    gain = np.zeros((N, M))
    judged = np.zeros((N, M), dtype=bool)
    for row, links in enumerate([{0: 3.0, 1: 1.0, 2: 0.0}, {2: 1.0}, {3: 2.0, 0: 1.0}, {4: 0.0, 5: 0.0}]):
        for column, g in links.items():
            gain[row, column], judged[row, column] = g, True
    spared = np.zeros((N, M), dtype=bool)
    spared[0, 3] = spared[1, 0] = spared[2, 6] = True
    return (
        torch.tensor(unit(rng.normal(size=(N, D)))),
        torch.tensor(unit(rng.normal(size=(M, D)))),
        Targets(
            gain=torch.tensor(gain),
            judged=torch.tensor(judged),
            weight=torch.tensor([1.0, 2.0, 0.5, 1.0], dtype=torch.float64),
            document_log_q=torch.tensor(rng.normal(size=M)),
            teacher=torch.tensor(rng.normal(size=(N, M))),
            spared=torch.tensor(spared),
        ),
    )


def numpy_info_nce(a: NDArray, b: NDArray, t: Targets, c: LossConfig) -> float:
    """van den Oord's equation 4 pair by pair, with loops only."""
    gain, judged, weight = t.gain.numpy(), t.judged.numpy(), t.weight.numpy()
    spared = np.zeros(gain.shape, dtype=bool) if t.spared is None else t.spared.numpy()
    log_q = np.zeros(len(b)) if t.document_log_q is None else t.document_log_q.numpy()
    raw = a @ b.T / c.temperature
    good = judged & (gain > 0)

    def side(scores: NDArray, positive: NDArray, gains: NDArray, away: NDArray, weights: NDArray) -> float:
        total, mass = 0.0, 0.0
        for i in range(len(scores)):
            own = np.flatnonzero(positive[i])
            if not len(own):
                continue
            others = [j for j in range(scores.shape[1]) if not positive[i, j] and not away[i, j]]
            each = 0.0
            for j in own:
                bottom = np.exp(scores[i, j]) + sum(np.exp(scores[i, k]) for k in others)
                each -= gains[i, j] / gains[i, own].sum() * np.log(np.exp(scores[i, j]) / bottom)
            total, mass = total + weights[i] * each, mass + weights[i]
        return total / mass

    rows = side(raw - log_q, good, gain, spared, weight)
    if not c.symmetric:
        return rows
    columns = side(raw.T, good.T, (gain * weight[:, None]).T, spared.T, np.ones(len(b)))
    return (rows + columns) / 2


def numpy_listwise(a: NDArray, b: NDArray, t: Targets, c: LossConfig) -> float:
    """ListNet's cross-entropy over the batch and the divergence among the judged, row by row."""
    gain, judged, weight = t.gain.numpy(), t.judged.numpy(), t.weight.numpy()
    spared = np.zeros(gain.shape, dtype=bool) if t.spared is None else t.spared.numpy()
    log_q = np.zeros(len(b)) if t.document_log_q is None else t.document_log_q.numpy()
    raw = a @ b.T / c.temperature
    whole, order = [], []
    for i in range(len(a)):
        want = np.where(judged[i], gain[i], 0.0)
        if want.sum() == 0:
            continue
        want = want / want.sum()
        inside = ~spared[i] | (want > 0)
        scores = raw[i] - log_q
        p = np.where(inside, np.exp(scores), 0) / np.exp(scores[inside]).sum()
        whole.append((weight[i], -sum(w * np.log(q) for w, q in zip(want, p, strict=True) if w)))
        if judged[i].sum() > 1:
            p = np.exp(raw[i]) / np.exp(raw[i][judged[i]]).sum()
            order.append((weight[i], sum(w * np.log(w / q) for w, q in zip(want, p, strict=True) if w)))
    means = [sum(w * x for w, x in some) / sum(w for w, _ in some) for some in (whole, order)]
    return means[0] + c.graded_weight * means[1]


def numpy_margin_mse(a: NDArray, b: NDArray, t: Targets, c: LossConfig) -> float:
    """Every pair of a positive and a negative in turn."""
    gain, judged, weight, teacher = t.gain.numpy(), t.judged.numpy(), t.weight.numpy(), t.teacher.numpy()
    spared = t.spared.numpy()
    scores = a @ b.T
    total, mass = 0.0, 0.0
    for i in range(len(a)):
        errors = [
            (scores[i, p] - scores[i, q] - (teacher[i, p] - teacher[i, q]) / c.margin_scale) ** 2
            for p in range(len(b))
            for q in range(len(b))
            if judged[i, p] and gain[i, p] > 0 and not (judged[i, q] and gain[i, q] > 0) and not spared[i, q]
        ]
        if errors:
            total, mass = total + weight[i] * np.mean(errors), mass + weight[i]
    return total / mass


def numpy_distil(a: NDArray, b: NDArray, t: Targets, c: LossConfig) -> float:
    """Relative entropy of two softmaxes by scipy, over what the teacher was asked, row by row."""
    from scipy.special import softmax
    from scipy.stats import entropy

    teacher, weight, total, mass = t.teacher.numpy(), t.weight.numpy(), 0.0, 0.0
    for i in range(len(a)):
        asked = np.flatnonzero(~np.isnan(teacher[i]))
        if len(asked) > 1:
            wanted = softmax(teacher[i, asked] / c.margin_scale / c.temperature)
            total += weight[i] * entropy(wanted, softmax(a[i] @ b[asked].T / c.temperature))
            mass += weight[i]
    return total / mass


ORACLES = {
    "info_nce": numpy_info_nce,
    "listwise": numpy_listwise,
    "margin_mse": numpy_margin_mse,
    "distil": numpy_distil,
}
CONFIGS = [
    LossConfig(name="info_nce", temperature=0.5),
    LossConfig(name="info_nce", temperature=0.5, symmetric=True),
    LossConfig(name="listwise", temperature=0.5),
    LossConfig(name="listwise", temperature=0.3, graded_weight=2.0),
    LossConfig(name="margin_mse", margin_scale=2.0),
    LossConfig(name="distil", margin_scale=2.0, temperature=0.5),
]


def test_every_loss_has_an_oracle() -> None:
    assert set(ORACLES) == set(LOSSES) == {config.name for config in CONFIGS}


@pytest.mark.parametrize("config", CONFIGS)
def test_values_and_gradients(config: LossConfig, case: tuple[torch.Tensor, torch.Tensor, Targets]) -> None:
    anchors, documents, targets = case
    oracle = ORACLES[config.name]
    a, b = anchors.numpy(), documents.numpy()
    left, right = anchors.clone().requires_grad_(), documents.clone().requires_grad_()
    value = LOSSES[config.name](left, right, targets, config)
    value.backward()
    assert value.item() == pytest.approx(oracle(a, b, targets, config), rel=1e-10)
    step = 1e-6
    for rows, grad, place in ((a, left.grad, 0), (b, right.grad, 1)):
        for index in np.ndindex(rows.shape):
            moved = [a, b]
            ends = []
            for sign in (1, -1):
                changed = rows.copy()
                changed[index] += sign * step
                moved[place] = changed
                ends.append(oracle(*moved, targets, config))
            assert grad[index].item() == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-6)


@pytest.mark.parametrize("config", CONFIGS)
def test_autograd(config: LossConfig, case: tuple[torch.Tensor, torch.Tensor, Targets]) -> None:
    anchors, documents, targets = case
    config = config.model_copy(update={"dims": (2, 3), "guide_margin": 0.1})

    def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return compute_loss(x, y, targets, config)

    assert torch.autograd.gradcheck(loss, (anchors.clone().requires_grad_(), documents.clone().requires_grad_()))


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_to_learn_gives_zero_with_zero_gradients(name: str) -> None:
    anchors, documents = torch.eye(2, requires_grad=True), torch.eye(2)
    nothing = torch.zeros(2, 2)
    targets = Targets(gain=nothing, judged=nothing > 0, weight=torch.ones(2), teacher=nothing / 0)
    loss = LOSSES[name](anchors, documents, targets, LossConfig(name=name))
    loss.backward()
    assert loss.item() == 0
    assert anchors.grad is not None
    assert not anchors.grad.any()


def test_distil_reads_only_what_was_asked(case: tuple[torch.Tensor, torch.Tensor, Targets]) -> None:
    """An anchor with one scored document says nothing; changing a score that is absent changes nothing."""
    anchors, documents, targets = case
    assert targets.teacher is not None
    config = LossConfig(name="distil", temperature=0.5)
    some = targets.teacher.clone()
    some[0, 1:] = float("nan")
    some[1, 3] = float("nan")
    got = LOSSES["distil"](anchors, documents, replace(targets, teacher=some), config)
    assert got.item() == pytest.approx(
        numpy_distil(anchors.numpy(), documents.numpy(), replace(targets, teacher=some), config)
    )
    alone = LOSSES["distil"](anchors[:1], documents, replace(targets, teacher=some[:1], weight=torch.ones(1)), config)
    assert alone.item() == 0


def test_a_teacher_beside_another_loss(case: tuple[torch.Tensor, torch.Tensor, Targets]) -> None:
    anchors, documents, targets = case
    config = LossConfig(temperature=0.5, teacher_weight=0.7, margin_scale=3.0)
    plain = LOSSES["listwise"](anchors, documents, targets, config)
    extra = LOSSES["distil"](anchors, documents, targets, config)
    assert compute_loss(anchors, documents, targets, config).item() == pytest.approx((plain + 0.7 * extra).item())


@pytest.mark.parametrize("name", ["info_nce", "listwise"])
def test_sharp_temperatures_stay_finite(name: str) -> None:
    anchors = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    documents = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])  # each positive is as far as can be
    gain = torch.eye(2)
    for spared in (None, ~torch.eye(2).bool()):  # with negatives, and with none left
        targets = Targets(gain=gain, judged=gain > 0, weight=torch.ones(2), spared=spared)
        loss = LOSSES[name](anchors, documents, targets, LossConfig(name=name, temperature=0.005, symmetric=True))
        (grad,) = torch.autograd.grad(loss, anchors)
        assert torch.isfinite(loss)
        assert torch.isfinite(grad).all()


def test_log_q_takes_back_what_frequent_documents_add() -> None:
    """With a document twice in the batch and log q = log 2 for it, the loss is that of the batch without the copy."""
    rng = np.random.default_rng(1)
    anchor = torch.tensor(unit(rng.normal(size=(1, D))))
    documents = torch.tensor(unit(rng.normal(size=(3, D))))
    gain = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    config = LossConfig(name="info_nce", temperature=1.0)
    once = Targets(gain=gain, judged=gain > 0, weight=torch.ones(1, dtype=torch.float64))
    twice = torch.cat([documents, documents[2:]])
    gain = torch.cat([gain, gain[:, 2:]], dim=1)
    log_q = torch.log(torch.tensor([1.0, 1.0, 2.0, 2.0], dtype=torch.float64))
    again = Targets(gain=gain, judged=gain > 0, weight=once.weight, document_log_q=log_q)
    expected = LOSSES["info_nce"](anchor, documents, once, config)
    assert LOSSES["info_nce"](anchor, twice, again, config).item() == pytest.approx(expected.item())


def test_guide_leaves_out_what_it_takes_for_positives() -> None:
    anchor, documents = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.6, 0.8]])
    gain = torch.tensor([[1.0, 0.0, 0.0]])
    teacher = torch.tensor([[0.7, 0.75, 0.5]])
    targets = Targets(gain=gain, judged=gain > 0, weight=torch.ones(1), teacher=teacher)
    config = LossConfig(name="info_nce", temperature=1.0, guide_margin=0.0)
    only_last = float(np.log(1 + np.exp(0.6)))
    assert LOSSES["info_nce"](anchor, documents, targets, config).item() == pytest.approx(only_last)
    strict = config.model_copy(update={"guide_margin": 0.3})
    assert LOSSES["info_nce"](anchor, documents, targets, strict).item() == 0  # both others score above .7 - .3
    judged = replace(targets, judged=torch.tensor([[True, True, False]]))  # judged irrelevant: no doubt about it
    both = float(np.log(1 + np.exp(1) + np.exp(0.6)))
    assert LOSSES["info_nce"](anchor, documents, judged, config).item() == pytest.approx(both)


def test_a_teacher_that_was_not_asked_of_a_pair() -> None:
    documents = torch.eye(3)
    teacher = torch.tensor([[2.0, float("nan"), 0.0]])
    gain = torch.tensor([[1.0, 0.0, 0.0]])
    targets = Targets(gain=gain, judged=gain > 0, weight=torch.ones(1), teacher=teacher)
    loss = LOSSES["margin_mse"](documents[:1], documents, targets, LossConfig(name="margin_mse"))
    assert loss.item() == pytest.approx((1 - 2) ** 2)


def test_matryoshka_is_the_mean_over_lengths(case: tuple[torch.Tensor, torch.Tensor, Targets]) -> None:
    anchors, documents, targets = case
    config = LossConfig(temperature=0.5, dims=(2, 4, D))
    plain = LossConfig(temperature=0.5)
    each = [LOSSES["listwise"](leading(anchors, d), leading(documents, d), targets, plain) for d in (2, 4, D)]
    assert compute_loss(anchors, documents, targets, config).item() == pytest.approx(torch.stack(each).mean().item())


def test_refusals(case: tuple[torch.Tensor, torch.Tensor, Targets]) -> None:
    anchors, documents, targets = case
    blind = replace(targets, teacher=None)
    with pytest.raises(ConfigError, match=r"margin_mse needs targets.teacher"):
        compute_loss(anchors, documents, blind, LossConfig(name="margin_mse"))
    with pytest.raises(ConfigError, match=r"guide_margin needs targets.teacher"):
        compute_loss(anchors, documents, blind, LossConfig(guide_margin=0.1))
    with pytest.raises(ConfigError, match="dims must be at most"):
        compute_loss(anchors, documents, targets, LossConfig(dims=(D + 1,)))
    with pytest.raises(ValueError, match="must be one of info_nce"):
        LossConfig(name="hinge")
