"""The ``labels`` protocol: sentences with a known class, classified by simple methods that any better one must beat.

Every task is measured apart; where all labels of a task are written ``set/label``, every set apart. Where the shop
names an ``out_of_scope_label``, accuracy is over in-scope sentences and out-of-scope recall is reported beside it.
Covers baselines, and fitted classifiers that are handed in: those of the finetune room are measured so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..profiling.encoders.encoder import Encoder
from ..profiling.errors import ConfigError, ShopError
from ..profiling.tables.shop import Shop
from .calibration import auroc, expected_calibration_error
from .label_methods import LABEL_METHODS, NEED_VECTORS, Classify, Predicted, Vectors, fit_labels
from .rank import mean
from .results import LABEL_COLUMNS, Results, Run
from .significance import compare
from .splits import Stage
from .versions import versions

Progress = Callable[[str, int, int], None]
Fit = Callable[["LabelTask"], Classify]
"""A classifier fitted to (or made for) a task."""


@dataclass(frozen=True, eq=False)
class LabelTask:
    """One classification task at one stage.

    Attributes:
        name: ``task`` or ``task:set``
        train_texts, train_labels, texts, labels: sentences and their classes
        out_of_scope: whether each measured sentence belongs to no class, (n,)
        out_label: the label of such sentences, or None
    """

    name: str
    train_texts: tuple[str, ...]
    train_labels: NDArray[np.object_]
    texts: tuple[str, ...]
    labels: NDArray[np.object_]
    out_of_scope: NDArray[np.bool_]
    out_label: str | None


def label_tasks(shop: Shop, *, stage: Stage = "test") -> tuple[LabelTask, ...]:
    """The tasks of a shop's labels that have sentences of this stage and training sentences of two classes.

    Sentences without a split are training sentences.

    Raises:
        ShopError: no labels, or no such task.
    """
    table = shop.table("labels")
    out_label = shop.meta.get("out_of_scope_label")
    split = table["split"].fillna("train")
    tasks = []
    for name, part in named_parts(table):
        train, asked = part[split[part.index] == "train"], part[split[part.index] == stage]
        if asked.empty or train["label"].nunique() < 2:
            continue
        labels = asked["label"].to_numpy(object)
        tasks.append(
            LabelTask(
                name=name,
                train_texts=tuple(train["text"]),
                train_labels=train["label"].to_numpy(object),
                texts=tuple(asked["text"]),
                labels=labels,
                out_of_scope=labels == out_label,
                out_label=out_label,
            )
        )
    if not tasks:
        raise ShopError(f"labels: shop {shop.name!r} has no task with training and {stage} sentences; check split")
    return tuple(tasks)


def evaluate_labels(
    shop: Shop,
    methods: Sequence[str] | None = None,
    *,
    stage: Stage = "test",
    encoder: Encoder | None = None,
    encode: Vectors | None = None,
    beside: Mapping[str, Fit] | None = None,
    only: Sequence[str] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    progress: Progress | None = None,
) -> Results:
    """Measure label methods on every task; a method's own line is the mean over tasks, slices are the tasks.

    ``encode`` gives vectors of texts (with a cache, say); without it ``encoder`` is asked directly. ``beside`` are more
    methods by name, in the table beside the named ones. ``only`` names the tasks to measure; None = all.

    Raises:
        ConfigError: an unknown method or task, a method that needs an encoder without one, or a name in ``beside`` that
            is taken.
        ShopError: see `label_tasks`.
    """
    if encode is None and encoder is not None:
        encode = _encode_with(encoder)
    names = _chosen(methods, encode is not None)
    tasks = label_tasks(shop, stage=stage)
    if only is not None:
        tasks = _chosen_tasks(tasks, only)
    tell = progress or (lambda *_: None)
    runs, skipped = {}, [m for m in LABEL_METHODS if m not in names and not methods]
    for name, fit in _fits(names, encode, beside or {}).items():
        tell(name, 0, 1)
        runs[name] = _run(fit, tasks, clock)
    cluster = np.arange(sum(len(task.texts) for task in tasks))
    best = max(runs, key=lambda name: runs[name].metrics["accuracy"])
    each = {name: run.each["accuracy"] for name, run in runs.items()}
    tests = compare(each, best, cluster, metric="accuracy") if len(runs) > 1 else []
    return Results(
        shop=shop.name,
        protocol="labels",
        n=len(cluster),
        runs=runs,
        tests=tuple(tests),
        requests=_sentences(tasks),
        about={
            "stage": stage,
            "fit_on": "train",
            "validation_in_training": False,
            "against": best,
            "slices": {task.name: f"task {task.name}" for task in tasks},
            "skipped": dict.fromkeys(skipped, "needs an encoder"),
            "encoder": None if encoder is None else str(encoder.stamp.digest),
            "versions": versions(),
        },
        notes=(
            "The main line of a method is the mean over tasks; tests are over all sentences together.",
            "Accuracy and macro F1 are over in-scope sentences.",
        ),
        columns=LABEL_COLUMNS,
    )


def label_metrics(predicted: Predicted, task: LabelTask) -> dict[str, float]:
    """Accuracy, macro F1 and calibration error over in-scope sentences, and recall of the out-of-scope ones.

    Macro F1 is the mean over the classes of the measured in-scope sentences; a sentence put out of scope counts
    against its class. Calibration is of the class a method would name if it had to. Where a method says how familiar
    a sentence is, ``out_of_scope_auroc`` is the probability that an in-scope sentence is the more familiar one.
    """
    inside = ~task.out_of_scope
    right = predicted.label == task.labels
    forced = right if predicted.likeliest is None else predicted.likeliest == task.labels
    out = {
        "n": len(right),
        "accuracy": mean(right[inside].astype(np.float64)),
        "macro_f1": macro_f1(predicted.label[inside], task.labels[inside]),
        "ece": expected_calibration_error(predicted.confidence[inside], forced[inside]),
    }
    if predicted.likeliest is not None:
        out["accuracy_forced"] = mean(forced[inside].astype(np.float64))
    if task.out_of_scope.any():
        out["out_of_scope_recall"] = float(right[task.out_of_scope].mean())
        if predicted.familiarity is not None:
            out["out_of_scope_auroc"] = auroc(predicted.familiarity[inside], predicted.familiarity[~inside])
    return out


def macro_f1(predicted: NDArray[np.object_], truth: NDArray[np.object_]) -> float:
    """Mean of F1 over the classes in ``truth``; both (n,).

    >>> macro_f1(np.array(["a", "b"], object), np.array(["a", "a"], object))
    0.6666666666666666
    """
    scores = []
    for label in np.unique(truth.astype(str)):
        said, true = predicted == label, truth == label
        scores.append(2 * (said & true).sum() / (said.sum() + true.sum()))
    return float(np.mean(scores)) if scores else float("nan")


def _fits(names: Sequence[str], encode: Vectors | None, beside: Mapping[str, Fit]) -> dict[str, Fit]:
    """How each method is fitted."""

    def known(name: str) -> Fit:
        return lambda task: fit_labels(name, task.train_texts, task.train_labels, encode)

    if taken := [name for name in beside if name in LABEL_METHODS]:
        raise ConfigError(f"beside: names must not be among {', '.join(LABEL_METHODS)}, got {', '.join(taken)}")
    return {name: known(name) for name in names} | dict(beside)


def _run(fit: Fit, tasks: Sequence[LabelTask], clock: Callable[[], float]) -> Run:
    per_task, right, fit_s, rank_s = {}, [], 0.0, 0.0
    for task in tasks:
        began = clock()
        predict = fit(task)
        fitted = clock()
        predicted = predict(task.texts)
        fit_s, rank_s = fit_s + fitted - began, rank_s + clock() - fitted
        per_task[task.name] = label_metrics(predicted, task)
        right.append((predicted.label == task.labels).astype(np.float64))
    keys = sorted({key for values in per_task.values() for key in values} - {"n"})
    return Run(
        metrics={key: mean(np.array([v.get(key, np.nan) for v in per_task.values()])) for key in keys},
        each={"accuracy": np.concatenate(right)},
        fit_s=fit_s,
        rank_s=rank_s,
        per_slice=per_task,
    )


def named_parts(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Tasks by name, cut into sets where all labels are written ``set/label``."""
    parts = []
    for task, rows in table.groupby("task", sort=True):
        heads = rows["label"].str.extract(r"^([^/]+)/.", expand=False)
        if heads.notna().all() and len(heads.unique()) > 1:
            parts += [(f"{task}:{head}", rows[heads == head]) for head in sorted(heads.unique())]
        else:
            parts.append((str(task), rows))
    return parts


def _chosen(methods: Sequence[str] | None, has_encoder: bool) -> tuple[str, ...]:
    if not methods:
        return tuple(name for name in LABEL_METHODS if has_encoder or name not in NEED_VECTORS)
    for name in methods:
        if name not in LABEL_METHODS:
            raise ConfigError(f"methods: for labels must be among {', '.join(LABEL_METHODS)}, got {name!r}")
    return tuple(dict.fromkeys(methods))


def _chosen_tasks(tasks: Sequence[LabelTask], only: Sequence[str]) -> tuple[LabelTask, ...]:
    known = {task.name for task in tasks}
    if not only or not set(only) <= known:
        raise ConfigError(f"only: must be among {', '.join(sorted(known))}, got {', '.join(only) or 'nothing'}")
    return tuple(task for task in tasks if task.name in set(only))


def _sentences(tasks: Sequence[LabelTask]) -> pd.DataFrame:
    parts = [pd.DataFrame({"task": t.name, "text": list(t.texts), "label": t.labels}) for t in tasks]
    table = pd.concat(parts, ignore_index=True)
    table.insert(0, "request", np.arange(len(table)))
    return table


def _encode_with(encoder: Encoder) -> Vectors:
    return lambda texts: encoder.encode(list(texts), "query")
