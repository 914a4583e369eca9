"""The page about the taste model: its code runs, and every option it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tasteprint.retrieval.taste.config import TasteConfig

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "taste.md").read_text(encoding="utf-8")


def test_its_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    for code in re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL):
        exec(compile(code, "docs/taste.md", "exec"), {})
    assert "(39, 42)" in capsys.readouterr().out


def test_options_it_sets_are_options() -> None:
    named = set(re.findall(r"`(\w+) = ", TEXT))
    assert named
    assert named <= set(TasteConfig.model_fields)


def test_its_words_and_the_defaults_agree() -> None:
    config = TasteConfig()
    assert f"{config.negatives:,} items drawn" in TEXT
    assert f"width {config.width}" in TEXT
    assert not config.alike
    assert not config.vocabulary
    assert not config.id_dropout
