"""Changes of a catalogue on disk: what was added, replaced and removed since the build, in a journal.

A change is durable once `CatalogueJournal.append` returns, and any process that polls sees it. Vectors travel with the
items and the stamp of the encoder that made them, so that no process encodes what another has; where that encoder is
not the present one, they are made again. Applying changes to an engine is `catalogue.update`'s work.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...profiling.embedding.embeddings import embed_items
from ...profiling.encoders.encoder import Encoder
from ...profiling.encoders.stamp import EncoderStamp
from ...profiling.errors import ArtefactError
from ...profiling.journal import Journal, Record
from ...profiling.tables.schema import conform
from ...profiling.templates import TemplateConfig, item_texts
from ..engine import Engine
from .update import apply_items, checked_items

_LENGTHS = 3  # of head, items and vectors, before them
_CHUNK = 2_000  # items of one record where many are written


@dataclass(frozen=True, eq=False)
class ItemChange:
    """Items that come and items that go.

    Attributes:
        items: to add or to put in the place of those with the same id, in the data contract, (n,)
        vectors: their text vectors, (n, d)
        stamp: stamp of the encoder and the template that made the vectors
        removed: ids of items that go; none of them among ``items``
    """

    items: pd.DataFrame
    vectors: NDArray[np.float32]
    stamp: EncoderStamp
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class KnownTexts:
    """Items whose vectors are at hand, made by the encoder that would make them.

    Attributes:
        items: in the data contract, (n,)
        vectors: theirs, (n, d)
    """

    items: pd.DataFrame
    vectors: NDArray[np.float32]


@dataclass(frozen=True)
class Speaker:
    """What makes vectors of items: the encoder, and how an item becomes a text."""

    encoder: Encoder
    template: TemplateConfig

    @property
    def stamp(self) -> EncoderStamp:
        """Of both."""
        return self.encoder.stamp.with_template(self.template.text)

    def change(
        self, upserts: pd.DataFrame | None, removed: Sequence[str] = (), *, known: KnownTexts | None = None
    ) -> ItemChange:
        """A change with its vectors.

        Args:
            upserts: items to add or to replace, in the data contract; None = none
            removed: ids of items that go
            known: items whose vectors are at hand: what has the text of one of them is not encoded again

        Raises:
            ShopError: an item breaks the data contract, or an id is there twice.
            EncoderError: the encoder cannot be loaded.
        """
        items = checked_items(upserts, removed)
        return ItemChange(items, self.vectors(items, known=known), self.stamp, tuple(removed))

    def vectors(self, items: pd.DataFrame, *, known: KnownTexts | None = None) -> NDArray[np.float32]:
        """Text vectors of items, (n, d)."""
        out = np.zeros((len(items), self.encoder.dim), dtype=np.float32)
        if not len(items):
            return out
        rows = self._known_rows(items, known)
        if known is not None:
            out[rows >= 0] = known.vectors[rows[rows >= 0]]
        if (rows < 0).any():
            out[rows < 0] = embed_items(items[rows < 0], self.encoder, self.template).vectors
        return out

    def _known_rows(self, items: pd.DataFrame, known: KnownTexts | None) -> NDArray[np.int64]:
        """For each item a row of ``known`` with its very text, -1 where there is none."""
        if known is None or not len(known.items):
            return np.full(len(items), -1, dtype=np.int64)
        row_of = {text: row for row, text in enumerate(item_texts(known.items, self.template))}
        return np.array([row_of.get(text, -1) for text in item_texts(items, self.template)], dtype=np.int64)


class CatalogueJournal:
    """The changes of one catalogue, in a folder that is made if absent.

    Raises:
        ArtefactError: the folder cannot be made.
    """

    def __init__(self, folder: str | Path) -> None:
        self._journal = Journal(folder)

    def append(self, change: ItemChange) -> int:
        """Write a change; returns its number, and it is durable then.

        Raises:
            ArtefactError: it cannot be written, and is not there.
        """
        return self._journal.append([_encoded(change)])

    def poll(self) -> list[tuple[int, ItemChange]]:
        """Number and change of what was written since the last call, all of it on the first.

        Raises:
            ArtefactError: the journal is damaged, or changes were dropped before this object saw them.
        """
        return [(record.number, _decoded(record)) for record in self._journal.poll()]

    def forget(self, through: int) -> int:
        """Drop the changes with numbers up to ``through``; returns how many there were.

        Those that are left get new numbers: who reads them once more does no harm.

        Raises:
            ArtefactError: the journal is damaged or cannot be written; all changes are there then.
        """
        dropped = 0

        def bodies(records: list[Record]) -> list[bytes]:
            nonlocal dropped
            left = [record.body for record in records if record.number > through]
            dropped = len(records) - len(left)
            return left

        self._journal.rewrite(bodies)
        return dropped

    def rewrite(self, make: Callable[[list[ItemChange]], ItemChange | None]) -> int:
        """Put one change, or none, in the place of all that are there; returns the number of the last record.

        Raises:
            ArtefactError: the journal is damaged or cannot be written; the old changes are there then.
        """

        def bodies(records: list[Record]) -> list[bytes]:
            change = make([_decoded(record) for record in records])
            return [] if change is None else [_encoded(part) for part in _parts(change)]

        return self._journal.rewrite(bodies)


def known_texts(engine: Engine, items: pd.DataFrame, ids: Sequence[str]) -> KnownTexts:
    """Those of the named items that an engine has, with their vectors.

    Args:
        engine: over the catalogue
        items: the catalogue, row for row, in the data contract
        ids: of items that may be there
    """
    rows = [row for item_id in ids if (row := engine.facts.row_of.get(item_id)) is not None]
    return KnownTexts(items.iloc[rows], engine.recommender.space.items["meaning"][rows])


def net_change(changes: Sequence[ItemChange]) -> ItemChange | None:
    """One change that does what these do one after the other; None where there are none.

    Raises:
        ArtefactError: their vectors were made by different encoders; see `spoken`.
    """
    if not changes:
        return None
    stamp = changes[-1].stamp
    if any(change.stamp != stamp for change in changes):
        raise ArtefactError("changes: vectors of different encoders cannot be put together; make them again first")
    rows, removed = _last_words(changes)
    vectors = np.concatenate([change.vectors for change in changes])[rows]
    return ItemChange(_items_at(changes, rows), vectors, stamp, removed)


def net_items(changes: Sequence[ItemChange]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The items that have come in the end, in the data contract, and the ids of those that have gone."""
    rows, removed = _last_words(changes)
    return _items_at(changes, rows), removed


