"""Parts without a weight that the second stage reads of one request's candidates.

They add nothing to the sum that is searched by, so they are worked out only where a second stage orders candidates:
blocks at the candidates alone, with their scale from the block's covariance; sources whole, because their scale is
their spread over the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...profiling.log import Requests
from ..scores import Scores, scores_of
from ..weighing import block_scale

if TYPE_CHECKING:
    from ..engine import Engine

Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Beside:
    """Parts of one request.

    Attributes:
        vectors: shopper side of the block parts by name, (d_b,) each
        sources: raw scores of the other parts
        scale: what each part's scores are multiplied by
    """

    vectors: Mapping[str, Float]
    sources: Mapping[str, Scores]
    scale: Mapping[str, float]

    def held(self) -> dict[str, Float | Scores]:
        """Vector or raw scores of each part by name."""
        return {**self.vectors, **self.sources}


NOTHING = Beside({}, {}, {})
"""Where no second stage reads anything beside the weighted parts."""


def read_beside(engine: Engine, requests: Requests, vectors: Mapping[str, Float]) -> Beside:
    """The parts that the second stage of one request reads beside the weighted ones.

    Args:
        engine: of the shop
        requests: the one request
        vectors: shopper side of all block parts, ``meaning`` where it is in words, (d_b,) each
    """
    recommender, asked = engine.recommender, bool(requests.texts)
    names = recommender.read_beside(asked=asked)
    if not names:
        return NOTHING
    mine = {name: vector for name, vector in vectors.items() if name in names}
    past = engine.past_of(requests)
    fitted = {name: recommender.sources[name] for name in names if name in recommender.sources}
    sources = {name: scores_of(source, name, past, requests) for name, source in fitted.items()}
    scale = {name: block_scale(engine, name, vector, asked) for name, vector in mine.items()}
    scale |= {name: scores.scale(name, asked=asked) for name, scores in sources.items()}
    return Beside(mine, sources, scale)
