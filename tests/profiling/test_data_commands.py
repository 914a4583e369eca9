"""``tasteprint import`` and ``tasteprint validate`` as commands: output, JSON, exit codes, help."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tasteprint.commands.data import import_, validate
from tasteprint.profiling.errors import ShopError
from tasteprint.profiling.importers import IMPORTERS
from tasteprint.profiling.tables.shop import write_shop
from tasteprint.profiling.tables.tiny import tiny_shop

SAMPLES = Path(__file__).resolve().parents[1] / "samples"


def call(*words: object) -> Result:
    app = typer.Typer()
    app.command("import")(import_)
    app.command("validate")(validate)
    return CliRunner().invoke(app, [str(w) for w in words], catch_exceptions=False)


def test_import_says_what_it_left_out(tmp_path: Path) -> None:
    result = call(
        "import", "online-retail", "--from", SAMPLES / "online_retail" / "online_retail.csv", "--out", tmp_path / "s"
    )
    assert result.exit_code == 0
    assert "online_retail.csv: 14 rows read, 7 kept" in result.stdout
    assert "  2 left out: no customer" in result.stdout
    assert result.stdout.rstrip().endswith(": valid")


def test_import_json_is_all_of_stdout(tmp_path: Path) -> None:
    result = call("import", "movielens", "--from", SAMPLES / "movielens_1m", "--out", tmp_path / "s", "--json")
    said = json.loads(result.stdout)
    assert said["sources"]["ratings.dat"] == {"read": 3, "kept": 3, "dropped": {}}
    assert said["violations"] == 0


def test_import_keeps_what_is_there_unless_forced(tmp_path: Path) -> None:
    words = ("import", "movielens", "--from", SAMPLES / "movielens_1m", "--out", tmp_path / "s")
    assert call(*words).exit_code == 0
    with pytest.raises(ShopError, match="--force"):
        call(*words)
    assert call(*words, "--force").exit_code == 0


def test_validate(tmp_path: Path) -> None:
    path = write_shop(tiny_shop(), tmp_path / "s")
    clean = call("validate", path)
    assert (clean.exit_code, clean.stdout) == (0, f"{path}: valid\n")
    meta = json.loads((path / "shop.json").read_text())
    (path / "shop.json").write_text(json.dumps({**meta, "name": "", "absolute_time": "yes", "licence": 3}))
    broken = call("validate", path)
    assert broken.exit_code == 1
    assert len(broken.stdout.splitlines()) == 4
    short = call("validate", path, "--limit", 1, "--json")
    said = json.loads(short.stdout)
    assert short.exit_code == 1
    assert said["n_violations"] == 3
    assert said["violations"] == [
        {"file": "shop.json", "row": None, "column": "name", "expected": "a non-empty string", "got": "''"}
    ]


def test_help_names_every_importer_and_has_examples() -> None:
    text = " ".join(call("import", "--help").stdout.replace("│", " ").split())
    for name in IMPORTERS:
        assert name in text
    assert "Examples:" in text
    assert "Examples:" in call("validate", "--help").stdout
