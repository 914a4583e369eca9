"""README's commands run as they stand, one after the other, in a folder of their own."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tasteprint.cli import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    """Lines of the bash blocks that call tasteprint."""
    blocks = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line.startswith("tasteprint ")]


def test_readme_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = commands()
    assert len(found) >= 12
    for command in found:
        done = CliRunner().invoke(app, shlex.split(command)[1:])
        assert done.exit_code == 0, f"{command}\n{done.output}\n{done.exception!r}"
        assert done.stdout.strip(), command


def test_readme_shows_every_command() -> None:
    shown = {command.split()[1] for command in commands()} | set(re.findall(r"`tasteprint ([\w-]+)", README))
    assert shown >= {c.name for c in app.registered_commands if c.name != "demo"}
    assert "make demo" in README


def test_readme_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_readme_figures_are_in_results() -> None:
    """Every figure with three or four decimals in README stands in RESULTS.md."""
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    figures = set(re.findall(r"(?<![\d.])0?\.\d{3,4}(?!\d)", README))
    assert {figure for figure in figures if figure.lstrip("0") not in results} == set()
