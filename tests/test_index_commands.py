"""``tasteprint index`` and ``bench index``, and what they work on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tasteprint.bench.index import IndexRow, bench_index
from tasteprint.bench.index_table import bench_table
from tasteprint.bench.memory import resident_bytes, watch
from tasteprint.bench.rivals import RIVALS
from tasteprint.bench.vectors import fit_mixture
from tasteprint.commands import index as index_command
from tasteprint.index_task import Task, enlarged, matrix_task, workspace_task
from tasteprint.profiling.errors import ArtefactError, ConfigError
from tasteprint.retrieval.index.store import measured, open_index
from tasteprint.retrieval.one_shopper import no_history
from tasteprint.workspace import open_workspace


def app() -> typer.Typer:
    made = typer.Typer()
    made.add_typer(index_command.app, name="index")
    made.command("bench")(index_command.bench_index_command)
    return made


def vectors(n: int, widths: tuple[int, ...] = (12, 8)) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((15, sum(widths)))
    rows = centres[rng.integers(15, size=n)] + 0.5 * rng.standard_normal((n, sum(widths)))
    stops = np.cumsum(widths)
    blocks = [rows[:, stop - width : stop] for width, stop in zip(widths, stops, strict=True)]
    return np.hstack([b / np.linalg.norm(b, axis=1, keepdims=True) for b in blocks]).astype(np.float32)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rows = vectors(3000)
    queries = vectors(400)[200:]
    queries[:60, 12:] = 0
    queries[60:120, :12] = 0
    np.save(tmp_path / "items.npy", rows)
    np.save(tmp_path / "queries.npy", queries)
    return tmp_path


def run(*words: str) -> str:
    result = CliRunner().invoke(app(), list(words))
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.stdout


def test_plan_says_what_each_kind_takes_and_which_is_chosen() -> None:
    said = json.loads(run("index", "plan", "--rows", "1000000", "--dims", "384", "--json"))
    assert said["kind"] in said["choices"]
    assert said["choices"]["flat"]["resident_bytes"] == 1_000_000 * 384 * 4
    assert "chosen" in run("index", "plan", "--rows", "1000", "--dims", "16")


def test_build_publishes_an_index_with_what_was_measured(files: Path) -> None:
    out = str(files / "index")
    where = ["--matrix", f"{files}/items.npy", "--queries", f"{files}/queries.npy", "--widths", "12,8"]
    said = json.loads(run("index", "build", *where, "--out", out, "--kind", "ivf-pq", "--sample", "60", "--json"))
    kept = measured(out)
    assert kept == said
    assert set(kept["measured"]["recall"]) == {"block 1", "block 2", "blocks 1+2"}
    assert min(kept["measured"]["recall"].values()) > 0.8
    assert kept["bytes"]["resident"]["used"] == open_index(out).resident_bytes
    assert open_index(out).kind == "ivf-pq"
    assert "recall at 10" in run("index", "build", *where, "--out", out, "--kind", "flat")


def test_bench_prints_a_table(files: Path) -> None:
    where = ["--matrix", f"{files}/items.npy", "--queries", f"{files}/queries.npy", "--widths", "12,8"]
    said = run(
        "bench", *where, "--kinds", "flat,ivf-sq8", "--rivals", "numpy,faiss-flat", "--rounds", "1", "--sample", "30"
    )
    assert "| ivf-sq8 |" in said
    assert "grouped 0.001" in said
    assert said.count("| 1.000 | 1.000 | 1.000 |") >= 2


def test_bench_of_every_rival_finds_the_truth_and_filters_hold() -> None:
    rows = vectors(2500)
    task = Task(rows, (12, 8), {"both": vectors(2560)[2500:]}, "made")
    ticks = iter(range(10**7))
    found = bench_index(
        task, kinds=["ivf-pq", "flat-fp16"], rivals=list(RIVALS), rounds=2, clock=lambda: float(next(ticks)),
        pause=lambda: None, shares=(0.1, 0.01),
    )  # fmt: skip
    assert [row.name for row in found] == ["ivf-pq", "flat-fp16", *RIVALS]
    for row in found:
        if row.absent:
            assert "run: pip install" in row.absent
            continue
        assert row.recall["both"] >= (0.2 if row.name == "faiss-ivf-pq" else 0.85), row.name  # it does not rescore
        assert row.per_s > 0
    for name in ("spread 0.1", "grouped 0.1", "spread 0.01", "grouped 0.01"):
        assert found[0].filtered[name].violations == 0
        assert found[0].filtered[name].full == 1.0
        assert found[0].filtered[name].recall >= 0.95
    table = bench_table([*found, IndexRow("gone", absent="not here; run: pip install it")])
    assert table.count("\n") >= len(found)
    assert "gone: not here" in table


def test_unknown_contenders_are_named() -> None:
    task = Task(vectors(50), (20,), {"all": vectors(10)}, "made")
    with pytest.raises(ConfigError, match=r"contenders must be among flat,.*got lsh"):
        bench_index(task, kinds=["lsh"], rivals=[], rounds=1, clock=lambda: 0.0, pause=lambda: None)


def test_drawn_vectors_are_distributed_as_the_real_ones() -> None:
    real = vectors(4000)
    drawn = fit_mixture(real, (12, 8), n_clusters=40).draw(30_000, rng=np.random.default_rng(1))
    np.testing.assert_allclose(np.linalg.norm(drawn[:, :12], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(drawn[:, 12:], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(drawn.mean(0), real.mean(0), atol=0.02)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(real.T), atol=0.01)
    uniform = np.random.default_rng(2).standard_normal(real.shape)
    assert np.abs(np.cov(uniform.T) / 20 - np.cov(real.T)).max() > 0.03  # the comparison can fail


def test_more_rows_keep_queries_and_say_where_they_come_from() -> None:
    task = Task(vectors(1000), (12, 8), {"both": vectors(10)}, "texts")
    large = enlarged(task, 2345, rng=np.random.default_rng(0))
    assert large.vectors.shape == (2345, 20)
    assert large.queries is task.queries
    assert large.source == "2,345 drawn from a mixture of 20 Gaussians fitted to 1,000 texts"


def test_queries_in_a_file_are_taken_by_what_they_weigh(files: Path) -> None:
    task = matrix_task(
        files / "items.npy", 15, rng=np.random.default_rng(0), queries=files / "queries.npy", widths=(12, 8)
    )
    assert {mix: len(asked) for mix, asked in task.queries.items()} == {"block 1": 15, "block 2": 15, "blocks 1+2": 15}
    assert not task.queries["block 1"][:, 12:].any()
    assert not task.queries["block 2"][:, :12].any()


def test_matrices_that_do_not_fit_are_refused(files: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(files / "narrow.npy", np.ones((5, 3), np.float32))
    for options, words in (
        ({"queries": files / "narrow.npy"}, "--queries must have 20 columns"),
        ({"widths": (12, 9)}, "--widths must add up to 20"),
    ):
        with pytest.raises(ConfigError, match=words):
            matrix_task(files / "items.npy", 10, rng=rng, **options)
    with pytest.raises(ConfigError, match="cannot be read"):
        matrix_task(files / "none.npy", 10, rng=rng)


def test_bytes_taken_and_given_back_are_seen() -> None:
    if not resident_bytes():
        pytest.skip("this system does not say")

    def work() -> np.ndarray:
        passing = np.ones(10_000_000)
        return passing[:5_000_000].copy()  # large enough that it is mapped anew, not taken from what is free

    seen = watch(work)
    assert 30e6 < seen.held < 60e6
    assert 80e6 < seen.peak < 160e6


def test_a_workspace_asks_with_its_own_shoppers_and_words(tiny_workspace: Path, tmp_path: Path) -> None:
    opened = open_workspace(tiny_workspace)
    task = workspace_task(opened, 12, rng=np.random.default_rng(0))
    assert task.vectors is opened.engine.texts
    assert sum(task.widths) == task.vectors.shape[1]
    meaning, taste = task.widths[0], slice(task.widths[0], None)
    assert (task.queries["meaning"][:, taste] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(task.queries["meaning"], axis=1), 1, atol=1e-5)
    assert (task.queries["taste"][:, :meaning] == 0).all()
    assert task.queries["taste"].any(axis=1).all()
    out = tmp_path / "index"
    said = run("index", "build", "-w", str(tiny_workspace), "--out", str(out), "--kind", "ivf-sq8", "--sample", "12")
    assert "recall at 10: meaning" in said
    open_index(out, stamp=opened.encoder.stamp)
    with pytest.raises(ArtefactError, match="vectors of different encoders"):
        open_index(out, stamp=replace(opened.encoder.stamp, weights="0" * 64))
    assert "chosen" in run("index", "plan", "-w", str(tiny_workspace))


def test_a_workspace_without_shoppers_asks_with_words_alone(tiny_workspace: Path) -> None:
    opened = open_workspace(tiny_workspace)
    nobody = replace(opened.engine, log=no_history(opened.engine.log))
    task = workspace_task(replace(opened, engine=nobody), 5, rng=np.random.default_rng(0))
    assert "taste" not in task.queries
    taste = slice(task.widths[0], None)
    for asked in task.queries.values():
        assert len(asked) == 5
        assert not asked[:, taste].any()
    assert task.queries["meaning"].any(axis=1).all()
