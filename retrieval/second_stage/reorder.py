"""One request's candidates ordered anew, with reasons: the second stage as `view` uses it.

For words, what is known of the shopper is not the ranker's to judge: its score takes the place of the search parts, at
their spread over the candidates, and the personal parts are added as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...profiling.log import Requests
from .features import Features
from .pool import Pool
from .stage import SecondStage

Float = NDArray[np.float32]
Double = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reordered:
    """Candidates of one request, best first.

    Attributes:
        stage: what ordered them
        rows: their item rows, (n,)
        scores: their scores, (n,)
        features: what the ranker read of them, row by row
        spread: what its score is multiplied by
        personal: what each personal part adds beside it, each (n,)
        proven: whether the candidates are the best of the whole catalogue by the first stage
    """

    stage: SecondStage
    rows: NDArray[np.int64]
    scores: Double
    features: Features
    spread: float
    personal: Mapping[str, Double]
    proven: bool = True

    def take(self, order: NDArray[np.int64]) -> Reordered:
        """The candidates at these positions, in this order."""
        return replace(
            self,
            rows=self.rows[order],
            scores=self.scores[order],
            features=replace(self.features, values=self.features.values[order]),
            personal={name: values[order] for name, values in self.personal.items()},
        )

    def amounts(self) -> dict[str, Double]:
        """What each reason adds to each candidate's score, each (n,)."""
        told = {name: amount * self.spread for name, amount in self.stage.amounts(self.features).items()}
        return told | {name: told.get(name, 0.0) + amount for name, amount in self.personal.items()}

    def positions(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where these item rows stand, (n_rows,); each must be a candidate."""
        place = {int(row): position for position, row in enumerate(self.rows)}
        return np.array([place[int(row)] for row in rows], dtype=np.int64)


def reorder(
    stage: SecondStage,
    requests: Requests,
    rows: NDArray[np.int64],
    *,
    parts: Mapping[str, Float],
    fused: Float,
    personal: Mapping[str, Double],
    vectors: Float,
) -> Reordered:
    """Order the candidates of one request.

    Args:
        stage: the second stage
        requests: the one request
        rows: item rows of the candidates, (n,)
        parts: scaled scores of the parts, each (n,)
        fused: their weighted sum, (n,)
        personal: what is added beside the ranker's score, each (n,); empty where the ranker judges everything
        vectors: rows whose inner products say how alike two texts are, (n_items, d)
    """
    rows = np.asarray(rows, dtype=np.int64)
    pool = Pool(np.zeros(len(rows), dtype=np.int64), rows, np.array([len(rows)]), parts, fused)
    features = stage.features(pool, requests, vectors)
    scores = stage.model.scores(features.values) - stage.model.bias
    beside = np.sum(list(personal.values()), axis=0) if personal else np.zeros(len(rows))
    spread = 1.0
    if personal and len(rows) > 1 and float(scores.std()) > 1e-12:
        spread = float((fused - beside).std() / scores.std())
    scores = scores * spread + beside
    found = Reordered(stage, rows, scores, features, spread, personal)
    return found.take(np.lexsort((rows, -scores)))
