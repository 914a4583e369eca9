"""The GPU benchmark without a GPU: one clear sentence, and a rehearsal that walks through all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "gpu_encoder.py"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """The script in a process of its own that sees no GPU."""
    environ = os.environ | {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    return subprocess.run([sys.executable, str(SCRIPT), *words], env=environ, capture_output=True, text=True)


def test_without_a_gpu_it_says_so_and_stops() -> None:
    done = run()
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.strip().startswith("gpu_encoder: torch sees no CUDA GPU on this machine")
    assert "--rehearse" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_the_rehearsal_fills_every_row() -> None:
    done = run("--rehearse", "--texts", "60", "--rounds", "2")
    assert done.returncode == 0, done.stderr
    table = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [row.split("|")[1].strip() for row in table[1:]] == [
        "ours, from tokens",
        "ours, end to end",
        "sentence-transformers, defaults",
        "sentence-transformers, bf16",
    ]
    assert all(float(row.split("|")[-2]) > 0.999 for row in table[1:])
    assert "the figures mean nothing" in done.stdout
