"""Models trained ahead of building, on disk: artefacts in the workspace's ``trained/``, stamped by their encoder.

What is kept: the taste model, twice (see `evaluation.taste_learning`), with the ids of the items it knows. A build
reads it here; making it is `training`'s work.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ValidationError

from .evaluation.taste_learning import TrainedTaste
from .profiling.artefact import read_artefact, write_artefact
from .profiling.encoders.stamp import EncoderStamp
from .profiling.errors import ArtefactError
from .profiling.taste_model import TasteModel, taste_from_state, taste_state
from .retrieval.scorer import TrainingSet
from .retrieval.state import dotted, storable, within
from .retrieval.taste.config import TasteConfig
from .retrieval.taste.extend import extended
from .retrieval.taste.features import item_features

_FOLDER = Path("trained") / "taste"
_KIND = "taste"


def taste_digest(workspace: Path) -> str | None:
    """Digest of the trained taste model; None where there is none."""
    if not (workspace / _FOLDER).is_dir():
        return None
    return read_artefact(workspace / _FOLDER, kind=_KIND, verify=False).digest


def save_taste(
    workspace: Path,
    trained: TrainedTaste,
    *,
    stamp: EncoderStamp,
    item_ids: NDArray[np.object_],
    about: Mapping[str, Any],
) -> None:
    """Publish both models with the ids of their items, aligned with the rows of ``items``.

    Raises:
        ArtefactError: the folder cannot be written.
    """
    arrays: dict[str, NDArray[Any]] = {}
    states = {}
    models = {"final": trained.final} | ({} if trained.before is trained.final else {"before": trained.before})
    for name, model in models.items():
        state, states[name] = taste_state(model)
        arrays |= {f"{name}.{key}": array for key, array in state.items()}
    write_artefact(
        workspace / _FOLDER,
        kind=_KIND,
        stamp=stamp,
        arrays=storable(arrays),
        tables={"items": pd.DataFrame({"item_id": item_ids.astype(str)})},
        meta={
            "models": states,
            "config": trained.config.model_dump(mode="json"),
            "about": dict(trained.about),
            **about,
        },
    )


def read_taste(workspace: Path, everything: TrainingSet, *, stamp: EncoderStamp) -> TrainedTaste | None:
    """The trained taste models of a workspace on the present catalogue; None where nothing was trained.

    Items that came since get their place from what the catalogue says of them, see `retrieval.taste.extend`.

    Raises:
        ArtefactError: damaged, of another encoder or version, or most of the items are others by now.
    """
    if not (workspace / _FOLDER).is_dir():
        return None
    held = read_artefact(workspace / _FOLDER, kind=_KIND, stamp=stamp)
    arrays, config = dotted(held.arrays), _config(workspace, held.meta)
    models = {name: taste_from_state(within(arrays, f"{name}."), state) for name, state in held.meta["models"].items()}
    known = held.tables["items"]["item_id"].to_numpy(object)
    ids = everything.log.item_ids.astype(str)
    if not np.array_equal(known, ids):
        old_row = pd.Index(known).get_indexer(pd.Index(ids)).astype(np.int64)
        features = item_features(everything, config, rng=np.random.default_rng(0)).rows
        models = {name: extended(model, old_row, features, cosine=config.cosine) for name, model in models.items()}
    final: TasteModel = models["final"]
    return TrainedTaste(models.get("before", final), final, config, held.meta["about"])


def _config(workspace: Path, meta: Mapping[str, Any]) -> TasteConfig:
    """The options of the training.

    Raises:
        ArtefactError: it was made by a version with other options.
    """
    try:
        return TasteConfig.model_validate(meta["config"])
    except (KeyError, ValidationError) as error:
        raise ArtefactError(
            f"{workspace / _FOLDER} was trained by another version; train it again: tasteprint train taste SHOP "
            f"--workspace {workspace}"
        ) from error
