"""What runs the service elsewhere says nothing that is not so: files, options, metrics and paths it names are there."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tasteprint.cli import app

ROOT = Path(__file__).resolve().parents[2]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def instructions() -> list[tuple[str, str]]:
    """(instruction, rest) of the Dockerfile, continued lines joined."""
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", text("Dockerfile"))).splitlines()
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines if line.strip()]


def options_of(command: str) -> str:
    return CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output


def check_command(words: list[str]) -> None:
    """Every option of a tasteprint command line is one."""
    known = options_of(words[0])
    for word in words[1:]:
        if word.startswith("--"):
            assert word in known, word


def test_the_image_is_made_of_what_is_here_and_of_every_room() -> None:
    copied = [
        source
        for name, rest in instructions()
        if name == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    ]
    assert all((ROOT / source).exists() for source in copied)
    rooms = {link.resolve().name for link in (ROOT / "tasteprint").iterdir() if link.is_symlink()}
    assert rooms | {"tasteprint"} <= set(copied)
    ignored = text(".dockerignore").split()
    assert ignored[ignored.index("*") - 1] != "!"
    assert {f"!{source}" for source in copied} <= set(ignored)  # nothing that is copied is kept out


def test_the_image_starts_without_root_and_tells_its_health() -> None:
    by_name: dict[str, list[str]] = {}
    for name, rest in instructions():
        by_name.setdefault(name, []).append(rest)
    assert by_name["USER"] == ["10001:10001"]
    assert json.loads(by_name["ENTRYPOINT"][0]) == ["tasteprint"]
    check_command(json.loads(by_name["CMD"][0]))
    assert "/readyz" in by_name["HEALTHCHECK"][0]
    extras = re.search(r"^EXTRAS=(\S+)", by_name["ARG"][1]) or pytest.fail("no EXTRAS")
    known = tomllib.loads(text("pyproject.toml"))["project"]["optional-dependencies"]
    assert set(extras.group(1).split(",")) <= set(known)


def test_compose_keeps_what_is_acknowledged_and_reaches_nothing_else() -> None:
    services: dict[str, Any] = yaml.safe_load(text("compose.yaml"))["services"]
    redis = " ".join(services["redis"]["command"])
    assert "--appendonly yes" in redis
    assert "--appendfsync always" in redis  # what the store refuses to be without
    assert "ports" not in services["redis"]
    assert services["redis"]["networks"] == ["inside"]
    serve = services["serve"]
    assert serve["environment"]["TASTEPRINT_STORE"].startswith("redis://redis:")
    assert all(port.startswith("127.0.0.1:") for port in serve["ports"])
    for name in ("serve", "build"):
        assert services[name]["read_only"]
        assert services[name]["cap_drop"] == ["ALL"]
    check_command(services["build"]["entrypoint"][1:])


def test_the_unit_starts_what_there_is() -> None:
    unit = dict(line.split("=", 1) for line in text("deploy/tasteprint.service").splitlines() if "=" in line)
    words = shlex.split(unit["ExecStart"])
    assert words[0].endswith("/tasteprint")
    check_command(words[1:])
    assert unit["NoNewPrivileges"] == "true"


def test_alerts_and_paths_in_the_run_book_are_there() -> None:
    pytest.importorskip("prometheus_client")
    from tasteprint.serving.metrics import Metrics

    said = text("docs/operate.md")
    metrics = Metrics()
    known = {metric.name for metric in metrics.registry.collect()}
    for name in set(re.findall(r"\b(tasteprint_[a-z_]+?)(?:_total|_bucket)?\b(?=[`{\[ )\n])", said)):
        assert name in known, name
    for link in re.findall(r"\]\(([^)]+)\)", said + text("docs/console.md")):
        assert (ROOT / "docs" / link).exists(), link
    rules = yaml.safe_load(re.search(r"```yaml\n(.*?)```", said, re.DOTALL).group(1))  # type: ignore[union-attr]
    assert all({"alert", "expr"} <= set(rule) for group in rules["groups"] for rule in group["rules"])
    for line in re.findall(r"^tasteprint (\S+.*)$", said, re.MULTILINE):
        check_command(shlex.split(line, comments=True))
