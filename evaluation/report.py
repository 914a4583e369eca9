"""The HTML report of an evaluation: what was measured, how, who won, and whether that is luck.

Reads what `results` writes (the JSON and the values of single requests), computes only the intervals of the bars, and
writes one self-contained page. The sections are functions, so that other reports can show the same table.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..profiling.errors import ArtefactError
from .report_page import bullets, esc, facts, page, table
from .report_plots import Bar, bar_plot, heat_table
from .results import COLUMNS, LABEL_COLUMNS
from .significance import clustered_t

Interval = tuple[float, float]

PROTOCOLS: Mapping[str, str] = {
    "leave_one_out": "the last event of each shopper is predicted from the ones before",
    "time_split": "everything after a date is predicted, each basket from all that its shopper did before it",
    "search_full": "judged queries, every item of the catalogue ranked",
    "search_rerank": "judged queries, only their judged items ranked",
    "labels": "labelled sentences are classified",
}


def write_report(results: Mapping[str, Any], per_request: pd.DataFrame, out: str | Path) -> Path:
    """Write ``report.html`` into the folder ``out``.

    Args:
        results: what ``results.json`` holds
        per_request: what ``per_request.parquet`` holds
        out: folder, made if absent

    Raises:
        ArtefactError: the folder cannot be written.
    """
    target = Path(out) / "report.html"
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(report_html(results, intervals(results, per_request)), encoding="utf-8")
        os.replace(temporary, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise ArtefactError(f"out: {target} cannot be written ({error}); make room or name another folder") from error
    return target


def report_html(results: Mapping[str, Any], spans: Mapping[str, Interval]) -> str:
    """The whole page."""
    shop, protocol = str(results["shop"]), str(results["protocol"])
    versions = results.get("versions") or {}
    body = [
        f'<header><p class="kicker">Evaluation</p><h1>{esc(shop)}, {esc(protocol.replace("_", " "))}</h1>',
        f'<p class="lead">{esc(verdict(results))}</p><p>{esc(_protocol(results))}</p>',
        f"{facts(measured(results))}</header>",
        f"<h2>Methods</h2>{method_section(results, spans)}",
        slice_section(results),
        f"<h2>Notes</h2>{bullets(notes(results))}",
        f'<h2>How each method ran</h2><p class="quiet">Settings and seconds to fit and to rank all requests.</p>'
        f"{_settings(results)}",
        '<footer class="quiet"><p>'
        + esc(" · ".join(f"{name} {version}" for name, version in versions.items()))
        + "</p></footer>",
    ]
    return page(f"{shop}: {protocol}", "\n".join(part for part in body if part))


def method_section(results: Mapping[str, Any], spans: Mapping[str, Interval]) -> str:
    """Bars with intervals, then the table with paired tests, best method first."""
    key, order = main_metric(results), ranked_methods(results)
    known = [name for name in order if math.isfinite(_value(results, name, key))]
    unknown = (math.nan, math.nan)
    bars = [Bar(m, _value(results, m, key), *spans.get(m, unknown), strong=m == order[0]) for m in known]
    named = _metric_name(key)
    caption = f"{named}, mean over {results['n']:,} {_things(results)}; lines are 95 % intervals"
    caption += ", clustered by shopper." if results["protocol"] in ("leave_one_out", "time_split") else "."
    figure = f"<figure>{bar_plot(bars, label=named)}<figcaption>{esc(caption)}</figcaption></figure>"
    return figure + method_table(results)


def method_table(results: Mapping[str, Any]) -> str:
    """Every metric of every method, best first, and the paired test of the main metric."""
    key, order = main_metric(results), ranked_methods(results)
    shown = [c for c in (*COLUMNS, *LABEL_COLUMNS) if any(c in results["methods"][m] for m in order)]
    tests = {test["b"]: test for test in results.get("tests", []) if test["metric"] == key}
    against = next((test["a"] for test in tests.values()), "")
    rows = []
    for name in order:
        badge = '<span class="badge">best</span>' if name == order[0] else ""
        cells = [_number(_value(results, name, column)) for column in shown]
        rows.append([f"{esc(name)}{badge}", *cells, *(_test(tests.get(name), name, against) if tests else [])])
    tested = [f"{esc(against)} minus this, 95 %", "p (Holm)"] if tests else []
    numeric = frozenset(range(1, len(shown) + 1 + len(tested)))
    return table(["method", *(esc(_metric_name(c)) for c in shown), *tested], rows, numeric=numeric)


def slice_section(results: Mapping[str, Any]) -> str:
    """The main metric in every slice as a heat table with what each slice is; empty where nothing is sliced."""
    key, order = main_metric(results), ranked_methods(results)
    cut = {name: results["methods"][name].get("per_slice") or {} for name in order}
    sizes = {s: int(part["n"]) for slices in cut.values() for s, part in slices.items()}
    if not sizes:
        return ""
    values = {name: {s: _float(part.get(key)) for s, part in slices.items()} for name, slices in cut.items()}
    columns = [(s, f"{s.replace('_', ' ')} ({n:,})") for s, n in sizes.items()]
    meanings = [f"{s.replace('_', ' ')}: {text}." for s, text in (results.get("slices") or {}).items() if s in sizes]
    caption = f"{_metric_name(key)} within each slice, its requests in brackets; darker is nearer to the best there."
    legend = f"<details><summary>What the slices are</summary>{bullets(meanings)}</details>" if meanings else ""
    return f"<h2>Slices</h2>{heat_table(values, columns, caption=caption)}{legend}"


def intervals(results: Mapping[str, Any], per_request: pd.DataFrame) -> dict[str, Interval]:
    """95 % interval of the main metric of each method, clustered by who asked; Liang and Zeger 1986."""
    key = main_metric(results)
    who = per_request["user_id" if "user_id" in per_request else "query" if "query" in per_request else "request"]
    cluster = pd.factorize(who)[0].astype(np.int64)
    spans = {}
    for name in results["methods"]:
        column = f"{key}:{name}"
        if column in per_request:
            found = clustered_t(per_request[column].to_numpy(np.float64), cluster)
            spans[name] = (found.low, found.high)
    return spans


def main_metric(results: Mapping[str, Any]) -> str:
    """The metric methods are ordered by: the first of the known ones that they have."""
    methods = list(results["methods"].values())
    return next((key for key in (COLUMNS[0], LABEL_COLUMNS[0]) if any(key in m for m in methods)), COLUMNS[0])


def ranked_methods(results: Mapping[str, Any]) -> list[str]:
    """Names of the methods by the main metric, best first; unknown last."""
    key = main_metric(results)
    values = {name: _value(results, name, key) for name in results["methods"]}
    return sorted(values, key=lambda name: -values[name] if math.isfinite(values[name]) else math.inf)


def verdict(results: Mapping[str, Any]) -> str:
    """The outcome in one or two sentences."""
    key, order = main_metric(results), ranked_methods(results)
    if not order:
        return "No method ran."
    best = f"{order[0]} reaches {_metric_name(key)} {_number(_value(results, order[0], key))}"
    if len(order) == 1:
        return f"{best}."
    said = f"{best}; next is {order[1]} with {_number(_value(results, order[1], key))}."
    pair = next(
        (t for t in results.get("tests", []) if t["metric"] == key and {t["a"], t["b"]} == set(order[:2])), None
    )
    if pair is None or _float(pair.get("p_holm")) != _float(pair.get("p_holm")):
        return said
    how = "is not luck" if pair["significant"] else "may be luck"
    return f"{said} The difference {how} (paired test, p {_p(pair['p_holm'])} after Holm's correction)."


def measured(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was measured, as names and values."""
    pairs = [
        (_things(results).capitalize(), f"{results['n']:,}"),
        ("Stage", str(results.get("stage", "test"))),
    ]
    if results.get("n_training_events") is not None:
        pairs.append(("Training events", f"{results['n_training_events']:,}"))
    if results.get("n_items") is not None:
        pairs.append(("Items ranked", f"{results.get('ranked', 'whole catalogue')} ({results['n_items']:,} items)"))
    if "validation_in_training" in results:
        inside = "are part of training" if results["validation_in_training"] else "are not part of training"
        pairs.append(("Validation events", inside))
    if "seen_items_excluded" in results:
        pairs.append(("Items seen before", "left out" if results["seen_items_excluded"] else "kept"))
    if "seeds" in results:
        pairs.append(("Seeds", f"{results['seeds']}"))
    return pairs


