"""What the console's page asks of the server: the same answers as the engine's, muted, weighed and taken apart."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from starlette.testclient import TestClient

from tasteprint import serving_setup
from tasteprint.profiling.tables.shop import read_shop
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.retrieval.engine import one_user
from tasteprint.serving.config import ServeConfig
from tasteprint.serving.console.asking import without_interests
from tasteprint.serving.console.groups import GROUPS, group_of, learned_weights, reweighed
from tasteprint.serving.console.kept import Kept, StillLearning
from tasteprint.serving.console.pages import POLICY, read_pages
from tasteprint.serving.keys import add_key, read_keys
from tasteprint.serving.store import open_store
from tasteprint.workspace import Workspace, open_workspace, shop_yardsticks

SHOP = tiny_shop()
USER = str(SHOP.events["user_id"].iloc[0])
CONFIG = ServeConfig(clock="shop", poll_s=60, timeout_s=60)


@pytest.fixture(scope="module")
def opened(tiny_workspace: Path) -> Workspace:
    return open_workspace(tiny_workspace)


@pytest.fixture(scope="module")
def loaded(tiny_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "store.sqlite"
    store = open_store(str(path))
    serving_setup.load_shop(tiny_workspace, store)
    store.close()
    return path


@pytest.fixture(scope="module")
def client(tiny_workspace: Path, loaded: Path) -> Iterator[TestClient]:
    """Over one application; tests that change anything use a shopper of their own."""
    with TestClient(
        serving_setup.make_app(tiny_workspace, open_store(str(loaded)), CONFIG), "http://localhost"
    ) as made:
        yield made


def ask(client: TestClient, path: str, body: Any) -> Any:
    """The page's own patience: yardsticks may still be being learned."""
    for _ in range(60):
        answer = client.post(f"/console/{path}", json=body)
        assert answer.status_code == 200, answer.text
        if answer.json() != {"learning": True}:
            return answer.json()
    raise AssertionError("yardsticks were not learned")


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    pages = read_pages()
    start = client.get("/")
    assert start.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert start.headers["content-type"].startswith("text/html")
    asked = set(re.findall(r"/console/files/([\w.]+)", " ".join(content.decode() for content, _ in pages.values())))
    for name, (content, kind) in pages.items():
        answer = client.get(f"/console/files/{name}")
        assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, content, kind)
        assert answer.headers["content-security-policy"] == POLICY
        text = content.decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//\w+\.\w|innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(", text), (
            name
        )
        asked |= set(re.findall(r'from "\./([\w.]+)"', text))
    assert asked <= set(pages)
    html = pages["index.html"][0].decode()
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*src)", html)


def test_unknown_files_and_folders_are_not_there(client: TestClient) -> None:
    for name in ("nothing.js", "pages.py", "..%2Fpages.py", "%2e%2e/routes.py"):
        assert client.get(f"/console/files/{name}").status_code == 404


