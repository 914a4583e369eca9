"""Heads measured: beside the baselines of the ``labels`` protocol, and by their own held-out sentences.

Covers turning a head into a method of `evaluation.labels` and a plain table of what it does. Nothing here trains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...evaluation.label_methods import Classify, Predicted
from ...evaluation.labels import Fit, LabelTask, label_metrics
from ...profiling.errors import ConfigError
from ...profiling.heads.head import Answers, TaskHead
from .data import HeadTask

Floats = NDArray[np.float32]
Encode = Callable[[Sequence[str]], Floats]

MEASURES = ("accuracy", "accuracy_forced", "macro_f1", "ece", "out_of_scope_auroc", "out_of_scope_recall")
"""What is reported of a head, in the order of the table."""


def predicted(answers: Answers, out_label: str | None) -> Predicted:
    """Answers in the form the protocol measures.

    Where there are out-of-scope sentences, a head that abstains says so; elsewhere its likeliest class is taken, since
    every sentence has one.
    """
    likeliest = np.asarray(answers.classes, dtype=object)[answers.best]
    label = likeliest if out_label is None else np.where(answers.answered, likeliest, out_label)
    return Predicted(label, answers.confidence, likeliest, answers.score)


def as_method(heads: Sequence[TaskHead], encode: Encode | None) -> Fit:
    """A method of the protocol that answers each task with its head, already trained.

    Raises:
        ConfigError: (when fitted) there is no head for the task.
    """
    by_task = {head.task: head for head in heads}

    def fit(task: LabelTask) -> Classify:
        head = by_task.get(task.name)
        if head is None:
            raise ConfigError(f"heads: there must be one for task {task.name!r}, got {', '.join(by_task)}; train it")
        return lambda texts: _classify(head, texts, encode, out_label=_out_label(task))

    return fit


def held_out_metrics(head: TaskHead, task: HeadTask, vectors: Floats | None) -> dict[str, float]:
    """What a head does on its held-out sentences; they chose it, so it will do a little worse on new ones."""
    texts, labels = task.held_out.texts, task.held_out.labels
    outside = task.outside(task.held_out)
    asked = LabelTask(task.name, (), np.zeros(0, object), texts, labels, outside, task.out_label)
    return label_metrics(predicted(head.answer(texts, vectors), _out_label(asked)), asked)


def rows_of(per_task: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """One row a task: its size and the measures it has, rounded.

    >>> rows_of({"stage": {"n": 10, "accuracy": 0.81234}})
    [{'task': 'stage', 'n': 10, 'accuracy': 0.8123}]
    """
    return [
        {"task": name, "n": values["n"]} | {key: round(float(values[key]), 4) for key in MEASURES if key in values}
        for name, values in per_task.items()
    ]


def _out_label(task: LabelTask) -> str | None:
    """The label to abstain with, None where no measured sentence is out of scope."""
    return task.out_label if task.out_of_scope.any() else None


def _classify(head: TaskHead, texts: Sequence[str], encode: Encode | None, *, out_label: str | None) -> Predicted:
    vectors = encode(texts) if head.needs_vectors and encode is not None else None
    return predicted(head.answer(texts, vectors), out_label)
