"""What every ranking method learns from and answers with: `TrainingSet` in, a `Scorer` out.

One protocol serves classic baselines, candidate sources and the whole pipeline, so the evaluation harness
and the fusion never ask which is which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..profiling.log import EventLog, Requests


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Everything a method may learn from.

    Attributes:
        log: training events only
        items: the catalogue, row-aligned with ``log.item_ids``
        vectors: unit-length text vectors of the items, (n_items, d), or None where no encoder is at hand
        until_s: end of visible time in seconds since 1970 UTC; every training event is earlier
        shared_clock: whether times of different users can be compared (``absolute_time`` of the shop)
        users: known attributes of shoppers, a row each by ``user_id``, or None
    """

    log: EventLog
    items: pd.DataFrame
    vectors: NDArray[np.float32] | None
    until_s: float
    shared_clock: bool = True
    users: pd.DataFrame | None = None


class Scorer(Protocol):
    """A fitted method: scores the whole catalogue for each request of a batch."""

    def scores(self, requests: Requests) -> NDArray[np.float32]:
        """Scores, (n_requests, n_items) float32; higher is better, finite, 0 where nothing is known."""
        ...


@runtime_checkable
class Chooser(Protocol):
    """A fitted method that chose settings itself and can say which."""

    def chosen(self) -> Mapping[str, Any]:
        """What was chosen, as JSON values by name."""
        ...
