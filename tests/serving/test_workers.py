"""Several workers under one port: one rate, one count, one store, one set of arrays; and none left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from tasteprint.profiling.artefact import read_artefact, write_artefact
from tasteprint.profiling.errors import ConfigError
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.retrieval.sources.neighbours import NeighboursModel
from tasteprint.retrieval.worked import open_worked
from tasteprint.serving.config import ServeConfig
from tasteprint.serving.current import Current, Served, SupersededError
from tasteprint.serving.keys import add_key
from tasteprint.serving.workers import listen
from tasteprint.serving_setup import served_from
from tasteprint.serving_tables import Elsewhere, keep_tables, published
from tasteprint.workspace import KIND, open_workspace

SERVE = "import typer; from tasteprint.commands.serve import serve; typer.run(serve)"
SHOP = tiny_shop()


def root_of(array: np.ndarray[Any, Any]) -> object:
    while isinstance(array.base, np.ndarray):
        array = array.base
        if isinstance(array, np.memmap):
            return np.memmap
    return type(array)


def without_tables(built: Path, folder: Path) -> Path:
    """A copy of a workspace whose version holds no tables, as programs before this one built it."""
    workspace = Path(shutil.copytree(built, folder / "workspace"))
    publish_again(workspace)
    return workspace


def test_tables_that_a_build_made_are_mapped_as_they_are(tiny_workspace: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(tiny_workspace, tmp_path / "workspace"))
    assert root_of(served_from(workspace, ServeConfig(workers=2)).engine.texts) is np.memmap
    assert not (workspace / "cache" / "mapped").exists()


def test_mapped_tables_answer_alike(tiny_workspace: Path, tmp_path: Path) -> None:
    workspace = without_tables(tiny_workspace, tmp_path)
    plain = open_workspace(workspace)
    kept = workspace / "cache" / "mapped" / "tables"
    first = served_from(workspace, ServeConfig())
    assert root_of(first.engine.texts) is np.memmap
    assert root_of(plain.engine.texts) is not np.memmap
    digest = read_artefact(kept, kind="worked").digest
    again = served_from(workspace, ServeConfig(workers=2))
    assert read_artefact(kept, kind="worked").digest == digest  # found, not worked out again
    for ask in ({"query": "tea"}, {"user": str(SHOP.events["user_id"].iloc[0])}, {"query": "red lamp", "k": 40}):
        found = [e.answer(now_s=plain.last_s + 1, **ask).to_json() for e in (plain.engine, first.engine, again.engine)]
        assert found[0] == found[1] == found[2]


def test_a_version_that_comes_is_worked_out_elsewhere_and_takes_over_what_stays_true(
    tiny_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Path(shutil.copytree(tiny_workspace, tmp_path / "workspace"))
    old = served_from(workspace, ServeConfig())
    before = old.engine.answer(query="tea", now_s=old.last_s + 1).to_json()
    publish_again(workspace)
    monkeypatch.setattr("tasteprint.serving_tables.work_out", lambda *_: pytest.fail("worked out in this process"))
    new = served_from(workspace, ServeConfig(), old, elsewhere=Elsewhere())
    assert new.version != old.version
    assert root_of(new.engine.texts) is np.memmap
    assert new.encoder is old.encoder
    assert new.catalogue is old.catalogue
    assert new.engine.answer(query="tea", now_s=new.last_s + 1).to_json() == before
    assert old.engine.answer(query="tea", now_s=old.last_s + 1).to_json() == before  # files are gone, maps are not


def test_a_version_that_cannot_be_worked_out_elsewhere_is_worked_out_here(
    tiny_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = Path(shutil.copytree(tiny_workspace, tmp_path / "workspace"))
    old = served_from(workspace, ServeConfig())
    publish_again(workspace)
    monkeypatch.setattr("sys.executable", "/bin/false")
    new = served_from(workspace, ServeConfig(), old, elsewhere=Elsewhere())
    assert root_of(new.engine.texts) is not np.memmap
    assert "could not be worked out beside the answers" in caplog.text
    answers = [s.engine.answer(query="tea", now_s=s.last_s + 1).to_json() for s in (old, new)]
    assert answers[0] == answers[1]


def test_nobody_waits_for_tables_when_told_to_stop(tiny_workspace: Path, tmp_path: Path) -> None:
    elsewhere, slow = Elsewhere(), tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.executable", str(slow))
        waiting = threading.Thread(target=elsewhere.keep_tables, args=(tiny_workspace, "one"))
        waiting.start()
        while elsewhere._process is None:
            time.sleep(0.01)
        elsewhere.stop()
        waiting.join(20)
        assert not waiting.is_alive()
        elsewhere.keep_tables(tiny_workspace, "two")  # nothing is begun any more


def test_a_version_that_is_out_of_date_before_it_is_opened_is_passed_over(
    tiny_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Path(shutil.copytree(tiny_workspace, tmp_path / "workspace"))
    opens = [served_from(workspace, ServeConfig())]

    def opener(old: Served | None) -> Served:
        return opens[0] if old is None else served_from(workspace, ServeConfig(), old, elsewhere=Elsewhere())

    current = Current(opener, lambda: published(workspace))
    publish_again(workspace)

    def late(_: Elsewhere, workspace: Path, version: str) -> None:
        monkeypatch.undo()
        publish_again(workspace, turn=2)
        keep_tables(workspace, version)

    monkeypatch.setattr("tasteprint.serving_tables.Elsewhere.keep_tables", late)
    assert not current.refresh()
    assert (current.get(), current.failures) == (opens[0], 0)
    assert current.refresh()
    assert current.get().version == published(workspace)


def test_tables_of_another_version_are_never_taken(tiny_workspace: Path, tmp_path: Path) -> None:
    workspace = without_tables(tiny_workspace, tmp_path)
    served_from(workspace, ServeConfig())
    kept = workspace / "cache" / "mapped"
    version = published(workspace)
    assert open_worked(kept, version=version) is not None
    assert open_worked(kept, version="another") is None
    assert open_worked(kept, version=version, kind="flat") is None
    with pytest.raises(SupersededError):
        keep_tables(workspace, "another")
    (kept / "index" / "CURRENT").unlink()
    assert open_worked(kept, version=version) is None


def test_sparse_parts_of_a_workspace_are_mapped(tiny_workspace: Path) -> None:
    sources = open_workspace(tiny_workspace).engine.recommender.sources
    matrices = [source.weights for source in sources.values() if isinstance(source, NeighboursModel)]
    assert matrices
    for matrix in matrices:
        assert root_of(matrix.data) is root_of(matrix.indices) is np.memmap


def test_where_nothing_can_be_written_each_keeps_its_own(
    tiny_workspace: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = without_tables(tiny_workspace, tmp_path)
    (workspace / "cache" / "mapped").write_text("in the way")
    assert root_of(served_from(workspace, ServeConfig(workers=2)).engine.texts) is not np.memmap
    assert "its own copy" in caplog.text
    (workspace / "cache" / "mapped").unlink()
    assert root_of(served_from(workspace, ServeConfig(workers=2)).engine.texts) is np.memmap


def test_a_port_can_be_shared_only_by_those_who_ask() -> None:
    with listen("127.0.0.1", 0, shared=True) as first:
        port = first.getsockname()[1]
        with listen("127.0.0.1", port, shared=True) as second:
            assert second.getsockname()[1] == port
            second.listen()
            with pytest.raises(ConfigError, match="cannot listen"):
                listen("127.0.0.1", port, shared=False)


def publish_again(workspace: Path, turn: int = 1) -> None:
    """The same content as another version."""
    held = read_artefact(workspace / "model", kind=KIND)
    write_artefact(
        workspace / "model", kind=KIND, stamp=held.stamp, inputs=held.inputs, arrays=held.arrays,
        tables=held.tables, meta={**held.meta, "about": {**held.meta["about"], "again": turn}},
    )  # fmt: skip


class Running:
    """A service with two workers."""

    def __init__(self, workspace: Path, folder: Path, *settings: str) -> None:
        self.key = add_key(folder / "keys.json", "tester", ["admin"])
        self.slow_key = add_key(folder / "keys.json", "other", ["read"])
        self.log = folder / "log"
        words = [sys.executable, "-c", SERVE, "-w", str(workspace), "--port", "0", "--workers", "2"]
        words += ["--keys", str(folder / "keys.json")]
        for setting in ("clock=shop", "poll_s=0.2", "timeout_s=60", *settings):
            words += ["--set", setting]
        with self.log.open("w") as out:
            self.parent = subprocess.Popen(words, stderr=out)
        self.until(lambda: "listening at " in self.log.read_text())
        self.url = next(line for line in self.log.read_text().splitlines() if "listening at " in line).split()[-1]

    def until(self, true: Callable[[], bool], seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, self.log.read_text()
            assert self.parent.poll() is None, self.log.read_text()
            time.sleep(0.05)

    def ask(self, path: str, body: Any = None, key: str | None = None) -> Any:
        """An answer over a connection of its own: either worker's."""
        head = {"Authorization": f"Bearer {key or self.key}", "Content-Type": "application/json"}
        sent = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, sent, head), timeout=60) as answer:
            read = answer.read()
        return read.decode() if path == "/metrics" else json.loads(read)

    def status(self, path: str, body: Any, key: str) -> int:
        try:
            self.ask(path, body, key)
        except urllib.error.HTTPError as error:
            return error.code
        return 200

    def count(self, name: str) -> float:
        lines = [line for line in self.ask("/metrics").splitlines() if line.startswith(name)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.parent.pid}/task/{self.parent.pid}/children").read_text().split()
        return [pid for pid in map(int, children) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_two_workers(tiny_workspace: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(tiny_workspace, tmp_path / "workspace"))
    item = str(SHOP.items["item_id"].iloc[7])
    running = Running(workspace, tmp_path, "rate=0.001", "burst=200")
    try:
        first = running.workers()
        assert len(first) == 2
        for n in range(10):  # whichever worker stores it, whichever is asked, it is in the next answer
            event = {"user_id": "fresh", "kind": "view", "item_id": item, "key": f"k{n}"}
            assert running.ask("/v1/events", {"events": [event]})["stored"] == 1
            for _ in range(4):
                assert len(running.ask("/v1/profiles/fresh/export")["events"]) == n + 1
        running.until(lambda: running.count("tasteprint_workers ") == 2)
        assert running.count('tasteprint_requests_total{method="POST",route="/v1/events"') == 10
        assert running.count("tasteprint_events_received_total") == 10

        said = [running.status("/v1/search", {"query": "tea", "k": 1}, running.slow_key) for _ in range(220)]
        assert said == [200] * 200 + [429] * 20  # one bucket for both

        publish_again(workspace)
        now = (workspace / "model" / "CURRENT").read_text().split()[-1][:12]
        running.until(lambda: {running.ask("/readyz")["version"] for _ in range(12)} == {now})

        os.kill(first[0], signal.SIGKILL)
        running.until(lambda: len(running.workers()) == 2 and set(running.workers()) != set(first))
        running.until(lambda: "another one is started" in running.log.read_text())
        for _ in range(12):
            assert len(running.ask("/v1/profiles/fresh/export")["events"]) == 10
        last = running.workers()
        running.parent.send_signal(signal.SIGTERM)
        assert running.parent.wait(60) == 0
        assert all(ended(pid) for pid in [*first, *last])
    finally:
        running.parent.kill()
        running.parent.wait()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_do_not_outlive_their_parent(tiny_workspace: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(tiny_workspace, tmp_path / "workspace"))
    running = Running(workspace, tmp_path)
    left = running.workers()
    running.parent.kill()
    running.parent.wait()
    end = time.monotonic() + 60
    while not all(ended(pid) for pid in left):
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_worker_that_cannot_start_is_said(tiny_workspace: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(tiny_workspace, tmp_path / "workspace"))
    model = next((workspace / "model").glob("v-*"))
    (model / "arrays.safetensors").write_bytes(b"cut")
    words = [sys.executable, "-c", SERVE, "-w", str(workspace), "--port", "0", "--workers", "2", "--no-fill"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert "arrays.safetensors" in done.stderr
    assert "before it could serve" in done.stderr
