"""docs/search.md names everything there is, and its code runs."""

from __future__ import annotations

import doctest
import importlib
import re
import tomllib
from pathlib import Path

import pytest

from tasteprint.retrieval.lexical import LexicalConfig
from tasteprint.retrieval.rules import RULES, RulesConfig

TEXT = (Path(__file__).parents[2] / "docs" / "search.md").read_text(encoding="utf-8")


def test_every_rule_and_its_options_are_documented_in_order() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", TEXT[TEXT.index("## Rules") :], flags=re.MULTILINE)
    assert rows[: len(RULES)] == list(RULES)
    for kind, config in RULES.items():
        row = next(line for line in TEXT.splitlines() if line.startswith(f"| `{kind}` |"))
        for option in set(config.model_fields) - {"name", "queries", "rule"}:
            assert f"`{option}`" in row or (kind == "bury" and "the same" in row), (kind, option)


def test_every_option_of_words_is_documented_with_its_default() -> None:
    config = LexicalConfig()
    for name in LexicalConfig.model_fields:
        assert f"`{name}`" in TEXT, name
    for field, weight in config.fields.items():
        assert f"{field} {weight:g}".replace(" 0.", " .") in TEXT
    row = next(line for line in TEXT.splitlines() if line.startswith("| `k1`, `b` |"))
    assert f"{config.k1:g}, {config.b:g}".replace("0.", ".") in row


def test_the_rules_in_the_text_are_rules() -> None:
    for block in re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL):
        assert RulesConfig.model_validate(tomllib.loads(block)).rules


def test_its_code_runs(capsys) -> None:
    scope: dict = {"__name__": "docs"}
    for block in re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL):
        exec(block, scope)
    said = capsys.readouterr().out.splitlines()
    assert [line.split(" -> ")[1] for line in said] == [
        "Brass ball valve 3/4 in.",
        "Rain bird sprinkler",
        "Floor tile 12 in. x 12 in.",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "lexical.analysis",
        "lexical.bm25",
        "lexical.spelling",
        "rules.apply",
        "rules.spread",
        "filters",
        "complements",
    ],
)
def test_examples_in_docstrings_are_true(name):
    done = doctest.testmod(importlib.import_module(f"tasteprint.retrieval.{name}"))
    assert done.attempted
    assert not done.failed
