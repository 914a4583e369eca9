"""The HTTP API over the tiny shop: answers, live events, keys, limits, problems, swaps and forgetting."""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from starlette.testclient import TestClient

from tasteprint import serving_setup
from tasteprint.profiling.artefact import read_artefact, write_artefact
from tasteprint.profiling.errors import ConfigError
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.retrieval.filters import Filters
from tasteprint.serving import answers, item_routes, shapes
from tasteprint.serving.config import ServeConfig
from tasteprint.serving.keys import KeysFile, add_key, read_keys
from tasteprint.serving.store import open_store
from tasteprint.workspace import KIND, Workspace, open_workspace

SHOP = tiny_shop()
USER = str(SHOP.events["user_id"].iloc[0])
CONFIG = ServeConfig(clock="shop", poll_s=0.05, flush_s=0.02, timeout_s=60)  # a busy machine is no failure


def client_over(workspace: Path, store: Path, config: ServeConfig = CONFIG, **more: Any) -> TestClient:
    app = serving_setup.make_app(workspace, open_store(str(store)), config, **more)
    return TestClient(app, "http://localhost", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def opened(tiny_workspace: Path) -> Workspace:
    return open_workspace(tiny_workspace)


@pytest.fixture(scope="module")
def loaded(tiny_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store filled from the shop; copy it."""
    path = tmp_path_factory.mktemp("store") / "store.sqlite"
    store = open_store(str(path))
    assert serving_setup.load_shop(tiny_workspace, store).stored == len(SHOP.events)
    store.close()
    return path


@pytest.fixture
def store_path(loaded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(loaded, tmp_path / "store.sqlite"))


@pytest.fixture
def client(tiny_workspace: Path, store_path: Path) -> Iterator[TestClient]:
    with client_over(tiny_workspace, store_path) as made:
        yield made


def until(there: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait for something that a busy machine may take long to do; fail where it does not come at all."""
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, f"not within {seconds:g} seconds"
        time.sleep(0.02)


def post(client: TestClient, path: str, body: Any, **more: Any) -> Any:
    answer = client.post(path, json=body, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: Any, status: int) -> dict[str, Any]:
    """The problem document of a refusal."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["instance"].endswith(answer.headers["x-request-id"])
    return body


def test_answers_are_the_engine_s_own(client: TestClient, opened: Workspace) -> None:
    for path, body, options in (
        ("/v1/search", {"query": "garden hose", "k": 5}, {"query": "garden hose"}),
        ("/v1/search", {"query": "tea", "user": USER, "k": 5}, {"query": "tea", "user": USER}),
        ("/v1/recommend", {"user": USER, "k": 5}, {"user": USER}),
        ("/v1/recommend", {"user": USER, "k": 5, "diversity": 0.5}, {"user": USER, "diversity": 0.5}),
        (
            "/v1/search",
            {"query": "tea", "k": 5, "weights": {"meaning": 1.0}},
            {"query": "tea", "weights": {"meaning": 1}},
        ),
        (
            "/v1/recommend",
            {"user": USER, "k": 5, "filters": {"price_max": 20, "exclude": ["i001", "never sold"]}},
            {"user": USER, "filters": Filters(price_max=20, exclude=("i001",))},
        ),
    ):
        found = post(client, path, body)
        answers.ListAnswer.model_validate(found)
        expected = opened.engine.answer(now_s=opened.last_s + 1, k=5, **options).to_json()
        assert {name: found[name] for name in expected} == expected
        for item in found["items"]:
            assert sum(r["amount"] for r in item["reasons"]) == pytest.approx(item["score"], abs=1e-3)


def test_newcomers_and_attributes(client: TestClient, opened: Workspace) -> None:
    found = post(client, "/v1/recommend", {"user": "nobody yet", "attributes": {"age": "18-34"}, "k": 3})
    assert not found["known"]
    expected = opened.engine.answer(now_s=opened.last_s + 1, k=3, attributes={"age": "18-34"}).to_json()
    assert found["items"] == expected["items"]
    bare = post(client, "/v1/search", {"query": "tea", "k": 1, "explain": False})
    assert set(bare["items"][0]) == {"rank", "item_id", "title", "score", "propensity"}


def test_an_event_moves_every_horizon_at_once(client: TestClient) -> None:
    before = client.get(f"/v1/profiles/{USER}").json()["interests"]
    item = str(SHOP.items["item_id"].iloc[9])
    event = {"user_id": USER, "kind": "purchase", "item_id": item, "key": "now", "quantity": 1}
    post(client, "/v1/events", {"events": [event]})
    after = client.get(f"/v1/profiles/{USER}").json()["interests"]
    assert len({after[horizon]["updated"] for horizon in ("long", "short", "session")}) == 1
    for horizon in ("long", "short", "session"):
        assert after[horizon]["updated"] > before[horizon]["updated"]
        assert after[horizon]["weight"] > before[horizon]["weight"]
    assert after["session"]["made_of"][0]["item_id"] == item
    assert after["session"]["weight"] == pytest.approx(1.0, abs=0.01)


def test_an_event_is_in_the_next_answer(client: TestClient, opened: Workspace) -> None:
    item = str(SHOP.items["item_id"].iloc[7])
    before = post(client, "/v1/recommend", {"user": "fresh", "k": 5})
    sent = {"events": [{"user_id": "fresh", "kind": "view", "item_id": item, "key": "one"}]}
    assert post(client, "/v1/events", sent) == {"stored": 1, "repeated": 0, "unknown_items": []}
    after = post(client, "/v1/recommend", {"user": "fresh", "k": 5})
    assert after["known"]
    assert [i["score"] for i in after["items"]] != [i["score"] for i in before["items"]]
    assert post(client, "/v1/events", sent) == {"stored": 0, "repeated": 1, "unknown_items": []}
    strange = {"events": [{"user_id": "fresh", "kind": "view", "item_id": "from tomorrow"}]}
    assert post(client, "/v1/events", strange)["unknown_items"] == ["from tomorrow"]
    later = post(client, "/v1/recommend", {"user": "fresh", "k": 5})
    assert [i["item_id"] for i in later["items"]] == [i["item_id"] for i in after["items"]]


def test_explaining_any_item(client: TestClient) -> None:
    listed = post(client, "/v1/search", {"query": "tea", "user": USER, "k": 3, "filters": {"exclude_bought": False}})
    for item in listed["items"]:
        found = post(client, "/v1/explain", {"query": "tea", "user": USER, "item_id": item["item_id"]})
        answers.ExplainAnswer.model_validate(found)
        assert (found["rank"], found["score"], found["reasons"]) == (item["rank"], item["score"], item["reasons"])
    refused(client.post("/v1/explain", json={"query": "tea", "item_id": "no such"}), 404)


def test_explaining_an_item_beyond_the_first_page(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasteprint.serving import service

    last = post(client, "/v1/search", {"query": "tea", "k": 42})["items"][-1]
    monkeypatch.setattr(service, "_EXPLAINED_AMONG", 5)
    found = post(client, "/v1/explain", {"query": "tea", "item_id": last["item_id"]})
    assert (found["rank"], found["looked_at"]) == (None, 5)
    assert found["score"] == pytest.approx(last["score"], abs=1e-4)


def test_intent_and_similar(client: TestClient, opened: Workspace) -> None:
    found = post(client, "/v1/intent", {"query": "green tea under 10"})
    answers.IntentAnswer.model_validate(found)
    assert found["facets"]["price"]
    like = post(client, "/v1/similar", {"item_id": "i000", "k": 5})
    answers.SimilarAnswer.model_validate(like)
    meaning = opened.engine.recommender.space.items["meaning"]
    cosine = meaning @ meaning[0]
    cosine[0] = -2.0
    rows = [opened.engine.facts.row(item["item_id"]) for item in like["items"]]
    assert [item["score"] for item in like["items"]] == pytest.approx(sorted(cosine, reverse=True)[:5], abs=2e-3)
    assert [cosine[row] for row in rows] == pytest.approx(sorted(cosine, reverse=True)[:5], abs=2e-3)


def test_profiles_and_exports(client: TestClient) -> None:
    profile = client.get(f"/v1/profiles/{USER}")
    assert profile.status_code == 200
    answers.ProfileAnswer.model_validate(profile.json())
    assert profile.json()["tags"]
    shown = post(client, "/v1/recommend", {"user": USER, "k": 2, "query": "tea"})
    found = client.get(f"/v1/profiles/{USER}/export").json()
    answers.ExportAnswer.model_validate(found)
    assert len(found["events"]) == (SHOP.events["user_id"] == USER).sum()
    assert found["shown"][-1]["request_id"] == shown["answer_id"]
    assert [i["item_id"] for i in found["shown"][-1]["items"]] == [i["item_id"] for i in shown["items"]]
    assert all(i["propensity"] == 1.0 for i in found["shown"][-1]["items"])
    refused(client.get("/v1/profiles/nobody"), 404)
    refused(client.get("/v1/profiles/nobody/export"), 404)


def test_forgetting(client: TestClient, tmp_path: Path) -> None:
    post(client, "/v1/recommend", {"user": USER, "k": 2})
    receipt = client.delete(f"/v1/profiles/{USER}").json()
    answers.ForgetAnswer.model_validate(receipt)
    assert receipt["removed"] == {"events": int((SHOP.events["user_id"] == USER).sum()), "shown": 1}
    assert receipt["models"]
    assert "tasteprint forget" in receipt["remains"][0]
    refused(client.get(f"/v1/profiles/{USER}"), 404)
    stranger = post(client, "/v1/recommend", {"user": "nobody", "k": 5})
    found = post(client, "/v1/recommend", {"user": USER, "k": 5})
    assert not found["known"]
    assert found["items"] == stranger["items"]  # the engine's own history and attributes are not used either
    assert client.delete("/v1/profiles/never-came").json()["removed"] == {"events": 0, "shown": 0}


def test_ids_with_letters_of_the_world(client: TestClient) -> None:
    user = "a b?#ñ%☕"
    post(client, "/v1/events", {"events": [{"user_id": user, "kind": "view", "item_id": "i001"}]})
    path = f"/v1/profiles/{quote(user, safe='')}"
    assert client.get(f"{path}/export").json()["user_id"] == user
    refused(client.delete(f"{path}/export"), 405)  # and never a shopper of that name
    assert client.delete(path).json()["removed"]["events"] == 1


def test_methods_that_a_path_takes(client: TestClient) -> None:
    for path, methods in (("/v1/profiles/ann", "DELETE, GET"), ("/v1/search", "POST"), ("/healthz", "GET")):
        answer = client.options(path)
        refused(answer, 405)
        assert answer.headers["allow"] == methods


BAD = [
    ("/v1/search", {}),
    ("/v1/search", {"query": ""}),
    ("/v1/search", {"query": "tea", "k": 0}),
    ("/v1/search", {"query": "tea", "k": 101}),
    ("/v1/search", {"query": "x" * 600}),
    ("/v1/search", {"query": "tea", "colour": "red"}),
    ("/v1/search", {"query": "tea", "weights": {"no such part": 1}}),
    ("/v1/search", {"query": "tea", "filters": {"price_min": 5, "price_max": 1}}),
    ("/v1/search", {"query": "tea", "context": {"at": "someday"}}),
    ("/v1/search", {"query": "tea", "context": {"at": "0001-01-01T00:00:00+14:00"}}),
    ("/v1/search", {"query": "\ud800"}),
    ("/v1/recommend", {"user": ""}),
    ("/v1/events", {"events": []}),
    ("/v1/events", {"events": [{"user_id": "a", "kind": "view"}]}),
    ("/v1/events", {"events": [{"user_id": "a", "kind": "stare", "item_id": "i001"}]}),
    ("/v1/events", {"events": [{"user_id": "a\ud800", "kind": "view", "item_id": "i001"}]}),
    ("/v1/events", {"events": [{"user_id": "a", "kind": "view", "item_id": "i001", "at": "2190-01-01"}]}),
    ("/v1/events", {"events": [{"user_id": "a", "kind": "search", "query": "x"}] * 1001}),
    ("/v1/similar", {"item_id": "i001", "k": 1.5}),
    ("/v1/similar", {"item_id": "i001", "k": "5"}),
    ("/v1/similar", {"item_id": "i001", "k": True}),
    ("/v1/search", {"query": "tea", "context": {"at": 5}}),
    ("/v1/search", {"query": "tea", "context": {"at": "5"}}),
    ("/v1/search", {"query": "tea", "context": {"utc_offset_s": False}}),
    ("/v1/search", {"query": "tea", "filters": {"exclude_bought": 0}}),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_what_breaks_a_rule(client: TestClient, number: int) -> None:
    path, body = BAD[number]
    answer = client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
    assert refused(answer, 422)["detail"]


def test_what_cannot_be_read(client: TestClient) -> None:
    headers = {"content-type": "application/json"}
    refused(client.post("/v1/search", content=b'{"query": ', headers=headers), 400)
    refused(client.post("/v1/search", content=b"\xff\xfe{", headers=headers), 400)
    refused(client.post("/v1/search", content=b'{"query": "tea", "diversity": NaN}', headers=headers), 422)
    refused(client.post("/v1/search", content=b"[" * 100_000, headers=headers), 400)
    refused(client.get("/v1/search"), 405)
    refused(client.get("/nowhere"), 404)
    refused(client.post("/v1/search", content=b"x" * (CONFIG.max_body_bytes + 1), headers=headers), 413)

    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * 100_000

    refused(client.post("/v1/search", content=pieces(), headers=headers), 413)


def test_keys_scopes_and_rates(tiny_workspace: Path, store_path: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    secrets = {scope: add_key(file, scope, [scope]) for scope in ("read", "write", "admin")}
    assert file.stat().st_mode & 0o077 == 0
    assert not any(secret in file.read_text() for secret in secrets.values())
    config = CONFIG.model_copy(update={"rate": 0.001, "burst": 8})
    needs = {
        "read": ("post", "/v1/search", {"query": "tea"}),
        "write": ("post", "/v1/events", {"events": [{"user_id": "a", "kind": "view", "item_id": "i001"}]}),
        "admin": ("delete", "/v1/profiles/a", None),
    }
    with client_over(tiny_workspace, store_path, config, keys=read_keys(file)) as client:

        def call(scope: str, key: str | None) -> Any:
            method, path, body = needs[scope]
            return client.request(
                method, path, json=body, headers={} if key is None else {"authorization": f"Bearer {key}"}
            )

        for scope in needs:
            answer = call(scope, None)
            refused(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
            refused(call(scope, "tp_wrong"), 401)
            assert call(scope, secrets["admin"]).status_code == 200
            for other in ("read", "write"):
                answer = call(scope, secrets[other])
                assert answer.status_code == (200 if other == scope else 403)
        for _ in range(20):
            answer = call("read", secrets["read"])
        assert int(answer.headers["retry-after"]) > 0
        refused(answer, 429)
        assert client.get("/healthz").json() == {"alive": True}
        refused(client.get("/metrics"), 401)


def test_health_metrics_and_request_ids(client: TestClient, tiny_workspace: Path) -> None:
    ready = client.get("/readyz").json()
    answers.ReadyAnswer.model_validate(ready)
    assert (ready["items"], ready["version"]) == (42, serving_setup.published(tiny_workspace))
    answer = client.get("/healthz", headers={"x-request-id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    assert client.get("/healthz", headers={"x-request-id": "no good\t"}).headers["x-request-id"] != "no good\t"
    post(client, "/v1/search", {"query": "tea"})
    client.get("/v1/profiles/nobody")
    page = client.get("/metrics").text
    assert 'tasteprint_requests_total{method="POST",route="/v1/search",status="200"} 1.0' in page
    assert 'route="/v1/profiles/{user}",status="404"} 1.0' in page
    assert "tasteprint_items 42.0" in page


def test_logs_say_what_happened_and_nothing_of_anybody(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        post(client, "/v1/search", {"query": "something private", "user": "somebody-private"})
        client.get("/v1/profiles/somebody-private")
        client.post("/v1/search", json={"query": 5, "user": "somebody-private"})
    lines = [json.loads(r.message) for r in caplog.records if r.name == "tasteprint.access"]
    assert [(line["route"], line["status"]) for line in lines] == [
        ("/v1/search", 200),
        ("/v1/profiles/{user}", 404),
        ("/v1/search", 422),
    ]
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("tasteprint")]
    assert not any("private" in message for message in ours)


def republish(workspace: Path, mark: int) -> None:
    """Publish the same model again as another version."""
    held = read_artefact(workspace / "model", kind=KIND)
    meta = dict(held.meta) | {"about": dict(held.meta["about"]) | {"mark": mark}}
    arrays = {name: array.copy() for name, array in held.arrays.items()}
    parts = {"stamp": held.stamp, "inputs": held.inputs, "arrays": arrays, "tables": held.tables, "meta": meta}
    write_artefact(workspace / "model", kind=KIND, **parts)  # type: ignore[arg-type]


def test_a_new_version_is_served_without_a_failed_answer(
    tiny_workspace: Path, store_path: Path, tmp_path: Path
) -> None:
    workspace = Path(shutil.copytree(tiny_workspace, tmp_path / "workspace"))
    with client_over(workspace, store_path) as client:
        seen: list[tuple[int, str]] = []
        done = threading.Event()

        def ask() -> None:
            while not done.wait(0.001):  # without a pause the one interpreter would do nothing else
                answer = client.post("/v1/recommend", json={"user": USER, "k": 3})
                seen.append((answer.status_code, answer.json().get("version", "")))

        asking = threading.Thread(target=ask)
        asking.start()
        wanted = [serving_setup.published(workspace)]
        try:
            until(lambda: seen)
            for mark in range(2):
                republish(workspace, mark)
                wanted.append(serving_setup.published(workspace))
                until(lambda: seen and seen[-1][1] == wanted[-1])
        finally:
            done.set()
            asking.join()
        assert {status for status, _ in seen} == {200}
        assert [version for version, _ in groupby(version for _, version in seen)] == wanted  # in turn, never back
        assert "tasteprint_version_swaps 2.0" in client.get("/metrics").text
        (workspace / "model" / "CURRENT").write_text("v-damaged " + "0" * 64 + "\n")
        until(lambda: "tasteprint_version_failures 0.0" not in client.get("/metrics").text)
        assert post(client, "/v1/recommend", {"user": USER, "k": 3})["version"] == wanted[-1]


def test_slow_work_and_full_threads_are_told_to_come_back(
    tiny_workspace: Path, store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIG.model_copy(update={"timeout_s": 0.1, "errands": 1, "waiting": 1})
    with client_over(tiny_workspace, store_path, config) as client:
        service = client.app.state.desk.service  # type: ignore[attr-defined]
        gate = threading.Event()
        monkeypatch.setattr(service, "ready", lambda: gate.wait(5) and {})
        for detail in ("within 0.1 seconds", "within 0.1 seconds", "busy"):
            answer = client.get("/readyz")
            assert detail in refused(answer, 503)["detail"]
            assert answer.headers["retry-after"] == "1"
        gate.set()
        time.sleep(0.1)
        assert client.post("/v1/intent", json={"query": "tea"}).status_code == 200


def test_a_broken_store_is_told(client: TestClient) -> None:
    client.app.state.desk.service.store.close()  # type: ignore[attr-defined]
    assert client.get("/healthz").status_code == 200
    refused(client.get("/readyz"), 503)
    refused(client.post("/v1/recommend", json={"user": USER}), 503)
    sent = {"events": [{"user_id": "a", "kind": "view", "item_id": "i001"}]}
    refused(client.post("/v1/events", json=sent), 503)


def test_a_bug_is_a_problem_without_details(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    service = client.app.state.desk.service  # type: ignore[attr-defined]
    monkeypatch.setattr(service, "intent", lambda query: 1 / 0)
    body = refused(client.post("/v1/intent", json={"query": "tea"}), 500)
    assert "division" not in json.dumps(body)
    assert any(record.exc_info for record in caplog.records)


def test_the_openapi_document_is_complete(client: TestClient, tiny_workspace: Path, tmp_path: Path) -> None:
    assert "security" not in json.dumps(client.get("/openapi.json").json()["paths"])
    with client_over(tiny_workspace, tmp_path / "other.sqlite", keys={}) as other:
        document = other.get("/openapi.json").json()
    assert document["info"]["license"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (method, path)
            assert operation["description"], (method, path)
            assert "HTTPValidationError" not in json.dumps(operation)
            body = operation.get("requestBody")
            if body is not None:
                name = body["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[-1]
                for example in document["components"]["schemas"][name]["examples"]:
                    getattr(shapes if hasattr(shapes, name) else item_routes, name).model_validate(example)
            if path.startswith("/v1"):
                assert operation["security"]
                assert {"200", "400", "401", "403", "413", "422", "429", "503"} <= set(operation["responses"])
    schemas = document["components"]["schemas"]
    assert schemas["SearchRequest"]["properties"]["k"]["maximum"] == CONFIG.max_k
    assert schemas["RecommendRequest"]["properties"]["query"]["anyOf"][0]["maxLength"] == CONFIG.max_query
    names = set(schemas)
    said = json.dumps(document)
    assert {ref.split('"')[0] for ref in said.split("#/components/schemas/")[1:]} <= names


def test_an_item_that_a_price_in_the_query_hides_is_explained_all_the_same(client: TestClient) -> None:
    found = post(client, "/v1/search", {"query": "tea", "k": 30})["items"]
    for item in (found[0], found[-1]):
        told = post(client, "/v1/explain", {"query": "tea under 0.01", "item_id": item["item_id"]})
        assert told["item_id"] == item["item_id"]


def test_filters_by_attribute_hold(client: TestClient) -> None:
    body = {"query": "tea", "filters": {"attributes": {"colour": "no such colour"}}}
    answer = post(client, "/v1/search", body)
    assert answer["items"] == []
    assert "no such colour" in answer["shortage"]


def test_the_shops_rules_hold_for_every_page_and_say_so(tiny_workspace: Path, store_path: Path, tmp_path: Path) -> None:
    with client_over(tiny_workspace, store_path) as plain:
        before = post(plain, "/v1/search", {"query": "green tea", "k": 5})["items"]
    last, first = before[-1]["item_id"], before[0]["item_id"]
    rules = tmp_path / "rules.toml"
    rules.write_text(
        f'[[rules]]\nrule = "pin"\nitems = ["{last}"]\nat = 1\n\n[[rules]]\nrule = "exclude"\nitems = ["{first}"]\n'
    )
    with client_over(tiny_workspace, store_path, CONFIG.model_copy(update={"rules": rules})) as ruled:
        after = post(ruled, "/v1/search", {"query": "green tea", "k": 5})["items"]
    assert after[0]["item_id"] == last
    assert after[0]["rules"]
    assert first not in {item["item_id"] for item in after}
    rules.write_text("[[rules]]\nrule = 'praise'\n")
    with pytest.raises(ConfigError, match="rule"):
        serving_setup.served_from(tiny_workspace, CONFIG.model_copy(update={"rules": rules}))


def test_no_question_waits_behind_an_errand(
    client: TestClient, tiny_workspace: Path, store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over, begun = threading.Event(), threading.Event()

    def slow(*_: Any) -> dict[str, Any]:
        begun.set()
        over.wait(30)
        return {"version": "", "user_id": USER, "at": None, "summary": [], "tags": []}

    assert CONFIG.threads == 1
    monkeypatch.setattr(client.app.state.desk.service, "profile", slow)  # type: ignore[attr-defined]
    found: list[int] = []
    asking = threading.Thread(target=lambda: found.append(client.get(f"/v1/profiles/{USER}").status_code))
    asking.start()
    assert begun.wait(20)
    try:
        assert post(client, "/v1/search", {"query": "tea", "k": 1})["items"]
        assert client.get("/readyz").status_code == 200
        assert not found
    finally:
        over.set()
        asking.join()
    assert found == [200]


def test_new_keys_are_taken_without_a_restart_and_a_broken_file_changes_nothing(
    tiny_workspace: Path, store_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys.json"
    first = add_key(file, "first", ["read"])
    with client_over(tiny_workspace, store_path, keys=KeysFile(file)) as client:

        def status(key: str) -> int:
            answer = client.post("/v1/intent", json={"query": "tea"}, headers={"Authorization": f"Bearer {key}"})
            return int(answer.status_code)

        def told(name: str) -> float:
            page = client.get("/metrics", headers={"Authorization": f"Bearer {first}"}).text
            return float(next(line for line in page.splitlines() if line.startswith(f"{name} ")).split()[1])

        assert (status(first), status("unknown"), told("tasteprint_keys")) == (200, 401, 1)
        second = add_key(file, "second", ["read"])
        until(lambda: status(second) == 200)
        assert status(first) == 200
        file.write_text("{")
        until(lambda: told("tasteprint_keys_failures") == 1)
        assert (status(first), status(second), told("tasteprint_keys")) == (200, 200, 2)
        assert "the keys from before stay" in caplog.text
        file.unlink()
        until(lambda: told("tasteprint_keys_failures") == 2)
        assert status(second) == 200
        third = add_key(file, "third", ["admin"])
        until(lambda: status(third) == 200)
        assert (status(first), status(second)) == (401, 401)  # who is left out of the file is not known any more


def test_without_keys_only_this_machine_s_own_names_are_answered_to(
    tiny_workspace: Path, store_path: Path, tmp_path: Path
) -> None:
    def status(client: TestClient, host: str, path: str = "/v1/search") -> int:
        body = {"query": "tea", "k": 1} if path == "/v1/search" else None
        answer = client.request("POST" if body else "GET", path, json=body, headers={"Host": host})
        if answer.status_code != 200:
            refused(answer, 421)
        return int(answer.status_code)

    own = ("localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]", "[::1]:8000")
    other = (
        "shop.example",
        "shop.example:8000",
        "localhost.shop.example",
        "127.0.0.1.shop.example",
        "[::2]",
        "",
        "[::1",
    )
    with client_over(tiny_workspace, store_path, CONFIG.model_copy(update={"hosts": ("Box.local",)})) as client:
        assert {host: status(client, host) for host in (*own, "box.local:1")} == dict.fromkeys(
            (*own, "box.local:1"), 200
        )
        assert {host: status(client, host) for host in other} == dict.fromkeys(other, 421)
        for path in ("/", "/healthz", "/metrics", "/openapi.json"):
            assert (status(client, "localhost", path), status(client, "shop.example", path)) == (200, 421)
    key = add_key(tmp_path / "keys.json", "anyone", ["admin"])
    with client_over(tiny_workspace, store_path, keys=read_keys(tmp_path / "keys.json")) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        assert status(client, "shop.example") == 200  # a page that is pointed here has no key
