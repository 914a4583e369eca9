"""An engine's largest arrays in a file that every worker maps, instead of in the memory of each.

Covers the item rows the index is made of, and exhaustive indexes over them. The file is made from one version of a
workspace by whichever worker comes first, and made again for the next version; it can be deleted at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..profiling.artefact import Artefact, read_artefact, write_artefact
from ..profiling.errors import ArtefactError
from ..profiling.files import locked
from ..retrieval.engine import Engine
from ..retrieval.index import BlockIndex
from ..retrieval.index.flat import open_flat
from ..retrieval.index.types import import_faiss

KIND = "mapped"


def mapped(engine: Engine, folder: str | Path, *, version: str) -> Engine:
    """The same engine over mapped arrays; over its own where it has an index that cannot be mapped.

    Args:
        engine: as opened
        folder: where the file is, or is to be; one per workspace
        version: names what the engine was opened from

    Raises:
        ArtefactError: the folder cannot be written.
    """
    if not isinstance(engine.index, BlockIndex):
        return engine
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".turn"):  # one worker writes, the others find it written
            held = _held(folder, version)
            if held is None:
                _write(folder, engine, engine.index, version)
                held = _held(folder, version)
            if held is None:
                raise ArtefactError(f"artefact {folder}: another version than {version} was published there meanwhile")
            return replace(engine, texts=held.arrays["texts"], index=_index(held, engine.index))
    except OSError as error:
        raise ArtefactError(f"artefact {folder} cannot be written ({error}); free space") from error


def _held(folder: Path, version: str) -> Artefact | None:
    """What is there, if it is of this version and whole."""
    try:
        held = read_artefact(folder, kind=KIND, verify=False)
    except ArtefactError:
        return None
    return held if held.meta.get("version") == version else None


def _write(folder: Path, engine: Engine, index: BlockIndex, version: str) -> None:
    def shards(into: Path) -> Mapping[str, str]:
        faiss = import_faiss()
        for place, (_, shard) in enumerate(index.shards):
            faiss.write_index(shard, str(into / f"{place}.faiss"))
        return {}

    meta = {"version": version, "first": [first for first, _ in index.shards]}
    write_artefact(folder, kind=KIND, arrays={"texts": engine.texts}, meta=meta, files=shards)


def _index(held: Artefact, index: BlockIndex) -> BlockIndex:
    """The index over the mapped codes."""
    faiss = import_faiss()
    shards = tuple(
        (int(first), faiss.read_index(str(held.folder / f"{place}.faiss"), faiss.IO_FLAG_MMAP_IFC))
        for place, first in enumerate(held.meta["first"])
    )
    return open_flat(index.kind, index.n_items, index.dim, shards, index.rounding, index.whole)
