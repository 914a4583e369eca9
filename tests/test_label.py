"""`tasteprint label`: a sheet, a curve and pseudo-labels of a small judged shop."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from tasteprint.cli import app
from tasteprint.finetune.labelling.active import read_sheet
from tasteprint.profiling.errors import ConfigError, ShopError
from tasteprint.profiling.tables.schema import conform
from tasteprint.profiling.tables.shop import Shop, write_shop

COLOURS = ["red", "blue", "green", "black", "white", "oak", "steel", "brass"]
GOODS = ["lamp", "sofa", "desk", "chair", "shelf", "rug", "bed", "clock"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 items, a judged query each."""
    items = pd.DataFrame(
        {"item_id": [f"i{n}" for n in range(64)], "title": [f"{c} {g}" for c in COLOURS for g in GOODS]}
    )
    rows = [
        (f"the {items['title'][n]} please", f"i{other}", grade, ("train", "valid", "test")[n % 3])
        for n in range(64)
        for other, grade in ((n, 2.0), ((n + 9) % 64, 0.0))
    ]
    judged = pd.DataFrame(rows, columns=["query", "item_id", "grade", "split"])
    folder = tmp_path_factory.mktemp("label") / "shop"
    write_shop(
        Shop("rooms", items=conform("items", items), judgements=conform("judgements", judged), meta={"name": "rooms"}),
        folder,
    )
    (folder.parent / "asked.txt").write_text("a red lamp for us\nthe red lamp please\n\na brass  clock for us\nzzz\n")
    return folder


def run(*words: object) -> dict:  # type: ignore[type-arg]
    done = CliRunner().invoke(app, ["label", *map(str, words), "--encoder", "hash:64", "--json"])
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return dict(json.loads(done.stdout))


def fails(*words: object) -> str:
    done = CliRunner().invoke(app, ["label", *map(str, words), "--encoder", "hash:64"])
    assert isinstance(done.exception, ConfigError | ShopError), done.output
    return str(done.exception)


def test_a_sheet_of_queries_nobody_judged(shop: Path, tmp_path: Path) -> None:
    asked = shop.parent / "asked.txt"
    said = run("queue", shop, "--out", tmp_path / "sheet.csv", "--queries", asked, "--n", 2, "--depth", 3)
    assert (said["queries"], said["of"], said["pairs"]) == (2, 3, 6)  # one of the file is judged already
    sheet = pd.read_csv(tmp_path / "sheet.csv")
    assert sheet.groupby("query").size().tolist() == [3, 3]
    assert sheet["grade"].isna().all()
    sheet.assign(grade=1.0).to_csv(tmp_path / "sheet.csv", index=False)
    assert len(read_sheet(tmp_path / "sheet.csv")) == 6
    assert "has no unjudged searches" in fails("queue", shop, "--out", tmp_path / "none.csv")
    assert "must be one of random" in fails("queue", shop, "--out", tmp_path / "x.csv", "--strategy", "luck")


def test_a_curve(shop: Path, tmp_path: Path) -> None:
    said = run(
        "curve", shop, "--strategies", "diversity", "--budgets", "4,8", "--seeds", 1, "--out", tmp_path / "c.csv"
    )
    assert [(row["strategy"], row["queries"]) for row in said["rows"]] == [
        ("random", 4), ("random", 8), ("diversity", 4), ("diversity", 8),
    ]  # fmt: skip
    assert [test["b"] for test in said["tests"]] == ["diversity"]
    assert len(pd.read_csv(tmp_path / "c.csv")) == 4
    words = ["label", "curve", str(shop), "--strategies", "diversity", "--budgets", "4,8", "--seeds", "1"]
    told = CliRunner().invoke(app, [*words, "--encoder", "hash:64"]).stdout
    assert "| random | " in told
    assert "22 training queries to ask for, 21 validation queries, 64 items" in told
    assert "whole numbers between commas" in fails("curve", shop, "--budgets", "few")


def test_pseudo_labels(shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "pseudo.parquet"
    said = run("pseudo", shop, "--out", out, "--queries", shop.parent / "asked.txt", "--precision", 0.3)
    table = pd.read_parquet(out)
    assert said["trusted"] == int(table["trusted"].sum()) > 0
    assert set(table["query"]) == {"a red lamp for us", "a brass clock for us", "zzz"}
    assert "lower the precision knowingly" in fails(
        "pseudo", shop, "--out", out, "--queries", shop.parent / "asked.txt", "--precision", 1.0
    )
