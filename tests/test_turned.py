"""The commands about an item, on a small workspace: words, JSON and CSV that agree with the functions behind them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from tasteprint.commands import ask, turned
from tasteprint.profiling.errors import ConfigError, UnknownIdError
from tasteprint.retrieval.audience import fit_audience
from tasteprint.retrieval.similar import similar_items
from tasteprint.workspace import open_workspace

APP = typer.Typer()
for command in (turned.similar, turned.complements, turned.audience, ask.search):
    APP.command(command.__name__)(command)


def run(*words: object) -> Result:
    return CliRunner().invoke(APP, [str(word) for word in words])


@pytest.fixture(scope="module")
def item(tiny_workspace: Path) -> str:
    log = open_workspace(tiny_workspace).engine.log
    return str(log.item_ids[log.item[0]])


def test_similar(tiny_workspace: Path, item: str) -> None:
    done = run("similar", item, "-w", tiny_workspace, "--k", 4, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    want = similar_items(open_workspace(tiny_workspace).engine, item, k=4)
    assert [one["item_id"] for one in found] == [one.item_id for one in want]
    words = run("similar", item, "-w", tiny_workspace, "--k", 4, "--weight", "taste=1")
    assert words.exit_code == 0
    assert len(words.stdout.strip()) > 20


def test_complements(tiny_workspace: Path, item: str) -> None:
    done = run("complements", item, "-w", tiny_workspace, "--window", 48, "--json")
    assert done.exit_code == 0, done.output
    assert all(one["item_id"] != item and one["score"] > 0 for one in json.loads(done.stdout))
    assert "Nothing" in run("complements", item, "-w", tiny_workspace, "--brand", "nobody").stdout


def test_audience(tiny_workspace: Path, item: str, tmp_path: Path) -> None:
    out = tmp_path / "audience.csv"
    done = run("audience", item, "-w", tiny_workspace, "--k", 7, "--owners", "--out", out, "--json")
    assert done.exit_code == 0, done.output
    opened = open_workspace(tiny_workspace)
    want = fit_audience(opened.engine, now_s=opened.last_s + 1.0).wanting(item, k=7, also_owners=True)
    assert [one["user_id"] for one in json.loads(done.stdout)] == [one.user_id for one in want]
    with out.open(encoding="utf-8") as file:
        assert [row["user_id"] for row in csv.DictReader(file)] == [one.user_id for one in want]
    assert "7 shoppers written" in run("audience", item, "-w", tiny_workspace, "-k", 7, "--owners", "-o", out).stdout
    assert run("audience", item, "-w", tiny_workspace, "-k", 2).stdout.count("\n") == 2


def test_a_folder_that_is_not_there_and_an_unknown_item(tiny_workspace: Path, item: str, tmp_path: Path) -> None:
    wrong = run("audience", item, "-w", tiny_workspace, "--out", tmp_path / "no" / "a.csv")
    assert isinstance(wrong.exception, ConfigError)
    assert isinstance(run("similar", "nothing", "-w", tiny_workspace).exception, UnknownIdError)
    assert isinstance(run("similar", item, "-w", tiny_workspace, "--weight", "taste=x").exception, ConfigError)


def test_search_with_rules(tiny_workspace: Path, item: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(f'[[rules]]\nrule = "pin"\nname = "of the week"\nitems = ["{item}"]\n', encoding="utf-8")
    done = run("search", "hose", "-w", tiny_workspace, "--rules", rules, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["items"][0]["item_id"] == item
    if found["items"][0]["rules"]:
        assert "of the week" in found["items"][0]["rules"][0]
        assert any("of the week" in said for said in found["said"])
    assert "of the week" in run("search", "hose", "-w", tiny_workspace, "--rules", rules).stdout.replace("\n", " ")
