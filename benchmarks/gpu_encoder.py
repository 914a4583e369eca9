"""Encoders in bf16 on a GPU: a BERT-base of random weights and MiniLM, beside sentence-transformers.

python benchmarks/gpu_encoder.py [--texts 50000] [--rounds 3] [--rehearse]

Tokens a second from pre-tokenised input and end to end, the share of the GPU's own measured bf16 peak, and memory.
Needs nothing but this package and a CUDA build of torch: no download, no shop. MiniLM's weights are random as well
where the demo extra is not installed. ``--rehearse`` walks through everything on the CPU with tiny networks, to see
that it runs; its figures mean nothing. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tasteprint.bench.texts import generated_texts
from tasteprint.profiling.encoders.bert import BertNetwork
from tasteprint.profiling.encoders.checkpoint import DEFAULT_ENCODER, checkpoint_folder
from tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder
from tasteprint.profiling.encoders.peak import NetworkSize, best_of, measure_peaks, network_size
from tasteprint.profiling.encoders.schedule import encode_lists
from tasteprint.profiling.encoders.transformer import TransformerEncoder
from tasteprint.profiling.timing import paired_ratios, spread, time_rounds

PRETOKENISED, END_TO_END = "ours, from tokens", "ours, end to end"
THEIRS, THEIR_BEST = "sentence-transformers, defaults", "sentence-transformers, bf16"
NO_GPU = (
    "gpu_encoder: torch sees no CUDA GPU on this machine, so there is nothing to measure; run it where "
    "torch.cuda.is_available() is True (a CUDA build of torch), or rehearse it here with --rehearse"
)
BATCHES = (16_384, 65_536, 131_072)
THEIR_BATCHES = (128, 512, 2048)


@dataclass(frozen=True)
class Case:
    """A network to measure.

    Attributes:
        name: for the table
        folder: its checkpoint
        aim: tokens a second from tokens that we want, 0 = none
    """

    name: str
    folder: Path
    aim: float


class Tokenised:
    """A runtime whose texts are tokenised already."""

    def __init__(self, runtime: BertNetwork, texts: Sequence[str]) -> None:
        self._known = dict(zip(texts, runtime.tokens(texts), strict=True))
        self.device, self.workers, self.vectors = runtime.device, runtime.workers, runtime.vectors
        self.start_worker, self.end_workers = runtime.start_worker, runtime.end_workers

    def tokens(self, texts: Sequence[str], /) -> list[list[int]]:
        """Token ids known of the texts."""
        return [self._known[text] for text in texts]

    def lengths(self) -> list[int]:
        """Tokens of each text."""
        return [len(ids) for ids in self._known.values()]


def main() -> None:
    """Measure both networks and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--texts", type=int, default=50_000, help="texts in a round")
    asked.add_argument("--rounds", type=int, default=3, help="timed rounds")
    asked.add_argument("--rehearse", action="store_true", help="on the CPU with tiny networks")
    options = asked.parse_args()
    if not options.rehearse and not torch.cuda.is_available():
        sys.exit(NO_GPU)
    device = "cpu" if options.rehearse else "cuda"
    texts = list(generated_texts(options.texts, np.random.default_rng(0)))
    with tempfile.TemporaryDirectory() as work:
        for case in cases(Path(work), rehearse=options.rehearse):
            print(measure(case, texts, options.rounds, device), flush=True)


def cases(work: Path, *, rehearse: bool) -> list[Case]:
    """The networks, written under ``work`` where they are not installed."""
    if rehearse:
        return [Case("rehearsal, tiny BERT", random_bert(work / "tiny", NetworkSize(1, 32, 64), heads=2), 0)]
    found = importlib.util.find_spec(DEFAULT_ENCODER.replace("-", "_"))
    small = NetworkSize(6, 384, 1536)
    minilm = (
        Case("MiniLM", checkpoint_folder(DEFAULT_ENCODER), 6e6)
        if found
        else Case("MiniLM shape, random weights", random_bert(work / "minilm", small, heads=12), 6e6)
    )
    base = random_bert(work / "base", NetworkSize(12, 768, 3072), heads=12)
    return [Case("BERT-base shape, random weights", base, 1.5e6), minilm]


def random_bert(folder: Path, size: NetworkSize, *, heads: int) -> Path:
    """Write a BERT of random weights, with a tokenizer that knows the words of generated texts."""
    from transformers import BertConfig, BertModel, BertTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder.mkdir(parents=True)
    words = sorted({word.lower() for text in generated_texts(2000, np.random.default_rng(1)) for word in text.split()})
    pieces = [f"{sign}{chr(code)}" for sign in ("", "##") for code in range(33, 127)]
    vocabulary = list(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *pieces]))
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=max(30_522, len(vocabulary)), hidden_size=size.hidden, num_hidden_layers=size.layers,
        num_attention_heads=heads, intermediate_size=size.inner,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    BertTokenizer(vocab=str(folder / "vocab.txt"), model_max_length=512).save_pretrained(folder)
    return folder


