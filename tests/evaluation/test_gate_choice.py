"""Choosing a gate where the truth is planted: kept where histories matter, refused where they do not."""

from __future__ import annotations

import numpy as np
import pytest

from tasteprint.evaluation.gate_choice import LEAST_REQUESTS, choose_gate
from tasteprint.profiling.log import EventLog, Requests
from tasteprint.retrieval.fusion import Candidates

WEIGHTS = {"repeat": 1.0, "transitions": 1.0}


def shop(n: int, *, planted: bool, seed: int = 0) -> tuple[Candidates, Requests, np.ndarray]:
    """Shoppers with short or long histories; with ``planted`` the long ones follow ``repeat``, others transitions."""
    rng = np.random.default_rng(seed)
    length = np.where(np.arange(n) % 2, 2, 40)
    start = np.concatenate([[0], np.cumsum(length)])
    total = int(start[-1])
    nan = np.full(total, np.nan, np.float32)
    log = EventLog(
        np.array([f"u{u}" for u in range(n)], object), np.array([f"i{i}" for i in range(50)], object),
        start.astype(np.int64), rng.integers(0, 50, total).astype(np.int32), np.arange(total, dtype=float),
        np.full(total, 4, np.int8), np.ones(total, np.float32), nan, nan,
    )  # fmt: skip
    requests = Requests(log, start[:-1].astype(np.int64), start[1:].astype(np.int64), np.full(n, 1e6))
    values = rng.standard_normal((2, n, 30)).astype(np.float32)
    leading = np.where(length > 10, 0, 1) if planted else np.zeros(n, dtype=int)
    mixed = values[leading, np.arange(n)] + (0 if planted else values[1])
    gain = np.zeros((n, 30), np.float32)
    gain[np.arange(n), mixed.argmax(axis=1)] = 1.0
    sample = Candidates(("repeat", "transitions"), values, gain, np.ones((n, 30), bool), np.ones(n, np.float32))
    return sample, requests, np.arange(n)


def test_a_planted_gate_is_found() -> None:
    sample, requests, cluster = shop(400, planted=True)
    found = choose_gate(sample, WEIGHTS, requests, cluster, rng=np.random.default_rng(1))
    assert found.gate is not None
    assert found.test.low > 0
    factors = found.gate.factors(requests)
    follows = factors.get("transitions", np.ones(400, np.float32))
    own = factors.get("repeat", np.ones(400, np.float32))
    assert (own / follows)[::2].min() > 1.3 * (own / follows)[1::2].max()


def test_where_histories_do_not_matter_there_is_none() -> None:
    kept = [
        choose_gate(*_with(shop(300, planted=False, seed=seed)), rng=np.random.default_rng(seed)).gate
        for seed in range(5)
    ]
    assert kept == [None] * 5


def test_too_few_requests_try_nothing() -> None:
    sample, requests, cluster = shop(LEAST_REQUESTS - 2, planted=True)
    found = choose_gate(sample, WEIGHTS, requests, cluster, rng=np.random.default_rng(0))
    assert found.gate is None
    assert found.test.n == 0


def test_it_is_the_same_twice_and_silent_parts_stay_silent() -> None:
    sample, requests, cluster = shop(400, planted=True)
    one, two = (choose_gate(sample, WEIGHTS, requests, cluster, rng=np.random.default_rng(1)) for _ in range(2))
    assert one.gate is not None
    assert two.gate is not None
    assert one.gate.slopes == two.gate.slopes
    alone = choose_gate(sample, {"repeat": 1.0}, requests, cluster, rng=np.random.default_rng(1))
    assert alone.gate is None  # one part alone has an order that no factor changes
    assert one.test.difference == pytest.approx(two.test.difference)


def _with(made: tuple[Candidates, Requests, np.ndarray]) -> tuple:
    sample, requests, cluster = made
    return sample, WEIGHTS, requests, cluster
