"""What adapters cost, and docs/adapters.md, which cannot lie: its code runs and its table is the code's."""

from __future__ import annotations

import doctest
import importlib
import math
import re
import time
from pathlib import Path

import pytest

from tasteprint.profiling.adapters.costs import StepSize, adapter_costs, cost_table
from tasteprint.profiling.adapters.kinds import ADAPTERS, AdapterConfig
from tasteprint.profiling.errors import EncoderError
from tests.profiling import family_checkpoints as made

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "adapters.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(made.save_checkpoint(tmp_path_factory.mktemp("bert"), "bert"))


def test_the_page_lists_every_kind():
    yes = {True: "yes", False: "no"}
    for name, spec in ADAPTERS.items():
        row = f"| `{name}` | {spec.about} | {spec.source} | {yes[spec.mergeable]} | {yes[spec.identity]} |"
        assert row in PAGE
    assert len(re.findall(r"^\| `", PAGE, flags=re.MULTILINE)) == len(ADAPTERS)


@pytest.mark.slow
def test_the_pages_code_runs(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE):
        exec(compile(block, "docs/adapters.md", "exec"), {"BASE": str(bert)})


@pytest.mark.slow
def test_costs_are_measured(bert: Path):
    size, config = StepSize(texts=64, steps=2), AdapterConfig(rank=4, n_virtual=4, total_steps=10)
    lora, full, prefix = adapter_costs(
        str(bert), ["lora", "full", "prefix"], clock=time.process_time, config=config, size=size
    )
    assert [cost.kind for cost in (lora, full, prefix)] == ["lora", "full", "prefix"]
    assert (lora.n_trained, lora.mergeable, prefix.mergeable, full.share) == (1792, True, False, 1.0)
    assert all(cost.step_s > 0 for cost in (lora, full, prefix))
    assert math.isnan(lora.step_mib) or lora.step_mib >= 0
    table = cost_table([lora, full, prefix])
    assert len(table) == 5
    assert "| 1,792 |" in table[2]


def test_unknown_kinds_are_named():
    with pytest.raises(EncoderError, match=r"kinds must be among lora, .* got ptuning"):
        adapter_costs("hash", ["lora", "ptuning"], clock=time.process_time)


@pytest.mark.parametrize("name", ["kinds", "card", "costs", "text_model"])
def test_examples(name: str):
    assert doctest.testmod(importlib.import_module(f"tasteprint.profiling.adapters.{name}")).failed == 0
