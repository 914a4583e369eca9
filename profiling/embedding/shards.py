"""Embeddings on disk: shards of vectors and item ids under one manifest, and reading them back.

Layout of a version (see `artefact`): ``vectors-00000.safetensors`` and ``ids-00000.parquet``, ``...-00001`` and so on,
each with its size and sha256 in ``manifest.json``. Covers writing from any source of blocks and reading shard by shard,
memory-mapped; `embeddings` reads and writes whole ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..artefact import Artefact, read_artefact, write_artefact
from ..encoders.stamp import EncoderStamp
from ..errors import ArtefactError
from ..files import map_tensors, write_tensor

KIND = "embeddings"

Blocks = Callable[[int, int], Iterable[NDArray[np.float32]]]
"""Vectors of the rows from a first to before a last one, in pieces."""

IdWriter = Callable[[int, Path], str]
"""Puts the file of item ids of a shard into place; returns its sha256."""


@dataclass(frozen=True, eq=False)
class EmbeddingShards:
    """Embeddings that are read a shard at a time.

    Attributes:
        stamp: stamp of the encoder and the template that made them
        n_items: rows in all shards
        dim: length of a vector
        meta: what else the manifest says
        inputs: digests of what they were built from
        digest: names this very content
        ids: files of item ids, opened
        vectors: of each shard, memory-mapped, (n_rows, dim) float32
    """

    stamp: EncoderStamp
    n_items: int
    dim: int
    meta: Mapping[str, Any]
    inputs: Mapping[str, str]
    digest: str
    ids: tuple[pq.ParquetFile, ...]
    vectors: tuple[NDArray[np.float32], ...]

    def __len__(self) -> int:
        return len(self.vectors)

    def __iter__(self) -> Iterator[tuple[NDArray[np.object_], NDArray[np.float32]]]:
        """Item ids (n_rows,) and vectors (n_rows, dim) of each shard; ids are read when asked for."""
        for ids, vectors in zip(self.ids, self.vectors, strict=True):
            yield ids.read().column("item_id").to_pandas().to_numpy(object), vectors


def publish_shards(
    path: str | Path,
    *,
    stamp: EncoderStamp,
    n_items: int,
    dim: int,
    shard_items: int,
    blocks: Blocks,
    write_ids: IdWriter,
    inputs: Mapping[str, str],
    meta: Mapping[str, Any],
) -> str:
    """Write embeddings as shards and publish them at ``path``; returns their digest.

    Args:
        path: folder of the artefact
        stamp: of the encoder and the template
        n_items: rows
        dim: length of a vector
        shard_items: rows in each shard but the last
        blocks: gives the vectors
        write_ids: writes the ids of a shard
        inputs: digests of what they were built from
        meta: JSON values for the manifest

    Raises:
        ArtefactError: ``path`` cannot be written.
    """
    starts = range(0, n_items, shard_items)
    sizes = [min(shard_items, n_items - start) for start in starts]

    def fill(folder: Path) -> dict[str, str]:
        made = {}
        for number, (start, size) in enumerate(zip(starts, sizes, strict=True)):
            vectors, ids = _names(number)
            made[ids] = write_ids(number, folder / ids)
            made[vectors] = write_tensor(folder / vectors, "vectors", (size, dim), blocks(start, start + size))
        return made

    about = {"n_items": n_items, "dim": dim, "shard_rows": sizes, "shard_items": shard_items}
    return write_artefact(path, kind=KIND, stamp=stamp, inputs=inputs, meta={**meta, **about}, files=fill)


def open_embeddings(path: str | Path, *, stamp: EncoderStamp | None = None, verify: bool = True) -> EmbeddingShards:
    """Embeddings published at ``path``, for reading a shard at a time; they stay readable when others are published.

    Raises:
        ArtefactError: they are missing or damaged, their stamp is not ``stamp``, or they have no shards.
    """
    while True:
        read = read_artefact(path, kind=KIND, stamp=stamp, verify=verify)
        try:
            return _open(path, read)
        except (OSError, ValueError, KeyError) as error:
            if read_artefact(path, kind=KIND, verify=False).digest == read.digest:  # else another was published
                raise ArtefactError(f"artefact {path} cannot be read ({error}); embed the catalogue again") from error


def _open(path: str | Path, read: Artefact) -> EmbeddingShards:
    """The files of one version, opened."""
    sizes = read.meta.get("shard_rows")
    if read.stamp is None or sizes is None:
        raise ArtefactError(f"artefact {path}: written before embeddings had shards; embed the catalogue again")
    ids, vectors = [], []
    for number, size in enumerate(sizes):
        vectors_name, ids_name = _names(number)
        mapped = map_tensors(read.folder / vectors_name)[0]["vectors"]
        opened = pq.ParquetFile(read.folder / ids_name)
        if mapped.shape != (size, read.meta["dim"]) or opened.metadata.num_rows != size:
            raise ArtefactError(
                f"artefact {path}: shard {number} must have {size} rows of {read.meta['dim']}, got {len(mapped)} "
                f"vectors and {opened.metadata.num_rows} ids; embed the catalogue again"
            )
        ids.append(opened)
        vectors.append(mapped)
    return EmbeddingShards(
        read.stamp,
        int(read.meta["n_items"]),
        int(read.meta["dim"]),
        read.meta,
        read.inputs,
        read.digest,
        tuple(ids),
        tuple(vectors),
    )


def _names(number: int) -> tuple[str, str]:
    """Files of a shard: vectors, ids."""
    return f"vectors-{number:05d}.safetensors", f"ids-{number:05d}.parquet"
