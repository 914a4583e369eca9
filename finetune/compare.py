"""Comparing fine-tuning runs: runs that differ by seed only are one arm, arms are tested against each other, paired.

Where all runs were measured on the shop's test (or validation) judgements, the tests are over its queries,
values meaned over an arm's seeds; where not, only the held-out figures of training stand side by side. Covers reading,
testing, the table and the page; measuring is `exam`'s work.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..evaluation.report_page import esc, page, table
from ..evaluation.report_plots import Bar, bar_plot
from ..evaluation.results import markdown_table
from ..evaluation.significance import clustered_t, compare
from ..profiling.errors import ConfigError
from .curves import line_plot, series
from .run import Outcome, read_curve, read_outcome, read_run_config
from .train_config import FinetuneConfig

EXAM = "exam"
"""Folder inside a run that holds its measurements on judgements, one folder a stage."""

METRICS = ("ndcg@10", "recall@100")


@dataclass(frozen=True, eq=False)
class Arm:
    """Runs that differ by seed only.

    Attributes:
        name: what sets it apart from the others
        runs: their folders
        outcomes: what each gave
        each: (protocol, metric) -> value of every query, mean over the runs, (n_queries,); empty where not measured
        means: (protocol, metric) -> value of every run, (n_runs,)
    """

    name: str
    runs: tuple[Path, ...]
    outcomes: tuple[Outcome, ...]
    each: Mapping[tuple[str, str], NDArray[np.float64]]
    means: Mapping[tuple[str, str], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Arms side by side.

    Attributes:
        arms: in the order their first runs were named; ``base`` and ``bm25`` last where there are measurements
        tests: rows of `significance.compare`, with the protocol; the first arm is tested against each other one
        stage: of the measurements, None without any
    """

    arms: tuple[Arm, ...]
    tests: tuple[Mapping[str, Any], ...]
    stage: str | None


def compare_runs(folders: Sequence[str | Path], *, stage: str = "test") -> Comparison:
    """Read finished runs of one shop and test the first one's arm against the others.

    Raises:
        ConfigError: a folder holds no finished run, or runs were measured on different queries.
    """
    paths = [Path(folder) for folder in folders]
    configs = [read_run_config(path) for path in paths]
    groups: dict[str, list[int]] = {}
    for row, config in enumerate(configs):
        groups.setdefault(config.arm(), []).append(row)
    names = arm_names([configs[rows[0]] for rows in groups.values()])
    measured = all((path / EXAM / stage).is_dir() for path in paths)
    arms = [
        _arm(name, [paths[row] for row in rows], stage if measured else None)
        for name, rows in zip(names, groups.values(), strict=True)
    ]
    if measured:
        arms += [_rival(name, paths[0], stage) for name in ("base", "bm25")]
    return Comparison(tuple(arms), tuple(_tests(arms)), stage if measured else None)


def arm_names(configs: Sequence[FinetuneConfig]) -> list[str]:
    """What sets each configuration apart: the settings in which they differ; one alone is named by its adapter.

    >>> arm_names([FinetuneConfig.model_validate({"loss": {"name": n}}) for n in ("info_nce", "listwise")])
    ['loss.name=info_nce', 'loss.name=listwise']
    """
    from ..profiling.layers import flatten

    flat = [dict(flatten(config.model_dump(mode="json", exclude={"shop"}))) for config in configs]
    odd = [
        key
        for key in dict.fromkeys(k for one in flat for k in one)
        if key != "train.seed" and len({json.dumps(one.get(key)) for one in flat}) > 1
    ]
    if not odd:
        return [config.adapter.kind for config in configs]
    return [" ".join(f"{key}={one.get(key)}" for key in odd) for one in flat]


def as_json(found: Comparison) -> dict[str, Any]:
    """Arms, figures and tests as JSON values."""
    return {
        "stage": found.stage,
        "arms": [
            {
                "name": arm.name,
                "runs": [str(path) for path in arm.runs],
                "held_out": {key: _spread([o.tuned[key] for o in arm.outcomes]) for key in _keys(arm)},
                "measured": {f"{p} {m}": _spread(values) for (p, m), values in arm.means.items()},
            }
            for arm in found.arms
        ],
        "tests": [dict(test) for test in found.tests],
    }


def as_markdown(found: Comparison) -> str:
    """The comparison as Markdown tables: mean and standard deviation over seeds, then the tests."""
    measured = list(found.arms[0].means) if found.stage else []
    held = _keys(found.arms[0])
    heads = [f"{p} {m}" for p, m in measured] if found.stage else [f"held out {key}" for key in held]
    rows = []
    for arm in found.arms:
        values = [arm.means[key] for key in measured] if found.stage else [_tuned(arm, key) for key in held]
        trained = f"{arm.outcomes[0].trained / arm.outcomes[0].parameters:.2%}" if arm.outcomes else ""
        rows.append([arm.name, str(len(arm.runs) or ""), trained, *(_said(v) for v in values)])
    parts = [markdown_table(["arm", "seeds", "trained", *heads], rows)]
    if found.tests:
        lines = [[t["protocol"], t["metric"], t["a"], t["b"], *_test_cells(t)] for t in found.tests]
        parts.append(markdown_table(["protocol", "metric", "a", "b", "a - b", "95 % interval", "p (Holm)"], lines))
    return "\n\n".join(parts) + "\n"


