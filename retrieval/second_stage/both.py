"""Trees and a weighted sum at once: two learned orders that err in different places, added.

Trees find what only counts together, and take accidents of a few hundred answers for it; a weighted sum takes fewer and
finds less. Both read the same columns. How each is fitted is `ranker`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .ranker import LinearRanker, RankerConfig, RankTable, TreeRanker, fit_lambdamart, fit_linear

Float = NDArray[np.float32]
Double = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BothRanker:
    """Scores of trees and of a weighted sum, each over its usual spread, added.

    Attributes:
        forest: the trees
        line: the weighted sum, of the same features
        spreads: usual spread of either's scores inside a request, > 0
    """

    forest: TreeRanker
    line: LinearRanker
    spreads: tuple[float, float]

    @property
    def names(self) -> tuple[str, ...]:
        """Features it reads, in order."""
        return self.forest.names

    @property
    def bias(self) -> float:
        """What every candidate gets before any feature speaks."""
        return self.forest.bias / self.spreads[0] + self.line.bias / self.spreads[1]

    @property
    def trees(self) -> int:
        """Number of trees."""
        return self.forest.trees

    def scores(self, values: Float) -> Double:
        """Score of each row of features (n, n_features), (n,)."""
        return self.forest.scores(values) / self.spreads[0] + self.line.scores(values) / self.spreads[1]

    def contributions(self, values: Float) -> Double:
        """What each feature adds to each row's score beside the bias, (n, n_features)."""
        forest, line = self.forest.contributions(values), self.line.contributions(values)
        return forest / self.spreads[0] + line / self.spreads[1]


def fit_both(
    table: RankTable, config: RankerConfig, *, rng: np.random.Generator, held_out: RankTable | None = None
) -> BothRanker:
    """LambdaMART, and a weighted sum of the same table; with ``held_out`` as many trees as are best there alone."""
    return with_line(fit_lambdamart(table, config, rng=rng, held_out=held_out), table, config, rng=rng)


def with_line(forest: TreeRanker, table: RankTable, config: RankerConfig, *, rng: np.random.Generator) -> BothRanker:
    """Trees grown on ``table``, and a weighted sum fitted on it."""
    line = fit_linear(table, config, rng=rng)
    spreads = _spread(forest.scores(table.values), table), _spread(line.scores(table.values), table)
    return BothRanker(forest, line, spreads)


def _spread(scores: Double, table: RankTable) -> float:
    """Root of the mean squared distance of scores (n,) to the mean of their request; 1 where all are alike."""
    request = np.repeat(np.arange(len(table.count)), table.count)
    middle = np.bincount(request, scores, minlength=len(table.count)) / np.maximum(table.count, 1)
    spread = float(np.sqrt(np.mean((scores - middle[request]) ** 2)))
    return spread if spread > 1e-9 else 1.0
