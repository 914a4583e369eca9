"""What a live index keeps on disk: its base, and changes as records of its journal.

A base is an artefact of the vectors in the order of their rows, the ids of the rows, and the built index in a folder
of its own inside; an index that keeps its vectors itself keeps them there alone, and one that cannot be saved is built
again on opening. Owning the folder, and when what is written, is `live_index`'s work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...profiling.artefact import Artefact, write_artefact
from ...profiling.encoders.stamp import EncoderStamp
from ...profiling.errors import ArtefactError
from ...profiling.files import map_tensors, write_tensor
from .approximate import ApproximateIndex
from .kinds import INDEXES
from .live import LiveView, check_vectors, live_view
from .store import open_index, save_index
from .types import ItemIndex

Builder = Callable[[NDArray[np.float32]], ItemIndex]
"""Makes the index of a base from its vectors, (n_items, dim)."""

KIND = "live-index"

_FORMAT = 1
_VECTORS, _INDEX = "vectors.safetensors", "index"
_BLOCK = 16_384


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The index at one moment; later changes do not touch it.

    Attributes:
        view: finds rows
        base_ids: item id of each row of the base, (n_base,)
        added_ids: item id of each added row; may have grown since
        base_vectors: what the base was built from, (n_base, dim)
    """

    view: LiveView
    base_ids: NDArray[np.object_]
    added_ids: Sequence[str]
    base_vectors: NDArray[np.float32]

    def ids(self, rows: NDArray[np.int64]) -> tuple[str, ...]:
        """Item ids of these rows."""
        n = len(self.base_ids)
        return tuple(str(self.base_ids[row]) if row < n else self.added_ids[row - n] for row in rows.tolist())

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors of these rows as they were given, (n_rows, dim)."""
        n = len(self.base_ids)
        out = np.empty((len(rows), self.view.dim), dtype=np.float32)
        out[rows < n] = self.base_vectors[rows[rows < n]]
        out[rows >= n] = self.view.added[rows[rows >= n] - n]
        return out


@dataclass(frozen=True, eq=False)
class Change:
    """Ids that go, then ids that come with their vectors."""

    removed: tuple[str, ...]
    ids: tuple[str, ...]
    vectors: NDArray[np.float32]


def check_change(change: Change, dim: int) -> None:
    """Refuse a change that makes no sense.

    Raises:
        ArtefactError: vectors of another width or not finite, not one an id, or an id that is empty or there twice.
    """
    check_vectors(change.vectors, dim)
    if len(change.ids) != len(change.vectors):
        raise ArtefactError(f"vectors must be one an id, got {len(change.vectors)} for {len(change.ids)} ids")
    seen: set[str] = set()
    for item_id in (*change.removed, *change.ids):
        if not isinstance(item_id, str) or not item_id:
            raise ArtefactError(f"ids must be text that is not empty, got {item_id!r}")
        if item_id in seen:
            raise ArtefactError(f"ids must be distinct in one change, got {item_id!r} twice; keep its last one")
        seen.add(item_id)


def encode_change(change: Change) -> bytes:
    """A change as the body of a record."""
    head = json.dumps({"removed": change.removed, "ids": change.ids}).encode()
    return len(head).to_bytes(4, "little") + head + change.vectors.astype("<f4").tobytes()


def decode_change(body: bytes, dim: int) -> Change:
    """The change that `encode_change` wrote; ``dim`` is the width of its vectors."""
    stop = 4 + int.from_bytes(body[:4], "little")
    said: Mapping[str, Any] = json.loads(body[4:stop])
    vectors = np.frombuffer(body, dtype="<f4", offset=stop).reshape(len(said["ids"]), dim)
    return Change(tuple(said["removed"]), tuple(said["ids"]), vectors)


def row_blocks(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Rows in pieces that fit in memory as vectors."""
    for start in range(0, len(rows), _BLOCK):
        yield rows[start : start + _BLOCK]


def publish_base(
    folder: Path,
    ids: Sequence[str],
    blocks: Iterable[NDArray[np.float32]],
    dim: int,
    *,
    build: Builder,
    stamp: EncoderStamp | None,
    applied: int,
) -> Snapshot:
    """Write a base, build its index, and only then make it the one that is opened.

    Args:
        folder: of the live index
        ids: of its rows
        blocks: its vectors in pieces, (n, dim) together
        dim: width of the vectors
        build: makes the index
        stamp: of the encoder that made the vectors
        applied: number of the last record of the journal that is in it

    Raises:
        ArtefactError: the index cannot be built, or the base cannot be written; the old one stays.
    """
    vectors = np.empty((0, dim), dtype=np.float32)
    index: ItemIndex | None = None

    def files(into: Path) -> dict[str, str]:
        nonlocal vectors, index
        if not len(ids):
            return {}
        digest = write_tensor(into / _VECTORS, "vectors", (len(ids), dim), blocks)
        vectors = map_tensors(into / _VECTORS)[0]["vectors"]
        index = build(vectors)
        if INDEXES[index.kind].where == "cpu":
            save_index(index, into / _INDEX, stamp=stamp)
        if not isinstance(index, ApproximateIndex):
            return {_VECTORS: digest}
        (into / _VECTORS).unlink()  # saved with the index; what is mapped stays readable
        return {}

    meta = {"format": _FORMAT, "dim": dim, "applied": applied}
    table = pd.DataFrame({"item_id": pd.Series(list(ids), dtype="str")})
    write_artefact(folder / "base", kind=KIND, stamp=stamp, tables={"ids": table}, meta=meta, files=files)
    return Snapshot(live_view(index, dim=dim), table["item_id"].to_numpy(object), [], vectors)


def open_base(held: Artefact, build: Builder) -> Snapshot:
    """A base as it was published, without changes.

    Raises:
        ArtefactError: another version made it, or its index cannot be built.
    """
    if held.meta.get("format") != _FORMAT:
        raise ArtefactError(f"live index {held.folder} was made by another version; make it again")
    dim, ids = int(held.meta["dim"]), held.tables["ids"]["item_id"].to_numpy(object)
    if not len(ids):
        return Snapshot(live_view(None, dim=dim), ids, [], np.empty((0, dim), dtype=np.float32))
    saved = (held.folder / _INDEX).is_dir()
    index = open_index(held.folder / _INDEX, verify=False) if saved else None  # its files were checked with the others
    if isinstance(index, ApproximateIndex):
        return Snapshot(live_view(index), ids, [], index.vectors)
    vectors = map_tensors(held.folder / _VECTORS)[0]["vectors"]
    return Snapshot(live_view(index or build(vectors)), ids, [], vectors)
