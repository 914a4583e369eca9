"""Embedding a shop's catalogue from disk to disk: bounded in memory, and killed at any point it goes on where it was.

Covers taking turns, planning, encoding what the cache lacks, gathering and publishing. The result of a run that was
interrupted is byte for byte that of one that was not. Where chunks are encoded is an argument: `encode_here`, or
`embedding.on_ray` for many machines.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..encoders.encoder import Encoder
from ..encoders.stamp import EncoderStamp
from ..errors import ArtefactError, EncoderError, ShopError
from ..files import locked, write_whole
from ..templates import TemplateConfig
from ..texts import TextKind
from .cache import DamagedFileError, VectorCache
from .memo import open_memo, save_memo
from .plan import Chunk, EmbedConfig, Plan, Tell, make_plan, open_plan
from .rows import row_keys
from .shards import open_embeddings, publish_shards

Encode = Callable[[Iterable[Chunk]], Iterator[tuple[int, NDArray[np.float32]]]]
"""Encodes chunks; gives each one's number and vectors (n_texts, dim), in any order."""

EncodeMany = Callable[[Iterable[Sequence[str]], TextKind], Iterator[NDArray[np.float32]]]

_RUN, _LOCK, _DONE = ".run", ".embed.lock", "done"
_FORMAT = 1
_ATTEMPTS = 5
_WAITING = 2


@dataclass(frozen=True)
class EmbedReport:
    """What a run did.

    Attributes:
        digest: names the content that is published now
        stamp: of the encoder and the template
        n_items: items of the catalogue
        n_texts: distinct texts, None where nothing had to be read
        n_encoded: texts encoded by this very run
        n_resumed: texts that an interrupted run had encoded for it
        n_shards: files of vectors
        up_to_date: whether the very same was published already
    """

    digest: str
    stamp: EncoderStamp
    n_items: int
    n_texts: int | None
    n_encoded: int
    n_resumed: int
    n_shards: int
    up_to_date: bool


def embed_shop(
    shop: str | Path,
    out: str | Path,
    encoder: Encoder,
    template: TemplateConfig | None = None,
    cache_dir: str | Path | None = None,
    *,
    config: EmbedConfig | None = None,
    encode: Encode | None = None,
    fidelity: Mapping[str, Any] | None = None,
    tell: Tell | None = None,
) -> EmbedReport:
    """Embed the items of a shop folder and publish the shards at ``out``; what was encoded before is not again.

    Args:
        shop: folder in the data contract; only ``items.parquet`` is read
        out: folder of the artefact, made if absent
        encoder: makes the vectors, and says their stamp
        template: how an item becomes a text, None = the default
        cache_dir: folder of the vector cache, None = ``out / "cache"``
        config: sizes of the pieces
        encode: encodes chunks as ``encoder`` would, None = with it, here
        fidelity: how near the encoder is to its reference; goes into the manifest
        tell: told about progress

    Raises:
        ShopError: there are no items, or they break the data contract.
        EncoderError: encoding fails, gives what is no vector, or the cache cannot be written.
        ArtefactError: ``out`` cannot be written, or another run is at work on it.
    """
    out, file = Path(out), Path(shop) / "items.parquet"
    template, config = template or TemplateConfig(), config or EmbedConfig()
    cache = VectorCache(Path(cache_dir or out / "cache") / encoder.stamp.digest, encoder.dim)
    run = _Run(
        out, cache, encoder.stamp.with_template(template.text), template, config, encode or encode_here(encoder),
        fidelity, tell or _silent, lambda: int(getattr(encoder, "n_tokens", 0)),
    )  # fmt: skip
    try:
        items = file.open("rb")
    except OSError as error:
        raise ShopError(f"{file}: cannot be read ({error}); name the folder of a shop that has items") from error
    with items:
        try:
            out.mkdir(parents=True, exist_ok=True)
            with locked(out / _LOCK, wait=False) as mine:
                if not mine:
                    raise ArtefactError(f"{out}: another run is at work on it; wait for it, or name another folder")
                return run.go(items)
        except OSError as error:
            raise ArtefactError(f"{out} cannot be written ({error}); make room or name another folder") from error


