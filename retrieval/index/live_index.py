"""An index by item id that takes changes: added, replaced and removed vectors are found, or not, from then on.

A folder holds the base (vectors, ids and the built index, one artefact) and a journal of what changed since. A change
is in the journal before it is acknowledged, so a crash loses none; `LiveIndex.compact` makes a fresh base of both while
searches and changes go on. One process owns the folder. What is found is `live`'s work.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ...profiling.artefact import Artefact, read_artefact
from ...profiling.encoders.stamp import EncoderStamp
from ...profiling.errors import ArtefactError
from ...profiling.files import locked
from ...profiling.journal import Journal
from .kinds import build_index
from .live_files import (
    KIND,
    Builder,
    Change,
    Snapshot,
    check_change,
    decode_change,
    encode_change,
    open_base,
    publish_base,
    row_blocks,
)

_LOG = logging.getLogger("tasteprint.retrieval")
_OWNER = ".owner"


class LiveConfig(BaseModel):
    """When a live index makes itself a fresh base."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    compact_rows: int = Field(
        default=20_000, ge=1, description="added rows from which on a fresh base is made: each one is compared exactly"
    )
    compact_share: float = Field(default=0.2, gt=0, le=1, description="share of rows that are gone, likewise")
    background: bool = Field(default=True, description="make it on a thread by itself; false: only when asked")


@dataclass(frozen=True, eq=False)
class Hits:
    """What a search found.

    Attributes:
        ids: item ids, best first
        scores: their inner products, (m,)
    """

    ids: tuple[str, ...]
    scores: NDArray[np.float32]


@dataclass(eq=False)
class _State:
    """Where every id is; guarded by the owner's lock but for ``now``, which readers take whole."""

    now: Snapshot
    row_of: dict[str, int]
    since: list[Change] = field(default_factory=list)  # changes after a snapshot that a compaction works on
    recording: bool = False


