"""What shoppers said in events: vectors of review texts, each distinct text once, and which of them an event has.

A log holds rows, so it can be cut and mapped like its other columns. Making vectors is `embeddings`' work, and what a
model makes of them `taste_model`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


def _no_rows() -> NDArray[np.int32]:
    return np.zeros(0, dtype=np.int32)


def _no_vectors() -> Float:
    return np.zeros((0, 0), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Said:
    """Text vectors of events.

    Attributes:
        row: row in ``vectors`` of each event, -1 where nothing was said, (n_events,); (0,) where nobody said anything
        vectors: unit-length vectors of the distinct texts, (n_texts, d)
    """

    row: NDArray[np.int32] = field(default_factory=_no_rows)
    vectors: Float = field(default_factory=_no_vectors)

    def take(self, events: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Said:
        """What was said in these events, in this order; all texts stay."""
        return Said(self.row[events], self.vectors) if len(self.row) else self

    def of(self, events: NDArray[np.int64]) -> NDArray[np.int32]:
        """Row of each of these events, -1 where nothing was said, (n,)."""
        return self.row[events] if len(self.row) else np.full(len(events), -1, dtype=np.int32)
