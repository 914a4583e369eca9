"""docs/cross_encoder.md names every loss and real settings with their defaults, and its code runs."""

from __future__ import annotations

import doctest
import importlib
import re
import time
from pathlib import Path

import pytest

from tasteprint.finetune.cross_encoder.config import CrossConfig
from tasteprint.finetune.cross_encoder.losses import CROSS_LOSSES
from tasteprint.finetune.cross_encoder.run import CROSS, train_cross_encoder
from tasteprint.finetune.train_config import read_config
from tasteprint.profiling.layers import flatten
from tests.finetune.runs import base_for, small_shop
from tests.finetune.test_cross_encoder import config_of

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "cross_encoder.md").read_text(encoding="utf-8")
MODULES = ("retrieval.second_stage.cross_encoder", "finetune.cross_encoder.losses", "finetune.cross_encoder.config")


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name: str) -> None:
    done = doctest.testmod(importlib.import_module(f"tasteprint.{name}"))
    assert done.attempted
    assert not done.failed


def test_the_page_has_every_loss_and_no_other() -> None:
    losses = TEXT.split("| setting |")[0]
    assert re.findall(r"^\| `(\w+)` \|", losses, re.M) == list(CROSS_LOSSES)
    assert f"`{CrossConfig().loss.name}` is the default" in TEXT


def test_the_defaults_on_the_page_are_the_settings() -> None:
    known = dict(flatten(CrossConfig().model_dump(mode="json")))
    rows = re.findall(r"^\| (`[a-z_]+\.[^|]+) \| ([^|]+) \|", TEXT, re.M)
    found = {
        name.strip("` "): value.strip(" `")
        for names, values in rows
        for name, value in zip(names.split(","), values.split(","), strict=True)
    }
    assert len(found) == 9
    for name, value in found.items():
        assert str(known[name]).removesuffix(".0") == value, name


def test_the_code_on_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = small_shop()
    base = base_for(shop, tmp_path / "bert")
    run = tmp_path / "runs" / "cross-0"
    train_cross_encoder(shop, config_of(base, train={"epochs": 2}), run, clock=time.perf_counter)
    assert (run / CROSS).is_dir()
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    names: dict[str, object] = {}
    exec(code, names)
    assert sorted(names["order"].tolist()) == [0, 1, 2]


def test_the_ready_experiment_reads() -> None:
    config = read_config(ROOT / "configs" / "finetune" / "taught.toml")
    assert config.teacher == f"runs/cross-0/{CROSS}"
    assert config.loss.teacher_weight == 1.0
