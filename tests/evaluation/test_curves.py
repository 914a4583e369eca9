"""Curves: what a cut leaves is checked event by event, points against the plain harness, files against each other."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tasteprint.evaluation import curves
from tasteprint.evaluation.curve_page import category_plot, curve_frame, curve_table
from tasteprint.evaluation.curve_run import run_curves
from tasteprint.evaluation.curves import CURVE_MEANINGS, CURVES, as_of_last_rebuild, measure_curves, newest
from tasteprint.evaluation.protocol import Options, make_split
from tasteprint.evaluation.rank import mean, measure, rank, slice_means
from tasteprint.evaluation.significance import clustered_t
from tasteprint.profiling.encoders.encoder import HashEncoder
from tasteprint.profiling.errors import ConfigError
from tasteprint.profiling.log import Requests
from tasteprint.profiling.tables.shop import write_shop
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.retrieval.scorer import TrainingSet
from tasteprint.retrieval.sources.popularity import fit_popular
from tasteprint.retrieval.sources.repeats import fit_own_most_bought

SHOP = tiny_shop()
SPLIT = make_split(SHOP, "time_split", Options())
TRAIN = TrainingSet(SPLIT.train, SHOP.items, None, SPLIT.until_s)
DEFAULT = ("popular", "segments", "own-most-bought", "transitions", "tasteprint")
SCORERS = {"popular": fit_popular(TRAIN), "own": fit_own_most_bought(TRAIN)}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let groups of any size through, for a tiny shop."""
    monkeypatch.setattr(curves, "LEAST", 1)


@pytest.mark.parametrize("n", [0, 1, 3, 10_000])
def test_newest_keeps_the_last_events(n: int) -> None:
    cut = newest(SPLIT.requests, n)
    for row in range(len(cut)):
        whole = np.arange(SPLIT.requests.start[row], SPLIT.requests.stop[row])
        kept = np.arange(cut.start[row], cut.stop[row])
        assert kept.tolist() == whole[len(whole) - min(n, len(whole)) :].tolist()


@pytest.mark.parametrize("period_s", [3600.0, 86_400.0, 604_800.0])
def test_a_rebuilt_profile_knows_what_was_before_the_rebuild(period_s: float) -> None:
    cut, log = as_of_last_rebuild(SPLIT.requests, period_s), SPLIT.requests.log
    for row in range(len(cut)):
        rebuilt = SPLIT.requests.now_s[row] // period_s * period_s
        whole = np.arange(SPLIT.requests.start[row], SPLIT.requests.stop[row])
        assert np.arange(cut.start[row], cut.stop[row]).tolist() == whole[log.at_s[whole] < rebuilt].tolist()
    assert (cut.now_s == SPLIT.requests.now_s).all()


def test_all_events_at_every_event_are_the_plain_evaluation(few: None) -> None:
    points = measure_curves(SPLIT, SCORERS)
    for name, scorer in SCORERS.items():
        for curve, at, least in (("history", "all", 5), ("staleness", "every event", 1)):
            length = SPLIT.requests.stop - SPLIT.requests.start
            point = next(p for p in points if (p.curve, p.at, p.method) == (curve, at, name))
            if curve == "history":
                least = max(int(p.at) for p in points if p.curve == "history" and p.at != "all")
            asked = SPLIT.take(np.flatnonzero(length >= least))
            assert point.value == pytest.approx(mean(measure(rank(scorer, asked), asked)["ndcg@10"]))
            assert point.n == len(asked.requests)


def test_popular_needs_no_history_and_own_has_nothing_else(few: None) -> None:
    found = {(p.at, p.method): p.value for p in measure_curves(SPLIT, SCORERS, ["history"])}
    assert len({value for (_, method), value in found.items() if method == "popular"}) == 1
    assert found["0", "own"] == pytest.approx(found["0", "popular"])
    assert found["all", "own"] > found["0", "own"]


def test_differences_are_paired(few: None) -> None:
    points = measure_curves(SPLIT, SCORERS, ["history"])
    point = next(p for p in points if (p.at, p.method) == ("all", "own"))
    least = max(int(p.at) for p in points if p.at != "all")
    asked = SPLIT.take(np.flatnonzero(SPLIT.requests.stop - SPLIT.requests.start >= least))
    own, popular = (measure(rank(SCORERS[name], asked), asked)["ndcg@10"] for name in ("own", "popular"))
    test = clustered_t(own - popular, asked.cluster)
    assert (point.difference, point.difference_low, point.p) == pytest.approx((test.difference, test.low, test.p))
    assert all(np.isnan(p.p) for p in points if p.method == "popular")


