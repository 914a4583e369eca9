"""The demo on the tiny shop: the whole path, what is kept, what is shown, what the page holds."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
import typer
from typer.testing import CliRunner

from tasteprint.commands.demo import demo
from tasteprint.config import Settings, load_settings
from tasteprint.demo.answers import DISCOVERY, choose_query, discovering, first_events, name_of, personal
from tasteprint.demo.map import taste_map
from tasteprint.demo.page import story_html
from tasteprint.demo.people import Tastes, far_apart, newcomer, tastes
from tasteprint.demo.run import INSTALL, Demo, as_built, run_demo
from tasteprint.demo.story import Story
from tasteprint.profiling.encoders.encoder import EncoderConfig
from tasteprint.profiling.errors import ExtraMissingError, ShopError
from tasteprint.profiling.log import EventLog
from tasteprint.profiling.tables.shop import Shop, write_shop
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.retrieval.engine import one_user
from tasteprint.retrieval.ranking import Recommendation
from tasteprint.retrieval.sources.neighbours import NeighboursModel
from tasteprint.workspace import Workspace, open_workspace

SETTINGS = Settings(encoder=EncoderConfig(name="hash:64"))
VOID = {"meta", "br"}


class Nesting(HTMLParser):
    """Fails on a tag that closes another one; gathers text, tags and attributes."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo")
    write_shop(tiny_shop(), path / "shop")
    return path


@pytest.fixture(scope="module")
def made(folder: Path) -> Demo:
    return run_demo(folder / "out", folder / "ws", shop=folder / "shop", settings=SETTINGS)


@pytest.fixture(scope="module")
def opened(made: Demo, folder: Path) -> Workspace:
    return open_workspace(folder / "ws")


def page_of(made: Demo) -> Nesting:
    reader = Nesting()
    reader.feed(made.report.read_text(encoding="utf-8"))
    reader.close()
    assert not reader.open
    return reader


def test_the_page_holds_the_story_and_the_numbers(made: Demo, folder: Path) -> None:
    story, text = made.story, " ".join(" ".join(page_of(made).text).split())
    assert made.fresh
    told = json.loads((folder / "out" / "results.json").read_text())
    assert told["methods"].keys() >= {"popular", "own-most-bought", "tasteprint"}
    for run in told["methods"].values():
        assert f"{run['ndcg@10']:.4f}" in text
        assert f"{run['recall@100']:.4f}" in text
    for shopper in story.pair:
        assert shopper.user_id in text
        assert all(" ".join(line.split()) in text for line in shopper.summary)
        assert all(row.title in text and row.reason in text for row in shopper.results)
    assert all(row.title in text for row in story.question.plain)
    assert all(item.title in text for step in story.warming for item in step.items)
    for note in told["notes"]:
        assert note in text


def test_the_page_loads_nothing_and_speaks(made: Demo) -> None:
    html, reader = made.report.read_text(encoding="utf-8"), page_of(made)
    for tag, attributes in reader.seen:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed"}
        assert not {"src", "href", "srcset", "action"} & set(attributes)
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", html)
    assert "url(" not in html
    assert len(html) < 1_000_000
    depth_one = [a for tag, a in reader.seen if tag == "svg" and "x" not in a]
    assert depth_one
    assert all(a.get("aria-label") for a in depth_one)
    assert [tag for tag, _ in reader.seen].count("h1") == 1