def measure(case: Case, texts: list[str], rounds: int, device: str) -> str:
    """One network's table."""
    size = network_size(case.folder)
    peaks = {p.precision: p for p in measure_peaks(size, clock=time.perf_counter, device=device, seconds=0.5)}
    peak = peaks["bf16"].flops_per_s
    encoder = TransformerEncoder(case.folder, precision="bf16", device=device)
    network = BertNetwork(encoder.checkpoint, encoder.stamp, device=device, threads=None)
    ready = Tokenised(network, texts)
    budget = fastest(BATCHES, lambda tokens: packed(ready, texts[: len(texts) // 4 + 1], encoder.dim, tokens))
    ours = open_encoder(EncoderConfig(name=str(case.folder), precision="bf16", device=device, batch_tokens=budget))
    plain, half = theirs(case.folder, device, torch.float32), theirs(case.folder, device, torch.bfloat16)
    batch = fastest(THEIR_BATCHES, lambda n: half.encode(texts[: len(texts) // 4 + 1], batch_size=n))
    runs: dict[str, Callable[[], Any]] = {
        PRETOKENISED: lambda: packed(ready, texts, encoder.dim, budget),
        END_TO_END: lambda: ours.encode(texts),
        THEIRS: lambda: plain.encode(texts),
        THEIR_BEST: lambda: half.encode(texts, batch_size=batch),
    }
    made = {name: memory(run, device) for name, run in runs.items()}
    times = time_rounds(runs, rounds, clock=time.perf_counter, pause=partial(time.sleep, 0.05))
    ratios = paired_ratios(times, THEIRS)
    tokens, flops = sum(ready.lengths()), size.flops(ready.lengths())
    reference = unit(plain.encode(texts[:1000]))
    lines = [
        f"\n### {case.name}\n", about(device),
        f"bf16 peak {peak / 1e12:,.1f} TFLOP/s ({peaks['bf16'].rows:,} tokens at a time); {len(texts):,} generated "
        f"texts, {tokens / len(texts):.1f} tokens each; a batch of ours is {budget:,} tokens, of theirs in bf16 "
        f"{batch:,} texts\n",
        "| way | tokens/s | texts/s | of bf16 peak | times their defaults | GPU memory GiB | cosine to fp32 |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]  # fmt: skip
    for name, seconds in times.items():
        middle, ratio, (vectors, room) = spread(seconds).median, ratios[name], made[name]
        cosine = float((unit(vectors[:1000]) * reference).sum(axis=1).mean())
        lines.append(
            f"| {name} | {tokens / middle:,.0f} | {len(texts) / middle:,.0f} | {flops / middle / peak:.0%} "
            f"| {ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f}) | {room:.2f} | {cosine:.5f} |"
        )
    if case.aim:
        got = tokens / spread(times[PRETOKENISED]).median
        lines.append(f"\naim {case.aim:,.0f} tokens/s from tokens: {'reached' if got >= case.aim else 'missed'}")
    return "\n".join(lines)


def packed(ready: Tokenised, texts: Sequence[str], dim: int, batch_tokens: int) -> NDArray[np.float32]:
    """Vectors of texts whose tokens are known, (n, dim)."""
    (vectors,) = encode_lists(ready, [texts], dim=dim, batch_tokens=batch_tokens)
    return vectors


def theirs(folder: Path, device: str, dtype: torch.dtype) -> Any:
    """The checkpoint opened by sentence-transformers."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device=device, local_files_only=True, model_kwargs={"dtype": dtype})


def fastest(choices: Sequence[int], run: Callable[[int], object]) -> int:
    """The choice with which ``run`` takes the least time, each tried three times."""
    return min(choices, key=lambda one: best_of(partial(run, one), clock=time.perf_counter, seconds=0))


def memory(run: Callable[[], NDArray[np.float32]], device: str) -> tuple[NDArray[np.float32], float]:
    """What ``run`` gives, and the most GPU memory in use meanwhile in GiB, all models that are loaded included."""
    if device == "cpu":
        return run(), 0.0
    torch.cuda.reset_peak_memory_stats()
    made = run()
    return made, torch.cuda.max_memory_allocated() / 2**30


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of unit length."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def about(device: str) -> str:
    """The machine and the versions, in one line."""
    name = torch.cuda.get_device_name(0) if device == "cuda" else "CPU, a rehearsal: the figures mean nothing"
    parts = [importlib.metadata.version(package) for package in ("torch", "transformers", "sentence-transformers")]
    return f"{name}; Python {platform.python_version()}; torch, transformers, sentence-transformers {', '.join(parts)}"


if __name__ == "__main__":
    main()
