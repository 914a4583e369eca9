"""Vectors of a catalogue, computed once: a cache by content, and the artefact that holds the result.

Covers encoding items by a template, keeping every vector on disk under the encoder's stamp and the text's hash, going
on after an interruption, and saving and loading the whole. Splitting the work over machines is not covered.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .artefact import read_artefact, write_artefact
from .encoder import Encoder
from .errors import ArtefactError, EncoderError
from .stamp import EncoderStamp
from .templates import TemplateConfig, item_texts
from .texts import TextKind, clean_texts

Progress = Callable[[int, int], None]
"""Called with how many distinct texts are done and how many there are to encode."""

_KIND = "embeddings"
_KEY_BYTES = 16
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
    distinct = list(dict.fromkeys(cleaned))
    keys = np.array([_key(text, kind) for text in distinct], dtype=f"V{_KEY_BYTES}")  # (n_distinct,)
    vectors = np.zeros((len(distinct), encoder.dim), dtype=np.float32)  # (n_distinct, d)
    cache = None if cache_dir is None else _Cache(Path(cache_dir) / encoder.stamp.digest, encoder.dim)
    known = np.zeros(len(distinct), dtype=bool) if cache is None else cache.fill(keys, vectors)
    missing = np.flatnonzero(~known)
    if progress is not None:
        progress(0, len(missing))
    for start in range(0, len(missing), chunk):
        rows = missing[start : start + chunk]
        vectors[rows] = encoder.encode([distinct[row] for row in rows], kind)
        if cache is not None:
            cache.add(keys[rows], vectors[rows])
        if progress is not None:
            progress(min(start + chunk, len(missing)), len(missing))
    row_of = {text: row for row, text in enumerate(distinct)}
    return vectors[np.array([row_of[text] for text in cleaned], dtype=np.int64)]


def save_embeddings(embeddings: Embeddings, path: str | Path, *, inputs: Mapping[str, str] | None = None) -> str:
    """Publish embeddings as a stamped artefact at ``path``; returns its digest.

    Raises:
        ArtefactError: ``path`` cannot be written.
    """
    return write_artefact(
        path,
        kind=_KIND,
        stamp=embeddings.stamp,
        inputs=inputs,
        arrays={"vectors": embeddings.vectors},
        tables={"items": pd.DataFrame({"item_id": embeddings.ids})},
        meta={"n_items": len(embeddings.ids), "dim": int(embeddings.vectors.shape[1])},
    )


def load_embeddings(path: str | Path, *, stamp: EncoderStamp | None = None, verify: bool = True) -> Embeddings:
    """Embeddings published at ``path``, their vectors memory-mapped.

    Raises:
        ArtefactError: they are missing or damaged, or their stamp is not ``stamp``.
    """
    read = read_artefact(path, kind=_KIND, stamp=stamp, verify=verify)
    ids, vectors = read.tables["items"]["item_id"].to_numpy(object), read.arrays["vectors"]
    if read.stamp is None or len(ids) != len(vectors):
        raise ArtefactError(f"artefact {path}: {len(ids)} ids, {len(vectors)} vectors; embed the catalogue again")
    return Embeddings(ids, vectors, read.stamp)


class _Cache:
    """Vectors of one encoder by text hash: files that are only ever added, each named by its own sha256."""

    def __init__(self, folder: Path, dim: int) -> None:
        self._folder = folder
        self._record = np.dtype([("key", f"V{_KEY_BYTES}"), ("vector", "<f4", (dim,))])

    def fill(self, keys: NDArray[np.void], vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Write the vectors of known ``keys`` (n,) into ``vectors`` (n, d); which were known, (n,)."""
        known = np.zeros(len(keys), dtype=bool)
        row_of = {key.tobytes(): row for row, key in enumerate(keys)}
        for file in sorted(self._folder.glob("*.vectors")):
            content = file.read_bytes()
            if _name(content) != file.name or len(content) % self._record.itemsize:
                with suppress(OSError):
                    file.unlink()  # cut short or changed: encode its texts again
                continue
            records = np.frombuffer(content, dtype=self._record)
            found = [(row_of[key], at) for at, key in enumerate(_rows(records["key"])) if key in row_of]
            rows, at = np.array(found, dtype=np.int64).reshape(-1, 2).T
            vectors[rows] = records["vector"][at]
            known[rows] = True
        return known

    def add(self, keys: NDArray[np.void], vectors: NDArray[np.float32]) -> None:
        """Keep vectors (n, d) under their keys (n,)."""
        records = np.empty(len(keys), dtype=self._record)
        records["key"], records["vector"] = keys, vectors
        content = records.tobytes()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".tmp-", delete=False) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(file.name, self._folder / _name(content))
        except OSError as error:
            raise EncoderError(
                f"cache {self._folder} cannot be written ({error}); make room or name another folder"
            ) from error


def _rows(keys: NDArray[np.void]) -> list[bytes]:
    """Each key's bytes."""
    return [key.tobytes() for key in keys]


def _name(content: bytes) -> str:
    """Name of a cache file with this content."""
    return hashlib.sha256(content).hexdigest()[:32] + ".vectors"


def _key(text: str, kind: str) -> bytes:
    """Hash of a text and its kind, 16 bytes."""
    return hashlib.blake2b(f"{kind}\0{text}".encode(), digest_size=_KEY_BYTES).digest()
