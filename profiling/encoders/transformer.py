"""A BERT-like checkpoint as an encoder: pinned, stamped, and loaded when the first text comes.

Covers duplicates, blanks, prompts, batching by tokens and restoring the order. The network itself is in `bert`,
or in `network` for what is no plain BERT, imported on the first `encode`: a run that finds all vectors in a cache never
pays for it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import EncoderError
from ..texts import TextKind, clean_texts
from .checkpoint import read_checkpoint, tokenizer_digest, weights_digest
from .schedule import encode_lists
from .stamp import EncoderStamp

if TYPE_CHECKING:
    from ..adapters.saved import SavedAdapter
    from ..runtimes.base import Runtime


class TransformerEncoder:
    """A checkpoint on disk as an `encoder.Encoder`.

    Exact duplicates are encoded once, texts are sorted by length and batched by tokens, and the order given is kept.
    Results do not depend on the batch beyond rounding (1e-6).

    Args:
        folder: the checkpoint
        name: what to call it in messages and in the stamp
        weights_sha256: sha256 the weights must have, None = any
        max_length: tokens kept of a text, None = what the checkpoint says; never more than it has positions for
        precision: ``fp32``, ``bf16`` or ``int8``
        runtime: a key of `runtimes.choose.RUNTIMES` that has the precision
        adapter: folder of a saved adapter for these weights (`adapters.saved`), None = none
        prepared: folder of exported networks (`runtimes.prepared`), None = none; int8 needs it
        device: ``auto``, ``cpu`` or ``cuda``
        batch_tokens: tokens in a batch with padding, None = what is fastest for the engine
        threads: CPU threads of torch in this process, None = leave alone

    Raises:
        EncoderError: files are missing or unreadable, the pin does not match, a module is not covered, or the adapter
            is corrupted, does nothing, is for other weights or cannot run so.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        name: str = "",
        weights_sha256: str | None = None,
        max_length: int | None = None,
        precision: str = "fp32",
        runtime: str = "torch",
        adapter: str | Path | None = None,
        prepared: str | Path | None = None,
        device: str = "auto",
        batch_tokens: int | None = None,
        threads: int | None = None,
    ) -> None:
        name = name or Path(folder).name
        self._folder = Path(folder)
        self.checkpoint = read_checkpoint(Path(folder))
        weights = weights_digest(self.checkpoint.encoder)
        if weights_sha256 not in (None, weights):
            raise EncoderError(
                f"encoder {name!r}: weights_sha256 is pinned to {weights_sha256}, "
                f"but the weights in {folder} have {weights}; get the pinned weights again, "
                "or mend the pin if the change is meant"
            )
        self._device, self._threads, self._batch_tokens, self._prepared = device, threads, batch_tokens, prepared
        self.dim = self.checkpoint.dim
        self.n_tokens = 0  # encoded so far in batches; progress displays read it
        self.stamp = EncoderStamp(
            weights=weights,
            tokenizer=tokenizer_digest(self.checkpoint.encoder),
            prompts=json.dumps(self.checkpoint.prompts, sort_keys=True) if self.checkpoint.prompts else "",
            pooling=self.checkpoint.pooling,
            max_length=min(max_length or self.checkpoint.max_length, self.checkpoint.positions),
            precision=precision,
            runtime="" if runtime == "torch" else runtime,
            name=name,
        )
        self.adapter: SavedAdapter | None = None
        if adapter is not None:
            self._adapt(adapter)
        if precision == "int8" and prepared is not None:
            from ..runtimes.prepared import published_stamp

            self.stamp = published_stamp(prepared, self.stamp)

    def encode(self, texts: Sequence[str | None], kind: TextKind = "item") -> NDArray[np.float32]:
        """Vectors of ``texts`` in their order, (n, dim) float32, unit length; zeros for an empty or null text.

        Long texts are cut after ``stamp.max_length`` tokens. The first call loads the network.

        Raises:
            EncoderError: ``texts`` is one string or holds something that is not text, ``kind`` is unknown, or the
                network cannot be loaded.
        """
        if kind == "query" and len(texts) == 1:  # one query has all cores; everything else one core a batch
            return self._encode_query(texts)
        (vectors,) = self.encode_many([texts], kind)
        return vectors

    def encode_many(
        self, lists: Iterable[Sequence[str | None]], kind: TextKind = "item"
    ) -> Iterator[NDArray[np.float32]]:
        """What `encode` gives of each list of texts, to the last bit, without a pause between them.

        Lists are read a few ahead.
        """
        positions: deque[tuple[NDArray[np.int64], int]] = deque()

        def distinct() -> Iterator[list[str]]:
            for texts in lists:
                rows: dict[str, int] = {}
                cleaned = clean_texts(texts, kind)
                at = np.array([rows.setdefault(t, len(rows)) if t else -1 for t in cleaned], dtype=np.int64)  # (n,)
                positions.append((at, len(rows)))
                yield [self._prompt(kind) + text for text in rows]

        for found in self._vectors_of(distinct()):
            at, n = positions.popleft()
            vectors = np.zeros((n + 1, self.dim), dtype=np.float32)  # last row: zeros for blank texts
            vectors[:-1] = found
            yield vectors[at]

    def bare_vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of texts as they are, (n, dim): in one batch, without prompts."""
        return self._runtime.vectors(self._runtime.tokens(texts))

    def _adapt(self, folder: str | Path) -> None:
        """Take up a saved adapter: its merged checkpoint, or where there is none, what attaches it to the base."""
        from ..adapters.saved import check_runs, kept_length, open_adapter

        self.adapter = open_adapter(folder, base=self.stamp)
        check_runs(self.adapter, self.stamp)
        length = kept_length(self.adapter, self.stamp.max_length, self.checkpoint.positions)
        self.stamp = replace(self.stamp, adapter=self.adapter.digest, max_length=length)
        if self.adapter.merged is not None:
            self.checkpoint = read_checkpoint(self.adapter.merged)

    def _vectors_of(self, lists: Iterator[list[str]]) -> Iterator[NDArray[np.float32]]:
        """Vectors of lists of distinct texts; the engine is loaded when a list has one."""
        for texts in lists:
            if texts:
                budget = self._batch_tokens or self._runtime.batch_tokens
                yield from encode_lists(
                    self._runtime, chain([texts], lists), dim=self.dim, batch_tokens=budget, count=self._count
                )
            else:
                yield np.zeros((0, self.dim), dtype=np.float32)

    def _encode_query(self, texts: Sequence[str | None]) -> NDArray[np.float32]:
        """The vector of one query, (1, dim)."""
        text = clean_texts(texts, "query")[0]
        if not text:
            return np.zeros((1, self.dim), dtype=np.float32)
        return self._runtime.vectors(self._runtime.tokens([self._prompt("query") + text]))

    def _count(self, n_tokens: int) -> None:
        self.n_tokens += n_tokens

    def _prompt(self, kind: TextKind) -> str:
        """What goes before a text of that kind."""
        return self.checkpoint.prompts.get(kind, "")

    @cached_property
    def _runtime(self) -> Runtime:
        """The engine, loaded, the golden probes of an adapter encoded and compared."""
        runtime = self._load()
        if self.adapter is not None:
            from ..adapters.saved import check_probes

            check_probes(
                self.adapter,
                lambda texts: runtime.vectors(runtime.tokens(texts)),
                precision=self.stamp.precision,
                max_length=self.stamp.max_length,
            )
        return runtime

    def _load(self) -> Runtime:
        """The engine, loaded."""
        if self.stamp.runtime:
            if self.stamp.precision == "int8" and not self.stamp.calibration:
                raise EncoderError(
                    f"encoder {self.stamp.name!r}: int8 has to be prepared on the shop's texts; use prepare_encoder, "
                    "or set `prepared` to the folder it was prepared in"
                )
            from ..runtimes.prepared import open_runtime

            return open_runtime(self.checkpoint, self.stamp, folder=self._prepared, threads=self._threads)
        if self.adapter is not None and self.adapter.merged is None:
            from ..adapters.running import AdaptedNetwork

            return AdaptedNetwork(self._folder, self.adapter, self.stamp, device=self._device, threads=self._threads)
        if self.checkpoint.shape is not None:
            from .bert import BertNetwork

            return BertNetwork(self.checkpoint, self.stamp, device=self._device, threads=self._threads)
        from .network import Network

        return Network(self.checkpoint, self.stamp, device=self._device, threads=self._threads)
