"""The commands about an item, on a small workspace: words, JSON and CSV that agree with the functions behind them."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from tasteprint.commands import ask, turned
from tasteprint.profiling.errors import ConfigError, UnknownIdError
from tasteprint.retrieval.audience import fit_audience
from tasteprint.retrieval.complements import ComplementsConfig, complements
from tasteprint.retrieval.filters import Filters
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
    words = run("similar", item, "-w", tiny_workspace, "--k", 1)
    assert words.exit_code == 0
    assert want[0].item_id in words.stdout


def test_similar_takes_conditions_and_weights(tiny_workspace: Path, item: str) -> None:
    opened = open_workspace(tiny_workspace)
    other = next(i for i in opened.items.itertuples() if i.brand and i.price and i.item_id != item)
    filters = Filters(brand=other.brand, category=other.category, price_min=other.price, price_max=other.price)
    conditions = ["--brand", other.brand, "--category", other.category, "--price-min", other.price]
    words = [*conditions, "--price-max", other.price, "--weight", "taste=1", "--weight", "meaning=0.5", "--json"]
    found = json.loads(run("similar", item, "-w", tiny_workspace, *words).stdout)
    want = similar_items(opened.engine, item, filters=filters, weights={"taste": 1.0, "meaning": 0.5})
    assert found == [one.to_json() for one in want]
    assert other.item_id in [one["item_id"] for one in found]


def test_complements(tiny_workspace: Path, item: str) -> None:
    engine = open_workspace(tiny_workspace).engine
    for hours in (1, 24 * 365):
        done = run("complements", item, "-w", tiny_workspace, "--window", hours, "--json")
        assert done.exit_code == 0, done.output
        want = complements(engine, item, config=ComplementsConfig(window_s=hours * 3600.0))
        assert json.loads(done.stdout) == [one.to_json() for one in want]
    assert want  # a year is long enough for some
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


def test_an_audience_at_a_time_of_some_shoppers_whatever_they_do(tiny_workspace: Path, item: str) -> None:
    engine = open_workspace(tiny_workspace).engine
    age = next(a["age_band"] for a in engine.attributes.values() if "age_band" in a)
    middle = datetime.fromtimestamp(float(np.median(engine.log.at_s)), UTC)
    words = ["--at", middle.isoformat(), "--activity", 0, "--attribute", f"age_band={age}", "--owners", "--json"]
    found = json.loads(run("audience", item, "-w", tiny_workspace, *words).stdout)
    asked = fit_audience(engine, now_s=middle.timestamp(), activity=0.0)
    want = asked.wanting(item, also_owners=True, attributes={"age_band": age})
    assert found == [one.to_json() for one in want]
    assert 0 < len(found) < len(asked.users)
    later = fit_audience(engine, now_s=2e9, activity=0.0).wanting(item, also_owners=True, attributes={"age_band": age})
    assert want != later
    assert {engine.attributes[one["user_id"]]["age_band"] for one in found} == {age}


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
    plain = json.loads(run("search", "hose", "-w", tiny_workspace, "--json").stdout)
    assert plain["items"][0]["item_id"] != item
    assert "of the week" in found["items"][0]["rules"][0]
    assert any("of the week" in said for said in found["said"])
    assert "of the week" in run("search", "hose", "-w", tiny_workspace, "--rules", rules).stdout.replace("\n", " ")
