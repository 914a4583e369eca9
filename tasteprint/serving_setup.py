"""Between a workspace on disk and the serving room: opening what is published, filling the store, making the app.

Covers one workspace, one process or several workers. HTTP itself is the serving room's, the command line
`commands.serve`'s.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import __version__
from .item_changes import changes_folder
from .profiling.encoders.encoder import Encoder
from .profiling.errors import ExtraMissingError
from .profiling.files import locked
from .profiling.shopper.yardsticks import Yardsticks
from .profiling.tables.shop import read_meta, read_shop
from .retrieval.catalogue.update import apply_items
from .retrieval.readings import Readings
from .retrieval.rules import read_rules
from .serving.bulk import load_events
from .serving.config import ServeConfig
from .serving.current import Current, Served
from .serving.histories import Catalogue
from .serving.items import LiveItems
from .serving.service import Service
from .serving.shelf import SharedReadings, Slots
from .serving.store import Appended, ProfileStore
from .serving.together import TogetherEncoder
from .serving_tables import Elsewhere, published, tables_of
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


def served_from(
    workspace: Path,
    config: ServeConfig,
    old: Served | None = None,
    *,
    elsewhere: Elsewhere | None = None,
    slots: Slots | None = None,
) -> Served:
    """Open the published version of a workspace for serving, its encoder one that embeds many queries in one go.

    Args:
        workspace: its folder
        config: of the service
        old: what is being served meanwhile; its encoder is taken over where the new version has the same, with the
            queries it remembers
        elsewhere: has the tables worked out by another process; None = this one does it
        slots: where workers leave for each other what they read queries as; None = there are no others

    Raises:
        WorkspaceError, ArtefactError, EncoderError: as `workspace.open_workspace`.
        SupersededError: another version was published meanwhile.
        ConfigError: the file of rules cannot be read.
    """
    version = published(workspace)  # before opening: if another one comes between, the next look finds it
    together: list[TogetherEncoder] = []

    def around(encoder: Encoder) -> Encoder:
        together.append(TogetherEncoder(encoder, most=config.together))
        return together[0]

    opened = open_workspace(
        workspace,
        around=around,
        changes=False,  # as built: what changed since is followed
        encoder=None if old is None else old.encoder,
        worked=lambda digest: tables_of(workspace, digest[: len(version)], elsewhere=elsewhere),
    )
    shelf = None if slots is None else SharedReadings(slots, version)
    engine = replace(opened.engine, readings=Readings(shelf=shelf))
    if config.rules is not None:
        engine = replace(engine, rules=read_rules(config.rules))
    if opened.removed:
        nothing = np.zeros((0, engine.recommender.space.dims["meaning"]), dtype=np.float32)
        engine = apply_items(engine, None, nothing, removed=opened.removed)
    catalogue = catalogue_of(opened)
    return Served(
        version=version,
        engine=engine,
        encoder=opened.encoder,
        intent_model=opened.intent_model,
        catalogue=old.catalogue if old is not None and catalogue.same(old.catalogue) else catalogue,
        last_s=opened.last_s,
        wall_clock=bool(_meta(opened).get("absolute_time", True)),
        about=opened.about | {"currency": _meta(opened).get("currency")},
        yardsticks=_once(opened),
        gathered=together[0].gathered if together or old is None else old.gathered,
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
    slots: Slots | None = None,
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
    elsewhere = Elsewhere()
    current = Current(
        lambda old: served_from(workspace, config, old, elsewhere=None if old is None else elsewhere, slots=slots),
        lambda: published(workspace),
        follow=live_items.follow,
        turn=lambda: _turn(workspace),
        interrupt=elsewhere.stop,
    )
    service = Service(current, store, config, clock=time.time, spool=workspace / SHOWN)
    return create_app(service, config, keys=keys, rates=rates, live_items=live_items, version=__version__)


@contextmanager
def _turn(workspace: Path) -> Iterator[None]:
    """Workers open a new version one after the other: no more than one of them has less time for answers."""
    with ExitStack() as held:
        try:
            held.enter_context(locked(workspace / "cache" / ".opening"))
        except OSError as error:  # a workspace that cannot be written: all at once then
            _LOG.info("workers cannot take turns: %s", error)
        yield


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