def test_the_second_run_only_reads(made: Demo, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasteprint.demo.run.open_workspace", lambda *_: pytest.fail("opened again"))
    monkeypatch.setattr("tasteprint.demo.run.evaluate", lambda *_, **__: pytest.fail("measured again"))
    again = run_demo(folder / "elsewhere", folder / "ws", shop=folder / "shop", settings=SETTINGS)
    assert not again.fresh
    assert again.story == made.story
    assert again.report.read_bytes() == made.report.read_bytes()


def test_a_damaged_story_is_told_anew(made: Demo, folder: Path) -> None:
    kept = (folder / "ws" / "story.json").read_text()
    (folder / "ws" / "story.json").write_text(kept[: len(kept) // 2])
    again = run_demo(folder / "third", folder / "ws", shop=folder / "shop", settings=SETTINGS)
    assert again.fresh
    alike = {"results": None, "seconds": {}}
    assert again.story.model_copy(update=alike) == made.story.model_copy(update=alike)


def test_the_two_are_the_farthest_apart() -> None:
    # Six shoppers on a line; the two busiest thirds are rows 4 and 5, whatever lies farther out.
    counts = np.array([1, 1, 1, 1, 9, 8])
    start = np.concatenate([[0], np.cumsum(counts)])
    blank = np.zeros(counts.sum(), dtype=np.float32)
    log = EventLog(
        np.array(list("abcdef"), dtype=object), np.array(["i"], dtype=object), start, blank.astype(np.int32),
        blank.astype(np.float64), blank.astype(np.int8), blank + 1, blank, blank,
    )  # fmt: skip
    vectors = np.array([[9, 0], [-9, 0], [3, 0], [-3, 0], [1, 0], [-1, 0]], dtype=np.float32)
    assert set(far_apart(log, Tastes(np.arange(6), vectors))) == {4, 5}
    with pytest.raises(ShopError, match="this shop has 1 with events"):
        far_apart(log, Tastes(np.arange(1), vectors[:1]))


def test_the_newcomer_is_another_and_steps_grow(made: Demo, opened: Workspace) -> None:
    log = opened.engine.log
    rows = far_apart(log, tastes(opened))
    row = newcomer(log, least=3, besides=rows)
    assert row not in rows
    story = made.story
    assert [step.seen for step in story.warming] == sorted({min(n, story.newcomer_events) for n in (0, 1, 3, 10)})
    assert sum(len(step.latest) for step in story.warming) == story.warming[-1].seen
    assert story.warming[0].latest == ()
    whole = one_user(log, row)
    assert first_events(whole, 2).item.tolist() == whole.item[:2].tolist()


def test_ranks_and_moves_are_those_of_the_engine(made: Demo, opened: Workspace) -> None:
    query, now_s = made.story.question.text, opened.last_s + 1.0
    plain = opened.engine.answer(query=query, now_s=now_s, k=400, weights={"meaning": 1.0}, explain=False).items
    names = list(dict.fromkeys(name_of(item.title) for item in plain))
    for shopper in made.story.pair:
        assert [row.rank for row in shopper.results] == list(range(1, len(shopper.results) + 1))
        for row in shopper.results:
            assert row.plain_rank == names.index(name_of(row.title)) + 1


class Echo:
    """An engine that answers with fixed titles: these in plain search, those for a shopper."""

    def __init__(self, plain: list[str], mine: list[str]) -> None:
        self.plain, self.mine = plain, mine

    def answer(self, *, k: int, user: str | None = None, **_: object) -> SimpleNamespace:
        titles = (self.plain if user is None else self.mine)[:k]
        items = [Recommendation(f"{t}-{r}", t, -r, r, (), f"why {r}") for r, t in enumerate(titles, start=1)]
        return SimpleNamespace(items=items)


def test_places_count_names_not_sizes() -> None:
    plain = ["Jam, 200 g", "Jam, 400 g", "Tea (black), 20 bags", "Rice, 1 kg"]
    mine = ["Rice, 5 kg", "Rice, 1 kg", "Jam, 400 g", "Soap"]
    rows = personal(Echo(plain, mine), "u", "food", 0.0, lambda item_id: item_id)  # type: ignore[arg-type]
    told = [(row.rank, row.title, row.plain_rank, row.reason) for row in rows]
    assert told == [
        (1, "Rice, 5 kg", 3, "why 1"),
        (2, "Jam, 400 g", 1, "why 3"),
        (3, "Soap", None, "why 4"),
    ]


def test_answers_rank_by_the_demo_s_engine(made: Demo, opened: Workspace) -> None:
    engine, query, now_s = discovering(opened.engine), made.story.question.text, opened.last_s + 1.0
    assert set(engine.recommender.weights) - {"meaning", "bm25"} <= set(DISCOVERY)
    for shopper in made.story.pair:
        items = engine.answer(user=shopper.user_id, query=query, now_s=now_s, k=3000, explain=False).items
        names = list(dict.fromkeys(name_of(item.title) for item in items))
        assert [name_of(row.title) for row in shopper.results] == names[: len(shopper.results)]


def test_the_query_divides_most(opened: Workspace, made: Demo) -> None:
    users = (made.story.pair[0].user_id, made.story.pair[1].user_id)
    assert choose_query(opened.engine, users, opened.last_s + 1.0, ["tea"]) == "tea"
    with pytest.raises(ShopError, match="no candidates"):
        choose_query(opened.engine, users, opened.last_s + 1.0, [])


def test_shares_of_interest_are_shares(made: Demo) -> None:
    for shopper in made.story.pair:
        told = shopper.timeline
        assert all(len(line.share) == len(told.days) for line in told.lines)
        assert {line.name for line in told.lines} <= set(shopper.tags)


def test_map_marks_the_two(made: Demo, opened: Workspace) -> None:
    found = tastes(opened)
    told = taste_map(opened.engine.log, opened.items, found, (int(found.rows[0]), int(found.rows[-1])))
    assert told.shoppers == len(found.rows) == len(told.dots)
    assert told.marked == (told.dots[0], told.dots[-1])
    assert 0 < told.explained <= 1
    assert max(dot.group for dot in told.dots) < len(told.groups)


def test_the_measured_pipeline_is_the_built_one(opened: Workspace) -> None:
    chosen = as_built(opened.engine.recommender, opened.settings.recommender)
    personal = {n: w for n, w in opened.engine.recommender.weights.items() if n not in ("meaning", "bm25")}
    assert chosen.weights == personal
    repeat = opened.engine.recommender.sources.get("repeat")
    if repeat is not None:
        assert chosen.recommender.repeat.half_life_days * 86_400 == pytest.approx(repeat.half_life_s)


def test_the_measured_pipeline_counts_as_the_built_one(opened: Workspace) -> None:
    model = opened.engine.recommender
    one = NeighboursModel(sp.csr_matrix((3, 3), dtype=np.float32), np.zeros(3, np.float32), 0.7, 9, "together", True)
    built = replace(model, sources={**model.sources, "directions": one}, weights={**model.weights, "directions": 0.1})
    chosen = as_built(built, opened.settings.recommender).recommender.directions
    assert (chosen.counts, chosen.directions, chosen.decay) == ("log", 128, 0.7)


def test_without_the_extra_the_line_that_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExtraMissingError, match=re.escape(INSTALL)):
        run_demo(tmp_path / "out", tmp_path / "ws")
    assert not (tmp_path / "ws").exists()


def test_a_shop_without_events(tmp_path: Path) -> None:
    whole = tiny_shop()
    write_shop(Shop("bare", items=whole.items, meta={**whole.meta, "name": "bare"}), tmp_path / "shop")
    with pytest.raises(ShopError, match="has no events"):
        run_demo(tmp_path / "out", tmp_path / "ws", shop=tmp_path / "shop", settings=SETTINGS)


def test_names_cannot_break_the_page(made: Demo) -> None:
    shopper = made.story.pair[0].model_copy(update={"user_id": "<script>", "summary": ("<b>&",), "tags": ("<i>",)})
    html = story_html(made.story.model_copy(update={"pair": (shopper, shopper), "shop": "<u>"}))
    assert not re.search(r"<(script|i|u)>", html)


def test_the_committed_settings_are_the_demo_s_own() -> None:
    loaded = load_settings(Path(__file__).parents[1] / "configs" / "demo.toml", environ={})
    assert loaded.settings == Settings()


def test_the_command(made: Demo, folder: Path) -> None:
    app = typer.Typer()
    app.command()(demo)
    words = ["--shop", folder / "shop", "-w", folder / "ws", "-o", folder / "out", "--set", "encoder.name=hash:64"]
    told = CliRunner().invoke(app, [str(word) for word in words])
    assert told.exit_code == 0, told.output
    assert made.story.pair[0].user_id in told.stdout
    assert "tasteprint" in told.stdout
    assert "report.html" in told.stdout
    as_json = CliRunner().invoke(app, [str(word) for word in [*words, "--json"]])
    assert Story.model_validate_json(as_json.stdout).pair == made.story.pair
    help_text = CliRunner().invoke(app, ["--help"])
    assert "Examples" in help_text.output
