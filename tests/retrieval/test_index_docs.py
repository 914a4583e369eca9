"""docs/index.md names every kind and setting as it is; its code runs, and that of docs/updates.md."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

from tasteprint.retrieval import index
from tasteprint.retrieval.index import INDEXES, IndexConfig
from tasteprint.retrieval.index.config import ServedIndexConfig

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "index.md").read_text(encoding="utf-8")
PLACES = {"cpu": "here", "torch": "here", "gpu": "GPU", "server": "server"}


def test_the_table_has_every_kind_and_no_other() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| .+ \| (never|hardly|yes) \| (\w+) \|$", PAGE, re.MULTILINE)
    assert [name for name, _, _ in rows] == list(INDEXES)
    for name, misses, place in rows:
        assert (misses == "never") == INDEXES[name].exact
        assert place == PLACES[INDEXES[name].where]


@pytest.mark.parametrize("page", ["index", "updates"])
def test_its_code_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", said, re.DOTALL))
    assert code
    exec(compile(code, f"docs/{page}.md", "exec"), {})  # as a reader would run it, top to bottom


def test_the_settings_of_a_workspace_s_index_are_what_they_are() -> None:
    told = dict(re.findall(r"^\| `index\.(\w+)` \| `?([\w.]+)`? \|", PAGE, re.MULTILINE))
    own = ServedIndexConfig.model_fields.keys() - (IndexConfig.model_fields.keys() - {"kind"})
    assert told.keys() == own
    for name, value in told.items():
        assert str(getattr(ServedIndexConfig(), name)) in (value, f"{value}.0", f"0{value}")


def test_examples_in_docstrings_are_true() -> None:
    ran = 0
    for module in pkgutil.iter_modules(index.__path__, f"{index.__name__}."):
        found = doctest.testmod(importlib.import_module(module.name))
        assert not found.failed, module.name
        ran += found.attempted
    assert ran >= 6
