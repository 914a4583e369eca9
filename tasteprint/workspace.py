"""Workspaces: a shop made ready to be asked, opened. Making one is `building`'s work.

A workspace is a folder: ``cache/`` holds text vectors by content, ``trained/`` models that `training` made, ``model/``
is one stamped artefact with everything a request needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from .config import Settings
from .item_changes import Speaker, caught_up, changed_items
from .profiling.artefact import check_stamp, read_artefact
from .profiling.embedding.ready import PREPARED
from .profiling.encoders.encoder import Encoder, open_encoder
from .profiling.encoders.query_cache import cached_queries
from .profiling.encoders.stamp import EncoderStamp
from .profiling.errors import WorkspaceError
from .profiling.intent.intent import IntentModel, intent_from_state
from .profiling.shopper.yardsticks import Yardsticks, fit_yardsticks
from .profiling.tables.shop import Shop
from .retrieval.engine import Engine, make_engine
from .retrieval.state import dotted, log_from_arrays, recommender_from_state, within
from .retrieval.worked import Worked, open_worked, save_worked

FORMAT = 4
KIND = "workspace"
_TABLES, _BUILT = "worked", "built"  # a folder of the version itself: no other version's tables can get there

Say = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much (0 = unknown)."""


@dataclass(frozen=True, eq=False)
class Workspace:
    """An opened workspace.

    Attributes:
        path: its folder
        shop: the shop's folder it was built from
        settings: as built
        engine: answers requests
        intent_model: reads queries
        encoder: embeds texts; loads its network on first use
        items: the catalogue
        about: what was built and learned: counts, weights, validation figures
        applied: number of the last change of items that is in it, see `item_changes`
        removed: ids of items that are not sold any more and that it was built with, for the histories that hold them
    """

    path: Path
    shop: Path
    settings: Settings
    engine: Engine
    intent_model: IntentModel
    encoder: Encoder
    items: pd.DataFrame
    about: dict[str, Any]
    applied: int = 0
    removed: tuple[str, ...] = ()

    @property
    def speaker(self) -> Speaker:
        """Makes vectors of items."""
        return Speaker(self.encoder, self.settings.template)

    @property
    def last_s(self) -> float:
        """Time of the newest event, seconds since 1970 UTC; 0 without events. Requests default to just after it."""
        return float(self.engine.log.at_s.max(initial=0.0))


def open_workspace(
    path: str | Path,
    *,
    verify: bool = False,
    around: Callable[[Encoder], Encoder] | None = None,
    changes: bool = True,
    encoder: Encoder | None = None,
    worked: Callable[[str], Worked | None] | None = None,
) -> Workspace:
    """Open a built workspace.

    Args:
        path: its folder
        verify: whether to check every file's checksum first
        around: what the encoder is put into, below the cache of query vectors
        changes: whether items that came and went since the build are applied; false: as it was built
        encoder: of another version that is open, taken with what it remembers where its stamp is this one's
        worked: gives the tables of the version with this digest, see `retrieval.worked`, where it was built without;
            None = they are worked out

    Raises:
        WorkspaceError: nothing was built there.
        ArtefactError: what is there is damaged or from another version.
        EncoderError: its encoder is not here any more.
    """
    path = Path(path)
    if not (path / "model").is_dir():
        raise WorkspaceError(f"no workspace at {path}; build one: tasteprint build SHOP --workspace {path}")
    held = read_artefact(path / "model", kind=KIND, verify=verify)
    if held.meta.get("format") != FORMAT:
        raise WorkspaceError(f"workspace {path} was built by another version; build it again: tasteprint build")
    try:
        settings = Settings.model_validate(held.meta["settings"])
    except ValidationError as error:
        raise WorkspaceError(
            f"workspace {path} was built by another version; build it again: tasteprint build"
        ) from error
    if encoder is None or held.stamp != encoder.stamp.with_template(settings.template.text):
        bare = _encoder_of(settings, held.stamp, path)
        encoder = cached_queries(bare if around is None else around(bare), settings.query_cache)
    items, arrays = held.tables["items"], dotted(held.arrays)
    log = log_from_arrays(
        within(arrays, "log."), held.tables["shoppers"]["user_id"].to_numpy(object), items["item_id"].to_numpy(object)
    )
    intent_model = intent_from_state(within(arrays, "intent."), held.meta["intent"]).with_heads(encoder)
    model = recommender_from_state(within(arrays, "recommender."), held.meta["recommender"], encoder=encoder)
    users = held.tables.get("users")
    tables = open_worked(held.folder / _TABLES, version=_BUILT, kind=None)
    if tables is None and worked is not None:
        tables = worked(held.digest)
    engine = make_engine(model, items, log, users=users, intent_model=intent_model, worked=tables)
    about = dict(held.meta["about"])
    removed = held.tables.get("removed")
    opened = Workspace(
        path,
        Path(held.meta["shop"]),
        settings,
        engine,
        intent_model,
        encoder,
        items,
        about,
        int(held.meta.get("changes", 0)),
        () if removed is None else tuple(removed["item_id"].tolist()),
    )
    return with_changes_of(opened) if changes else opened


def keep_tables(tables: Worked, folder: Path) -> Mapping[str, str]:
    """Write tables into the ``folder`` of a version that is being published, for `open_workspace` to find there."""
    save_worked(tables, folder / _TABLES, version=_BUILT)
    return {}


def with_changes_of(opened: Workspace) -> Workspace:
    """A workspace that was opened as built, with the items that came and went since.

    Raises:
        ArtefactError: the changes are damaged, or the workspace was built by a version that takes none.
    """
    engine, applied, changes = caught_up(
        opened.engine, opened.path, applied=opened.applied, removed=opened.removed, speaker=opened.speaker
    )
    items = changed_items(opened.items, changes) if changes else opened.items
    return replace(opened, engine=engine, applied=applied, items=items)


def shop_yardsticks(opened: Workspace, shop: Shop) -> Yardsticks:
    """What profiles of this workspace's shoppers are measured with, over its taste vectors; takes seconds.

    Raises:
        ShopError: the shop has no events.
    """
    vectors = opened.engine.recommender.space.items["taste"]
    shop = replace(shop, items=opened.items)  # row for row with the vectors
    return fit_yardsticks(shop, vectors, config=opened.settings.profile, rng=np.random.default_rng(0))


def _encoder_of(settings: Settings, stamp: EncoderStamp | None, path: Path) -> Encoder:
    """The very encoder a workspace was built with, which on another machine ``auto`` might not be.

    Raises:
        ArtefactError: what the settings open has another stamp by now.
        EncoderError: it is not here any more.
    """
    config = settings.encoder
    if stamp is not None and stamp.runtime:
        kept = config.prepared or str(path / "cache" / PREPARED)
        config = config.model_copy(update={"prepared": kept, "precision": stamp.precision, "runtime": stamp.runtime})
    encoder = open_encoder(config)
    if stamp is not None:
        check_stamp(f"workspace {path}", encoder.stamp.with_template(settings.template.text), stamp)
    return encoder