def test_groups_of_shoppers_and_items_are_the_slices(few: None) -> None:
    points = measure_curves(SPLIT, SCORERS, ["shoppers", "items"])
    slices = slice_means(measure(rank(SCORERS["own"], SPLIT), SPLIT), rank(SCORERS["own"], SPLIT), SPLIT)
    by = {(p.curve, p.at): p for p in points if p.method == "own"}
    sizes = [p.n for p in points if p.curve == "shoppers" and p.method == "own"]
    assert sum(sizes) == len(SPLIT.requests)
    assert ("items", "0") in by or "unseen" not in slices
    if "unseen" in slices:
        assert by["items", "0"].value == pytest.approx(slices["unseen"]["ndcg@10"])
    if "no_history" in slices:
        assert by["shoppers", "0"].value == pytest.approx(slices["no_history"]["ndcg@10"])


def test_unseen_items_are_a_slice() -> None:
    counts = np.bincount(SPLIT.train.item, minlength=SPLIT.train.n_items)
    assert (SPLIT.target_slices["unseen"] == (counts[SPLIT.truth.items] == 0)).all()
    assert (SPLIT.target_slices["rare"] | ~SPLIT.target_slices["unseen"]).all()


def test_names_are_checked() -> None:
    with pytest.raises(ConfigError, match="kinds: must be among history, shoppers"):
        measure_curves(SPLIT, SCORERS, ["tea"])
    with pytest.raises(ConfigError, match="against: must be one of popular, own"):
        measure_curves(SPLIT, SCORERS, against="tea")
    with pytest.raises(ConfigError, match="metric: must be one of"):
        measure_curves(SPLIT, SCORERS, ["history"], metric="tea@10")
    with pytest.raises(ConfigError, match="needs an encoder"):
        run_curves(SHOP, ["popular", "tasteprint"])
    assert set(CURVES) == set(CURVE_MEANINGS)


def test_a_cut_only_hides(few: None) -> None:
    """A method that records its requests never sees an event that the whole history has not."""

    class Spy:
        def __init__(self) -> None:
            self.lengths: list[int] = []

        def scores(self, requests: Requests) -> np.ndarray:
            assert (requests.start <= requests.stop).all()
            self.lengths.append(int((requests.stop - requests.start).max()))
            return np.zeros((len(requests), requests.log.n_items), np.float32)

    spy = Spy()
    measure_curves(SPLIT, {"popular": spy}, ["history"])
    assert spy.lengths[0] == 0
    assert spy.lengths[1] == 1
    assert spy.lengths == sorted(spy.lengths)


def test_run_is_deterministic_and_says_what_it_left_out() -> None:
    nameless = replace(SHOP, users=None)
    first, second = (run_curves(nameless, ["popular", "segments"], ["history"]) for _ in range(2))
    assert curve_frame(first.points).equals(curve_frame(second.points))
    assert any(note.startswith("segments tells nothing here") for note in first.notes)
    assert {p.method for p in first.points} == {"popular"}


def test_tables_and_plots(few: None) -> None:
    points = measure_curves(SPLIT, SCORERS)
    assert curve_table(points).count("## ") == len({p.curve for p in points})
    plot = category_plot([p for p in points if p.curve == "history"], label="a < b")
    drawing = ElementTree.fromstring(plot[plot.index("<svg") : plot.index("</svg>") + 6])
    assert drawing.get("role") == "img"
    assert plot.count("<circle") == sum(p.curve == "history" for p in points)


@pytest.mark.parametrize(
    "methods", [("popular", "content"), pytest.param((*DEFAULT,), marks=pytest.mark.slow)], ids=["few", "default"]
)
def test_command_writes_every_form(methods, tmp_path) -> None:
    import typer

    from tasteprint.commands.curves import curves as command

    app = typer.Typer()
    app.command()(command)
    write_shop(SHOP, tmp_path / "shop")
    options = ["--out", str(tmp_path / "out"), "--encoder", f"hash:{HashEncoder(dim=16).dim}", "--kinds", "history"]
    options += [] if methods == DEFAULT else ["--methods", ",".join(methods)]
    found = CliRunner().invoke(app, [str(tmp_path / "shop"), *options, "--json"])
    assert found.exit_code == 0, found.output
    said = json.loads((tmp_path / "out" / "curves.json").read_text())
    assert said["protocol"] == "time_split"
    frame = pd.read_csv(tmp_path / "out" / "curves.csv", dtype={"at": str})
    assert frame["value"].tolist() == pytest.approx([p["value"] for p in said["points"]])
    assert set(frame["method"]) == set(methods)
    page = (tmp_path / "out" / "curves.html").read_text()
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "| all |" in (tmp_path / "out" / "curves.md").read_text()