def changed_items(items: pd.DataFrame, changes: Sequence[ItemChange]) -> pd.DataFrame:
    """A catalogue after these changes, its rows as `apply_items` leaves them: those of removed items stay.

    Args:
        items: so far, in the data contract
        changes: in order
    """
    come, _ = net_items(changes)
    place = {item_id: len(items) + row for row, item_id in enumerate(come["item_id"].tolist())}
    rows = [place.pop(item_id, row) for row, item_id in enumerate(items["item_id"].tolist())]
    both = pd.concat([items, come], ignore_index=True) if len(come) else items
    return conform("items", both.iloc[[*rows, *place.values()]].reset_index(drop=True))


def spoken(changes: Sequence[ItemChange], speaker: Speaker) -> list[ItemChange]:
    """The changes with vectors of this encoder and template: made again where another made them."""
    return [
        change
        if change.stamp == speaker.stamp
        else ItemChange(change.items, speaker.vectors(change.items), speaker.stamp, change.removed)
        for change in changes
    ]


def with_changes(engine: Engine, changes: Sequence[ItemChange], speaker: Speaker) -> Engine:
    """The engine after these changes.

    Raises:
        ShopError, ArtefactError: as `apply_items`.
    """
    net = net_change(spoken(changes, speaker))
    return engine if net is None else apply_items(engine, net.items, net.vectors, removed=net.removed)


def _last_words(changes: Sequence[ItemChange]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """What the changes come to: places of items among all that come, and the ids of those that go."""
    last: dict[str, int] = {}  # below 0 = removed
    first = 0
    for change in changes:
        said = dict.fromkeys(change.removed, -1)
        said |= {item_id: first + place for place, item_id in enumerate(change.items["item_id"].tolist())}
        for item_id, place in said.items():
            last.pop(item_id, None)
            last[item_id] = place
        first += len(change.items)
    rows = np.array([place for place in last.values() if place >= 0], dtype=np.int64)
    return rows, tuple(item_id for item_id, place in last.items() if place < 0)


def _items_at(changes: Sequence[ItemChange], rows: NDArray[np.int64]) -> pd.DataFrame:
    if not changes:
        return checked_items(None)
    return conform("items", pd.concat([change.items for change in changes], ignore_index=True).iloc[rows])


def _parts(change: ItemChange) -> list[ItemChange]:
    """A large change in pieces: first all that goes, then what comes."""
    pieces = [
        ItemChange(change.items.iloc[start : start + _CHUNK], change.vectors[start : start + _CHUNK], change.stamp)
        for start in range(0, len(change.items), _CHUNK)
    ]
    gone = ItemChange(change.items.iloc[:0], change.vectors[:0], change.stamp, change.removed)
    return [gone, *pieces] if change.removed or not pieces else pieces


def _encoded(change: ItemChange) -> bytes:
    table = io.BytesIO()
    change.items.to_parquet(table, index=False)
    stamp, dim = change.stamp.to_dict(), int(change.vectors.shape[1])
    head = json.dumps({"removed": change.removed, "stamp": stamp, "dim": dim}).encode()
    parts = [head, table.getvalue(), np.ascontiguousarray(change.vectors, dtype="<f4").tobytes()]
    return b"".join([*(len(part).to_bytes(8, "little") for part in parts), *parts])


def _decoded(record: Record) -> ItemChange:
    body, at = record.body, 8 * _LENGTHS
    parts = []
    for place in range(_LENGTHS):
        size = int.from_bytes(body[8 * place : 8 * place + 8], "little")
        parts.append(body[at : at + size])
        at += size
    try:
        head: Mapping[str, Any] = json.loads(parts[0])
        items = conform("items", pd.read_parquet(io.BytesIO(parts[1])))
        vectors = np.frombuffer(parts[2], dtype="<f4").reshape(len(items), head["dim"])
        return ItemChange(items, vectors, EncoderStamp.from_dict(head["stamp"]), tuple(head["removed"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(
            f"changes: record {record.number} cannot be read ({error}); another version wrote it: remove the changes"
        ) from error
