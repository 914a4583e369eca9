"""Items over HTTP: shown at once, never half, by every worker; histories stay; a new version keeps later changes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from starlette.testclient import TestClient

from tasteprint import serving_setup
from tasteprint.building import build_workspace
from tasteprint.config import load_settings
from tasteprint.item_changes import changes_after, changes_folder
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.serving.config import ServeConfig
from tasteprint.serving.keys import add_key, read_keys
from tasteprint.serving.store import open_store
from tasteprint.workspace import open_workspace

CONFIG = ServeConfig(clock="shop", poll_s=0.05, flush_s=0.02, timeout_s=30)
ITEMS = tiny_shop().items
FIRST = str(ITEMS["item_id"].iloc[0])
QUILT = {"item_id": "n-1", "title": "zebra quilt", "category": "New", "price": 12.5, "attributes": {"colour": "red"}}


@pytest.fixture
def workspace(tiny_workspace: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_workspace.parent / "shop", tmp_path / "shop")
    return Path(shutil.copytree(tiny_workspace, tmp_path / "workspace"))


def client_over(workspace: Path, **more: Any) -> TestClient:
    store = open_store(str(workspace / "store.sqlite"))
    app = serving_setup.make_app(workspace, store, CONFIG, **more)
    return TestClient(app, "http://localhost", raise_server_exceptions=False)


@pytest.fixture
def client(workspace: Path) -> Iterator[TestClient]:
    with client_over(workspace) as made:
        yield made


def put(client: TestClient, *items: dict[str, Any], removed: tuple[str, ...] = ()) -> dict[str, Any]:
    answer = client.put("/v1/items", json={"items": list(items), "removed": list(removed)})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def top(client: TestClient, query: str, k: int = 1, **more: Any) -> list[str]:
    asked = {"query": query, "k": k, "weights": {"meaning": 1}, **more}
    answer = client.post("/v1/search", json=asked)
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def test_a_change_is_shown_when_it_is_acknowledged(client: TestClient, workspace: Path) -> None:
    done = put(client, QUILT, removed=(FIRST, "never there"))
    assert done == {"version": done["version"], "change": 1, "upserted": 1, "removed": 1, "items": len(ITEMS)}
    assert top(client, "zebra quilt") == ["n-1"]
    assert top(client, "zebra quilt", filters={"price_min": 12, "price_max": 13, "category": "New"}) == ["n-1"]
    assert FIRST not in top(client, str(ITEMS["title"].iloc[0]), k=100)
    assert put(client, QUILT, removed=(FIRST, "never there"))["removed"] == 0  # once more does no harm
    assert put(client, {**QUILT, "title": "yellow kayak", "price": 3})["items"] == len(ITEMS)
    assert top(client, "yellow kayak") == ["n-1"]
    gone = client.delete("/v1/items/n-1").json()
    assert (gone["removed"], gone["items"]) == (1, len(ITEMS) - 1)
    assert client.delete("/v1/items/n-1").json()["removed"] == 0
    assert client.post("/v1/similar", json={"item_id": "n-1"}).status_code == 404
    assert client.post("/v1/explain", json={"item_id": "n-1", "query": "kayak"}).status_code == 404
    assert client.get("/readyz").json()["items"] == len(ITEMS) - 1
    assert len(changes_after(workspace)) == 5


def test_a_price_alone_needs_no_encoder(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    put(client, QUILT)
    served = client.app.state.desk.service.current.get()  # type: ignore[attr-defined]
    assert served.items["item_id"].tolist() == served.engine.log.item_ids.tolist()
    assert served.items["title"].iloc[-1] == "zebra quilt"

    def never(*_: object, **__: object) -> None:
        raise AssertionError("encoded")

    with monkeypatch.context() as patch:
        patch.setattr("tasteprint.retrieval.catalogue.journal.embed_items", never)
        put(client, {**QUILT, "price": 99})
        put(client, removed=("n-1",))
        put(client, {**QUILT, "price": 98})
    assert top(client, "zebra quilt", filters={"price_min": 97.5, "price_max": 98.5}) == ["n-1"]


def test_histories_hold_new_and_removed_items(client: TestClient) -> None:
    put(client, QUILT)
    events = [{"user_id": "u-new", "kind": "purchase", "item_id": i, "key": i} for i in ("n-1", FIRST)]
    stored = client.post("/v1/events", json={"events": events}).json()
    assert (stored["stored"], stored["unknown_items"]) == (2, [])
    put(client, removed=(FIRST,))
    answer = client.post("/v1/recommend", json={"user": "u-new", "k": 100}).json()
    assert answer["known"]
    assert FIRST not in [item["item_id"] for item in answer["items"]]
    assert client.get("/v1/profiles/u-new").status_code == 200
    explained = client.post("/v1/explain", json={"user": "u-new", "item_id": "n-1", "query": "quilt"})
    assert explained.status_code == 200
    assert client.post("/v1/similar", json={"item_id": "n-1", "k": 3}).json()["items"]


def test_other_processes_and_a_restart_see_it(client: TestClient, workspace: Path) -> None:
    with client_over(workspace) as other:
        put(client, QUILT)
        deadline = time.monotonic() + 120
        while top(other, "zebra quilt") != ["n-1"] and time.monotonic() < deadline:
            time.sleep(0.02)
        assert top(other, "zebra quilt") == ["n-1"]
        put(other, {**QUILT, "item_id": "n-2"}, removed=("n-1",))
        while top(client, "zebra quilt") != ["n-2"] and time.monotonic() < deadline:
            time.sleep(0.02)
        assert top(client, "zebra quilt") == ["n-2"]
    with client_over(workspace) as again:
        assert top(again, "zebra quilt") == ["n-2"]


@pytest.mark.slow
def test_a_new_version_keeps_what_changed_while_it_was_built(client: TestClient, workspace: Path) -> None:
    put(client, QUILT)
    settings = load_settings(sets=["encoder.name=hash:64"], environ={}).settings
    later = {**QUILT, "item_id": "n-2", "title": "yellow kayak"}

    def say(what: str, done: int, of: int) -> None:
        if what == "Publishing":
            put(client, later, removed=(FIRST,))

    before = client.get("/readyz").json()["version"]
    assert build_workspace(workspace.parent / "shop", workspace, settings, say=say).fresh
    deadline = time.monotonic() + 120
    while client.get("/readyz").json()["version"] == before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert client.get("/readyz").json()["version"] != before
    assert top(client, "zebra quilt") == ["n-1"]
    assert top(client, "yellow kayak") == ["n-2"]
    assert FIRST not in top(client, str(ITEMS["title"].iloc[0]), k=100)


SERVE = "import typer; from tasteprint.commands.serve import serve; typer.run(serve)"


def ask(url: str, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    data, headers = json.dumps(body).encode(), {"Content-Type": "application/json", "Connection": "close"}
    with urllib.request.urlopen(urllib.request.Request(url + path, data, headers, method=method), timeout=60) as answer:
        return dict(json.loads(answer.read()))


@pytest.mark.slow
def test_two_workers_show_it_and_killing_them_loses_nothing_acknowledged(workspace: Path) -> None:
    words = [sys.executable, "-c", SERVE, "-w", str(workspace), "--port", "0", "--workers", "2", "--no-fill"]
    words += [word for one in ("clock=shop", "poll_s=0.2", "timeout_s=60") for word in ("--set", one)]
    log, acknowledged = workspace / "log", 0
    for kill in range(3):
        with log.open("w") as out:
            server = subprocess.Popen(words, stderr=out, start_new_session=True)
        try:
            deadline = time.monotonic() + 120
            while "listening at " not in log.read_text():
                assert time.monotonic() < deadline, log.read_text()
                assert server.poll() is None, log.read_text()
                time.sleep(0.1)
            url = next(line for line in log.read_text().splitlines() if "listening at " in line).split()[-1]
            for _ in range(4):
                item = {"item_id": f"n-{acknowledged}", "title": f"zebra quilt {acknowledged}"}
                ask(url, "PUT", "/v1/items", {"items": [item]})
                acknowledged += 1
            query = {"query": f"zebra quilt {acknowledged - 1}", "k": 1, "weights": {"meaning": 1}}
            shown, deadline = 0, time.monotonic() + 60
            while shown < 12 and time.monotonic() < deadline:  # connections come to either worker
                best = ask(url, "POST", "/v1/search", query)["items"][0]["item_id"]
                shown = shown + 1 if best == f"n-{acknowledged - 1}" else 0
            assert shown == 12
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(30)
        assert len(changes_after(workspace)) == acknowledged == 4 * (kill + 1)
        kept = open_workspace(workspace)
        assert [f"n-{n}" in kept.engine.facts.row_of for n in range(acknowledged + 1)] == [True] * acknowledged + [
            False
        ]


BAD: dict[str, Any] = {
    "nothing": {},
    "no title": {"items": [{"item_id": "a"}]},
    "empty title": {"items": [{"item_id": "a", "title": ""}]},
    "negative price": {"items": [{"item_id": "a", "title": "b", "price": -1}]},
    "twice": {"items": [{"item_id": "a", "title": "b"}], "removed": ["a"]},
    "unknown column": {"items": [{"item_id": "a", "title": "b", "stock": 3}]},
    "nested attribute": {"items": [{"item_id": "a", "title": "b", "attributes": {"x": {"y": 1}}}]},
    "bad time": {"items": [{"item_id": "a", "title": "b", "created_at": "soon"}]},
    "too many": {"removed": [f"r{n}" for n in range(501)]},
}


@pytest.mark.parametrize("case", BAD)
def test_what_makes_no_sense_is_refused_whole(case: str, client: TestClient, workspace: Path) -> None:
    answer = client.put("/v1/items", json=BAD[case])
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert not changes_folder(workspace).exists()


def test_a_disk_that_refuses_is_told_and_nothing_changes(
    client: TestClient, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    put(client, QUILT)
    with monkeypatch.context() as patch:
        patch.setattr("tasteprint.profiling.journal.os.fsync", full)
        answer = client.delete("/v1/items/n-1")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert top(client, "zebra quilt") == ["n-1"]
    assert len(changes_after(workspace)) == 1


def test_writing_needs_the_scope(workspace: Path, tmp_path: Path) -> None:
    reader, writer = (add_key(tmp_path / "keys.json", name, [name]) for name in ("read", "write"))
    with client_over(workspace, keys=read_keys(tmp_path / "keys.json")) as client:
        for key, status in ((None, 401), (reader, 403), (writer, 200)):
            headers = {} if key is None else {"Authorization": f"Bearer {key}"}
            assert client.put("/v1/items", json={"items": [QUILT]}, headers=headers).status_code == status
            assert client.delete("/v1/items/x", headers=headers).status_code == status
