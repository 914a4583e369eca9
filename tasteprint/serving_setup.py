"""Between a workspace on disk and the serving room: opening what is published, filling the store, making the app.

Covers one workspace, one process or several workers. HTTP itself is the serving room's, the command line
`commands.serve`'s.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import __version__
from .item_changes import changes_folder
from .profiling.encoder import Encoder
from .profiling.errors import ArtefactError, ExtraMissingError, WorkspaceError
from .profiling.shop import read_meta, read_shop
from .profiling.yardsticks import Yardsticks
from .retrieval.catalogue_update import apply_items
from .retrieval.engine import Engine
from .retrieval.rules import read_rules
from .serving.bulk import load_events
from .serving.config import ServeConfig
from .serving.current import Current, Served
from .serving.histories import Catalogue
from .serving.items import LiveItems
from .serving.service import Service
from .serving.store import Appended, ProfileStore
from .serving.together import TogetherEncoder
from .workspace import Workspace, open_workspace, shop_yardsticks

if TYPE_CHECKING:
    from fastapi import FastAPI

    from .serving.keys import ApiKey
    from .serving.rates import Rates

_LOG = logging.getLogger("tasteprint.serving")

STORE = "store.sqlite"
"""Name of a workspace's own store, used where no other is named."""

SHOWN = "shown"
"""Folder of a workspace where what was shown waits for the store."""


def store_address(workspace: Path, store: str | None) -> str:
    """The named store, or the workspace's own."""
    return store or str(workspace / STORE)


def published(workspace: Path) -> str:
    """Names the published version of a workspace.

    Raises:
        WorkspaceError: nothing was published there.
    """
    try:
        return (workspace / "model" / "CURRENT").read_text(encoding="utf-8").split()[-1][:12]
    except (OSError, ValueError, IndexError) as error:
        raise WorkspaceError(
            f"no workspace at {workspace}; build one: tasteprint build SHOP --workspace {workspace}"
        ) from error


def served_from(workspace: Path, config: ServeConfig) -> Served:
    """Open the published version of a workspace for serving, its encoder one that embeds many queries in one go.

    Raises:
        WorkspaceError, ArtefactError, EncoderError: as `workspace.open_workspace`.
        ConfigError: the file of rules cannot be read.
    """
    version = published(workspace)  # before opening: if another one comes between, the next look finds it
    together: list[TogetherEncoder] = []

    def around(encoder: Encoder) -> Encoder:
        together.append(TogetherEncoder(encoder, most=config.together))
        return together[0]

    opened = open_workspace(workspace, around=around, changes=False)  # as built: what changed since is followed
    engine = opened.engine
    if config.rules is not None:
        engine = replace(engine, rules=read_rules(config.rules))
    if config.workers > 1:
        engine = _mapped(engine, workspace, version)
    if opened.removed:
        nothing = np.zeros((0, engine.recommender.space.dims["meaning"]), dtype=np.float32)
        engine = apply_items(engine, None, nothing, removed=opened.removed)
    return Served(
        version=version,
        engine=engine,
        encoder=opened.encoder,
        intent_model=opened.intent_model,
        catalogue=catalogue_of(opened),
        last_s=opened.last_s,
        wall_clock=bool(_meta(opened).get("absolute_time", True)),
        about=opened.about | {"currency": _meta(opened).get("currency")},
        yardsticks=_once(opened),
        gathered=together[0].gathered,
        speaker=opened.speaker,
        changes=opened.applied,
        items=opened.items,
    )


def catalogue_of(opened: Workspace) -> Catalogue:
    """What turns stored events into logs over a workspace's items."""
    meta = _meta(opened)
    return Catalogue(
        item_ids=opened.engine.log.item_ids,
        row_of=opened.engine.facts.row_of,
        rating_scale=meta.get("rating_scale"),
        untimed_kinds=tuple(meta.get("untimed_kinds") or ()),
    )


def load_shop(workspace: Path, store: ProfileStore, *, progress: Callable[[int, int], None] | None = None) -> Appended:
    """Fill a store with the events of the shop a workspace was built from; what is there already stays once.

    Raises:
        ShopError: the shop is not there any more, or has no events.
        StoreError: the store cannot be written.
    """
    shop = read_shop(open_workspace(workspace).shop, tables=["events"])
    return load_events(store, shop.table("events"), progress=progress)


def make_app(
    workspace: Path,
    store: ProfileStore,
    config: ServeConfig,
    *,
    keys: Mapping[str, ApiKey] | None = None,
    rates: Rates | None = None,
) -> FastAPI:
    """The application over a workspace and a store, which it closes when it is shut down.

    Raises:
        ExtraMissingError: FastAPI is not installed.
        WorkspaceError, ArtefactError, EncoderError: the workspace cannot be opened.
    """
    try:
        from .serving.api import create_app
    except ImportError as error:
        raise ExtraMissingError(
            f"the HTTP service is not installed ({error}); run: pip install 'tasteprint[serve]'"
        ) from error
    live_items = LiveItems(changes_folder(workspace))
    current = Current(lambda: served_from(workspace, config), lambda: published(workspace), follow=live_items.follow)
    service = Service(current, store, config, clock=time.time, spool=workspace / SHOWN)
    return create_app(service, config, keys=keys, rates=rates, live_items=live_items, version=__version__)


def _mapped(engine: Engine, workspace: Path, version: str) -> Engine:
    """The engine over arrays that all workers map; as it is where they cannot be written."""
    from .serving.mapped import mapped

    try:
        return mapped(engine, workspace / "cache" / "mapped", version=version)
    except ArtefactError as error:
        _LOG.warning("each worker keeps its own copy of the index: %s", error)
        return engine


def _meta(opened: Workspace) -> dict[str, Any]:
    """What the shop says of itself; empty where it is not there any more."""
    return read_meta(opened.shop) if (opened.shop / "shop.json").is_file() else {}


def _once(opened: Workspace) -> Callable[[], Yardsticks]:
    """The shop's yardsticks, learned on the first call and kept."""
    lock = threading.Lock()
    kept: list[Yardsticks] = []

    def learn() -> Yardsticks:
        with lock:
            if not kept:
                kept.append(shop_yardsticks(opened, read_shop(opened.shop)))
            return kept[0]

    return learn