class LiveIndex:
    """An index that takes changes. Make a new one with `create_live_index`.

    Searches never wait; changes wait for each other. Call `close` when done.

    Args:
        folder: where it lives
        build: makes the index of a fresh base; None = exact, in half precision
        config: when to make a fresh base
        stamp: what its vectors must have been made by; None = any

    Raises:
        ArtefactError: nothing is there, it is damaged, its stamp differs, or another process has it open.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        build: Builder | None = None,
        config: LiveConfig | None = None,
        stamp: EncoderStamp | None = None,
    ) -> None:
        self._folder, self.config = Path(folder), config or LiveConfig()
        self._build: Builder = build or build_index
        self._lock, self._compacting = threading.RLock(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._held = ExitStack()
        held = read_artefact(self._folder / "base", kind=KIND, stamp=stamp)
        if not self._held.enter_context(locked(self._folder / _OWNER, wait=False)):
            raise ArtefactError(f"live index {self._folder} is open elsewhere; close it, or name another folder")
        try:
            self.stamp = held.stamp
            self._journal = Journal(self._folder / "changes")
            self._state = self._opened(held)
        except BaseException:
            self._held.close()
            raise

    @property
    def n_items(self) -> int:
        """Items that can be found."""
        return len(self._state.row_of)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._state.row_of

    def snapshot(self) -> Snapshot:
        """The index as it is now, to search by row, to filter, or to read vectors."""
        return self._state.now

    def search(self, query: NDArray[np.float32], k: int) -> Hits:
        """The ``k`` items with the largest inner product with ``query`` (dim,), or all where there are fewer."""
        return self.search_batch(query[None], k)[0]

    def search_batch(self, queries: NDArray[np.float32], k: int) -> list[Hits]:
        """As `search`, for many queries (n, dim)."""
        now = self._state.now
        found = now.view.search_batch(queries, k)
        answers = (found.one(query) for query in range(len(queries)))
        return [Hits(now.ids(rows), scores) for rows, scores in answers]

    def upsert(self, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Add items, or give those that are there other vectors (n, dim); durable and found when this returns.

        Raises:
            ArtefactError: ids twice or empty, vectors of another width or not finite, or the disk refuses; nothing has
                changed then.
        """
        self.apply(ids=ids, vectors=vectors)

    def remove(self, ids: Sequence[str]) -> int:
        """Remove items; returns how many were there. Durable, and none is found any more, when this returns."""
        return self.apply(removed=ids)

    def apply(
        self, *, ids: Sequence[str] = (), vectors: NDArray[np.float32] | None = None, removed: Sequence[str] = ()
    ) -> int:
        """Remove some items and upsert others, all or nothing; returns how many of ``removed`` were there.

        Raises:
            ArtefactError: see `upsert`; or an id is to be removed and upserted at once.
        """
        dim = self._state.now.view.dim
        given = np.empty((0, dim), dtype=np.float32) if vectors is None else np.asarray(vectors)
        change = Change(tuple(removed), tuple(ids), given)
        check_change(change, dim)
        change = replace(change, vectors=np.ascontiguousarray(given, dtype=np.float32))
        with self._lock:
            present = tuple(item_id for item_id in change.removed if item_id in self._state.row_of)
            if change.ids or present:
                change = replace(change, removed=present)
                self._journal.append([encode_change(change)])
                self._apply(self._state, change)
        if self.config.background and self.wants_compaction():
            self.compact_soon()
        return len(present)

    def wants_compaction(self) -> bool:
        """Whether enough has changed that a fresh base would answer faster."""
        view = self._state.now.view
        added, gone = view.n_items - view.n_base, view.n_items - len(self._state.row_of)
        return added >= self.config.compact_rows or gone >= max(self.config.compact_share * view.n_items, 100)

    def compact_soon(self) -> None:
        """Start `compact` on a thread, unless it is running; a failure is logged, and the old base goes on."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._compact_quietly, name="compact", daemon=True)
                self._thread.start()

    def compact(self) -> None:
        """Make a fresh base of what is there, publish it, and drop the journal up to it.

        Searches and changes go on meanwhile.

        Raises:
            ArtefactError: it cannot be built or written; everything stays as it was.
        """
        with self._compacting:
            with self._lock:
                state, through = self._state, self._journal.rotate()
                now, alive = state.now, np.flatnonzero(state.now.view.alive)
                state.since, state.recording = [], True
            try:
                vectors = (now.vectors(rows) for rows in row_blocks(alive))
                fresh = _state_from(
                    publish_base(
                        self._folder,
                        now.ids(alive),
                        vectors,
                        now.view.dim,
                        build=self._build,
                        stamp=self.stamp,
                        applied=through,
                    )
                )
                with self._lock:
                    for change in state.since:
                        self._apply(fresh, change)
                    self._state = fresh
            finally:
                state.recording = False
            self._journal.drop(through)

    def close(self) -> None:
        """Wait for a compaction that is running, and let another process open the folder."""
        if self._thread is not None:
            self._thread.join()
        self._held.close()

    def _opened(self, held: Artefact) -> _State:
        """The base with the journal's changes after it."""
        state, applied = _state_from(open_base(held, self._build)), int(held.meta["applied"])
        for record in self._journal.poll():
            if record.number > applied:
                self._apply(state, decode_change(record.body, state.now.view.dim))
        self._journal.drop(applied)
        return state

    def _apply(self, state: _State, change: Change) -> None:
        """Make a change to the state; readers see all of it or nothing."""
        now = state.now
        gone = [row for item_id in change.removed if (row := state.row_of.pop(item_id, None)) is not None]
        gone += [row for item_id in change.ids if (row := state.row_of.get(item_id)) is not None]
        added = cast("list[str]", now.added_ids)
        added.extend(change.ids)
        first = now.view.n_items
        state.row_of |= {item_id: first + place for place, item_id in enumerate(change.ids)}
        view = now.view.changed(gone=np.array(gone, dtype=np.int64), vectors=change.vectors)
        state.now = replace(now, view=view)
        if state.recording:
            state.since.append(change)

    def _compact_quietly(self) -> None:
        try:
            self.compact()
        except ArtefactError as error:
            _LOG.error("live index %s: no fresh base could be made, the old one stays: %s", self._folder, error)


def create_live_index(
    folder: str | Path,
    *,
    ids: Sequence[str] = (),
    vectors: NDArray[np.float32] | None = None,
    dim: int | None = None,
    stamp: EncoderStamp | None = None,
    build: Builder | None = None,
    config: LiveConfig | None = None,
) -> LiveIndex:
    """A new live index in a folder, with its first items if there are any.

    Args:
        folder: made if absent; must not hold a live index
        ids: distinct item ids
        vectors: theirs, (n, dim)
        dim: width, needed where there are no vectors yet
        stamp: of the encoder that made the vectors
        build, config: as in `LiveIndex`

    Raises:
        ArtefactError: one is there already, or ids and vectors are not such as `LiveIndex.upsert` takes.
    """
    folder = Path(folder)
    if (folder / "base").exists():
        raise ArtefactError(f"live index {folder} is there already; open it, or name another folder")
    width = dim if vectors is None else int(np.asarray(vectors).shape[-1])
    if width is None or width < 1:
        raise ArtefactError(f"dim must be at least 1 where no vectors are given, got {dim}")
    given = np.empty((0, width), dtype=np.float32) if vectors is None else np.asarray(vectors)
    check_change(Change((), tuple(ids), given), width)
    blocks = (np.asarray(given[rows], dtype=np.float32) for rows in row_blocks(np.arange(len(given))))
    make = build or build_index
    base = publish_base(folder, ids, blocks, width, build=make, stamp=stamp, applied=0).view.base
    made = LiveIndex(folder, build=lambda vectors: make(vectors) if base is None else base, config=config)
    made._build = make  # what is built already is not built again on opening
    return made


def _state_from(now: Snapshot) -> _State:
    """A base without changes, with the row of every id."""
    return _State(now, {item_id: row for row, item_id in enumerate(now.base_ids.tolist())})
