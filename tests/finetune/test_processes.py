"""Training in several processes, and killed by the system: through the launcher and the command, as users do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tasteprint.finetune.run import read_curve, read_outcome
from tasteprint.profiling.tables.shop import write_shop
from tests.finetune.runs import base_for, small_shop

pytestmark = pytest.mark.slow

SETTINGS = (
    "adapter.rank=4", "adapter.alpha=8", 'pairs.sources=["judged"]', "train.epochs=6", "train.batch_anchors=4",
    "train.learning_rate=0.02", "train.max_length=32", "train.evaluations=6",
)  # fmt: skip


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments that all trainings here share."""
    folder = tmp_path_factory.mktemp("given")
    shop = small_shop()
    write_shop(shop, folder / "shop")
    base = base_for(shop, folder / "bert")
    sets = [f"--set={setting}" for setting in (*SETTINGS, f"base={base}")]
    return ["-m", "tasteprint.finetune.train", "--shop", str(folder / "shop"), *sets]


def launched(arguments: list[str], *, processes: int = 1) -> None:
    alone = [sys.executable, *arguments]
    command = alone
    if processes > 1:
        launcher = [
            "-m", "accelerate.commands.launch", "--cpu", "--num_processes", str(processes), "--num_machines", "1",
            "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
        ]  # fmt: skip
        command = [sys.executable, *launcher, *arguments]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_two_processes_learn_what_one_does(given: list[str], tmp_path: Path):
    launched([*given, "--out", str(tmp_path / "one")])
    launched([*given, "--out", str(tmp_path / "two")], processes=2)
    launched([*given, "--out", str(tmp_path / "pieces"), "--set", "train.cached_tokens=64"], processes=2)
    one = read_curve(tmp_path / "one")
    for other in ("two", "pieces"):
        curve = read_curve(tmp_path / other)
        assert [row["step"] for row in curve] == [row["step"] for row in one]
        for key in ("loss", "eval_score", "grad_norm"):
            mine = [row[key] for row in one if key in row]
            theirs = [row[key] for row in curve if key in row]
            np.testing.assert_allclose(theirs, mine, rtol=2e-3, atol=1e-4)


def test_killed_by_the_system_and_resumed(given: list[str], tmp_path: Path):
    launched([*given, "--out", str(tmp_path / "whole")])
    arguments = [sys.executable, *given, "--out", str(tmp_path / "killed")]
    process = subprocess.Popen(arguments, env=_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("checkpoints/checkpoint-*/trainer_state.json")):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "result.json").exists()
    launched([*given, "--out", str(tmp_path / "killed")])
    assert read_outcome(tmp_path / "killed").adapter == read_outcome(tmp_path / "whole").adapter


def _environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}
