"""Items that came, changed and went since a workspace was built: where they are kept, and how they get into it.

A workspace keeps them in ``changes/``, a journal beside the published model. Whoever opens the workspace applies those
that the model does not have yet; a build folds all of them into the catalogue it reads from the shop. They stay until
`reset`: the shop's own files may never hear of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from .profiling.encoders.encoder import Encoder
from .profiling.templates import TemplateConfig
from .retrieval.catalogue.journal import (
    CatalogueJournal,
    ItemChange,
    Speaker,
    changed_items,
    net_change,
    net_items,
    spoken,
    with_changes,
)
from .retrieval.catalogue.update import apply_items
from .retrieval.engine import Engine

__all__ = [
    "Folded",
    "Speaker",
    "caught_up",
    "changed_items",
    "changes_after",
    "changes_digest",
    "changes_folder",
    "fold",
    "reset",
]

_MANY = 64  # records from which on a build puts them together


@dataclass(frozen=True, eq=False)
class Folded:
    """A catalogue with the changes in it.

    Attributes:
        items: with those that came, also those that went: histories may hold them
        removed: ids of those that went
        applied: number of the last change that is in it, 0 for none
    """

    items: pd.DataFrame
    removed: tuple[str, ...]
    applied: int


def changes_folder(workspace: str | Path) -> Path:
    """Where a workspace keeps them."""
    return Path(workspace) / "changes"


def changes_after(workspace: str | Path, number: int = 0) -> list[tuple[int, ItemChange]]:
    """Number and change of those written after ``number``; none where nothing was ever changed.

    Raises:
        ArtefactError: the journal is damaged.
    """
    folder = changes_folder(workspace)
    if not folder.is_dir():
        return []
    return [(found, change) for found, change in CatalogueJournal(folder).poll() if found > number]


def caught_up(
    engine: Engine, workspace: str | Path, *, applied: int, removed: Sequence[str], speaker: Speaker
) -> tuple[Engine, int, tuple[ItemChange, ...]]:
    """A built engine with the changes since, the number of the last of them, and the changes.

    Args:
        engine: as built
        workspace: its folder
        applied: number of the last change that it was built with
        removed: ids of items that it was built with and that are not sold
        speaker: makes vectors where another encoder made those of a change

    Raises:
        ArtefactError: the journal is damaged, or the engine was prepared by an earlier version.
    """
    if removed:
        nothing = np.zeros((0, engine.recommender.space.dims["meaning"]), dtype=np.float32)
        engine = apply_items(engine, None, nothing, removed=removed)
    later = changes_after(workspace, applied)
    if not later:
        return engine, applied, ()
    changes = tuple(change for _, change in later)
    return with_changes(engine, changes, speaker), later[-1][0], changes


def fold(items: pd.DataFrame, workspace: str | Path, encoder: Encoder, template: TemplateConfig) -> Folded:
    """The shop's catalogue with a workspace's changes; many of them are put together on disk by the way.

    Raises:
        ArtefactError: the journal is damaged or cannot be written.
    """
    later = changes_after(workspace)
    if len(later) > _MANY:
        speaker = Speaker(encoder, template)
        CatalogueJournal(changes_folder(workspace)).rewrite(lambda changes: net_change(spoken(changes, speaker)))
        later = changes_after(workspace)
    changes = [change for _, change in later]
    if not changes:
        return Folded(items, (), 0)
    there = set(items["item_id"].tolist())
    removed = tuple(item_id for item_id in net_items(changes)[1] if item_id in there)
    return Folded(changed_items(items, changes), removed, later[-1][0])


def changes_digest(workspace: str | Path) -> str:
    """What the changes come to, in one word; "none" where there are none.

    Raises:
        ArtefactError: the journal is damaged.
    """
    changes = [change for _, change in changes_after(workspace)]
    if not changes:
        return "none"
    come, removed = net_items(changes)
    said = json.dumps([come.to_json(orient="records", date_format="iso"), sorted(removed)])
    return hashlib.sha256(said.encode()).hexdigest()


def reset(workspace: str | Path, through: int | None = None) -> int:
    """Drop changes, so that the next build has the shop's own word on these items; returns how many there were.

    Args:
        workspace: its folder
        through: number of the last change to drop; None = all that are there now

    Raises:
        ArtefactError: the journal is damaged or cannot be written.
    """
    found = changes_after(workspace)
    last = max((number for number, _ in found), default=0) if through is None else through
    if not any(number <= last for number, _ in found):
        return 0
    return CatalogueJournal(changes_folder(workspace)).forget(last)