def test_the_page_needs_no_key_and_its_questions_do(tiny_workspace: Path, loaded: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    reader, admin = add_key(keys, "reader", ["read"]), add_key(keys, "boss", ["admin"])
    store = open_store(str(shutil.copy(loaded, tmp_path / "store.sqlite")))
    with TestClient(serving_setup.make_app(tiny_workspace, store, CONFIG, keys=read_keys(keys))) as client:
        assert client.get("/").status_code == client.get("/console/files/main.js").status_code == 200
        assert client.get("/console/start").status_code == client.get("/console/health").status_code == 401
        may = {"Authorization": f"Bearer {reader}"}
        assert client.get("/console/start", headers=may).status_code == 200
        gone = {"user": USER, "interest": "anything"}
        assert client.post("/console/remove", json=gone, headers=may).status_code == 403
        boss = {"Authorization": f"Bearer {admin}"}
        while (answer := client.post("/console/remove", json=gone, headers=boss)).status_code == 200:
            assert answer.json() == {"learning": True}
        assert answer.status_code == 404


def test_compare_is_the_engine_s_answer_twice(client: TestClient, opened: Workspace) -> None:
    now_s = opened.last_s + 1
    for query in (None, "tea"):
        found = ask(client, "compare", {"user": USER, "query": query, "k": 6})
        plain = opened.engine.answer(query=query, now_s=now_s, attributes={}, k=100)
        mine = opened.engine.answer(user=USER, query=query, now_s=now_s, k=100)
        assert [row["item_id"] for row in found["plain"]] == [item.item_id for item in plain.items[:6]]
        assert [row["item_id"] for row in found["personal"]] == [item.item_id for item in mine.items[:6]]
        place = {item.item_id: item.rank for item in plain.items}
        for row, item in zip(found["personal"], mine.items, strict=False):
            assert row["other_rank"] == place.get(item.item_id)
            assert sum(reason["amount"] for reason in row["reasons"]) == pytest.approx(item.score, abs=1e-3)
            assert {reason["group"] for reason in row["reasons"]} <= {*GROUPS, "other"}
        assert (found["intent"] is None) == (query is None)


def test_questions_of_the_page_are_not_written_down_as_shown(client: TestClient) -> None:
    ask(client, "compare", {"user": USER, "query": "tea"})
    assert client.get(f"/v1/profiles/{USER}/export").json()["shown"] == []


def test_a_muted_interest_is_as_if_it_had_never_happened(client: TestClient, opened: Workspace) -> None:
    whole = ask(client, "portrait", {"user": USER})
    name = whole["tags"][0]["name"]
    tags = shop_yardsticks(opened, read_shop(opened.shop)).tags
    log = one_user(opened.engine.log, opened.engine.user_row[USER])
    carried = tags.carries[:, [tags.names.index(name)]].toarray().ravel() > 0
    kept = ~carried[log.item]
    assert 0 < kept.sum() < len(log)
    expected = opened.engine.answer(user=USER, history=log.select(kept), now_s=opened.last_s + 1, k=8)
    found = ask(client, "compare", {"user": USER, "k": 8, "mute": [name]})
    assert [row["item_id"] for row in found["personal"]] == [item.item_id for item in expected.items]
    assert found["events"] == kept.sum()
    muted = ask(client, "portrait", {"user": USER, "mute": [name]})
    assert muted["muted_events"] > 0
    assert name not in [tag["name"] for tag in muted["profile"]["tags"]]
    assert muted["tags"] == whole["tags"]  # what may be unmuted stays in sight
    assert len(without_interests(log, tags, ["no such interest"])) == len(log)


def test_the_timeline_ends_at_the_profile_s_shares(client: TestClient) -> None:
    found = ask(client, "portrait", {"user": USER})
    last = {line["name"]: line["share"][-1] for line in found["timeline"]["lines"]}
    assert found["tags"]
    for tag in found["tags"]:
        assert last[tag["name"]] == pytest.approx(tag["share"], abs=2e-3)
    lately = {line["name"]: line["lately"] for line in found["timeline"]["lines"]}
    for tag in found["recent_tags"]:
        assert lately[tag["name"]] == pytest.approx(tag["share"], abs=2e-3)
    done = sum(sum(bins) for bins in found["timeline"]["did"].values())
    assert done == sum(1 for event in SHOP.events.query("user_id == @USER").itertuples() if event.kind != "search")
    assert len(found["timeline"]["days"]) == len(next(iter(found["timeline"]["did"].values())))


def test_a_removed_interest_is_gone_for_good(client: TestClient) -> None:
    user = str(SHOP.events["user_id"].iloc[-1])
    before = ask(client, "portrait", {"user": user})
    name = before["tags"][0]["name"]
    muted = ask(client, "compare", {"user": user, "mute": [name]})
    done = ask(client, "remove", {"user": user, "interest": name})
    assert done["removed"] > 0
    assert done["remains"]
    after = ask(client, "portrait", {"user": user})
    assert after["events"] == before["events"] - done["removed"]
    assert name not in [tag["name"] for tag in after["tags"]]
    found = ask(client, "compare", {"user": user})
    assert [row["item_id"] for row in found["personal"]] == [row["item_id"] for row in muted["personal"]]
    assert client.post("/console/remove", json={"user": user, "interest": "no such"}).status_code == 404


def test_weights_move_the_sum_and_nothing_else(opened: Workspace) -> None:
    engine = opened.engine
    bare = replace(engine, recommender=replace(engine.recommender, second=None, second_search=None))
    log = engine.history_of(USER)
    learned = learned_weights(engine, newcomer=False)
    assert reweighed(engine, {}, newcomer=False) is engine
    asked = {"user": USER, "history": log, "query": "tea", "now_s": opened.last_s + 1, "k": 20}
    same = reweighed(engine, learned, newcomer=False).answer(**asked)
    assert [i.item_id for i in same.items] == [i.item_id for i in bare.answer(**asked).items]
    twice = reweighed(engine, {"meaning": 2 * learned["meaning"]}, newcomer=False).answer(**asked)
    once = {i.item_id: _amount(i, "meaning") for i in bare.answer(**{**asked, "k": 100}).items}
    for item in twice.items:
        if item.item_id in once:
            assert _amount(item, "meaning") == pytest.approx(2 * once[item.item_id], rel=1e-4)
    none = reweighed(engine, dict.fromkeys(learned, 0.0) | {"words": 1.0}, newcomer=False).answer(**asked)
    assert {reason.part for item in none.items for reason in item.reasons} <= {"bm25", "intent"}


def _amount(item: Any, part: str) -> float:
    return sum(reason.amount for reason in item.reasons if reason.part == part)


def test_what_may_not_be_asked_is_refused(client: TestClient) -> None:
    for body, says in (
        ({"weights": {"no such": 1}}, "meaning"),
        ({"weights": {"meaning": -1}}, "body.weights.meaning"),
        ({"k": 51}, "body.k"),
        ({"unknown": 1}, "body.unknown"),
        ({"query": "x" * 600}, "512"),
    ):
        answer = client.post("/console/compare", json=body)
        assert answer.status_code == 422, answer.text
        assert says in answer.json()["detail"]
    assert client.post("/console/portrait", json={"user": "nobody at all"}).status_code == 404


def test_shoppers_are_offered_unless_they_were_forgotten(client: TestClient) -> None:
    offered = client.get("/console/start").json()["shoppers"]
    assert len({one["user"] for one in offered}) == len(offered) >= 3
    counts = [one["events"] for one in offered]
    assert counts == sorted(counts, reverse=True)
    gone = offered[-1]["user"]
    found = client.get("/console/shoppers", params={"beginning": gone}).json()["shoppers"]
    assert gone in [one["user"] for one in found]
    assert client.delete(f"/v1/profiles/{gone}").status_code == 200
    for path in ("/console/start", f"/console/shoppers?beginning={gone}"):
        assert gone not in [one["user"] for one in client.get(path).json()["shoppers"]]
    assert client.post("/console/portrait", json={"user": gone}).status_code == 404


def test_a_newcomer_is_answered_and_learned_from(client: TestClient) -> None:
    first = ask(client, "compare", {"user": "new-one", "k": 5})
    assert first["newcomer"]
    assert [r["item_id"] for r in first["personal"]] == [r["item_id"] for r in first["plain"]]
    item = first["personal"][-1]["item_id"]
    event = {"user_id": "new-one", "kind": "purchase", "item_id": item, "key": "k1"}
    assert client.post("/v1/events", json={"events": [event]}).status_code == 200
    then = ask(client, "compare", {"user": "new-one", "k": 5})
    assert (then["newcomer"], then["events"]) == (False, 1)
    found = ask(client, "portrait", {"user": "new-one"})
    assert found["latest"][0]["item"]["item_id"] == item
    assert np.isfinite([s for line in found["timeline"]["lines"] for s in line["share"]]).all()


def test_items_that_came_since_are_told_and_muted_with_the_rest(
    tiny_workspace: Path, loaded: Path, tmp_path: Path
) -> None:
    workspace = tmp_path / "workspace"
    shutil.copytree(tiny_workspace, workspace)
    store = open_store(str(shutil.copy(loaded, tmp_path / "store.sqlite")))
    with TestClient(serving_setup.make_app(workspace, store, CONFIG), "http://localhost") as client:
        before = ask(client, "portrait", {"user": USER})
        item = {"item_id": "new-1", "title": "zebra quilt", "category": "Home > Quilts", "price": 5}
        assert client.put("/v1/items", json={"items": [item]}).status_code == 200
        event = {"user_id": USER, "kind": "purchase", "item_id": "new-1", "key": "k1"}
        assert client.post("/v1/events", json={"events": [event]}).status_code == 200
        after = ask(client, "portrait", {"user": USER, "mute": [before["tags"][0]["name"]]})
        assert after["events"] == before["events"] + 1
        assert after["latest"][0]["item"]["title"] == "zebra quilt"
        assert [tag["name"] for tag in after["tags"]] == [tag["name"] for tag in before["tags"]]
        last = {line["name"]: line["share"][-1] for line in after["timeline"]["lines"]}
        assert all(last[tag["name"]] == pytest.approx(tag["share"], abs=2e-3) for tag in after["tags"])
        found = ask(client, "compare", {"user": USER, "query": "zebra quilt", "mute": [before["tags"][0]["name"]]})
        assert "new-1" in [row["item_id"] for row in found["plain"]]
        told = client.get("/console/health").json()["catalogue"]
        assert (told["items"], told["changes"]) == (len(SHOP.items) + 1, 1)


def test_health_tells_what_is_served(client: TestClient, opened: Workspace) -> None:
    found = client.get("/console/health").json()
    assert found["catalogue"]["items"] == len(SHOP.items)
    assert found["encoder"]["stamp"] == opened.encoder.stamp.digest
    assert found["index"]["kind"] == opened.engine.index.kind
    assert 0 < found["store"]["events"] <= len(SHOP.events) + 1  # others of this module forget, and one is met anew


def test_every_part_of_the_engine_has_a_group() -> None:
    from tasteprint.retrieval.recommender import PARTS

    assert {group_of(part) for part in PARTS} <= set(GROUPS)
    named = [part for group in GROUPS.values() for part in (*group.parts, *group.also)]
    assert len(named) == len(set(named))
    assert {part for group in GROUPS.values() for part in group.parts} == set(PARTS)


def test_the_script_names_every_group() -> None:
    script = read_pages()["groups.js"][0].decode()
    style = read_pages()["style.css"][0].decode()
    for name in (*GROUPS, "other"):
        assert re.search(rf"^  {name}: \{{ name:", script, re.MULTILINE), name
        assert f".g-{name} {{" in style


def test_a_count_is_kept_and_a_failed_lesson_is_tried_again(client: TestClient, opened: Workspace) -> None:
    from types import SimpleNamespace

    now, counts = [0.0], iter((1, 2, 3))
    kept = Kept(clock=lambda: now[0], wait_s=5)
    store: Any = SimpleNamespace(count=lambda: next(counts))
    assert [kept.count(store), kept.count(store)] == [1, 1]
    now[0] = 61.0
    assert kept.count(store) == 2
    tries = iter((OSError("gone"), "learned"))

    def lesson() -> Any:
        said = next(tries)
        if isinstance(said, OSError):
            raise said
        return said

    slow: Any = SimpleNamespace(yardsticks=lambda: time.sleep(0.5))
    with pytest.raises(StillLearning):
        Kept(clock=lambda: 0.0, wait_s=0.01).yardsticks(slow)
    served: Any = SimpleNamespace(yardsticks=lesson)
    with pytest.raises(OSError, match="gone"):
        kept.yardsticks(served)
    assert kept.yardsticks(served) == "learned"
