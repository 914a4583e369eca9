"""A cross-encoder: query and item text read together by one network, one score a pair, to rerank the first few.

Covers opening a saved one (stamped, with golden probes, refused when it is not as recorded), scoring pairs without
padding and reordering the best of a search. Training one is `finetune.cross_encoder`'s work.

Both texts pass as one sequence with the tokenizer's own separators, all of the first token type, so that every network
of the family runs it as it runs single texts. Layout of a saved cross-encoder, an artefact (see `profiling.artefact`)::

    network/              the trained network as an ordinary checkpoint
    arrays.safetensors    the head, and the probes' scores after training and before it

Nothing here imports torch until the first pair is scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...profiling.artefact import read_artefact
from ...profiling.encoders.checkpoint import Checkpoint, read_checkpoint
from ...profiling.encoders.schedule import WINDOW, batches, ordered
from ...profiling.encoders.stamp import EncoderStamp
from ...profiling.errors import ArtefactError, ConfigError, EncoderError

if TYPE_CHECKING:
    from ...profiling.runtimes.base import Runtime

Float = NDArray[np.float32]
Pair = tuple[str, str]
"""Query and item text."""
Rows = NDArray[np.integer]

KIND = "cross_encoder"
NETWORK = "network"
DEPTH = 50
"""Best items of a search that are read again."""

NO_OP = 1e-4
"""Largest difference of a probe's score from the untrained network's at which a cross-encoder does nothing."""

MAX_DIFFERENCE: Mapping[str, float] = {"fp32": 0.002, "bf16": 0.25}
"""Largest difference of a probe's score from the recorded one, by precision."""


class PairTokens:
    """A checkpoint's tokenizer for pairs of texts.

    Args:
        checkpoint: whose tokenizer it is; must have a ``tokenizer.json``
        max_length: tokens kept of a pair; the longer of the two is cut first

    Raises:
        EncoderError: the tokenizer cannot be read.
    """

    def __init__(self, checkpoint: Checkpoint, max_length: int) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_file(str(checkpoint.encoder / "tokenizer.json"))
        except Exception as error:  # the library raises nothing narrower
            raise EncoderError(
                f"cross-encoder: {checkpoint.encoder}/tokenizer.json cannot be read ({error}); copy it there again"
            ) from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length, strategy="longest_first")
        self._lower = checkpoint.lower

    def __call__(self, pairs: Sequence[Pair]) -> list[list[int]]:
        """Token ids of each pair, special tokens included."""
        if self._lower:
            pairs = [(query.lower(), text.lower()) for query, text in pairs]
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(pairs))]