def comparison_page(found: Comparison) -> str:
    """The comparison as one HTML page with bars and learning curves."""
    parts = [
        '<header><p class="kicker">Fine-tuning</p><h1>Runs compared</h1>',
        f'<p class="lead">{len(found.arms)} arms; runs of one arm differ by seed only.</p></header>',
    ]
    for key in found.arms[0].means:
        bars = [_bar(arm, key, strong=n == 0) for n, arm in enumerate(found.arms)]
        parts.append(f"<h2>{esc(key[0])}: {esc(key[1])}</h2>" + bar_plot(bars, label=f"{key[0]} {key[1]}"))
    if found.tests:
        rows = [
            [esc(f"{t['a']} against {t['b']}"), esc(f"{t['protocol']} {t['metric']}"), *_test_cells(t)]
            for t in found.tests
        ]
        parts.append("<h2>Is it luck?</h2>")
        parts.append(
            table(["arms", "figure", "difference", "95 % interval", "p (Holm)"], rows, numeric=frozenset({2, 3, 4}))
        )
    curves = {
        f"{arm.name} ({path.name})": [(0.0, float(outcome.base["score"])), *series(read_curve(path), "eval_score")]
        for arm in found.arms
        for path, outcome in zip(arm.runs, arm.outcomes, strict=True)
    }
    parts.append("<h2>Learning</h2>" + line_plot(curves, label="Mean of the figures on held-out anchors", x="step"))
    return page("Fine-tuning runs compared", "".join(parts))


def _arm(name: str, paths: list[Path], stage: str | None) -> Arm:
    """An arm of finished runs."""
    outcomes = tuple(read_outcome(path) for path in paths)
    if stage is None:
        return Arm(name, tuple(paths), outcomes, {}, {})
    tables = [_values(path, stage, "tuned") for path in paths]
    each, means = _meaned(tables, paths)
    return Arm(name, tuple(paths), outcomes, each, means)


def _rival(name: str, path: Path, stage: str) -> Arm:
    """The base or BM25, as one run's measurement has it: they have no seeds."""
    each, means = _meaned([_values(path, stage, name)], [path])
    return Arm(name, (), (), each, means)


def _meaned(
    tables: Sequence[Mapping[tuple[str, str], pd.Series]], paths: Sequence[Path]
) -> tuple[dict[tuple[str, str], NDArray[np.float64]], dict[tuple[str, str], NDArray[np.float64]]]:
    """Values of every query meaned over runs, and each run's mean."""
    each, means = {}, {}
    for key in tables[0]:
        for table_, path in zip(tables, paths, strict=True):
            if key not in table_ or not table_[key].index.equals(tables[0][key].index):
                raise ConfigError(f"run {path}: was measured on other queries than {paths[0]}; measure both again")
        stacked = np.stack([t[key].to_numpy(np.float64) for t in tables])  # (n_runs, n_queries)
        each[key] = stacked.mean(axis=0)
        means[key] = np.array([float(np.nanmean(row)) for row in stacked])
    return each, means


def _values(path: Path, stage: str, method: str) -> dict[tuple[str, str], pd.Series]:
    """(protocol, metric) -> value of every query, by its text."""
    found = {}
    for folder in sorted((path / EXAM / stage).iterdir()):
        rows = pd.read_parquet(folder / "per_request.parquet").set_index("query")
        for metric in METRICS:
            if f"{metric}:{method}" in rows and not (folder.name.endswith("rerank") and metric == "recall@100"):
                found[(folder.name, metric)] = rows[f"{metric}:{method}"]
    return found


def _tests(arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """The first arm against each other one, corrected together for each figure."""
    rows: list[dict[str, Any]] = []
    for protocol, metric in arms[0].each:
        values = {arm.name: arm.each[(protocol, metric)] for arm in arms}
        lengths = {len(v) for v in values.values()}
        if len(lengths) > 1:
            raise ConfigError(f"runs were measured on different queries ({protocol}); measure them again")
        cluster = np.arange(lengths.pop())
        rows += [{"protocol": protocol, **row} for row in compare(values, arms[0].name, cluster, metric=metric)]
    return rows


def _test_cells(test: Mapping[str, Any]) -> list[str]:
    """Difference, its interval and corrected p of a test, in words."""
    interval = f"{test['low']:+.4f} to {test['high']:+.4f}"
    return [f"{test['difference']:+.4f}", interval, f"{test['p_holm']:.2g}"]


def _bar(arm: Arm, key: tuple[str, str], *, strong: bool) -> Bar:
    values = arm.each[key]
    around = clustered_t(values, np.arange(len(values)))
    return Bar(arm.name, float(np.nanmean(values)), around.low, around.high, strong)


def _keys(arm: Arm) -> list[str]:
    return list(arm.outcomes[0].tuned) if arm.outcomes else []


def _tuned(arm: Arm, key: str) -> NDArray[np.float64]:
    return np.array([outcome.tuned.get(key, np.nan) for outcome in arm.outcomes])


def _spread(values: Sequence[float] | NDArray[np.float64]) -> dict[str, Any]:
    array = np.asarray(values, dtype=np.float64)
    return {
        "mean": float(array.mean()),
        "sd": float(array.std(ddof=1)) if len(array) > 1 else None,
        "runs": [float(value) for value in array],
    }


def _said(values: NDArray[np.float64]) -> str:
    if not len(values):
        return ""
    spread = f" ± {values.std(ddof=1):.4f}" if len(values) > 1 else ""
    return f"{values.mean():.4f}{spread}"
