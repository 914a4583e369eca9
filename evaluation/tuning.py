"""A small automatic search for a method's options on the validation stage.

One option at a time, in the order of the method's grid, each kept at its best value: what a careful person would try
in an afternoon, the same effort for every method. The test stage is never looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import BaseModel

from ..retrieval.scorer import Scorer, TrainingSet
from .methods import Method, Resources
from .rank import mean, measure, rank
from .splits import Split

OBJECTIVE = "ndcg@10"
SAMPLE = 3000
"""Validation requests that are tried at most."""
BUDGET_S = 300.0
"""Seconds after which no further value is tried."""


@dataclass(frozen=True, eq=False)
class Tuned:
    """What the search chose.

    Attributes:
        config: best configuration found
        value: its objective on the validation sample
        start: objective of the reference settings there
        tried: every setting with its objective, in the order tried
        complete: false where the budget ended the search
    """

    config: BaseModel
    value: float
    start: float
    tried: tuple[tuple[Mapping[str, Any], float], ...]
    complete: bool


def tune(
    method: Method,
    train: TrainingSet,
    split: Split,
    *,
    seed: int,
    resources: Callable[[np.random.Generator], Resources],
    clock: Callable[[], float],
    budget_s: float = BUDGET_S,
    sample: int = SAMPLE,
) -> Tuned:
    """Search ``method.grid`` on ``split``, a validation split that ``train`` was cut before.

    ``seed`` draws the sample and starts every fit, so settings differ in nothing else.
    """
    begun = clock()
    small = split.sample(sample, np.random.default_rng(seed))
    fits: dict[str, Scorer] = {}
    tried: list[tuple[Mapping[str, Any], float]] = []

    def objective(options: Mapping[str, Any]) -> float:
        for past, value in tried:
            if past == options:
                return value
        scorer = _scorer(method, train, options, fits, resources(np.random.default_rng(seed)))
        value = mean(measure(rank(scorer, small), small)[OBJECTIVE])
        tried.append((dict(options), value))
        return value

    best: dict[str, Any] = {name: getattr(method.config(), name) for name in method.grid}
    start = value = objective(best)
    complete = True
    for name, values in method.grid.items():
        for candidate in values:
            if clock() - begun > budget_s:
                complete = False
                break
            reached = objective({**best, name: candidate})
            if reached > value:
                value, best = reached, {**best, name: candidate}
    return Tuned(method.config(**best), value, start, tuple(tried), complete)


def _scorer(
    method: Method, train: TrainingSet, options: Mapping[str, Any], fits: dict[str, Scorer], resources: Resources
) -> Scorer:
    """A scorer with these options: fitted, or an earlier fit with its scoring options replaced."""
    late = {name: value for name, value in options.items() if name in method.rescored}
    key = repr(sorted((name, value) for name, value in options.items() if name not in late))
    if key not in fits:
        fits.clear()  # one option at a time: earlier fits hardly ever come back, and models can be large
        fits[key] = method.fit(train, method.config(**options), resources)
    fitted: Any = fits[key]
    return replace(fitted, **late) if late else fitted