def encode_here(encoder: Encoder) -> Encode:
    """Encoding in this process, a chunk after another; without a pause between them where the encoder can.

    An encoder may have ``encode_many``: from an iterator of chunks it makes what `Encoder.encode` makes of each, the
    same to the last bit.
    """
    many: EncodeMany | None = getattr(encoder, "encode_many", None)

    def encode(chunks: Iterable[Chunk]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        if many is None:
            for chunk in chunks:
                yield chunk.number, encoder.encode(chunk.texts, "item")
            return
        numbers: deque[int] = deque()

        def texts() -> Iterator[list[str]]:
            for chunk in chunks:
                numbers.append(chunk.number)
                yield chunk.texts

        for vectors in many(texts(), "item"):
            yield numbers.popleft(), vectors

    return encode


@dataclass(frozen=True, eq=False)
class _Run:
    """One run, its options settled and the folder its own."""

    out: Path
    cache: VectorCache
    stamp: EncoderStamp
    template: TemplateConfig
    config: EmbedConfig
    encode: Encode
    fidelity: Mapping[str, Any] | None
    tell: Tell
    n_tokens: Callable[[], int]

    def go(self, items: BufferedReader) -> EmbedReport:
        """Plan, encode, publish; again from what is sound where a file of the cache turns out damaged."""
        inputs = {"items": hashlib.file_digest(items, "sha256").hexdigest()}
        published = self._published(inputs)
        if published is not None:
            shutil.rmtree(self.out / _RUN, ignore_errors=True)
            return published
        settings = {
            "format": _FORMAT,
            "inputs": inputs,
            "stamp": self.stamp.to_dict(),
            "cache": str(self.cache.folder.resolve()),
            "config": self.config.model_dump(),
        }
        folder = self.out / _RUN
        encoded, resumed = 0, None
        for attempt in range(_ATTEMPTS):
            try:
                plan = open_plan(folder, settings, self.cache, self.config) or make_plan(
                    items,
                    folder,
                    settings,
                    self.cache,
                    self.template,
                    self.config,
                    open_memo(self.out, self.template),
                    self.tell,
                )
                done = _Done(plan, self.cache)
                resumed = done.n_texts if resumed is None else resumed
                for n_texts in self._encode(plan, done):
                    encoded += n_texts
                digest = self._publish(plan, done, inputs)
                break
            except DamagedFileError as damaged:
                self.cache.drop_damaged(damaged.name)
                if attempt == _ATTEMPTS - 1:
                    raise
        n_shards = len(plan.ids)
        report = EmbedReport(
            digest, self.stamp, plan.n_items, len(plan.rows.keys), encoded, resumed or 0, n_shards, False
        )
        del plan, done  # their arrays are as large as those that follow
        with suppress(OSError):  # it would save time, no more
            save_memo(self.out, self.template, *row_keys(folder))
        shutil.rmtree(folder, ignore_errors=True)
        return report

    def _published(self, inputs: Mapping[str, str]) -> EmbedReport | None:
        """What is served, where it is what would be made."""
        try:
            there = open_embeddings(self.out, stamp=self.stamp, verify=False)
            if there.inputs != inputs or there.meta.get("shard_items") != self.config.shard_items:
                return None
            there = open_embeddings(self.out, stamp=self.stamp)
        except ArtefactError:  # nothing, something else, or damaged: made anew in any case
            return None
        return EmbedReport(there.digest, self.stamp, there.n_items, None, 0, 0, len(there), True)

    def _encode(self, plan: Plan, done: _Done) -> Iterator[int]:
        """Encode the chunks that are not done; gives how many texts each had. Files are written beside the encoding."""
        before, total, tokens_before = done.n_texts, len(plan.missing), self.n_tokens()
        counts = {"texts": 0, "characters": 0}
        sizes: dict[int, int] = {}
        todo = [number for number in range(plan.n_chunks) if number not in done.files]
        self.tell("Encoding texts", before, total, counts)

        def counted() -> Iterator[Chunk]:
            for chunk in plan.chunks(todo):
                sizes[chunk.number] = sum(map(len, chunk.texts))
                yield chunk

        def finished(number: int) -> int:
            n_texts = len(plan.chunk_rows(number))
            counts["texts"] += n_texts
            counts["characters"] += sizes.pop(number)
            if tokens := self.n_tokens() - tokens_before:  # none where the encoder does not count, or works elsewhere
                counts["tokens"] = tokens
            self.tell("Encoding texts", before + counts["texts"], total, counts)
            return n_texts

        with ThreadPoolExecutor(1) as writer:
            waiting: deque[tuple[int, Future[None]]] = deque()
            for number, vectors in self.encode(counted()):
                waiting.append((number, writer.submit(done.add, number, vectors)))
                while len(waiting) > _WAITING:
                    first, written = waiting.popleft()
                    written.result()
                    yield finished(first)
            for number, written in waiting:
                written.result()
                yield finished(number)

    def _publish(self, plan: Plan, done: _Done, inputs: Mapping[str, str]) -> str:
        """Gather the vectors of all rows into shards and publish them."""
        names = [*plan.known, *(done.files[number] for number in range(plan.n_chunks))]
        places = self.cache.locate(plan.rows.keys, names)
        step = self.config.batch_items

        def blocks(start: int, stop: int) -> Iterator[NDArray[np.float32]]:
            for first in range(start, stop, step):
                last = min(first + step, stop)
                yield self.cache.gather(places[plan.rows.place[first:last]], names)
                self.tell("Writing shards", last, plan.n_items)

        def link_ids(number: int, file: Path) -> str:
            source = plan.folder / file.name
            try:
                os.link(source, file)
            except OSError:  # a file system without links
                shutil.copyfile(source, file)
            return plan.ids[file.name]

        return publish_shards(
            self.out,
            stamp=self.stamp,
            n_items=plan.n_items,
            dim=self.cache.dim,
            shard_items=self.config.shard_items,
            blocks=blocks,
            write_ids=link_ids,
            inputs=inputs,
            meta={"n_texts": len(plan.rows.keys), "fidelity": None if self.fidelity is None else dict(self.fidelity)},
        )


class _Done:
    """Which chunks of a plan are in the cache, and in which file; kept beside the plan."""

    def __init__(self, plan: Plan, cache: VectorCache) -> None:
        self._plan, self._cache, self._file = plan, cache, plan.folder / _DONE
        self._tag = hashlib.sha256(str(plan.folder.resolve()).encode()).hexdigest()[:16]
        there = set(cache.names())
        said = self._file.read_text().splitlines() if self._file.is_file() else []
        lines = [line.split(" ") for line in said]
        lines = [line for line in lines if len(line) == 3]  # one that was cut short has fewer words
        self.files = {int(number): name for number, name, _ in lines if name in there}
        kept = "".join(f"{number} {name} .\n" for number, name in self.files.items())
        write_whole(self._file, kept.encode(), tag=_DONE)

    @property
    def n_texts(self) -> int:
        """Texts of the chunks that are done."""
        return sum(len(self._plan.chunk_rows(number)) for number in self.files)

    def add(self, number: int, vectors: NDArray[np.float32]) -> None:
        """Keep the vectors of a chunk; the same chunk gives the same file again."""
        rows = self._plan.chunk_rows(number)
        if vectors.shape != (len(rows), self._cache.dim) or not np.isfinite(vectors).all():
            raise EncoderError(
                f"encoder must give {len(rows)} finite vectors of {self._cache.dim}, got shape {vectors.shape}"
                f"{'' if np.isfinite(vectors).all() else ' with values that are not finite'}; nothing of it was kept"
            )
        keys = self._plan.rows.keys[self._plan.rows.place[rows]]
        name = self._cache.add(keys, vectors, tag=self._tag)
        with self._file.open("a") as file:
            file.write(f"{number} {name} .\n")
            file.flush()
            os.fsync(file.fileno())
        self.files[number] = name


def _silent(what: str, done: int, total: int, counts: Mapping[str, int] | None = None) -> None:
    """Tells nobody."""
