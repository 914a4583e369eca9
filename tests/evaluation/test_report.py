"""The HTML report: whole, self-contained, and with the numbers of results.json."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from tasteprint.commands.evaluate import evaluate as command
from tasteprint.evaluation.harness import evaluate
from tasteprint.evaluation.protocol import Options
from tasteprint.evaluation.report import intervals, report_html, verdict, write_report
from tasteprint.evaluation.report_plots import axis_step
from tasteprint.evaluation.results import Results, as_json, per_request
from tasteprint.profiling.errors import ArtefactError
from tasteprint.profiling.tables.shop import write_shop
from tasteprint.profiling.tables.tiny import tiny_shop

VOID = {"meta", "br", "hr", "img", "input", "link", "rect", "line", "circle", "path", "polyline", "polygon"}


class Nesting(HTMLParser):
    """Fails on a tag that closes another one; gathers text and attributes."""

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


def parsed(html: str) -> Nesting:
    reader = Nesting()
    reader.feed(html)
    reader.close()
    assert not reader.open
    return reader


@pytest.fixture(scope="module")
def results() -> Results:
    return evaluate(tiny_shop(), "time_split", ["popular", "own-most-bought", "transitions"], options=Options())


def test_the_page_holds_the_numbers_of_the_json(results: Results, tmp_path: Path) -> None:
    told = json.loads(json.dumps(as_json(results)))
    html = write_report(told, per_request(results), tmp_path / "out").read_text(encoding="utf-8")
    text = " ".join(parsed(html).text)
    for name, run in told["methods"].items():
        assert name in text
        for key in ("ndcg@10", "recall@10", "recall@100", "mrr@10"):
            assert f"{run[key]:.4f}" in text
        for part in run["per_slice"].values():
            assert f"{part['ndcg@10']:.4f}" in text
    for test in told["tests"]:
        if test["metric"] == "ndcg@10":
            assert f"{test['difference']:+.4f}" in text
    assert f"{told['n']:,}" in text
    for note in told["notes"]:
        assert note in text


def test_nothing_is_loaded_from_anywhere(results: Results) -> None:
    html = report_html(as_json(results), {})
    loads = {"src", "href", "srcset", "data", "action", "poster"}
    for tag, attributes in parsed(html).seen:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed"}
        assert not loads & set(attributes)
    assert "url(" not in html
    assert "@import" not in html
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", html)
    assert len(html) < 1_000_000


def test_every_plot_has_words(results: Results) -> None:
    plots = [a for tag, a in parsed(report_html(as_json(results), {})).seen if tag == "svg"]
    assert plots
    assert all(a.get("role") == "img" and a.get("aria-label") for a in plots)


def test_names_cannot_break_the_page() -> None:
    told = {"shop": "<b>&\"x'", "protocol": "labels", "n": 1, "methods": {"<i>": {"accuracy": 0.5}}, "notes": ["<u>"]}
    html = report_html(told, {})
    seen = {tag for tag, _ in parsed(html).seen}
    assert not {"b", "i", "u"} & seen


def test_unknown_values_stay_empty() -> None:
    told = {"shop": "s", "protocol": "time_split", "n": 0, "methods": {"a": {"ndcg@10": None}}, "notes": []}
    assert "nan" not in report_html(told, {}).lower()
    assert verdict({**told, "methods": {}}) == "No method ran."


def test_intervals_are_clustered_by_user() -> None:
    # Two shoppers with means 0 and 1: only two independent values, whatever the number of their requests.
    table = pd.DataFrame({"user_id": ["a"] * 50 + ["b"] * 50, "ndcg@10:m": [0.0] * 50 + [1.0] * 50})
    told = {"methods": {"m": {"ndcg@10": 0.5}}}
    low, high = intervals(told, table)["m"]
    assert (low + high) / 2 == pytest.approx(0.5)
    assert high - 0.5 == pytest.approx(12.7062 * 0.5, rel=1e-4)  # t(0.975, 1) times the error of two values
    alone = intervals(told, table.assign(user_id=np.arange(100)))["m"]
    assert alone[1] - 0.5 == pytest.approx(1.984217 * 0.5 / np.sqrt(99), rel=1e-4)


def test_luck_is_called_luck() -> None:
    methods = {"a": {"ndcg@10": 0.2}, "b": {"ndcg@10": 0.1}}
    test = {"metric": "ndcg@10", "a": "a", "b": "b", "difference": 0.1, "low": 0.0, "high": 0.2, "p_holm": 0.2}
    told = {"shop": "s", "protocol": "time_split", "n": 9, "methods": methods}
    assert "may be luck" in verdict({**told, "tests": [{**test, "significant": False}]})
    assert "is not luck" in verdict({**told, "tests": [{**test, "p_holm": 1e-20, "significant": True}]})


@pytest.mark.parametrize("highest", [0.003, 0.0999, 0.1, 0.137, 0.9, 3.0])
def test_axis_covers_and_is_short(highest: float) -> None:
    step, top = axis_step(highest)
    assert top >= highest - 1e-12
    assert top - step < highest + 1e-12
    assert 2 <= round(top / step) <= 8


def test_evaluate_writes_it_beside_the_json(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(command)
    write_shop(tiny_shop(), tmp_path / "shop")
    words = [tmp_path / "shop", "-p", "time_split", "-m", "popular,own-most-bought", "-o", tmp_path / "out"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "out" / "results.json").read_text())
    assert f"{told['methods']['popular']['mrr@10']:.4f}" in (tmp_path / "out" / "report.html").read_text()


def test_a_folder_that_cannot_be(results: Results, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtefactError, match="cannot be written"):
        write_report(as_json(results), per_request(results), tmp_path / "file")
