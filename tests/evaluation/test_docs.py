"""docs/evaluation.md names everything there is, and its code runs."""

from __future__ import annotations

import re
from pathlib import Path

from tasteprint.evaluation.label_methods import LABEL_METHODS
from tasteprint.evaluation.methods import METHODS
from tasteprint.evaluation.rank import SEARCH_KEYS
from tasteprint.evaluation.slices import SLICE_MEANINGS

TEXT = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")


def test_every_name_is_documented() -> None:
    for name in (*METHODS, *LABEL_METHODS, *SLICE_MEANINGS, *SEARCH_KEYS):
        assert f"`{name}`" in TEXT, name


def test_its_code_runs(capsys) -> None:
    scope: dict = {"__name__": "docs"}
    for block in re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL):
        exec(block, scope)
    assert "| item-knn |" in capsys.readouterr().out
