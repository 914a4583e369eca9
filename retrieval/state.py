"""A recommender as plain arrays and JSON values, and back. What artefacts on disk hold; no pickle anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..profiling.blocks import blocks_from_state, blocks_state
from ..profiling.encoders.encoder import Encoder
from ..profiling.errors import ArtefactError
from ..profiling.log import EventLog
from .gate import gate_from_state, gate_state
from .lexical import Bm25Model, LexicalModel
from .lexical.stored import lexical_from_state, lexical_state
from .recommender import Recommender
from .scorer import Scorer
from .second_stage.state import stage_from_state, stage_state
from .sources.alike import AlikeModel
from .sources.neighbours import NeighboursModel
from .sources.popularity import PopularModel
from .sources.repeats import OwnMostBoughtModel, RepeatModel
from .sparse_state import csr_arrays, csr_from_arrays

Arrays = dict[str, NDArray[Any]]
Meta = dict[str, Any]

_LOG_ARRAYS = ("user_start", "item", "at_s", "kind", "weight", "quantity", "price")


def recommender_state(model: Recommender) -> tuple[Arrays, Meta]:
    """Everything of a recommender but its encoder."""
    arrays, space_meta = blocks_state(model.space)
    arrays = {f"blocks.{name}": array for name, array in arrays.items()}
    sources: dict[str, Meta] = {}
    for name, source in model.sources.items():
        source_arrays, sources[name] = source_state(source)
        arrays |= {f"sources.{name}.{key}": array for key, array in source_arrays.items()}
    stages: dict[str, Meta] = {}
    for name, stage in (("second", model.second), ("second_search", model.second_search)):
        if stage is not None:
            stage_arrays, stages[name] = stage_state(stage)
            arrays |= {f"{name}.{key}": array for key, array in stage_arrays.items()}
    meta = {
        "stages": stages,
        "space": space_meta,
        "sources": sources,
        "weights": dict(model.weights),
        "newcomer_weights": dict(model.newcomer_weights),
        "exclude_seen": model.exclude_seen,
        "fusion": model.fusion,
        "gate": gate_state(model.gate),
        "personalisation": model.personalisation,
        "reads": list(model.reads),
    }
    return arrays, meta


def recommender_from_state(
    arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any], *, encoder: Encoder | None
) -> Recommender:
    """The recommender that `recommender_state` took apart."""
    return Recommender(
        space=blocks_from_state(within(arrays, "blocks."), meta["space"]),
        sources={n: source_from_state(within(arrays, f"sources.{n}."), m) for n, m in meta["sources"].items()},
        weights=meta["weights"],
        newcomer_weights=meta["newcomer_weights"],
        exclude_seen=meta["exclude_seen"],
        personalisation=meta["personalisation"],
        encoder=encoder,
        fusion=meta["fusion"],
        gate=gate_from_state(meta["gate"]),
        reads=tuple(meta.get("reads", ())),
        **{name: stage_from_state(within(arrays, f"{name}."), told) for name, told in meta.get("stages", {}).items()},
    )


def source_state(source: Scorer) -> tuple[Arrays, Meta]:
    """Arrays and values of one source.

    Raises:
        ArtefactError: a source of a type that cannot be saved.
    """
    if isinstance(source, PopularModel):
        return {"item_score": source.item_score}, {"type": "popular"}
    if isinstance(source, AlikeModel):
        values = [[name, list(lifts)] for name, lifts in source.log_lift.items()]  # JSON objects lose their order
        stacked = [np.stack(list(lifts.values())) for lifts in source.log_lift.values()]
        arrays = {f"lift.{place}": lifts for place, lifts in enumerate(stacked)}
        return {"item_score": source.popular.item_score} | arrays, {"type": "alike", "values": values}
    if isinstance(source, OwnMostBoughtModel):
        return {"tie_break": source.tie_break}, {"type": "own"}
    if isinstance(source, RepeatModel):
        return {"item_factor": source.item_factor}, {"type": "repeat", "half_life_s": source.half_life_s}
    if isinstance(source, NeighboursModel):
        said = {name: getattr(source, name) for name in ("decay", "last", "ties", "damped")}
        meta = {"type": "neighbours", **said}
        return csr_arrays(source.weights) | {"tie_break": source.tie_break}, meta
    if isinstance(source, Bm25Model):
        ordered = sorted(source.vocabulary, key=lambda word: source.vocabulary[word])
        return csr_arrays(source.weights), {"type": "bm25", "vocabulary": ordered}
    if isinstance(source, LexicalModel):
        arrays, meta = lexical_state(source)
        return arrays, {"type": "lexical", **meta}
    raise ArtefactError(
        f"a source of type {type(source).__name__} cannot be saved; give it a state in retrieval/state.py"
    )


def source_from_state(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> Scorer:
    """The source that `source_state` took apart.

    Raises:
        ArtefactError: an unknown type of source.
    """
    kind = meta["type"]
    if kind == "popular":
        return PopularModel(arrays["item_score"])
    if kind == "alike":
        lifts = {
            name: dict(zip(values, arrays[f"lift.{place}"], strict=True))
            for place, (name, values) in enumerate(meta["values"])
        }
        return AlikeModel(PopularModel(arrays["item_score"]), lifts)
    if kind == "own":
        return OwnMostBoughtModel(arrays["tie_break"])
    if kind == "repeat":
        return RepeatModel(meta["half_life_s"], arrays["item_factor"])
    if kind == "neighbours":
        damped = meta.get("damped", False)  # older workspaces do not say
        weights, told = csr_from_arrays(arrays), (meta["decay"], meta["last"], meta["ties"], damped)
        return NeighboursModel(weights, arrays["tie_break"], *told)
    if kind == "bm25":
        return Bm25Model({word: row for row, word in enumerate(meta["vocabulary"])}, csr_from_arrays(arrays))
    if kind == "lexical":
        return lexical_from_state(arrays, meta)
    raise ArtefactError(f"source type {kind!r} is not known to this version; rebuild the workspace")


def log_arrays(log: EventLog) -> Arrays:
    """The numeric columns of a log; its ids are for a table."""
    return {name: getattr(log, name) for name in _LOG_ARRAYS}


def log_from_arrays(
    arrays: Mapping[str, NDArray[Any]], user_ids: NDArray[np.object_], item_ids: NDArray[np.object_]
) -> EventLog:
    """The log that `log_arrays` took apart."""
    columns: dict[str, Any] = {name: arrays[name] for name in _LOG_ARRAYS}
    return EventLog(user_ids=user_ids, item_ids=item_ids, **columns)


def storable(arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """Arrays as artefacts take them: contiguous, and with identifiers for names, a dot becoming two underscores."""
    return {name.replace(".", "__"): np.ascontiguousarray(array) for name, array in arrays.items()}


def dotted(arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """The arrays under the names they had before `storable`."""
    return {name.replace("__", "."): array for name, array in arrays.items()}


def within(arrays: Mapping[str, NDArray[Any]], prefix: str) -> Arrays:
    """The arrays whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