@dataclass(frozen=True, eq=False)
class CrossEncoder:
    """A saved cross-encoder, its files unchanged. Opened by `open_cross_encoder`.

    Attributes:
        path: as it was named
        folder: its files
        digest: sha256 of its manifest
        base: stamp of the encoder it was trained from
        stamp: how its network is run
        head: of the unit vector of a pair, (dim,)
        bias: of the head
        weight: of its score beside the fused score of a search, chosen on validation, >= 0
        probes: golden pairs
        probe_scores: theirs, (n_probes,)
        about: ``settings``, ``metrics``, ``data_digest`` and ``max_length``
        device: ``auto``, ``cpu`` or ``cuda``
        threads: CPU threads of torch in this process, None = leave alone
    """

    path: Path
    folder: Path
    digest: str
    base: EncoderStamp
    stamp: EncoderStamp
    head: Float
    bias: float
    weight: float
    probes: tuple[Pair, ...]
    probe_scores: Float
    about: Mapping[str, Any]
    device: str = "auto"
    threads: int | None = None

    def scores(self, pairs: Sequence[Pair]) -> Float:
        """A logit of each (query, item text), higher is better, (n,), in their order.

        Pairs are sorted by length and packed without padding; results depend on the batch by rounding only. The first
        call loads the network.
        """
        found = np.empty(len(pairs), dtype=np.float32)
        runtime = self._runtime
        for start in range(0, len(pairs), WINDOW):
            tokens = self._tokens(pairs[start : start + WINDOW])
            found[start : start + len(tokens)] = _run(runtime, tokens, self.head, self.bias)
        return found

    def judge(self, queries: Sequence[str], texts: Sequence[str], query: Rows, item: Rows) -> Float:
        """Logits of pairs given by rows, (n_pairs,).

        Args:
            queries, texts: what the rows name
            query, item: row of each pair's query and item text, (n_pairs,)
        """
        return self.scores([(queries[q], texts[i]) for q, i in zip(query.tolist(), item.tolist(), strict=True)])

    def added(self, query: str, texts: Sequence[str]) -> Float:
        """What it adds to the fused score of each text, (n,): its weight times its logit; zeros at weight 0."""
        if not self.weight:
            return np.zeros(len(texts), dtype=np.float32)
        return np.float32(self.weight) * self.scores([(query, text) for text in texts])

    @cached_property
    def _checkpoint(self) -> Checkpoint:
        return read_checkpoint(self.folder / NETWORK)

    @cached_property
    def _tokens(self) -> PairTokens:
        return PairTokens(self._checkpoint, self.stamp.max_length)

    @cached_property
    def _runtime(self) -> Runtime:
        """The network, loaded, the golden probes scored and compared."""
        from ...profiling.encoders.bert import BertNetwork

        runtime = BertNetwork(self._checkpoint, self.stamp, device=self.device, threads=self.threads)
        check_scores(
            f"cross-encoder {self.path}",
            self.probe_scores,
            _run(runtime, self._tokens(self.probes), self.head, self.bias),
            precision=self.stamp.precision,
        )
        return runtime


def is_cross_encoder(folder: str | Path) -> bool:
    """Whether a cross-encoder was published in this folder; a damaged one is one too, and refused when opened."""
    path = Path(folder)
    return (path / "CURRENT").is_file() and any(path.glob(f"v-*/{NETWORK}"))


def open_cross_encoder(
    folder: str | Path,
    *,
    base: EncoderStamp | None = None,
    precision: str = "fp32",
    weight: float | None = None,
    device: str = "auto",
    threads: int | None = None,
) -> CrossEncoder:
    """Read and check a saved cross-encoder.

    Args:
        folder: where it was saved
        base: the encoder it must have been trained from, None = any
        precision: ``fp32`` or ``bf16``
        weight: beside the fused score, instead of the one chosen on validation
        device: ``auto``, ``cpu`` or ``cuda``
        threads: CPU threads of torch in this process, None = leave alone

    Raises:
        EncoderError: it is missing, corrupted, trained from another base or does nothing; the message says which.
        ConfigError: ``precision`` or ``weight`` is out of range.
    """
    if precision not in MAX_DIFFERENCE:
        raise ConfigError(f"precision: a cross-encoder runs in {' or '.join(MAX_DIFFERENCE)}, got {precision!r}")
    if weight is not None and not 0 <= weight < float("inf"):
        raise ConfigError(f"weight: must be finite and >= 0, got {weight}; 0 leaves the order of the search")
    path = Path(folder)
    try:
        held = read_artefact(path, kind=KIND)
    except ArtefactError as error:
        state = "corrupted" if (path / "CURRENT").is_file() else "missing"
        raise EncoderError(
            f"cross-encoder {path}: it is {state} ({error}); copy it there again, or train it again"
        ) from error
    about, arrays = dict(held.meta), held.arrays
    if held.stamp is None:
        raise EncoderError(f"cross-encoder {path}: it is corrupted (it does not say its base); train it again")
    if base is not None:
        check_origin(path, held.stamp, base)
    check_trained(f"cross-encoder {path}", arrays["probe_scores"], arrays["base_scores"])
    probes = tuple((str(query), str(text)) for query, text in about.pop("probes"))
    chosen = float(about.pop("weight")) if weight is None else float(weight)
    length = int(about["max_length"])
    stamp = replace(held.stamp, max_length=length, precision=precision, runtime="", calibration="", name=path.name)
    return CrossEncoder(
        path=path,
        folder=held.folder,
        digest=held.digest,
        base=held.stamp,
        stamp=stamp,
        head=arrays["head"],
        bias=float(arrays["bias"][0]),
        weight=chosen,
        probes=probes,
        probe_scores=arrays["probe_scores"],
        about=about,
        device=device,
        threads=threads,
    )


