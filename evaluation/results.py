"""What an evaluation found: the `Results` noun, its JSON in the fixed shape, a Markdown table, and writing them whole.

The JSON's first level is ``shop protocol n methods tests`` as scripts expect, plus keys that say how the numbers were
made. Plots and the HTML report are `report`'s work, which reads what is written here.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..profiling.errors import ArtefactError

COLUMNS = ("ndcg@10", "recall@10", "recall@100", "mrr@10")
LABEL_COLUMNS = ("accuracy", "macro_f1", "ece")


@dataclass(frozen=True, eq=False)
class Run:
    """One method's outcome.

    Attributes:
        metrics: metric key to its mean over requests (and over seeds)
        spread: metric key to its standard deviation over seeds; empty for one seed
        per_slice: slice to its size ``n`` and means
        each: metric key to its value for every request, mean over seeds, (n_requests,)
        fit_s, rank_s: seconds to fit and to rank all requests, mean over seeds
        settings: the options it ran with
        tuned: how they were chosen where they were tuned, else None
        chosen: whether the method chose them itself: on validation, or its defaults where there is none
        shown: ids of the first ten items of the first `EXAMPLES` requests, for reports
    """

    metrics: Mapping[str, float]
    each: Mapping[str, NDArray[np.float64]]
    fit_s: float
    rank_s: float
    per_slice: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    spread: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    tuned: Mapping[str, Any] | None = None
    chosen: bool = False
    shown: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, eq=False)
class Results:
    """All methods of one protocol on one shop.

    Attributes:
        shop, protocol: names
        n: number of requests (or sentences) measured
        runs: method name to its run, in the order of the table
        tests: rows of `significance.compare`
        requests: one row a request: who, when, how much history, slices
        about: how the numbers were made: stage, settings, versions and so on
        notes: sentences a reader must know
        columns: metric keys of the table
    """

    shop: str
    protocol: str
    n: int
    runs: Mapping[str, Run]
    tests: tuple[Mapping[str, Any], ...]
    requests: pd.DataFrame
    about: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    columns: tuple[str, ...] = COLUMNS


def as_json(results: Results) -> dict[str, Any]:
    """Everything but the values of single requests, ready for JSON: NaN is null."""
    methods = {
        name: {
            **run.metrics,
            "fit_s": round(run.fit_s, 3),
            "rank_s": round(run.rank_s, 3),
            "per_slice": run.per_slice,
            "sd": run.spread,
            "settings": run.settings,
            "tuned": run.tuned,
        }
        for name, run in results.runs.items()
    }
    whole = {
        "shop": results.shop,
        "protocol": results.protocol,
        "n": results.n,
        "methods": methods,
        "tests": list(results.tests),
        **results.about,
        "notes": list(results.notes),
    }
    return _clean(whole)


def as_markdown(results: Results) -> str:
    """The table, best first, with slices, tests and notes below."""
    first = results.columns[0]
    names = sorted(results.runs, key=lambda name: -_known(results.runs[name].metrics.get(first)))
    head = ["method", *results.columns, "fit s", "rank s", "settings"]
    rows = [[name, *_cells(results.runs[name], results.columns), *_how(results.runs[name])] for name in names]
    parts = [
        f"# {results.shop}: {results.protocol}",
        f"{results.n:,} requests.",
        markdown_table(head, rows),
        _slice_table(results, names, first),
        _test_table(results),
        "\n".join(f"- {note}" for note in results.notes),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def per_request(results: Results) -> pd.DataFrame:
    """One row a request: who asked, slices, and ``metric:method`` columns with the table's metrics."""
    columns = {
        f"{key}:{name}": run.each[key].astype(np.float32)
        for name, run in results.runs.items()
        for key in results.columns
        if key in run.each
    }
    values = pd.DataFrame(columns, index=results.requests.index)
    return pd.concat([results.requests, values], axis=1)


