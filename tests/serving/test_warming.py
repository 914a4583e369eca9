"""What is read ahead: for whom, in which order, and that a first question finds everything worked out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tasteprint import serving_setup
from tasteprint.profiling.intent.intent import IntentModel
from tasteprint.retrieval.past import Past
from tasteprint.serving.config import ServeConfig
from tasteprint.serving.current import Current
from tasteprint.serving.service import Ask, Service
from tasteprint.serving.store import Shown, StoreError, open_store
from tasteprint.serving.warming import Warming


def test_in_order_until_it_is_closed() -> None:
    done: list[str] = []
    two = threading.Event()

    def prepare(user: str) -> None:
        done.append(user)
        if len(done) == 2:
            two.set()
            time.sleep(0.05)

    warming = Warming()
    warming.start(partial(prepare, user) for user in ["b", "a", *(f"u{n}" for n in range(100_000))])
    assert two.wait(10)
    warming.close()
    assert done[:2] == ["b", "a"]
    assert len(done) < 100_000
    Warming().close()  # never started


def test_a_store_that_cannot_be_read_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    def users() -> Iterator[Callable[[], None]]:
        yield lambda: None
        raise StoreError("gone")

    warming = Warming()
    with caplog.at_level(logging.ERROR, "tasteprint.serving"):
        warming.start(users())
        warming._thread.join(10)  # type: ignore[union-attr]
    assert "nothing is read ahead any more: gone" in caplog.text
    warming.close()


def test_a_first_question_finds_the_history_gone_through(
    tiny_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, store = ServeConfig(clock="shop", warm=5), open_store(str(tmp_path / "store.sqlite"))
    serving_setup.load_shop(tiny_workspace, store)
    current = Current(lambda old: serving_setup.served_from(tiny_workspace, config, old), lambda: "")
    service = Service(current, store, config, clock=lambda: 2e9)
    cold = Service(current, store, config, clock=lambda: 2e9)
    user = store.latest(1)[0]
    wanted = [cold.answer(Ask(user=user, query=query))["items"] for query in ("red shoes", None)]
    service.warm()
    service.warming._thread.join(30)  # type: ignore[union-attr]
    assert len(service.histories) == 5
    read: list[str] = []
    monkeypatch.setattr(type(store), "history", lambda self, user: read.append(user))
    monkeypatch.setattr(Past, "of", lambda *_: read.append("past"))
    assert [service.answer(Ask(user=user, query=query))["items"] for query in ("red shoes", None)] == wanted
    assert read == []
    monkeypatch.undo()
    cold.shown.close()
    service.close()


def test_a_first_query_finds_itself_read(tiny_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, store = ServeConfig(clock="shop", warm=0, warm_queries=2), open_store(str(tmp_path / "store.sqlite"))
    current = Current(lambda old: serving_setup.served_from(tiny_workspace, config, old), lambda: "")
    service = Service(current, store, config, clock=lambda: 2e9)
    asked = ["red shoes", "red shoes under 50", "red shoes", "lamp", "red shoes under 50", " ", None]
    store.log_shown([Shown(f"r{n}", "ann", n, {"query": query, "k": 5}, ()) for n, query in enumerate(asked)])
    store.log_shown([Shown("nobody", None, 9, {}, ())])
    readings = current.get().engine.readings
    before = readings.count()  # opening reads one
    service.warm()
    service.warming._thread.join(30)  # type: ignore[union-attr]
    assert readings.count().made == before.made + 2
    made: list[str] = []
    monkeypatch.setattr(IntentModel, "infer", lambda *_: made.append("read"))
    for query in ("red shoes", "red shoes under 50"):
        service.answer(Ask(user="bob", query=query))
    assert made == []
    assert readings.count().known == before.known + 2
    monkeypatch.undo()
    service.forget("ann")  # whose words they were
    service.answer(Ask(user="bob", query="red shoes"))
    assert readings.count().made == before.made + 3
    service.follow()  # the first look; nothing is known of before
    store.forget("ann", at_us=1)  # by another process
    service.answer(Ask(user="bob", query="red shoes"))
    service.follow()
    service.answer(Ask(user="bob", query="red shoes"))
    service.follow()
    service.answer(Ask(user="bob", query="red shoes"))
    assert readings.count().made == before.made + 4
    service.close()
