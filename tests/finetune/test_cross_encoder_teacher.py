"""A cross-encoder as a teacher: asked each pair once, of links and neighbours only; and a run that learns from one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tasteprint.finetune.cross_encoder.run import CROSS, train_cross_encoder
from tasteprint.finetune.cross_encoder.teacher import cross_teacher
from tasteprint.finetune.examples import link
from tasteprint.finetune.run import read_run_config, run
from tasteprint.finetune.train_config import FinetuneConfig
from tasteprint.retrieval.second_stage.cross_encoder import Pair
from tests.finetune.runs import base_for, small_shop
from tests.finetune.test_cross_encoder import config_of


def test_links_and_own_negatives_are_asked_once() -> None:
    pairs = np.array([0, 0, 1]), np.array([0, 1, 2])
    examples = link(["a", "b"], ["d0", "d1", "d2"], pairs, source="judged")
    negatives = np.array([[2], [0]], dtype=np.int32), np.array([[True], [False]])
    asked: list[Pair] = []

    def scores(some: Sequence[Pair]) -> np.ndarray:
        asked.extend(some)
        return np.array([10 * "ab".index(q) + int(d[1]) for q, d in some], dtype=np.float32)

    teacher = cross_teacher(examples, scores, negatives)
    nan = np.nan
    found = teacher(np.array([1, 0], dtype=np.int32), np.array([0, 1, 2], dtype=np.int32))
    assert np.array_equal(found, [[nan, nan, 12.0], [0.0, 1.0, 2.0]], equal_nan=True)
    again = teacher(np.array([0], dtype=np.int32), np.array([2, 1], dtype=np.int32))
    assert again.tolist() == [[2.0, 1.0]]
    assert sorted(asked) == [("a", "d0"), ("a", "d1"), ("a", "d2"), ("b", "d2")]
    links = cross_teacher(examples, scores, None)
    assert np.isnan(links(np.array([0], dtype=np.int32), np.array([2], dtype=np.int32))).all()


@pytest.mark.parametrize("loss", [{"name": "margin_mse"}, {"teacher_weight": 1.0, "guide_margin": 0.0}])
def test_a_run_learns_from_a_cross_encoder(tmp_path: Path, loss: dict[str, object]) -> None:
    shop = small_shop()
    base = base_for(shop, tmp_path / "bert")
    train_cross_encoder(shop, config_of(base), tmp_path / "cross", clock=time.perf_counter)
    config = FinetuneConfig.model_validate(
        {
            "base": str(base),
            "teacher": str(tmp_path / "cross" / CROSS),
            "adapter": {"rank": 4},
            "pairs": {"sources": ["judged"]},
            "negatives": {"kind": "hard", "margin": -2.0},
            "loss": {"margin_scale": 10.0, **loss},
            "train": {"epochs": 3, "batch_anchors": 4, "learning_rate": 0.02, "max_length": 32, "evaluations": 2},
        }
    )
    outcome = run(shop, config, tmp_path / "run", clock=time.perf_counter)
    assert outcome.tuned["score"] > outcome.base["score"]
    assert read_run_config(tmp_path / "run").teacher == config.teacher