def examples(results: Results) -> pd.DataFrame:
    """The first ten items of the first requests, long form: request, method, rank from 1, item_id."""
    rows = [
        (request, name, position, item)
        for name, run in results.runs.items()
        for request, items in enumerate(run.shown)
        for position, item in enumerate(items, start=1)
    ]
    return pd.DataFrame(rows, columns=["request", "method", "rank", "item_id"])


def write_results(results: Results, folder: str | Path) -> dict[str, Path]:
    """Write ``results.json``, ``table.md``, ``per_request.parquet`` and ``examples.parquet``; each whole or not at all.

    Raises:
        ArtefactError: the folder cannot be written.
    """
    target = Path(folder)
    text = json.dumps(as_json(results), indent=1, ensure_ascii=False) + "\n"
    writers: dict[str, Callable[[Path], object]] = {
        "per_request.parquet": lambda path: per_request(results).to_parquet(path, index=False, compression="zstd"),
        "examples.parquet": lambda path: examples(results).to_parquet(path, index=False, compression="zstd"),
        "table.md": lambda path: path.write_text(as_markdown(results), encoding="utf-8"),
        "results.json": lambda path: path.write_text(text, encoding="utf-8"),  # last: its presence says all is there
    }
    try:
        target.mkdir(parents=True, exist_ok=True)
        (target / "results.json").unlink(missing_ok=True)
        for name, write in writers.items():
            _whole(target / name, write)
    except OSError as error:
        raise ArtefactError(f"out: {target} cannot be written ({error}); make room or name another folder") from error
    return {name: target / name for name in writers}


def _whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write to a temporary name beside ``path``, flush to disk, rename."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _cells(run: Run, columns: tuple[str, ...]) -> list[str]:
    return [
        f"{_number(run.metrics.get(key))}" + (f" ± {run.spread[key]:.4f}" if key in run.spread else "")
        for key in columns
    ]


def _how(run: Run) -> list[str]:
    """Seconds, and the settings with how they came about."""
    settings = ", ".join(f"{key} {value}" for key, value in run.settings.items()) or "none"
    origin = "tuned" if run.tuned else "chosen" if run.chosen else "reference"
    return [f"{run.fit_s:.1f}", f"{run.rank_s:.1f}", f"{origin}: {settings}"]


def _slice_table(results: Results, names: list[str], key: str) -> str:
    """The main metric in every slice, methods down, slices across."""
    slices = list(dict.fromkeys(s for name in names for s in results.runs[name].per_slice))
    if not slices:
        return ""
    sizes = {s: next(int(r.per_slice[s]["n"]) for r in results.runs.values() if s in r.per_slice) for s in slices}
    head = ["method", *(f"{s} ({sizes[s]:,})" for s in slices)]
    rows = [[name, *(_number(results.runs[name].per_slice.get(s, {}).get(key)) for s in slices)] for name in names]
    return f"## Slices ({key}, requests in brackets)\n\n{markdown_table(head, rows)}"


def _test_table(results: Results) -> str:
    """Tests of the main metric; the others are in the JSON."""
    tests = [t for t in results.tests if t["metric"] == results.columns[0]]
    if not tests:
        return ""
    head = ["metric", "method", "against", "difference", "95 % interval", "p (Holm)", "significant"]
    rows = [
        [
            *(str(t[key]) for key in ("metric", "a", "b")),
            f"{t['difference']:+.4f}",
            f"{t['low']:+.4f} to {t['high']:+.4f}",
            "< 1e-16" if t["p_holm"] < 1e-16 else f"{t['p_holm']:.2g}",
            "yes" if t["significant"] else "no",
        ]
        for t in tests
    ]
    return f"## Paired tests\n\n{markdown_table(head, rows)}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells as a Markdown table."""
    lines: list[Sequence[str]] = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.4f}"


def _known(value: float | None) -> float:
    return -math.inf if value is None or math.isnan(value) else value


def _clean(value: Any) -> Any:
    """The same value in plain JSON types; NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
