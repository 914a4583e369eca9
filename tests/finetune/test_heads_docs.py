import doctest
import importlib
import re
from pathlib import Path

import pytest

from tasteprint.finetune.heads.config import HEADS, HeadConfig
from tasteprint.profiling.heads.scores import OUT_SCORES

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "heads.md").read_text()
MODULES = (
    "profiling.heads.scores",
    "profiling.heads.words",
    "profiling.heads.intent",
    "finetune.heads.data",
    "finetune.heads.heads",
    "finetune.heads.calibrate",
    "finetune.heads.report",
    "evaluation.calibration",
    "commands.heads",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name: str) -> None:
    done = doctest.testmod(importlib.import_module(f"tasteprint.{name}"))
    assert done.attempted
    assert not done.failed


def test_the_page_has_every_kind_and_every_score_and_no_other() -> None:
    named = re.findall(r"^\| `(\w+)` \|", TEXT, re.M)
    assert named[: len(HEADS)] == list(HEADS)
    assert named[len(HEADS) : len(HEADS) + len(OUT_SCORES)] == list(OUT_SCORES)


def test_the_settings_the_page_names_exist() -> None:
    for name in re.findall(r"`--set (\w+)=", TEXT):
        assert name in HeadConfig.model_fields, name
    assert HeadConfig().abstain == 0.02
    assert "default .02" in TEXT
