"""``tasteprint evaluate`` from the outside: files, JSON on stdout, words on stderr, errors a user can mend."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tasteprint.commands.evaluate import evaluate
from tasteprint.profiling.errors import TasteprintError
from tasteprint.profiling.tables.shop import write_shop
from tasteprint.profiling.tables.tiny import tiny_shop

APP = typer.Typer()
APP.command()(evaluate)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tiny_shop(), tmp_path_factory.mktemp("shops") / "tiny")


def run(*words: object):
    return CliRunner().invoke(APP, [str(word) for word in words])


def test_json_on_stdout_is_the_file(shop: Path, tmp_path: Path) -> None:
    done = run(shop, "-p", "time_split", "-m", "popular,own-most-bought", "-m", "random", "-o", tmp_path, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "results.json").read_text())
    assert list(found["methods"]) == ["popular", "own-most-bought", "random"]


def test_a_relative_path_and_an_encoder_by_name(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop.parent)
    done = run("tiny", "-p", "search_full", "-m", "dense,bm25", "--encoder", "hash:32", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "| dense |" in done.stdout
    assert json.loads((tmp_path / "out" / "results.json").read_text())["encoder"]
    assert list((tmp_path / "cache").rglob("*.safetensors"))


def test_labels_without_an_encoder(shop: Path, tmp_path: Path) -> None:
    done = run(shop, "-p", "labels", "--encoder", "none", "-o", tmp_path, "--json")
    assert done.exit_code == 0, done.output
    assert set(json.loads(done.stdout)["methods"]) == {"majority", "tfidf"}


def test_options_reach_the_harness(shop: Path, tmp_path: Path) -> None:
    words = ["-m", "popular", "--window", "period", "--fit-on", "train", "--split", "test", "--exclude-seen", "--json"]
    found = json.loads(run(shop, "-p", "time_split", "-o", tmp_path, *words).stdout)
    assert found["settings"]["window"] == "period"
    assert not found["validation_in_training"]
    assert found["seen_items_excluded"]
    valid = json.loads(
        run(shop, "-p", "leave_one_out", "-m", "popular", "--split", "valid", "-o", tmp_path, "--json").stdout
    )
    assert valid["stage"] == "valid"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-p", "nonsense"], "protocol: must be one of"),
        (["-p", "nonsense", "-m", "popular"], "protocol: must be one of"),
        (["-p", "time_split", "-m", "popularity"], "methods: must be among"),
        (["-p", "time_split", "-m", "popular", "--window", "weekly"], "--window: must be rolling or period"),
        (["-p", "time_split", "-m", "popular", "--fit-on", "test"], "--fit-on: must be"),
        (["-p", "time_split", "-m", "popular", "--split", "train"], "--split: must be"),
        (["-p", "time_split", "-m", "content", "--encoder", "none"], "needs an encoder"),
    ],
)
def test_mistakes_are_named(shop: Path, tmp_path: Path, words: list[str], message: str) -> None:
    done = run(shop, *words, "-o", tmp_path / "out")
    assert done.exit_code != 0
    assert isinstance(done.exception, TasteprintError)
    assert message in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_help_has_examples() -> None:
    done = run("--help")
    assert done.exit_code == 0
    assert "Examples" in done.output
