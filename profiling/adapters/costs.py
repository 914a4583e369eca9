"""What each kind of adapter costs to train: parameters, memory and seconds of a step, measured, as rows of a table.

Covers a CPU, each kind in a process of its own so that its memory is its own, and a CUDA GPU. Quality is the business
of fine-tuning runs. Reads no clock of its own: callers bring one.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import EncoderError
from .kinds import ADAPTERS, AdapterConfig, n_trainable

if TYPE_CHECKING:
    from .text_model import TextModel

Clock = Callable[[], float]
"""Seconds on a clock that only goes forward; it must be importable by name, such as ``time.process_time``."""

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_MIB = 1 << 20


@dataclass(frozen=True)
class StepSize:
    """The step that is measured.

    Attributes:
        texts: in a batch
        tokens: of each text on average; lengths are spread as those of product titles
        steps: measured after one that warms up; the fastest counts
        seed: draws lengths and tokens
        precision: ``fp32``, or ``bf16`` by autocast
        checkpointing: whether layers are computed again in the backward pass
    """

    texts: int = 64
    tokens: int = 24
    steps: int = 3
    seed: int = 0
    precision: str = "fp32"
    checkpointing: bool = False


@dataclass(frozen=True)
class AdapterCost:
    """What a kind costs.

    Attributes:
        kind: a key of `ADAPTERS`
        n_trained, n_all: parameters
        step_s: seconds of one step: forward, backward, AdamW
        step_mib: memory a step needs beside the model's own weights, NaN where this system does not tell
        mergeable: whether the result is an ordinary checkpoint
    """

    kind: str
    n_trained: int
    n_all: int
    step_s: float
    step_mib: float
    mergeable: bool

    @property
    def share(self) -> float:
        """Parameters that are trained, of all, in [0, 1]."""
        return self.n_trained / self.n_all

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return asdict(self) | {"share": self.share}


def adapter_costs(
    name: str,
    kinds: Sequence[str] = tuple(ADAPTERS),
    *,
    clock: Clock,
    config: AdapterConfig | None = None,
    size: StepSize | None = None,
    device: str = "cpu",
) -> list[AdapterCost]:
    """Measure each kind on a checkpoint.

    Args:
        name: package, folder or hub name
        kinds: keys of `ADAPTERS`
        clock: on a busy CPU best ``time.process_time``, on a GPU ``time.perf_counter``
        config: sizes of the adapters, whatever its kind; None = the defaults
        size: of the step, None = the defaults
        device: ``cpu`` or ``cuda``

    Raises:
        EncoderError: a kind is unknown, or the checkpoint cannot be opened.
    """
    config, size = config or AdapterConfig(), size or StepSize()
    unknown = sorted(set(kinds) - set(ADAPTERS))
    if unknown:
        raise EncoderError(f"kinds must be among {', '.join(ADAPTERS)}, got {', '.join(unknown)}; take these out")
    jobs = [(name, config.model_copy(update={"kind": kind}), size, device, clock) for kind in kinds]
    if device != "cpu":
        return [_measured(*job) for job in jobs]
    found = []
    for job in jobs:  # a process each: what one leaves behind must not count for the next
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            found.append(pool.submit(_measured, *job).result())
    return found


def cost_table(costs: Sequence[AdapterCost]) -> list[str]:
    """The costs as lines of a Markdown table.

    >>> print(*cost_table([AdapterCost("ia3", 10, 1000, 0.25, 12.0, True)]), sep="\\n")
    | kind | trains | parameters | share | s a step | MiB a step | merges |
    |---|---|--:|--:|--:|--:|---|
    | ia3 | a factor for each key, value and inner unit | 10 | 1.00 % | 0.25 | 12 | yes |
    """
    lines = ["| kind | trains | parameters | share | s a step | MiB a step | merges |", "|---|---|--:|--:|--:|--:|---|"]
    for cost in costs:
        memory = "" if np.isnan(cost.step_mib) else f"{cost.step_mib:,.0f}"
        lines.append(
            f"| {cost.kind} | {ADAPTERS[cost.kind].about} | {cost.n_trained:,} | {100 * cost.share:.2f} % | "
            f"{cost.step_s:.3g} | {memory} | {'yes' if cost.mergeable else 'no'} |"
        )
    return lines


def _measured(name: str, config: AdapterConfig, size: StepSize, device: str, clock: Clock) -> AdapterCost:
    """One kind on one checkpoint."""
    import torch

    from .text_model import open_text_model

    model = open_text_model(name, config, seed=size.seed, checkpointing=size.checkpointing).to(device)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-4)
    tokens = _tokens(model, size)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=size.precision == "bf16"):
            found = model.encode_tokens(tokens)
        (found @ found.T).logsumexp(dim=1).sum().backward()
        optimiser.step()
        optimiser.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()

    before = _start_peak(device)
    took = []
    for _ in range(size.steps + 1):
        began = clock()
        step()
        took.append(clock() - began)
    memory = (_peak_bytes(device) - before) / _MIB
    return AdapterCost(config.kind, *n_trainable(model), min(took[1:]), memory, ADAPTERS[config.kind].mergeable)


def _tokens(model: TextModel, size: StepSize) -> list[list[int]]:
    """Made-up texts: words of the vocabulary between the special tokens, lengths from a log-normal distribution."""
    rng = np.random.default_rng(size.seed)
    drawn = rng.lognormal(np.log(size.tokens) - 0.125, 0.5, size.texts).astype(int)  # mean size.tokens
    lengths = np.clip(drawn, 3, model.max_length)
    (ends,) = model.tokens([""])
    n_words = model.transformer.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    return [[ends[0], *rng.integers(0, n_words, n - 2).tolist(), ends[-1]] for n in lengths]


def _start_peak(device: str) -> float:
    """Begin to look for the highest memory; bytes in use now."""
    gc.collect()
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return float(torch.cuda.memory_allocated())
    try:
        _release()
        _RESET.write_text("5")  # the highest mark falls to what is in use
    except OSError:
        return float("nan")
    return _status("VmRSS:")


def _peak_bytes(device: str) -> float:
    """The highest memory since `_start_peak`, in bytes."""
    if device == "cuda":
        import torch

        return float(torch.cuda.max_memory_allocated())
    return _status("VmHWM:")


def _status(key: str) -> float:
    """A size that Linux tells of this process, in bytes; NaN elsewhere."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return float("nan")
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith(key)), float("nan"))


def _release() -> None:
    """Give freed memory back to the system, so that a step has to ask for it again."""
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6", use_errno=True).malloc_trim(0)
