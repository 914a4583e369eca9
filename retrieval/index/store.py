"""Indexes as stamped folders: written whole, checked by sha256, opened in place.

Covers the kinds that live in this process. What FAISS holds is a file of its own beside the item vectors, and both are
memory-mapped on opening, so that processes on one machine share one copy; what the checks read is the file as it is, so
a cut or changed one is refused before FAISS sees it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...profiling.artefact import Artefact, read_artefact, write_artefact
from ...profiling.encoders.stamp import EncoderStamp
from ...profiling.errors import ArtefactError
from .approximate import ApproximateIndex, Efforts, search_pool
from .flat import FLAT, BlockIndex, WholeNumbers, code_dims, open_flat
from .hnsw import HnswScanner
from .ivf import IvfScanner
from .sketch import Sketch
from .types import ItemIndex, import_faiss

_SKETCH = ("bits", "centre", "spread")

KIND = "index"
"""What these artefacts are called."""

_SCANNERS: Mapping[str, Any] = {
    "ivf-flat": IvfScanner, "ivf-sq8": IvfScanner, "ivf-pq": IvfScanner, "ivf-rabitq": IvfScanner, "hnsw": HnswScanner,
}  # fmt: skip


def save_index(
    index: ItemIndex,
    path: str | Path,
    *,
    stamp: EncoderStamp | None = None,
    measured: Mapping[str, Any] | None = None,
) -> str:
    """Publish an index at ``path``; returns its digest. A crash at any point leaves the old version served.

    Args:
        index: of a kind that lives in this process
        path: its folder, made if absent
        stamp: of the encoder whose vectors it holds
        measured: what tuning found, JSON values; kept in the manifest

    Raises:
        ArtefactError: the kind cannot be saved, or the folder cannot be written.
    """
    meta: dict[str, Any] = {"kind": index.kind, "n_items": index.n_items, "dim": index.dim, "measured": measured or {}}
    if isinstance(index, BlockIndex):
        meta |= {"rounding": index.rounding, "first": [first for first, _ in index.shards]}
        parts, arrays = [shard for _, shard in index.shards], {}
        if index.whole is not None:
            meta["longest"], arrays["steps"] = index.whole.longest, index.whole.steps
    elif isinstance(index, ApproximateIndex) and index.kind in _SCANNERS:
        meta |= {
            "widths": list(index.efforts.widths),
            "efforts": {str(mix): effort for mix, effort in index.efforts.by_blocks.items()},
            "effort": index.efforts.otherwise,
            "refine": index.refine,
            "exact_rows": index.exact_rows,
        }
        parts, arrays = [index.scanner.index], {"vectors": index.vectors}  # type: ignore[attr-defined]
        if index.sketch is not None:
            arrays |= {name: getattr(index.sketch, name) for name in _SKETCH}
    else:
        savable = ", ".join([*FLAT, *_SCANNERS])
        raise ArtefactError(f"an index of kind {index.kind!r} cannot be saved, only {savable}; build it where it runs")

    def write(folder: Path) -> Mapping[str, str]:
        for number, part in enumerate(parts):
            import_faiss().write_index(part, str(folder / f"part-{number}.faiss"))
        return {}

    return write_artefact(path, kind=KIND, stamp=stamp, arrays=arrays, meta=meta, files=write)


def open_index(
    path: str | Path, *, stamp: EncoderStamp | None = None, verify: bool = True, threads: int | None = None
) -> ItemIndex:
    """The index published at ``path``.

    Args:
        path: its folder
        stamp: that its vectors must have; None = any
        verify: compare the checksum of every file; without it only presence and sizes
        threads: that share a batch; None = one a core

    Raises:
        ArtefactError: nothing is there, a file is cut short or changed, another version made it, or the stamp differs.
        ExtraMissingError: FAISS is not installed.
    """
    import os

    held = read_artefact(path, kind=KIND, stamp=stamp, verify=verify)
    meta = held.meta
    parts = [_part(held, number) for number in range(len(meta.get("first", [0])))]
    if meta["kind"] in FLAT and "rounding" not in meta:
        raise ArtefactError(f"index {path} was made by another version; build it again: tasteprint index build")
    if meta["kind"] in FLAT:
        shards = tuple(zip([int(first) for first in meta["first"]], parts, strict=True))
        steps = held.arrays.get("steps")
        whole = None if steps is None else WholeNumbers(np.asarray(steps), float(meta["longest"]))
        return open_flat(meta["kind"], meta["n_items"], meta["dim"], shards, float(meta["rounding"]), whole)
    if meta["kind"] not in _SCANNERS:
        raise ArtefactError(f"index {path}: kind {meta['kind']!r} is unknown to this program; build it again")
    efforts = Efforts(
        tuple(meta["widths"]), {int(mix): int(one) for mix, one in meta["efforts"].items()}, int(meta["effort"])
    )
    share = threads or os.cpu_count() or 1
    scanner = _SCANNERS[meta["kind"]](parts[0])
    vectors: Any = held.arrays["vectors"]
    refine, few = int(meta["refine"]), int(meta["exact_rows"])
    sketch = Sketch(*(held.arrays[name] for name in _SKETCH)) if "bits" in held.arrays else None
    return ApproximateIndex(meta["kind"], scanner, vectors, efforts, refine, few, share, search_pool(share), sketch)


def measured(path: str | Path) -> dict[str, Any]:
    """What tuning found when the index at ``path`` was built.

    Raises:
        ArtefactError: nothing is there, or it is damaged.
    """
    return dict(read_artefact(path, kind=KIND, verify=False).meta["measured"])


def _part(held: Artefact, number: int) -> Any:
    """What FAISS wrote, mapped into memory where this FAISS can."""
    faiss, file = import_faiss(), held.folder / f"part-{number}.faiss"
    try:
        part = faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise ArtefactError(f"index: {file} cannot be read ({error}); build it again") from error
    wide = code_dims(held.meta["kind"], held.meta["dim"])
    if part.d != wide:
        raise ArtefactError(f"index: {file} must have {wide} dimensions, got {part.d}; build it again")
    return part
