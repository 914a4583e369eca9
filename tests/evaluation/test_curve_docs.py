"""The pages on fusion and on cold shoppers: their code runs, and they name what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tasteprint.evaluation.curves import CURVES
from tasteprint.retrieval.gate import GROUPS
from tasteprint.retrieval.recommender import PARTS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("page", "said"), [("fusion.md", "'recency'"), ("cold.md", "| every event |")])
def test_its_code_runs(page: str, said: str, capsys) -> None:
    scope: dict = {"__name__": "docs"}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(block, scope)
    assert said in capsys.readouterr().out


def test_every_name_is_documented() -> None:
    cold, fusion = ((DOCS / page).read_text(encoding="utf-8") for page in ("cold.md", "fusion.md"))
    for name in CURVES:
        assert f"| `{name}` |" in cold, name
    for name in PARTS:
        assert f"`{name}`" in fusion, name
    for name in GROUPS:
        assert name in fusion, name
