"""The console in a real browser: what a member of the search team does with it, by mouse and by keyboard.

Needs a Chromium and playwright; axe-core is looked for in ``node_modules`` of the repository or its parent, or at
``AXE_CORE``. Whatever is absent skips its tests.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("uvicorn")
pytest.importorskip("playwright.sync_api")

from playwright import sync_api

from tasteprint import serving_setup
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.serving.config import ServeConfig
from tasteprint.serving.keys import add_key, read_keys
from tasteprint.serving.store import open_store
from tests.serving.console_visit import NARROW, WIDE, Running, Visit, moved, republish, titles

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
USER = str(tiny_shop().events["user_id"].iloc[0])
CONFIG = ServeConfig(clock="shop", poll_s=60, timeout_s=30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    if program is None:
        pytest.skip("no Chromium is installed; apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core."""
    places = [
        os.environ.get("AXE_CORE", ""),
        *(str(p / "node_modules/axe-core/axe.min.js") for p in (ROOT, ROOT.parent)),
    ]
    for place in places:
        if place and Path(place).is_file():
            return Path(place).read_text(encoding="utf-8")
    pytest.skip("axe-core is not installed; npm install axe-core, or set AXE_CORE to its axe.min.js")


@pytest.fixture(scope="module")
def filled(tiny_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "store.sqlite"
    store = open_store(str(path))
    serving_setup.load_shop(tiny_workspace, store)
    store.close()
    return path


@pytest.fixture(scope="module")
def address(tiny_workspace: Path, filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store = open_store(str(shutil.copy(filled, tmp_path_factory.mktemp("served") / "store.sqlite")))
    running = Running(serving_setup.make_app(tiny_workspace, store, CONFIG))
    yield running.address
    running.stop()


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """Makes visits; afterwards none may have had an error."""
    made: list[Visit] = []

    def start(width: int = WIDE, **options: Any) -> Visit:
        made.append(Visit(browser, width, **options))
        return made[-1]

    yield start
    for one in made:
        one.context.close()
        assert one.wrong == []


def test_a_search_is_answered_twice_read_and_explained(visit: Any, address: str) -> None:
    page = visit().page
    page.goto(f"{address}/#/search?user={USER}")
    page.get_by_label("Search the shop").fill("tea")
    page.keyboard.press("Enter")
    page.wait_for_selector(".intent")
    assert "specific" in page.locator(".reading").inner_text() or "Not sure" in page.locator(".reading").inner_text()
    assert page.locator(".list.plain li").count() == page.locator(".list.own > ol > li").count() == 10
    assert page.locator(".move").count() == 10
    assert page.locator(".move.up, .move.down").count() >= page.locator(".lift").count() > 0  # what moved says why
    row = page.locator(".list.own > ol > li").first
    row.locator("summary").click()
    amounts = [float(cell.replace("−", "-").replace("+", "")) for cell in row.locator("tbody td.n").all_inner_texts()]
    score = float(row.locator("tfoot td.n").inner_text())
    assert sum(amounts) == pytest.approx(score, abs=5e-3)
    assert "q=tea" in page.url
    page.reload()
    page.wait_for_selector(".intent")
    assert page.get_by_label("Search the shop").input_value() == "tea"


def test_a_slider_acts_at_once_and_can_be_taken_back(visit: Any, address: str) -> None:
    page = visit().page
    page.goto(f"{address}/#/search?user={USER}")
    page.wait_for_selector(".list.own > ol > li")
    before = titles(page)
    slider = page.get_by_label("Popularity")
    slider.focus()
    page.keyboard.press("End")  # by keyboard, as well as by mouse
    after = moved(page, before)
    assert slider.input_value() == slider.get_attribute("max")
    assert page.evaluate("document.activeElement.id") == "w-popularity"  # the slider was not taken from the hand
    page.get_by_role("button", name="Back to what was learned").click()
    assert moved(page, after) == before


def test_a_click_on_an_item_moves_the_profile(visit: Any, address: str) -> None:
    page = visit().page
    page.goto(f"{address}/#/search")
    page.locator("#choose").click()
    page.get_by_role("button", name="Meet a new shopper").click()
    page.wait_for_selector(".newcomer")
    before = titles(page)
    page.locator(".list.own > ol > li").nth(6).get_by_role("button", name="Buy").click()
    page.wait_for_selector(".moves:not(.still)")
    assert titles(page) != before
    assert "Bought" in page.locator(".moves").inner_text()
    assert "1 event so far" in page.locator(".newcomer").inner_text()
    title = page.locator(".list.own > ol > li .title").nth(3)
    title.focus()
    at = title.get_attribute("data-at")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('.moves').innerText.includes('Viewed')")
    kept = page.evaluate("() => [document.activeElement.dataset.at, document.activeElement.id]")
    assert at in kept or "own-title" in kept  # the keyboard stays at the item, or in the list it left
    page.get_by_role("link", name="Profile").click()
    page.wait_for_selector(".latest li")
    assert page.locator(".latest li").count() == 2
    page.get_by_role("link", name="Search").click()
    page.get_by_role("button", name="Forget them").click()
    page.wait_for_selector(".newcomer", state="detached")


def test_an_interest_is_muted_and_deleted(visit: Any, address: str) -> None:
    page = visit().page
    page.goto(f"{address}/#/profile?user={USER}")
    page.wait_for_selector(".tag")
    name = page.locator(".tag b").first.inner_text()
    count = page.locator(".tag").count()
    page.locator(".tag").first.get_by_role("button", name="Mute").click()
    page.wait_for_selector(".tag.out")
    assert page.locator(".tag.out b").inner_text() == name
    assert "muted" in page.locator(".notice").first.inner_text()
    assert page.evaluate("() => document.activeElement.innerText").startswith("Muted")
    page.locator(".tag.out").get_by_role("button", name="Muted").click()
    page.wait_for_selector(".tag.out", state="detached")
    assert page.locator(".tag").count() == count
    page.locator(".tag").first.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").wait_for()
    assert page.evaluate("document.activeElement.innerText") == "Keep it"  # the harmless answer is the one at hand
    page.keyboard.press("Escape")
    assert page.locator(".tag b").first.inner_text() == name
    page.locator(".tag").first.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_function(
        "name => ![...document.querySelectorAll('.tag b')].some(b => b.innerText === name)", arg=name
    )
    assert "removed" in page.locator(".notice").first.inner_text()


def test_shoppers_are_found_by_id_with_the_keyboard_alone(visit: Any, address: str) -> None:
    page = visit().page
    page.goto(f"{address}/#/search")
    page.wait_for_selector(".list.own > ol > li")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(9):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "choose":
            break
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.type(USER)
    page.wait_for_function("() => document.querySelectorAll('.people button').length === 1")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for(state="detached")
    assert USER in page.locator("#choose").inner_text()
    assert f"user={USER}" in page.url


def test_a_new_version_is_noticed(visit: Any, tiny_workspace: Path, filled: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    shutil.copytree(tiny_workspace, workspace)
    store = open_store(str(shutil.copy(filled, tmp_path / "store.sqlite")))
    running = Running(serving_setup.make_app(workspace, store, CONFIG.model_copy(update={"poll_s": 0.1})))
    page = visit().page
    page.goto(f"{running.address}/")
    page.wait_for_selector(".list.own > ol > li")
    before = page.locator("#served").inner_text()
    republish(workspace)
    deadline = time.monotonic() + 180  # its tables are worked out at low priority: a busy machine takes its time
    while page.locator("#served").inner_text() == before and time.monotonic() < deadline:
        page.get_by_label("Search the shop").fill(f"tea {time.monotonic()}")
        page.keyboard.press("Enter")
        page.wait_for_timeout(300)
    assert page.locator("#served").inner_text() != before
    running.stop()


def test_health_is_told(visit: Any, address: str) -> None:
    page = visit().page
    page.goto(f"{address}/#/health")
    page.wait_for_selector(".cards")
    said = page.locator("main").inner_text()
    for word in ("Encoder", "Index", "Store", "Stamp", "/console/start"):
        assert word in said


def test_a_key_is_asked_for_and_kept_nowhere(visit: Any, tiny_workspace: Path, filled: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    secret = add_key(keys, "team", ["read"])
    store = open_store(str(shutil.copy(filled, tmp_path / "store.sqlite")))
    running = Running(serving_setup.make_app(tiny_workspace, store, CONFIG, keys=read_keys(keys)))
    page = visit().page
    page.goto(f"{running.address}/")
    page.get_by_label("API key").fill("tp_wrong")
    page.get_by_role("button", name="Use this key").click()
    page.get_by_text("This key is not known here.").wait_for()
    page.get_by_label("API key").fill(secret)
    page.keyboard.press("Enter")
    page.wait_for_selector(".list.own > ol > li")
    kept = page.evaluate(
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href, history.state])"
    )
    assert secret not in kept
    page.locator(".list.own > ol > li .title").first.click()  # this key may only read
    page.locator(".wrong").wait_for()
    assert "write" in page.locator(".wrong").inner_text()
    page.reload()
    page.get_by_label("API key").wait_for()  # gone with the page
    running.stop()


def test_what_a_shop_wrote_is_text_and_never_code(visit: Any, address: str) -> None:
    page = visit().page
    evil = "<img src=x onerror=alert(1)>"
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    page.goto(f"{address}/")
    page.wait_for_selector(".list.own > ol > li")
    page.get_by_label("Search the shop").fill(evil)
    page.keyboard.press("Enter")
    page.wait_for_selector(".intent")
    assert page.locator("main img").count() == 0
    made = page.evaluate("t => import('/console/files/dom.js').then(m => m.h('p', {}, t).innerHTML)", evil)
    assert made == evil.replace("<", "&lt;").replace(">", "&gt;")
    page.goto(f"{address}/#/profile?user={evil}")
    page.wait_for_selector("h1")
    assert page.locator("main img").count() == 0


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("dark", [False, True])
def test_every_view_is_readable_by_everybody(visit: Any, address: str, axe: str, width: int, dark: bool) -> None:
    made = visit(width, color_scheme="dark" if dark else "light")
    page = made.page
    for view, ready in (
        (f"search?user={USER}&q=tea", ".intent"),
        (f"profile?user={USER}", ".rows"),
        ("health", ".cards"),
    ):
        page.goto("about:blank")
        page.goto(f"{address}/#/{view}")
        page.wait_for_selector(ready)
        if "search" in view:
            page.locator(".list.own summary").first.click()
            if width == NARROW:
                page.locator(".knobs > summary").click()
        found = page.evaluate(axe + "; axe.run(document, {resultTypes: ['violations']})")
        serious = [
            (one["id"], one["nodes"][0]["target"], one["nodes"][0].get("failureSummary", ""))
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        assert serious == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
    page.locator("#choose").click()
    page.get_by_role("dialog").wait_for()
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert [one["id"] for one in found["violations"] if one["impact"] in ("serious", "critical")] == []
    assert all(re.match(rf"{re.escape(address)}/|about:blank", url) for url in made.elsewhere)


def test_both_lists_can_be_seen_on_a_phone(visit: Any, address: str) -> None:
    page = visit(NARROW).page
    page.goto(f"{address}/#/search?user={USER}&q=tea")
    page.wait_for_selector(".list.own > ol > li")
    assert page.locator(".list.own").is_visible()
    assert not page.locator(".list.plain").is_visible()
    page.get_by_role("button", name="For anybody").click()
    assert page.locator(".list.plain").is_visible()
    assert not page.locator(".list.own").is_visible()
