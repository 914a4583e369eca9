"""Vectors of a catalogue, computed once: in memory, with a cache by content, and as an artefact.

Covers encoding items by a template, going on after an interruption, and saving and loading the whole. A catalogue too
large for memory goes from disk to disk in `embedding.run`, through the same cache into the same artefact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..encoders.encoder import Encoder
from ..encoders.stamp import EncoderStamp
from ..reviews.said import Said
from ..templates import TemplateConfig, item_texts
from ..texts import TextKind, clean_texts
from .cache import DamagedFileError, VectorCache
from .keys import Keys, distinct_keys, text_keys
from .plan import EmbedConfig
from .rows import write_ids
from .shards import EmbeddingShards, open_embeddings, publish_shards

__all__ = [
    "EmbeddingShards",
    "Embeddings",
    "Progress",
    "embed_items",
    "embed_said",
    "embed_texts",
    "load_embeddings",
    "open_embeddings",
    "save_embeddings",
]

Progress = Callable[[int, int], None]
"""Called with how many distinct texts are done and how many there are to encode."""

_CHUNK = 2048


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Text vectors of a catalogue.

    Attributes:
        ids: item id of each row, (n_items,)
        vectors: unit vectors, zeros where an item has no text, (n_items, d) float32
        stamp: stamp of the encoder and the template that made them
    """

    ids: NDArray[np.object_]
    vectors: NDArray[np.float32]
    stamp: EncoderStamp


def embed_items(
    items: pd.DataFrame,
    encoder: Encoder,
    template: TemplateConfig | None = None,
    cache_dir: str | Path | None = None,
    *,
    progress: Progress | None = None,
) -> Embeddings:
    """Vectors of all items; a text that was encoded before under the same stamp comes from ``cache_dir``.

    Args:
        items: catalogue in the data contract's columns; its rows keep their order
        encoder: makes the vectors
        template: how an item becomes a text, None = the default
        cache_dir: folder of the cache, made if absent; None = no cache. An interrupted run goes on where it was
        progress: called before the first and after each piece of work

    Raises:
        EncoderError: the encoder cannot be loaded, or the cache cannot be written.
    """
    template = TemplateConfig() if template is None else template
    vectors = embed_texts(item_texts(items, template), encoder, cache_dir, kind="item", progress=progress)
    return Embeddings(items["item_id"].to_numpy(object), vectors, encoder.stamp.with_template(template.text))


def embed_said(
    events: pd.DataFrame, encoder: Encoder, cache_dir: str | Path | None = None, *, progress: Progress | None = None
) -> Said:
    """Vectors of the words in the ``text`` column of an events table, aligned with its rows.

    Raises:
        EncoderError: as in `embed_texts`.
    """
    code, distinct = pd.factorize(events["text"].to_numpy(object))
    vectors = embed_texts(distinct.tolist(), encoder, cache_dir, kind="query", progress=progress)
    return Said(code.astype(np.int32), vectors)


def embed_texts(
    texts: Sequence[str | None],
    encoder: Encoder,
    cache_dir: str | Path | None = None,
    *,
    kind: TextKind = "item",
    progress: Progress | None = None,
    chunk: int = _CHUNK,
) -> NDArray[np.float32]:
    """Vectors of ``texts``, (n, d) float32; each distinct text is encoded at most once per encoder stamp.

    New vectors are written to ``cache_dir`` after every ``chunk`` texts.

    Raises:
        EncoderError: a text is no text, the encoder cannot be loaded, or the cache cannot be written.
    """
    cleaned = clean_texts(texts, kind)
    rows = distinct_keys(text_keys(cleaned, kind))
    cache = None if cache_dir is None else VectorCache(Path(cache_dir) / encoder.stamp.digest, encoder.dim)
    vectors = np.zeros((len(rows.keys), encoder.dim), dtype=np.float32)  # (n_distinct, d)
    known = np.zeros(len(rows.keys), dtype=bool) if cache is None else _fill(cache, rows.keys, vectors)
    missing = np.flatnonzero(~known)
    missing = missing[np.argsort(rows.first[missing])]  # in the order of the texts
    if progress is not None:
        progress(0, len(missing))
    for start in range(0, len(missing), chunk):
        at = missing[start : start + chunk]
        vectors[at] = encoder.encode([cleaned[row] for row in rows.first[at].tolist()], kind)
        if cache is not None:
            cache.add(rows.keys[at], vectors[at])
        if progress is not None:
            progress(min(start + chunk, len(missing)), len(missing))
    return vectors[rows.place]


def save_embeddings(embeddings: Embeddings, path: str | Path, *, inputs: Mapping[str, str] | None = None) -> str:
    """Publish embeddings as a stamped artefact at ``path``; returns its digest.

    Raises:
        ArtefactError: ``path`` cannot be written.
    """
    size = EmbedConfig().shard_items
    return publish_shards(
        path,
        stamp=embeddings.stamp,
        n_items=len(embeddings.ids),
        dim=int(embeddings.vectors.shape[1]),
        shard_items=size,
        blocks=lambda start, stop: (embeddings.vectors[start:stop],),
        write_ids=lambda n, file: write_ids(file, embeddings.ids[n * size : (n + 1) * size].tolist()),
        inputs=inputs or {},
        meta={},
    )


def load_embeddings(path: str | Path, *, stamp: EncoderStamp | None = None, verify: bool = True) -> Embeddings:
    """Embeddings published at ``path``, whole: memory-mapped if they are one shard, else copied together.

    Raises:
        ArtefactError: they are missing or damaged, or their stamp is not ``stamp``.
    """
    read = open_embeddings(path, stamp=stamp, verify=verify)
    if len(read) == 1:
        ids, vectors = next(iter(read))
        return Embeddings(ids, vectors, read.stamp)
    ids, vectors = np.empty(read.n_items, dtype=object), np.empty((read.n_items, read.dim), dtype=np.float32)
    start = 0
    for some_ids, some_vectors in read:
        stop = start + len(some_ids)
        ids[start:stop], vectors[start:stop] = some_ids, some_vectors
        start = stop
    return Embeddings(ids, vectors, read.stamp)


def _fill(cache: VectorCache, keys: Keys, vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Write the vectors of ascending distinct ``keys`` that the cache knows into ``vectors``; which they are."""
    while True:
        names = cache.names()
        try:
            places = cache.locate(keys, names)
            known = places >= 0
            vectors[known] = cache.gather(places[known], names)
        except DamagedFileError as damaged:
            cache.drop_damaged(damaged.name)
            continue
        return known
