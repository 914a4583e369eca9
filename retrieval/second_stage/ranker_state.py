"""Fitted rankers as arrays and JSON values, and back: what a model artefact keeps of them. No pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...profiling.errors import ArtefactError
from .both import BothRanker
from .ranker import LinearRanker, RankerModel, TreeRanker


def ranker_state(model: RankerModel) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and JSON values that `ranker_from_state` turns back into the same ranker; no pickle.

    Raises:
        ArtefactError: a ranker of another type.
    """
    meta: dict[str, Any] = {"names": list(model.names)}
    if isinstance(model, TreeRanker):
        text = np.frombuffer(model.text.encode(), dtype=np.uint8)
        return {"trees": text}, meta | {"type": "trees", "bias": model.bias}
    if isinstance(model, LinearRanker):
        arrays = {"mean": model.mean, "spread": model.spread, "weight": model.weight}
        return arrays, meta | {"type": "linear"}
    if isinstance(model, BothRanker):
        (forest, about), (line, _) = ranker_state(model.forest), ranker_state(model.line)
        return {**forest, **line}, meta | {"type": "both", "bias": about["bias"], "spreads": list(model.spreads)}
    raise ArtefactError(f"a ranker of type {type(model).__name__} cannot be saved; give it a state in ranker.py")


def ranker_from_state(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> RankerModel:
    """The ranker that `ranker_state` took apart.

    Raises:
        ArtefactError: an unknown type of ranker.
    """
    names = tuple(meta["names"])
    if meta["type"] == "trees":
        return TreeRanker(names, np.asarray(arrays["trees"], dtype=np.uint8).tobytes().decode(), float(meta["bias"]))
    if meta["type"] == "linear":
        mean, spread, weight = (np.asarray(arrays[name]) for name in ("mean", "spread", "weight"))
        return LinearRanker(names, mean, spread, weight)
    if meta["type"] == "both":
        forest = ranker_from_state(arrays, {**meta, "type": "trees"})
        line = ranker_from_state(arrays, {**meta, "type": "linear"})
        if isinstance(forest, TreeRanker) and isinstance(line, LinearRanker):
            return BothRanker(forest, line, (float(meta["spreads"][0]), float(meta["spreads"][1])))
    raise ArtefactError(f"ranker type {meta['type']!r} is not known to this version; train it again")
