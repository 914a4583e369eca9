"""Thousands of requests made from the OpenAPI document: none breaks the service, no answer is undocumented."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasteprint.serving.keys import add_key

pytest.importorskip("fastapi")

SERVE = "import typer; from tasteprint.commands.serve import serve; typer.run(serve)"
# Not that every schema-valid request is taken: names of parts and times to come are rules a schema cannot hold.
NOT = "positive_data_acceptance"


@pytest.mark.slow
def test_requests_made_from_the_document(tiny_workspace: Path, tmp_path: Path) -> None:
    pytest.importorskip("schemathesis")
    key = add_key(tmp_path / "keys.json", "tester", ["admin"])
    workspace = shutil.copytree(tiny_workspace, tmp_path / "workspace")  # items come and go in it
    words = [sys.executable, "-c", SERVE, "-w", str(workspace), "--store", str(tmp_path / "store.sqlite")]
    words += ["--port", "0", "--keys", str(tmp_path / "keys.json")]
    for setting in ("clock=shop", "rate=1e6", "burst=1000000", "timeout_s=60"):
        words += ["--set", setting]
    log = tmp_path / "log"
    with log.open("w") as out, subprocess.Popen(words, stderr=out) as server:
        try:
            while "listening at " not in log.read_text():
                assert server.poll() is None, log.read_text()
            url = next(line for line in log.read_text().splitlines() if "listening at " in line).split()[-1]
            tester = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--warnings", "off"]
            tester += ["-H", f"Authorization: Bearer {key}", "--exclude-checks", NOT, "--max-time", "60"]
            tester += ["--wait-for-schema", "60", "--phases", "examples,coverage,fuzzing", "--max-examples", "40"]
            tester += ["--suppress-health-check", "all"]
            done = subprocess.run(tester, capture_output=True, text=True, cwd=tmp_path)
        finally:
            server.terminate()
            server.wait(120)
    assert done.returncode == 0, done.stdout[-5000:]
