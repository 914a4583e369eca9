"""Neural rivals: neural CF against its network by hand, SASRec's options, and both learn what is there to learn."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tasteprint.evaluation.baselines.neural_cf import NeuralCfConfig, NeuralCfModel, fit_neural_cf
from tasteprint.evaluation.baselines.sasrec import SasrecConfig, SasrecSoftmaxConfig, fit_sasrec, network_options
from tasteprint.evaluation.methods import METHODS, Resources
from tasteprint.profiling.log import EventLog, Requests
from tasteprint.retrieval.scorer import TrainingSet

N_ITEMS = 20


def log_of(histories: list[list[int]]) -> EventLog:
    """Users who took these items, one a day."""
    lengths = [len(items) for items in histories]
    n, nan = sum(lengths), np.full(sum(lengths), np.nan, np.float32)
    return EventLog(
        user_ids=np.array([f"u{u:03d}" for u in range(len(histories))], object),
        item_ids=np.array([f"i{i:02d}" for i in range(N_ITEMS)], object),
        user_start=np.cumsum([0, *lengths]).astype(np.int64),
        item=np.concatenate(histories).astype(np.int32),
        at_s=np.concatenate([np.arange(k) for k in lengths]) * 86400.0,
        kind=np.full(n, 4, np.int8),
        weight=np.ones(n, np.float32),
        quantity=nan,
        price=nan,
    )


def set_of(log: EventLog) -> TrainingSet:
    import pandas as pd

    items = pd.DataFrame({"item_id": log.item_ids, "title": [f"thing {i}" for i in range(N_ITEMS)]})
    return TrainingSet(log, items, None, 1e9)


def asked(log: EventLog) -> Requests:
    return Requests(log, log.user_start[:-1], log.user_start[1:], np.full(log.n_users, 1e8))


def test_neural_cf_scores_are_the_network_pair_by_pair() -> None:
    rng = np.random.default_rng(0)
    shapes = [6, 5, 4, 1]
    model = NeuralCfModel(
        history=rng.standard_normal((N_ITEMS, 3)).astype(np.float32),
        items=rng.standard_normal((N_ITEMS, 3)).astype(np.float32),
        weights=tuple(rng.standard_normal(pair).astype(np.float32) for pair in pairwise(shapes)),
        biases=tuple(rng.standard_normal(b).astype(np.float32) for b in shapes[1:]),
        decay=1.0,
        tie_break=np.zeros(N_ITEMS, np.float32),
    )
    log = log_of([[1, 2, 2], [5]])
    found = model.scores(asked(log))
    for user, items in enumerate([[1, 2], [5]]):
        for item in range(N_ITEMS):
            x = np.r_[model.history[items].mean(axis=0), model.items[item]]
            for weight, bias in zip(model.weights[:-1], model.biases[:-1], strict=True):
                x = np.maximum(x @ weight + bias, 0)
            assert found[user, item] == pytest.approx((x @ model.weights[-1] + model.biases[-1])[0], abs=1e-4)


def test_neural_cf_learns_two_tribes_and_repeats_by_seed() -> None:
    rng = np.random.default_rng(1)
    half = N_ITEMS // 2
    log = log_of([list(rng.choice(half, 5, replace=False) + half * (user % 2)) for user in range(80)])
    config = NeuralCfConfig(width=8, inner=(8,), epochs=15, batch=64, learning_rate=0.01)
    model = fit_neural_cf(set_of(log), config, rng=np.random.default_rng(0))
    scores = model.scores(asked(log))
    own = np.where(
        np.arange(80)[:, None] % 2 == 0,
        scores[:, :half].mean(1, keepdims=True),
        scores[:, half:].mean(1, keepdims=True),
    )
    assert (own[:, 0] > scores.mean(axis=1)).mean() > 0.95
    again = fit_neural_cf(set_of(log), config, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(again.scores(asked(log)), scores)


def test_sasrec_reads_ids_alone_and_learns_what_follows() -> None:
    rng = np.random.default_rng(2)
    histories = [list(range(first, first + 6)) for first in rng.integers(0, N_ITEMS - 6, size=120)]
    log = log_of(histories)
    config = SasrecSoftmaxConfig(width=16, dropout=0.1, learning_rate=0.01, without_validation=40)
    model = fit_sasrec(set_of(log), config, Resources(np.random.default_rng(0)))
    best = model.scores(asked(log)).argmax(axis=1)
    last = np.array([items[-1] for items in histories])
    seen = last < 18
    assert (best == last + 1)[seen].mean() > 0.6
    assert not len(model.alike_gain)
    assert not len(model.kind)
    assert model.items.shape == (N_ITEMS, 16)


def test_the_two_forms_differ_in_their_loss() -> None:
    assert network_options(SasrecConfig()).loss == "bce"
    assert network_options(SasrecSoftmaxConfig()).loss == "softmax"
    assert {"neural-cf", "sasrec", "sasrec-softmax"} <= set(METHODS)
