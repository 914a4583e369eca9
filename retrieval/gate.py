"""The gate: how much each group of parts counts for this request, by what is known of its shopper's history.

A weight is multiplied by ``exp(sum over facts of slope * standardised fact)``: log-linear, one slope a group and fact,
1 for an average history. Zero stays zero, so plain search stays plain search, and the score stays a weighted sum whose
addends are its reasons. Facts read the request's own history only. Which slopes pay is chosen on validation, by
`evaluation.gate_choice`; how vague a query is sets the weight of all personal parts in `recommender`, not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..profiling.log import Requests
from .sources.popularity import DAY_S

Float = NDArray[np.float64]

FACTS: Mapping[str, str] = {
    "length": "logarithm of 1 + events in the history",
    "recency": "logarithm of 1 + days since the newest event",
    "visits": "logarithm of 1 + different times in the history",
    "repeats": "share of liked events that repeat an earlier item: the opposite of an appetite for new things",
}
"""What a gate may look at."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "own": ("own", "repeat"),
    "taste": ("taste_long", "taste_short", "taste_learned", "behaviour", "directions"),
    "follow": ("transitions", "text_neighbours"),
    "everybody": ("popular", "recent_popular", "context"),
}
"""Parts that a slope moves together."""

REACH = 2.0
"""Standard deviations beyond which a fact counts no further: nobody's weights leave what validation has seen."""


@dataclass(frozen=True, eq=False)
class Gate:
    """Fitted slopes.

    Attributes:
        slopes: group -> fact -> slope; what is missing is 0
        centre, spread: mean and standard deviation of each fact over requests with a history
    """

    slopes: Mapping[str, Mapping[str, float]]
    centre: Mapping[str, float]
    spread: Mapping[str, float]

    def factors(self, requests: Requests) -> dict[str, NDArray[np.float32]]:
        """What the weight of each moved part is multiplied by, (n_requests,) each > 0; 1 without a history."""
        return self.factors_of(facts(requests), known=requests.stop > requests.start)

    def factors_of(self, found: Mapping[str, Float], *, known: NDArray[np.bool_]) -> dict[str, NDArray[np.float32]]:
        """`factors` from facts that are there already, (n_requests,) each; ``known`` shoppers have a history."""
        out: dict[str, NDArray[np.float32]] = {}
        for group, by_fact in self.slopes.items():
            moved = np.zeros(len(known))
            for fact, slope in by_fact.items():
                moved += slope * np.clip((found[fact] - self.centre[fact]) / self.spread[fact], -REACH, REACH)
            factor = np.where(known, np.exp(moved), 1.0).astype(np.float32)
            out |= dict.fromkeys(GROUPS[group], factor)
        return out


def facts(requests: Requests) -> dict[str, Float]:
    """Every one of `FACTS` for each request, (n_requests,); 0 without a history."""
    log = requests.log
    request, event = requests.events()
    length = requests.stop - requests.start
    known = length > 0
    newest = np.where(known, log.at_s[np.maximum(requests.stop - 1, 0)] if len(log) else 0.0, requests.now_s)
    times = np.ones(len(event), dtype=bool)
    times[1:] = (request[1:] != request[:-1]) | (log.at_s[event[1:]] != log.at_s[event[:-1]])
    liked = log.weight[event] > 0
    pairs = np.unique(request[liked] * np.int64(log.n_items) + log.item[event[liked]])
    distinct = np.bincount(pairs // max(log.n_items, 1), minlength=len(requests))
    taken = np.bincount(request[liked], minlength=len(requests))
    return {
        "length": np.log1p(length),
        "recency": np.log1p(np.maximum(requests.now_s - newest, 0.0) / DAY_S),
        "visits": np.log1p(np.bincount(request[times], minlength=len(requests))),
        "repeats": np.where(taken > 0, 1.0 - distinct / np.maximum(taken, 1), 0.0),
    }


def gate_scales(found: Mapping[str, Float], known: NDArray[np.bool_]) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and standard deviation of each fact over ``known`` requests (n_requests,); 0 and 1 where there are none."""
    if not known.any():
        return dict.fromkeys(found, 0.0), dict.fromkeys(found, 1.0)
    centre = {name: float(values[known].mean()) for name, values in found.items()}
    return centre, {name: float(values[known].std()) or 1.0 for name, values in found.items()}


def gate_state(gate: Gate | None) -> dict[str, Any] | None:
    """JSON values that `gate_from_state` turns back into the same gate; None stays None."""
    if gate is None:
        return None
    slopes = {group: dict(by_fact) for group, by_fact in gate.slopes.items()}
    return {"slopes": slopes, "centre": dict(gate.centre), "spread": dict(gate.spread)}


def gate_from_state(state: Mapping[str, Any] | None) -> Gate | None:
    """The gate that `gate_state` took apart."""
    return None if state is None else Gate(state["slopes"], state["centre"], state["spread"])