def notes(results: Mapping[str, Any]) -> Sequence[str]:
    """Sentences a reader must know."""
    return [str(note) for note in results.get("notes", [])]


def _protocol(results: Mapping[str, Any]) -> str:
    said = PROTOCOLS.get(str(results["protocol"]), str(results["protocol"]))
    return f"Protocol: {said}."


def _settings(results: Mapping[str, Any]) -> str:
    rows = []
    for name in ranked_methods(results):
        run = results["methods"][name]
        chosen = ", ".join(f"{key} {_short(value)}" for key, value in (run.get("settings") or {}).items()) or "none"
        how = "tuned on validation: " if run.get("tuned") else ""
        seconds = ["" if run.get(key) is None else f"{run[key]:.1f}" for key in ("fit_s", "rank_s")]
        rows.append([esc(name), *seconds, f"<code>{esc(how + chosen)}</code>"])
    return table(["method", "fit s", "rank s", "settings"], rows, numeric=frozenset({1, 2}))


def _test(test: Mapping[str, Any] | None, name: str, against: str) -> list[str]:
    if test is None:
        return ["reference" if name == against else "", ""]
    low, high = _float(test.get("low")), _float(test.get("high"))
    span = f' <span class="quiet">({low:+.4f} to {high:+.4f})</span>' if math.isfinite(low) else ""
    p = esc(_p(test.get("p_holm")))
    return [f"{_float(test.get('difference')):+.4f}{span}", p if test.get("significant") else f"{p}, may be luck"]


def _things(results: Mapping[str, Any]) -> str:
    by_protocol = {"labels": "sentences", "search_full": "queries", "search_rerank": "queries"}
    return by_protocol.get(str(results["protocol"]), "requests")


def _metric_name(key: str) -> str:
    """A metric as people write it.

    >>> _metric_name("ndcg@10"), _metric_name("macro_f1")
    ('NDCG@10', 'macro F1')
    """
    words = {"ndcg": "NDCG", "mrr": "MRR", "map": "MAP", "recall": "Recall", "ece": "ECE", "macro_f1": "macro F1"}
    name, at, k = key.partition("@")
    return words.get(name, name) + at + k


def _value(results: Mapping[str, Any], method: str, key: str) -> float:
    return _float(results["methods"][method].get(key))


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


def _number(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else ""


def _p(value: Any) -> str:
    p = _float(value)
    return "unknown" if math.isnan(p) else "< 1e-16" if p < 1e-16 else f"{p:.2g}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."
