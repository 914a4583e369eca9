"""The commands of a live store: serve, ingest, forget, verify-store, load; and the proof that a shopper is gone."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from tasteprint.commands import ingest as ingest_command
from tasteprint.commands import live, serve
from tasteprint.commands import load as load_command
from tasteprint.forgetting import files_naming, forget_in_shop, forget_in_workspace
from tasteprint.profiling.errors import ConfigError, TasteprintError, WorkspaceError
from tasteprint.profiling.tables.shop import read_shop
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.profiling.tables.validate import validate_shop
from tasteprint.serving.ingest import Ingested, ingest
from tasteprint.serving.keys import add_key, read_keys
from tasteprint.serving.load import Call, LoadError, LoadReport, drive
from tasteprint.serving.store import open_store
from tasteprint.serving_setup import load_shop
from tasteprint.workspace import open_workspace

app = typer.Typer()
app.command("serve")(serve.serve)
app.command("serve-key")(serve.serve_key)
app.command("ingest")(ingest_command.ingest)
app.command("forget")(live.forget)
app.command("verify-store")(live.verify_store)
app.command("load")(load_command.load)

REPORT = LoadReport(100.0, 100.0, {200: 1}, 1.0, 1.0, 1.0, 1.0)

SHOP = tiny_shop()
USER = str(SHOP.events["user_id"].iloc[0])


def run(*words: str, given: str = "") -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words), input=given)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


@pytest.fixture
def workspace(tiny_workspace: Path, tmp_path: Path) -> Path:
    """A workspace of its own, with a shop of its own."""
    copy = Path(shutil.copytree(tiny_workspace, tmp_path / "workspace"))
    return copy


def line(user: str, n: int, **said: object) -> str:
    return json.dumps({"user_id": user, "kind": "view", "item_id": f"i{n:03d}", "at": f"2024-06-0{n}T10:00:00Z"} | said)


def test_ingesting_lines(workspace: Path) -> None:
    lines = [line("ann", 1), line("ann", 2), "", line("ann", 1), "no json", line("ben", 3, kind="stare")]
    code, output = run("ingest", "-w", str(workspace), given="\n".join(lines) + "\n")
    assert code == 2
    assert "line 5:" in output
    assert "line 6: kind:" in output
    assert "6 lines: 2 stored, 1 repeated, 2 refused" in output
    code, output = run("ingest", "-w", str(workspace), "--json", given=line("ann", 1) + "\n")
    assert (code, json.loads(output)) == (0, {"read": 1, "stored": 0, "repeated": 1, "refused": 0})


def test_a_slow_stream_is_not_held_back(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store.sqlite"))
    seen: list[Ingested] = []

    def lines() -> Iterator[str]:
        yield line("ann", 1)
        while not seen:  # the next line comes only after the first is stored
            pass
        assert len(store.events("ann")) == 1
        yield line("ann", 2)

    done = ingest(lines(), store, now_s=lambda: 0.0, wait_s=0.01, progress=seen.append)
    assert done == Ingested(2, 2, 0, 0)
    store.close()


def test_forgetting_everywhere(workspace: Path, tmp_path: Path) -> None:
    shop = Path(shutil.copytree(open_workspace(workspace).shop, tmp_path / "shop"))
    store = open_store(str(workspace / "store.sqlite"))
    load_shop(workspace, store)
    store.close()
    assert len(list(files_naming(workspace, USER))) >= 3
    assert len(list(files_naming(shop, USER))) == 2
    before = open_workspace(workspace)
    own = int((SHOP.events["user_id"] == USER).sum())
    other = next(user for user in before.engine.user_row if user != USER)
    expected = before.engine.recommend(other, now_s=before.last_s + 1).to_json()

    code, output = run("forget", USER, "-w", str(workspace), "--json")
    receipt = json.loads(output)
    assert (code, receipt["store_events"]) == (0, own)
    assert receipt["workspace_events"] == int((SHOP.events["item_id"].notna() & (SHOP.events["user_id"] == USER)).sum())
    assert (receipt["found_in"], receipt["models"]) == ([], ["model"])
    assert any("left alone" in said for said in receipt["remains"])

    after = open_workspace(workspace, verify=True)
    assert USER not in after.engine.user_row
    assert USER not in after.engine.attributes
    assert len(after.engine.log) == len(before.engine.log) - receipt["workspace_events"]
    assert after.engine.recommend(other, now_s=before.last_s + 1).to_json() == expected

    rows = forget_in_shop(shop, USER)
    assert rows == {"events.parquet": own, "users.parquet": 1}
    assert not list(files_naming(shop, USER))
    assert not validate_shop(shop)
    kept = SHOP.events[SHOP.events["user_id"] != USER].reset_index(drop=True)
    pd.testing.assert_frame_equal(read_shop(shop).events, kept)

    assert forget_in_shop(shop, USER) == {}
    assert forget_in_workspace(workspace, USER) is None
    code, output = run("forget", "never came", "-w", str(workspace))
    assert "0 events" in output
    assert "still named in: no file" in output


def test_the_scan_finds_what_is_left(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text('{"user": "zoraya-7"}')
    (tmp_path / "big.bin").write_bytes(b"\0" * ((1 << 24) - 4) + b"zoraya-7")  # across two pieces
    (tmp_path / "else.txt").write_text("zoraya")
    assert [file.name for file in files_naming(tmp_path, "zoraya-7")] == ["big.bin", "export.json"]


def test_verifying_a_store(workspace: Path) -> None:
    store = open_store(str(workspace / "store.sqlite"))
    load_shop(workspace, store)
    store.close()
    code, output = run("verify-store", "-w", str(workspace), "--json")
    found = json.loads(output)
    assert (code, found["equal"]) == (0, True)
    assert (found["users"], found["events"]) == (30, SHOP.events["item_id"].notna().sum())


def test_what_serve_refuses(workspace: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give --keys"):
        run("serve", "-w", str(workspace), "--host", "0.0.0.0")
    with pytest.raises(WorkspaceError, match="tasteprint build"):
        run("serve", "-w", str(tmp_path / "empty"))
    assert not (tmp_path / "empty").exists()
    with pytest.raises(ConfigError, match="threads"):
        run("serve", "-w", str(workspace), "--set", "thread=1")


def test_a_taken_port_is_told_before_a_store_is_filled(workspace: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConfigError, match="cannot listen"):
            serve.serve(workspace, port=other.getsockname()[1])
    assert not (workspace / "store.sqlite").exists()


def test_keys_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    code, output = run("serve-key", "front", "--scope", "read", "--scope", "write", "--file", str(file))
    assert (code, output[:3]) == (0, "tp_")
    assert [key.name for key in read_keys(file).values()] == ["front"]
    with pytest.raises(ConfigError, match="already"):
        add_key(file, "front", ["read"])
    with pytest.raises(ConfigError, match="scope must be one of"):
        add_key(file, "other", ["everything"])
    file.write_text("[]")
    with pytest.raises(ConfigError, match="serve-key"):
        read_keys(file)


@pytest.mark.parametrize("what", ["recommend", "search", "home"])
def test_pages_are_asked_for_without_reasons_where_nobody_wants_them(
    workspace: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Call] = []
    monkeypatch.setattr("tasteprint.serving.load.drive", lambda url, calls, **rest: asked.extend(calls) or REPORT)
    for word in ("--reasons", "--no-reasons"):
        asked.clear()
        assert run("load", "-w", str(workspace), "--what", what, "--k", "7", word)[0] == 0
        assert {call.body["k"] for call in asked} == {7}
        assert {call.body.get("explain", True) for call in asked} == {word == "--reasons"}


def test_what_load_refuses() -> None:
    with pytest.raises(LoadError, match="tasteprint serve"):
        drive("http://127.0.0.1:1", [Call("/", {})], rate=1, seconds=0.1, connections=1)
    with pytest.raises(ConfigError, match="url"):
        drive("https://example.org", [Call("/", {})], rate=1, seconds=1)
    with pytest.raises(ConfigError, match="rate"):
        drive("http://127.0.0.1:1", [Call("/", {})], rate=0, seconds=1)


SERVE = "import typer; from tasteprint.commands.serve import serve; typer.run(serve)"


@pytest.mark.slow
def test_a_real_server_under_load_stops_gracefully(workspace: Path) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("prometheus_client")
    words = [sys.executable, "-c", SERVE, "-w", str(workspace), "--port", "0", "--set", "clock=shop"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        said = ""
        while "listening at " not in said:
            said = server.stderr.readline()
            assert said, "the server stopped"
        url = said.split()[-1]
        for what in ("recommend", "search", "home", "events"):
            words = ["load", "-w", str(workspace), "--url", url, "--what", what, "--rate", "40", "--seconds", "0.4"]
            code, output = run(*words, "--batch", "5", "--json")
            found = json.loads(output)
            assert (code, found["failed"]) == (0, 0)
            assert found["statuses"] == {"200": 16}
            assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["max_ms"]
        with urllib.request.urlopen(url + "/metrics") as page:
            assert b"tasteprint_events_received_total 80.0" in page.read()
        common = ("load", "-w", str(workspace), "--url", url, "--json")
        code, output = run(*common, "--what", "follow", "--seconds", "1")
        found = json.loads(output)
        assert (code, found["missed"], found["failed"]) == (0, 0, 0)
        followed = found["looked"]
        code, output = run(*common, "--what", "mix", "--rate", "18", "--seconds", "1", "--soak", "0", "--batch", "1")
        assert (code, json.loads(output)["load"]["statuses"]) == (0, {"200": 18})
        assert json.loads(output)["warm_bytes"] > 2**20
        code, output = run(*common, "--rate", "10", "--seconds", "0.2", "--highest", "0.1")
        assert (code, json.loads(output)["rate"]) == (0, 0.0)  # nothing is that quick
        tried = sum(sum(one["statuses"].values()) for one in json.loads(output)["tries"])
        with pytest.raises(TasteprintError, match="failed, by status"):
            run("load", "-w", str(workspace), "--url", url, "--k", "500", "--rate", "20", "--seconds", "0.1")
        server.send_signal(signal.SIGTERM)
        rest = server.stderr.read()
        assert server.wait(15) == 0
    assert '"route":"/v1/recommend"' in rest
    assert USER not in rest
    kept = open_store(str(workspace / "store.sqlite"))
    assert kept.count().events == len(SHOP.events) + 80 + followed + 2
    assert kept.count().impressions == 48 + 2 * followed + 16 + tried
    kept.close()


def test_every_command_has_help() -> None:
    for name in ("serve", "serve-key", "ingest", "forget", "verify-store", "load"):
        code, output = run(name, "--help")
        assert code == 0
        assert "Examples" in output
