"""Requests answered directly say what the framework says, and those it must refuse reach it untouched."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from starlette.testclient import TestClient

from tasteprint import serving_setup
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.serving.config import ServeConfig
from tasteprint.serving.keys import add_key, read_keys
from tasteprint.serving.store import open_store

USER = str(tiny_shop().events["user_id"].iloc[0])
CONFIG = ServeConfig(clock="shop", timeout_s=60, max_query=50, max_k=20)
ONCE = ("answer_id", "instance")  # what differs from one answer to the next

ASKED: list[tuple[str, Any]] = [
    ("/v1/search", {"query": "tea", "k": 3}),
    ("/v1/search", {"query": "tea", "user": USER, "k": 3.0, "context": {"at": "2030-01-01T00:00:00Z"}}),
    ("/v1/search", {"query": "tea", "k": 21}),
    ("/v1/search", {"query": "t" * 51}),
    ("/v1/search", {"query": ""}),
    ("/v1/search", {"quary": "tea"}),
    ("/v1/search", ["tea"]),
    ("/v1/search", "tea"),
    ("/v1/search", None),
    ("/v1/recommend", {"user": USER, "filters": {"price_max": 20, "exclude": ["i001"]}, "weights": {"taste": 1}}),
    ("/v1/recommend", {"user": USER, "weights": {"nothing": 1}}),
    ("/v1/recommend", {"user": USER, "weights": {}}),
    ("/v1/recommend", {"user": USER, "k": True}),
    ("/v1/recommend", {"user": USER, "k": "3"}),
    ("/v1/recommend", {"user": 5}),
    ("/v1/recommend", {"user": USER, "explain": False, "diversity": 0.5}),
    ("/v1/explain", {"user": USER, "item_id": "i001"}),
    ("/v1/explain", {"item_id": "never sold"}),
    ("/v1/intent", {"query": "tea"}),
    ("/v1/similar", {"item_id": "i001", "k": 2}),
    ("/v1/similar", {"item_id": "never sold"}),
    ("/v1/events", {"events": [{"user_id": "new", "kind": "view", "item_id": "i001", "at": "2020-01-01"}]}),
    ("/v1/events", {"events": [{"user_id": "new", "kind": "view"}]}),
    ("/v1/events", {"events": [{"user_id": "new", "kind": "view", "item_id": "i1", "at": "2150-01-01T00:00:00Z"}]}),
    ("/v1/events", {"events": []}),
]
RAW = (b"", b"{", b'{"query": NaN}', b'{"query": "\\ud800"}', b'{"query": "\xff"}', b'{"query": "a", "query": "tea"}')


@pytest.fixture
def client(tiny_workspace: Path, tmp_path: Path) -> Iterator[TestClient]:
    app = serving_setup.make_app(tiny_workspace, open_store(str(tmp_path / "store.sqlite")), CONFIG)
    with TestClient(app, "http://localhost", raise_server_exceptions=False) as made:
        yield made


def without_direct(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every request answered by the framework."""

    async def nothing(*_: Any) -> None:
        return None

    monkeypatch.setattr(client.app.around, "_direct", nothing)  # type: ignore[attr-defined]


def told(client: TestClient, path: str, body: bytes, **headers: str) -> tuple[int, Any, set[str]]:
    answer = client.post(path, content=body, headers={"Content-Type": "application/json", **headers})
    said = answer.json()
    return answer.status_code, {name: value for name, value in said.items() if name not in ONCE}, set(answer.headers)


def test_the_same_is_said_with_and_without_the_framework(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [(path, json.dumps(body).encode()) for path, body in ASKED] + [("/v1/search", raw) for raw in RAW]
    odd = [{"Content-Type": "text/plain"}, {"Content-Type": "application/json; charset=utf-8"}, {"Content-Type": ""}]
    plain = json.dumps({"query": "tea", "k": 1}).encode()
    direct = [told(client, *one) for one in asked] + [told(client, "/v1/search", plain, **more) for more in odd]
    without_direct(client, monkeypatch)
    for n, (path, body) in enumerate(asked):
        if path == "/v1/events" and direct[n][0] == 200:
            continue  # stored by now: tested below
        assert told(client, path, body) == direct[n], (path, body)
    assert [told(client, "/v1/search", plain, **more) for more in odd] == direct[len(asked) :]
    assert {status for status, _, _ in direct} == {200, 400, 404, 422}


def test_a_batch_is_stored_once_whoever_answers(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"events": [{"user_id": "new", "kind": "view", "item_id": "i001", "key": "a"}]}).encode()
    assert told(client, "/v1/events", body)[1] == {"stored": 1, "repeated": 0, "unknown_items": []}
    without_direct(client, monkeypatch)
    assert told(client, "/v1/events", body)[1] == {"stored": 0, "repeated": 1, "unknown_items": []}


def test_good_requests_go_past_the_framework_and_are_counted_and_logged(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError("the framework was asked")

    around = client.app.around  # type: ignore[attr-defined]
    framework = around._app
    monkeypatch.setattr(around, "_app", fail)
    logging.getLogger("tasteprint.access").propagate = True
    with caplog.at_level(logging.INFO, logger="tasteprint.access"):
        answer = client.post("/v1/search", json={"query": "tea", "k": 1}, headers={"X-Request-ID": "mine"})
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] == "mine"
    line = json.loads(caplog.records[-1].message)
    assert (line["route"], line["status"], line["key"]) == ("/v1/search", 200, "anybody")
    monkeypatch.setattr(around, "_app", framework)
    counted = 'tasteprint_requests_total{method="POST",route="/v1/search",status="200"} 1.0'
    assert counted in client.get("/metrics").text


def test_refusals_of_callers(tiny_workspace: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    reader, writer = add_key(file, "reader", ["read"]), add_key(file, "writer", ["write"])
    config = CONFIG.model_copy(update={"rate": 0.001, "burst": 2})
    store = open_store(str(tmp_path / "store.sqlite"))
    app = serving_setup.make_app(tiny_workspace, store, config, keys=read_keys(file))
    with TestClient(app, "http://localhost", raise_server_exceptions=False) as client:

        def status(given: str | None, body: bytes = b'{"query": "tea", "k": 1}') -> int:
            return told(client, "/v1/search", body, **({} if given is None else {"Authorization": given}))[0]

        assert [status(None), status("Bearer nobody"), status(f"Basic {reader}"), status(f"Bearer {writer}")] == [
            *(401, 401, 401, 403)
        ]
        assert [status(f"bearer  {reader}"), status(f"Bearer {reader}", b"{}")] == [200, 422]  # a token each
        assert status(f"Bearer {reader}") == 429


def test_a_bug_is_a_problem_with_an_id_and_no_words_of_the_shopper(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("planted")

    engine = client.app.state.desk.service.current.get().engine  # type: ignore[attr-defined]
    monkeypatch.setattr(type(engine), "answer", fail)
    logging.getLogger("tasteprint.serving").propagate = True
    answer = client.post("/v1/search", json={"query": "secret words"})
    assert answer.status_code == 500
    assert answer.json()["instance"].endswith(answer.headers["x-request-id"])
    assert "secret words" not in caplog.text
    assert "planted" in caplog.text
