"""Items that come and go while the service runs: written to the workspace's journal, followed by every worker.

A change is durable and shown by this process when `LiveItems.write` returns; other processes see it when they look
next. What a change does to an engine is `retrieval.catalogue_update`'s work, the routes are `item_routes`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..profiling.errors import ArtefactError, ConfigError, ShopError
from ..retrieval.catalogue.journal import CatalogueJournal, ItemChange, changed_items, known_texts, with_changes
from ..retrieval.engine import Engine
from .current import Current, Served


class LiveItems:
    """The changes of one workspace's catalogue.

    Args:
        folder: of the journal; made with the first change
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._reader: CatalogueJournal | None = None
        self._version = ""
        self._waiting: list[tuple[int, ItemChange]] = []

    def follow(self, served: Served) -> Served:
        """A version with all changes on disk, the same one where it has them; one caller at a time.

        Raises:
            ArtefactError: the journal is damaged, or the workspace takes no changes.
        """
        if served.speaker is None or not self._folder.is_dir():
            return served
        if served.version != self._version:  # built from the first so many changes: whatever came later is new to it
            self._reader, self._waiting, self._version = None, [], served.version
        self._waiting = [held for held in self._read() if held[0] > served.changes]
        if not self._waiting:
            return served
        changes = [change for _, change in self._waiting]
        engine = with_changes(served.engine, changes, served.speaker)
        _work_out(engine)
        catalogue = replace(served.catalogue, item_ids=engine.log.item_ids, row_of=engine.facts.row_of)
        items = None if served.items is None else changed_items(served.items, changes)
        return replace(served, engine=engine, catalogue=catalogue, items=items, changes=self._waiting[-1][0])

    def write(self, current: Current, upserts: pd.DataFrame | None, removed: Sequence[str] = ()) -> dict[str, Any]:
        """Make a change durable and show it.

        Raises:
            ConfigError: the items make no sense, or the workspace takes none.
            ArtefactError: it cannot be written, or was written and cannot be shown.
        """
        served = current.get()
        if served.speaker is None or served.engine.recommender.space.axes is None:
            raise ConfigError("items: this workspace was built by an earlier version and takes no changes; build again")
        known = None
        if upserts is not None and served.items is not None:  # what keeps its text keeps its vector: prices change most
            known = known_texts(served.engine, served.items, upserts["item_id"].tolist())
        try:
            change = served.speaker.change(upserts, removed, known=known)
        except ShopError as error:
            raise ConfigError(str(error)) from error
        facts = served.engine.facts
        gone = [facts.row_of[item_id] for item_id in removed if item_id in facts.row_of]
        n_removed = len(gone) if facts.sold is None else int(np.count_nonzero(facts.sold[gone]))
        number = CatalogueJournal(self._folder).append(change)
        current.refresh()
        now = current.get()
        if now.changes < number:
            raise ArtefactError(f"change {number} is written but cannot be shown; the lines before say why")
        return {"version": now.version, "change": number, "upserted": len(change.items), "removed": n_removed,
                "items": n_sold(now)}  # fmt: skip

    def _read(self) -> list[tuple[int, ItemChange]]:
        """What was not applied yet, and what is new; all again where records were put together meanwhile."""
        if self._reader is not None:
            try:
                return [*self._waiting, *self._reader.poll()]
            except ArtefactError:
                self._reader = None
        reader = CatalogueJournal(self._folder)
        found = reader.poll()
        self._reader = reader
        return found


def _work_out(engine: Engine) -> None:
    """Have an engine's tables worked out that it makes on first use, so that no shopper waits for them."""
    facts, recommender = engine.facts, engine.recommender
    made: list[object] = [facts.brand_rows, facts.category_rows, recommender.text_rows]
    for stage in (recommender.second, recommender.second_search):
        words = None if stage is None else stage.facts.words
        made += [] if words is None else [words.prefix_of, words.unit_of, words.spelling]


def n_sold(served: Served) -> int:
    """How many items can be found."""
    facts = served.engine.facts
    return len(facts.price) if facts.sold is None else int(np.count_nonzero(facts.sold))
