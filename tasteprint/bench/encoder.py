"""Timing every way this machine can run an encoder, beside sentence-transformers, in turn and on the same texts.

Covers the rounds, the share of the machine's measured peak, fidelity to fp32, and single queries. How each contender is
opened is `bench.contenders`' work, printing `commands.bench`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..profiling.encoders.checkpoint import checkpoint_folder, read_checkpoint
from ..profiling.encoders.encoder import Encoder, EncoderConfig, open_encoder
from ..profiling.encoders.fidelity import Fidelity, compare_vectors
from ..profiling.encoders.peak import Clock, NetworkSize, Peak, higher, measure_peaks, network_size
from ..profiling.errors import ConfigError, TasteprintError
from ..profiling.timing import Spread, paired_ratios, spread, time_calls, time_rounds
from .contenders import BASELINE, RUNTIMES, Bench, Contender, is_network
from .texts import BenchTexts

QUERY_TOKENS = 12
"""Tokens of the queries that are timed at most, special ones included."""

_K = 10


@dataclass(frozen=True)
class BenchRow:
    """One contender's figures, or why it has none.

    Attributes:
        runtime: its name
        settings: how it ran, in words
        absent: why it did not run and what to do; empty if it did
        ratio: times faster than the baseline, over the rounds
        texts_per_s, tokens_per_s: in the median round
        share: of the machine's measured peak in its precision, padding not counted as work; None without a peak
        fidelity: how near its vectors are to our fp32; None where they cannot be compared
        query_ms: one short query, median and 99th percentile; None without queries
        seconds: of each round
    """

    runtime: str
    settings: str = ""
    absent: str = ""
    ratio: Spread | None = None
    texts_per_s: float | None = None
    tokens_per_s: float | None = None
    share: float | None = None
    fidelity: Fidelity | None = None
    query_ms: tuple[float, float] | None = None
    seconds: tuple[float, ...] = ()


@dataclass(frozen=True)
class BenchResult:
    """The whole table.

    Attributes:
        rows: one a contender, in the order asked for
        peaks: the machine's matrix products
        against: name of the baseline
        n_texts, n_tokens: what each round encoded; 0 tokens where the encoder has no network
        n_queries: queries timed
        source: where the texts come from
    """

    rows: tuple[BenchRow, ...]
    peaks: tuple[Peak, ...]
    against: str
    n_texts: int
    n_tokens: int
    n_queries: int
    source: str

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Work:
    """What each round encodes.

    Attributes:
        size: the network's, None where there is none
        lengths: tokens of each text, zeros without a network
        queries: those of few tokens
    """

    size: NetworkSize | None
    lengths: tuple[int, ...]
    queries: tuple[str, ...]


def bench_encoder(
    config: EncoderConfig,
    texts: BenchTexts,
    work: Path,
    *,
    names: Sequence[str],
    rounds: int,
    n_queries: int,
    clock: Clock,
    pause: Callable[[], object],
    static: Path | None = None,
    peak_s: float = 0.5,
    forced: bool = False,
    rough: bool = False,
    tell: Callable[[str], object] = str,
) -> BenchResult:
    """Time the contenders ``names`` in turn.

    Args:
        config: the encoder; each contender sets its own precision and runtime
        texts: what is encoded
        work: folder for what a contender has to build, such as a quantised model
        names: keys of `RUNTIMES`
        rounds: timed rounds, after one that is not
        n_queries: queries timed at most
        clock: times them
        pause: called before each timed run
        static: folder of a static encoder, None = that contender is absent
        peak_s: seconds spent on each kind of matrix product
        forced: time bf16 even where the processor is slower in it
        rough: calibrate int8 with hardly any search, which spoils its fidelity, not its speed
        tell: called with what is being done

    Raises:
        ConfigError: a name is unknown, or none of the contenders can run.
        EncoderError: the encoder cannot be opened.
    """
    unknown = sorted(set(names) - set(RUNTIMES))
    if unknown:
        raise ConfigError(f"--runtimes must be among {', '.join(RUNTIMES)}, got {', '.join(unknown)}; mend the name")
    tell("measuring the machine")
    todo = _work(config, texts)
    device = _device(config)
    peaks = _peaks(todo.size, device, clock, peak_s)
    bench = Bench(
        config, texts, work, clock, device, static,
        {peak.precision: peak.flops_per_s for peak in peaks if peak.device == device}, forced, rough,
    )  # fmt: skip
    opened, absent = _open(bench, names, tell)
    tell("encoding once, not timed")
    near = _fidelities(_reference(bench), opened, texts.items)
    times = time_rounds(
        {name: partial(one.encode, texts.items) for name, one in opened.items()},
        rounds,
        clock=clock,
        pause=pause,
        tell=lambda name: tell(f"timing {name}"),
    )
    tell("timing single queries")
    calls = {name: one.query for name, one in opened.items()}
    queries = todo.queries[:n_queries]
    asked = time_calls(calls, queries, clock=clock, pause=pause)
    peaks = higher(peaks, _peaks(todo.size, device, clock, peak_s))  # the machine may have been busy the first time
    against = BASELINE if BASELINE in opened else next(iter(opened))
    rows = summarise(times, against, todo, peaks, opened)
    rows = {name: replace(row, fidelity=near[name], query_ms=query_ms(asked[name])) for name, row in rows.items()}
    return BenchResult(
        rows=tuple(rows[name] if name in rows else BenchRow(name, absent=absent[name]) for name in names),
        peaks=tuple(peaks),
        against=against,
        n_texts=len(texts.items),
        n_tokens=sum(todo.lengths),
        n_queries=len(queries),
        source=texts.source,
    )


def summarise(
    times: Mapping[str, Sequence[float]],
    against: str,
    work: Work,
    peaks: Sequence[Peak],
    contenders: Mapping[str, Contender],
) -> dict[str, BenchRow]:
    """The figures of each contender that follow from its seconds in each round.

    Args:
        times: seconds by name, the same number of rounds for all
        against: the baseline's name
        work: what each round encoded
        peaks: of the machine
        contenders: whose times these are
    """
    ratios = paired_ratios(times, against)
    most = {(peak.device, peak.precision): peak.flops_per_s for peak in peaks}
    flops = 0 if work.size is None else work.size.flops(work.lengths)
    rows = {}
    for name, seconds in times.items():
        one, middle = contenders[name], spread(seconds).median
        peak = most.get((one.device, one.precision))
        rows[name] = BenchRow(
            runtime=name,
            settings=one.settings,
            ratio=ratios[name],
            texts_per_s=len(work.lengths) / middle,
            tokens_per_s=sum(work.lengths) / middle if work.size else None,
            share=flops / middle / peak if flops and peak else None,
            seconds=tuple(seconds),
        )
    return rows


def query_ms(seconds: Sequence[float]) -> tuple[float, float] | None:
    """Median and 99th percentile in milliseconds, None of nothing.

    >>> query_ms([0.001, 0.003, 0.002])
    (2.0, 2.98)
    """
    if not seconds:
        return None
    median, late = np.percentile(seconds, [50, 99]) * 1e3
    return round(float(median), 4), round(float(late), 4)


def _work(config: EncoderConfig, texts: BenchTexts) -> Work:
    """Lengths in tokens, and the queries that are short enough."""
    if not is_network(config):
        return Work(None, (0,) * len(texts.items), texts.queries)
    checkpoint = read_checkpoint(checkpoint_folder(config.name))
    length = min(config.max_length or checkpoint.max_length, checkpoint.positions)
    count = _token_counter(checkpoint.encoder, length)
    lengths = count(texts.items)
    short = [text for text, n in zip(texts.queries, count(texts.queries), strict=True) if n <= QUERY_TOKENS]
    return Work(network_size(checkpoint.encoder), tuple(lengths), tuple(short))


def _token_counter(folder: Path, length: int) -> Callable[[Iterable[str]], list[int]]:
    """From texts to their numbers of tokens, special ones included, cut to ``length``."""
    if (folder / "tokenizer.json").is_file():
        from tokenizers import Tokenizer

        fast = Tokenizer.from_file(str(folder / "tokenizer.json"))
        fast.no_padding()
        fast.enable_truncation(length)
        return lambda texts: [len(encoding.ids) for encoding in fast.encode_batch_fast(list(texts))]
    from transformers import AutoTokenizer

    slow = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return lambda texts: [len(slow(text, truncation=True, max_length=length)["input_ids"]) for text in texts]


def _device(config: EncoderConfig) -> str:
    """Where torch runs."""
    if not is_network(config) or config.device == "cpu":
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _peaks(size: NetworkSize | None, device: str, clock: Clock, seconds: float) -> list[Peak]:
    """The processor's matrix products, and the GPU's if there is one."""
    if size is None:
        return []
    devices = dict.fromkeys(["cpu", device])
    return [peak for one in devices for peak in measure_peaks(size, clock=clock, device=one, seconds=seconds)]


def _open(
    bench: Bench, names: Sequence[str], tell: Callable[[str], object]
) -> tuple[dict[str, Contender], dict[str, str]]:
    """The contenders that can run, and why the others cannot."""
    opened, absent = {}, {}
    for name in names:
        tell(f"opening {name}")
        try:
            opened[name] = RUNTIMES[name](bench)
            opened[name].query("warm")
        except TasteprintError as error:
            opened.pop(name, None)
            absent[name] = str(error)
    if not opened:
        raise ConfigError(f"none of the runtimes can run here: {'; '.join(absent.values())}")
    return opened, absent


def _reference(bench: Bench) -> Encoder:
    """Our fp32, or the encoder as configured where it is no network."""
    return open_encoder(bench.network("torch", "fp32") if is_network(bench.config) else bench.config)


def _fidelities(
    reference: Encoder, contenders: Mapping[str, Contender], texts: Sequence[str]
) -> dict[str, Fidelity | None]:
    """How near each contender's vectors are to the reference's; None for vectors of another length."""
    wanted = reference.encode(texts)
    found: dict[str, Fidelity | None] = {}
    for name, one in contenders.items():
        vectors = one.encode(texts)
        same = vectors.shape == wanted.shape and len(texts) > 1
        found[name] = compare_vectors(wanted, vectors, k=min(_K, len(texts) - 1)) if same else None
    return found
