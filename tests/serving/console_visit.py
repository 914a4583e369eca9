"""A served application and a page that looks at it, for the tests that drive the console in a browser."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import uvicorn

from tasteprint.profiling.artefact import read_artefact, write_artefact
from tasteprint.workspace import KIND

NARROW, WIDE = 390, 1280


class Running:
    """An application on a port of loopback."""

    def __init__(self, app: Any) -> None:
        self.server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", ws="none", lifespan="on"))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        for _ in range(600):
            if self.server.started:
                break
            time.sleep(0.05)
        self.address = f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)


class Visit:
    """A page, and everything that went wrong in it."""

    def __init__(self, browser: Any, width: int, **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 860}, reduced_motion="reduce", **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.wrong: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", self._heard)
        self.page.on("request", lambda request: self.elsewhere.append(request.url))

    def _heard(self, message: Any) -> None:
        if message.type == "error" and "status of 4" not in message.text and "status of 503" not in message.text:
            self.wrong.append(message.text)


def titles(page: Any) -> list[str]:
    return page.locator(".list.own > ol > li .title").all_inner_texts()


def moved(page: Any, before: list[str]) -> list[str]:
    """Titles once they are others than ``before``."""
    shown = "[...document.querySelectorAll('.list.own > ol > li .title')].map(title => title.innerText)"
    said = json.dumps(before, separators=(",", ":"), ensure_ascii=False)
    page.wait_for_function(f"before => JSON.stringify({shown}) !== before", arg=said)
    return titles(page)


def republish(workspace: Path) -> None:
    """Publish the same model as another version."""
    held = read_artefact(workspace / "model", kind=KIND)
    write_artefact(
        workspace / "model",
        kind=KIND,
        stamp=held.stamp,
        inputs={**held.inputs, "swap": "1"},
        arrays=held.arrays,
        tables=held.tables,
        meta=held.meta,
    )