def check_origin(path: Path, found: EncoderStamp, base: EncoderStamp) -> None:
    """Refuse a cross-encoder that was trained from another encoder.

    Raises:
        EncoderError: weights, tokenizer or pooling differ; the message says which.
    """
    for what in ("weights", "tokenizer", "pooling"):
        mine, theirs = getattr(found, what), getattr(base, what)
        if mine != theirs:
            raise EncoderError(
                f"cross-encoder {path}: wrong base, trained from {found.name or 'an encoder'} with {what} {mine}, but "
                f"{base.name or 'the encoder'} has {theirs}; name the encoder it was trained from, or train it on this"
            )


def check_trained(what: str, scores: Float, base_scores: Float) -> None:
    """Refuse a cross-encoder whose probes score as if nothing had been trained, or all alike.

    Raises:
        EncoderError: no difference from the untrained network, or between probes, is above `NO_OP`.
    """
    moved, apart = float(np.abs(scores - base_scores).max(initial=0.0)), float(np.ptp(scores)) if len(scores) else 0.0
    if not (moved > NO_OP and apart > NO_OP):
        why = "its scores are those of the untrained network" if not moved > NO_OP else "it scores all probes alike"
        raise EncoderError(f"{what}: it does nothing (no-op): {why}; train it, or search without it")


def check_scores(what: str, recorded: Float, found: Float, *, precision: str = "fp32") -> None:
    """Refuse a network that scores the golden probes otherwise than recorded.

    Raises:
        EncoderError: a probe's score is further away than `MAX_DIFFERENCE` allows.
    """
    away = np.nan_to_num(np.abs(found.astype(np.float64) - recorded), nan=np.inf)
    if not away.max(initial=0.0) <= MAX_DIFFERENCE[precision]:
        raise EncoderError(
            f"{what}: golden probes do not match: a score is {away.max():.3g} away from the recorded one, in "
            f"{precision} it may be {MAX_DIFFERENCE[precision]:g} (weights or libraries changed); train and save it "
            "again with these libraries, or go back to those it was saved with"
        )


def rerank(fused: Sequence[float] | Float, added: Float) -> NDArray[np.int64]:
    """Positions of the best items of a search in their new order, best first, (n,).

    The new score is ``fused + added``, so the reasons of the search and this one stay an exact sum; of equal scores the
    item that stood higher comes first.

    Args:
        fused: scores of the first items of a search, descending, (n,)
        added: what the cross-encoder adds to each, (n_read,); items from ``n_read`` on were not read and stay behind

    Raises:
        ConfigError: more items were read than there are.

    >>> rerank(np.array([0.9, 0.8, 0.7], dtype=np.float32), np.array([0.0, 0.3], dtype=np.float32)).tolist()
    [1, 0, 2]
    """
    n = len(added)
    if n > len(fused):
        raise ConfigError(f"added: must have at most {len(fused)} entries, as many as fused, got {n}")
    first = np.argsort(-(np.asarray(fused)[:n] + added), kind="stable")
    return np.concatenate([first, np.arange(n, len(fused))]).astype(np.int64)


def _run(runtime: Runtime, tokens: Sequence[list[int]], head: Float, bias: float) -> Float:
    """Logits of pairs of token ids, (n,), by all workers of an engine."""
    rows = list(batches([len(pair) for pair in tokens], runtime.batch_tokens))

    def work(batch: list[int]) -> Float:
        return runtime.vectors([tokens[row] for row in batch]) @ head

    found = np.empty(len(tokens), dtype=np.float32)
    try:
        parts = list(ordered(work, rows, workers=runtime.workers, start=runtime.start_worker))
    finally:
        runtime.end_workers()
    if rows:
        found[list(chain.from_iterable(rows))] = np.concatenate(parts)
    return found + np.float32(bias)
