"""docs/index.md names every kind as it is, and its code runs."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

from tasteprint.retrieval import index
from tasteprint.retrieval.index import INDEXES

PAGE = (Path(__file__).parents[2] / "docs" / "index.md").read_text(encoding="utf-8")
PLACES = {"cpu": "here", "torch": "here", "gpu": "GPU", "server": "server"}


def test_the_table_has_every_kind_and_no_other() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| .+ \| (never|hardly|yes) \| (\w+) \|$", PAGE, re.MULTILINE)
    assert [name for name, _, _ in rows] == list(INDEXES)
    for name, misses, place in rows:
        assert (misses == "never") == INDEXES[name].exact
        assert place == PLACES[INDEXES[name].where]


def test_its_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    exec(compile(code, "docs/index.md", "exec"), {})  # as a reader would run it, top to bottom


def test_examples_in_docstrings_are_true() -> None:
    ran = 0
    for module in pkgutil.iter_modules(index.__path__, f"{index.__name__}."):
        found = doctest.testmod(importlib.import_module(module.name))
        assert not found.failed, module.name
        ran += found.attempted
    assert ran >= 6
