"""Choices and rankers made ahead of building, on disk: ``trained/fusion`` and ``trained/ranker`` of a workspace.

What is kept is small: weights, settings and a ranker's numbers. Facts that a ranker reads of items are learned anew by
each build, from the events of that day.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from .choosing import Chosen
from .evaluation.first_stage import Learned
from .evaluation.rank_learning import LearnedRanker
from .profiling.artefact import read_artefact, write_artefact
from .profiling.encoders.stamp import EncoderStamp
from .profiling.errors import ArtefactError
from .retrieval.gate import gate_from_state, gate_state
from .retrieval.recommender import RecommenderConfig
from .retrieval.second_stage.ranker_state import ranker_from_state, ranker_state
from .retrieval.state import dotted, storable, within
from .trained import taste_digest

FUSION, RANKER = "fusion", "ranker"
_PLAIN = ("name", "depth", "asked", "regime", "n_requests")


def choice_digests(workspace: Path) -> dict[str, str]:
    """Digest of each choice that was made ahead, by kind."""
    kinds = [kind for kind in (FUSION, RANKER) if (_folder(workspace, kind)).is_dir()]
    return {kind: read_artefact(_folder(workspace, kind), kind=kind, verify=False).digest for kind in kinds}


def save_fusion(workspace: Path, fusion: Mapping[str, Learned], *, stamp: EncoderStamp) -> None:
    """Publish settings and weights by protocol.

    Raises:
        ArtefactError: the folder cannot be written.
    """
    meta = {protocol: _learned_state(learned) for protocol, learned in fusion.items()}
    inputs = {"taste": taste_digest(workspace) or "none"}
    write_artefact(_folder(workspace, FUSION), kind=FUSION, stamp=stamp, inputs=inputs, meta={"protocols": meta})


def save_rankers(workspace: Path, rankers: Mapping[str, LearnedRanker], *, stamp: EncoderStamp) -> None:
    """Publish rankers by protocol, bound to the fusion that was trained here and whose candidates they learned on.

    Raises:
        ArtefactError: the folder cannot be written, or there is no fusion.
    """
    fusion = read_artefact(_folder(workspace, FUSION), kind=FUSION, verify=False).digest
    arrays: dict[str, NDArray[Any]] = {}
    meta = {}
    for protocol, learned in rankers.items():
        held, model = ({}, None) if learned.model is None else ranker_state(learned.model)
        arrays |= {f"{protocol}.{name}": array for name, array in held.items()}
        meta[protocol] = {name: getattr(learned, name) for name in _PLAIN} | {
            "groups": list(learned.groups),
            "first": _or_none(learned.first),
            "reached": dict(learned.reached),
            "reads": list(learned.reads),
            "model": model,
        }
    write_artefact(
        _folder(workspace, RANKER),
        kind=RANKER,
        stamp=stamp,
        inputs={FUSION: fusion},
        arrays=storable(arrays),
        meta={"protocols": meta},
    )


def read_fusion(workspace: Path, *, stamp: EncoderStamp) -> dict[str, Learned]:
    """Settings and weights chosen ahead, by protocol; empty where none were.

    Raises:
        ArtefactError: damaged, made with another encoder, another taste model or by another version.
    """
    folder = _folder(workspace, FUSION)
    if not folder.is_dir():
        return {}
    held = read_artefact(folder, kind=FUSION, stamp=stamp)
    again = f"tasteprint train fusion SHOP --workspace {workspace}"
    if held.inputs["taste"] != (taste_digest(workspace) or "none"):
        raise ArtefactError(f"{folder} was chosen with another taste model; choose again: {again}")
    try:
        return {protocol: _learned(state) for protocol, state in held.meta["protocols"].items()}
    except (KeyError, ValidationError) as error:
        raise ArtefactError(f"{folder} was made by another version; choose again: {again}") from error


def read_choice(workspace: Path, *, stamp: EncoderStamp) -> Chosen:
    """Everything chosen ahead; empty where nothing was.

    Raises:
        ArtefactError: as in `read_fusion`, or rankers that learned on another fusion.
    """
    fusion = read_fusion(workspace, stamp=stamp)
    if not _folder(workspace, RANKER).is_dir():
        return Chosen(fusion)
    kept = read_artefact(_folder(workspace, RANKER), kind=RANKER, stamp=stamp)
    if kept.inputs[FUSION] != choice_digests(workspace).get(FUSION):
        raise ArtefactError(
            f"{_folder(workspace, RANKER)} learned on candidates of another fusion; learn it again: tasteprint train "
            f"ranker SHOP --workspace {workspace}"
        )
    arrays = dotted(kept.arrays)
    rankers = {name: _ranker(state, within(arrays, f"{name}.")) for name, state in kept.meta["protocols"].items()}
    return Chosen(fusion, rankers)


def _folder(workspace: Path, kind: str) -> Path:
    return workspace / "trained" / kind


def _learned_state(learned: Learned) -> dict[str, Any]:
    return {
        "recommender": learned.recommender.model_dump(mode="json"),
        "weights": dict(learned.weights),
        "ndcg": _or_none(learned.ndcg),
        "single": {name: _or_none(value) for name, value in learned.single.items()},
        "newcomer_weights": dict(learned.newcomer_weights),
        "fusion": learned.fusion,
        "gate": gate_state(learned.gate),
    }


def _learned(state: Mapping[str, Any]) -> Learned:
    return Learned(
        recommender=RecommenderConfig.model_validate(state["recommender"]),
        weights=state["weights"],
        ndcg=_or_nan(state["ndcg"]),
        single={name: _or_nan(value) for name, value in state["single"].items()},
        newcomer_weights=state["newcomer_weights"],
        fusion=state["fusion"],
        gate=gate_from_state(state["gate"]),
    )


def _ranker(state: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> LearnedRanker:
    return LearnedRanker(
        model=None if state["model"] is None else ranker_from_state(arrays, state["model"]),
        groups=tuple(state["groups"]),
        first=_or_nan(state["first"]),
        reached=state["reached"],
        reads=tuple(state.get("reads", ())),
        **{name: state[name] for name in _PLAIN},
    )


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value
