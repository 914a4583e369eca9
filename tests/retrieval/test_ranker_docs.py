"""docs/ranker.md names everything there is, and its code runs."""

from __future__ import annotations

import re
from pathlib import Path

from tasteprint.evaluation.rank_learning import REGIMES, RankLearningConfig
from tasteprint.retrieval.second_stage.features import GROUPS
from tasteprint.retrieval.second_stage.ranker import RANKERS
from tasteprint.retrieval.second_stage.text_features import TEXT_FEATURES

TEXT = (Path(__file__).parents[2] / "docs" / "ranker.md").read_text(encoding="utf-8")


def test_every_name_is_documented() -> None:
    for name in (*RANKERS, *REGIMES, *GROUPS, *TEXT_FEATURES):
        assert f"`{name}`" in TEXT, name
    for name in RankLearningConfig.model_fields:
        assert f"`{name}" in TEXT, name


def test_its_code_runs(capsys) -> None:
    scope: dict = {"__name__": "docs"}
    for block in re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL):
        exec(block, scope)
    assert capsys.readouterr().out.startswith("True")
