"""What a machine can do, and what a network asks of it: matrix products at the network's own shapes, and their count.

Covers networks of the BERT family on a CPU (through torch, and OpenVINO and ONNX Runtime where they are installed) and
on a CUDA GPU. Reads no clock of its own: callers bring one. Timing encoders is the business of `tasteprint bench`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import EncoderError

if TYPE_CHECKING:
    import torch

Clock = Callable[[], float]
"""Seconds on a clock that only goes forward, such as ``time.perf_counter``."""

PRECISIONS = ("fp32", "bf16", "int8")

_ROWS = {"cpu": (512, 1024, 4096), "cuda": (8192, 65_536)}
_FEW_ROWS = 64


@dataclass(frozen=True)
class NetworkSize:
    """What decides the arithmetic of a network of the BERT family.

    Attributes:
        layers: how many
        hidden: width of a token's vector
        inner: width between the two linear maps of a layer's second half
    """

    layers: int
    hidden: int
    inner: int

    @property
    def products(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of the linear maps of one layer: attention's way out, the two halves, query-key-value."""
        return (
            (self.hidden, self.hidden),
            (self.hidden, self.inner),
            (self.inner, self.hidden),
            (self.hidden, 3 * self.hidden),
        )

    @property
    def token_flops(self) -> int:
        """Operations of the linear maps for one token; a multiplication and an addition are two.

        >>> NetworkSize(layers=6, hidden=384, inner=1536).token_flops  # MiniLM
        21233664
        """
        return 2 * self.layers * sum(a * b for a, b in self.products)

    @property
    def attention_flops(self) -> int:
        """Operations of attention for one token and each token it looks at: its scores and its weighted sum.

        >>> NetworkSize(layers=6, hidden=384, inner=1536).attention_flops
        9216
        """
        return 4 * self.layers * self.hidden

    def flops(self, lengths: Iterable[int]) -> int:
        """Operations for texts of these numbers of tokens, without padding.

        >>> NetworkSize(layers=1, hidden=2, inner=3).flops([1, 2])  # 2 (4 2 2 + 2 2 3) a token, 8 a pair of tokens
        208
        """
        return sum(n * (self.token_flops + n * self.attention_flops) for n in lengths)


@dataclass(frozen=True)
class Peak:
    """The fastest matrix products seen.

    Attributes:
        device: ``cpu`` or ``cuda``
        precision: ``fp32``, ``bf16`` or ``int8``
        flops_per_s: operations a second
        by: the library that ran them
        rows: tokens in the product that was fastest
    """

    device: str
    precision: str
    flops_per_s: float
    by: str
    rows: int


def network_size(folder: Path) -> NetworkSize:
    """The size that the checkpoint's ``config.json`` in ``folder`` says.

    Raises:
        EncoderError: it is missing or says none.
    """
    try:
        says = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        hidden = int(says["hidden_size"] if "hidden_size" in says else says["dim"])
        inner = int(says["intermediate_size"] if "intermediate_size" in says else says["hidden_dim"])
        return NetworkSize(
            int(says["num_hidden_layers"] if "num_hidden_layers" in says else says["n_layers"]), hidden, inner
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EncoderError(
            f"encoder: {folder / 'config.json'} must say hidden_size, intermediate_size and num_hidden_layers "
            f"({type(error).__name__}: {error}); name a checkpoint of the BERT family"
        ) from error


def measure_peaks(size: NetworkSize, *, clock: Clock, device: str = "cpu", seconds: float = 0.5) -> list[Peak]:
    """The fastest product of each precision that this machine's libraries manage at the network's shapes.

    The linear maps of one layer run one after the other, at several numbers of tokens; the best of many runs counts.

    Args:
        size: gives the shapes
        clock: times the runs
        device: ``cpu`` or ``cuda``
        seconds: spent on each precision, library and number of tokens, about

    Returns:
        One a precision, in the order of `PRECISIONS`; a precision that no library runs is absent.
    """
    best: dict[str, Peak] = {}
    for precision in PRECISIONS:
        for by, make in _ways(size, device):
            rate, rows = _rate(make, precision, size, _ROWS[device], clock, seconds)
            if rate > 0 and (precision not in best or rate > best[precision].flops_per_s):
                best[precision] = Peak(device, precision, rate, by, rows)
    return [best[precision] for precision in PRECISIONS if precision in best]


def higher(first: Sequence[Peak], second: Sequence[Peak]) -> list[Peak]:
    """Of two measurements of one machine the faster of each device and precision, in the order of ``first``.

    >>> [peak.rows for peak in higher([Peak("cpu", "fp32", 2.0, "torch", 1)], [Peak("cpu", "fp32", 3.0, "torch", 2)])]
    [2]
    """
    again = {(peak.device, peak.precision): peak for peak in second}
    return [
        max(peak, again.get((peak.device, peak.precision), peak), key=lambda one: one.flops_per_s) for peak in first
    ]


def best_of(run: Callable[[], object], *, clock: Clock, seconds: float, least: int = 3) -> float:
    """Shortest time of ``run`` in seconds: at least ``least`` times, and until ``seconds`` have passed."""
    shortest, start, n = np.inf, clock(), 0
    while n < least or clock() - start < seconds:
        before = clock()
        run()
        shortest = min(shortest, clock() - before)
        n += 1
    return float(shortest)


_Make = Callable[[str, int], Callable[[], object] | None]
"""From a precision and a number of tokens to one run of a layer's products, None where it cannot."""


def _rate(
    make: _Make, precision: str, size: NetworkSize, sizes: Sequence[int], clock: Clock, seconds: float
) -> tuple[float, int]:
    """The most operations a second, and at how many tokens: of ``sizes`` those that do not take too long, or few."""
    few = make(precision, _FEW_ROWS)
    if few is None:
        return 0.0, 0
    flops = 2 * sum(a * b for a, b in size.products)  # a token's
    took = best_of(few, clock=clock, seconds=0, least=2)
    rates = [(flops * _FEW_ROWS / took, _FEW_ROWS)]
    for rows in sizes:
        run = make(precision, rows) if took * rows / _FEW_ROWS < max(seconds, 0.25) else None
        if run is not None:
            run()
            rates.append((flops * rows / best_of(run, clock=clock, seconds=seconds), rows))
    return max(rates)


def _ways(size: NetworkSize, device: str) -> Sequence[tuple[str, _Make]]:
    """The libraries that can multiply here."""
    ways: list[tuple[str, _Make]] = [("torch", lambda precision, rows: _torch_run(size, precision, rows, device))]
    if device == "cpu" and find_spec("openvino") is not None:
        ways.append(("openvino", lambda precision, rows: _openvino_run(size, precision, rows)))
    if device == "cpu" and find_spec("onnx") is not None and find_spec("onnxruntime") is not None:
        ways.append(("onnxruntime", lambda precision, rows: _onnx_run(size, precision, rows)))
    return ways


def _torch_run(size: NetworkSize, precision: str, rows: int, device: str) -> Callable[[], object] | None:
    """A layer's products in torch."""
    import torch

    integers = precision == "int8"
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.int8}[precision]

    def numbers(*shape: int) -> torch.Tensor:
        made = torch.randint(-127, 128, shape, device=device) if integers else torch.randn(shape, device=device)
        return made.to(dtype)

    inputs = {width: numbers(rows, width) for width in {a for a, _ in size.products}}
    weights = [numbers(b, a).t() for a, b in size.products]

    def run() -> None:
        with torch.inference_mode():
            for (width, _), weight in zip(size.products, weights, strict=True):
                if integers:
                    torch._int_mm(inputs[width], weight)
                else:
                    torch.mm(inputs[width], weight)
            if device == "cuda":
                torch.cuda.synchronize()

    try:
        run()
    except (RuntimeError, NotImplementedError):  # this build of torch has no such product for this device
        return None
    return run


def _openvino_run(size: NetworkSize, precision: str, rows: int) -> Callable[[], object] | None:
    """A layer's products in OpenVINO, each one's result the next one's input."""
    import openvino

    core = openvino.Core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return None
    hint = "bf16" if precision == "bf16" else "f32"
    graph = _openvino_graph(size, rows, quantised=precision == "int8")
    request = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": hint}).create_infer_request()
    inputs = np.random.default_rng(0).normal(size=(rows, size.hidden)).astype(np.float32)
    return lambda: request.infer([inputs])


def _openvino_graph(size: NetworkSize, rows: int, *, quantised: bool) -> Any:
    """The products as an OpenVINO model; quantised in the form its int8 kernels know."""
    import openvino
    from openvino import opset13 as ops

    rng = np.random.default_rng(0)
    entry = ops.parameter([rows, size.hidden], np.float32)
    flow = entry
    for width, out in size.products:
        if quantised:
            low, high = ops.constant(np.float32(-4)), ops.constant(np.float32(4))
            flow = ops.fake_quantize(flow, low, high, low, high, 256)
            kept = ops.convert(ops.constant(rng.integers(-127, 128, (out, width)).astype(np.int8)), np.float32)
            weight = ops.multiply(kept, ops.constant(np.full((out, 1), 3e-4, dtype=np.float32)))
        else:
            weight = ops.constant(rng.normal(0, width**-0.5, (out, width)).astype(np.float32))
        flow = ops.matmul(flow, weight, False, True)
    return openvino.Model([ops.result(flow)], [entry], "peak")


def _onnx_run(size: NetworkSize, precision: str, rows: int) -> Callable[[], object] | None:
    """A layer's products in ONNX Runtime, side by side; in int8 unsigned inputs with signed weights."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    if precision == "bf16":
        return None
    integers, rng = precision == "int8", np.random.default_rng(0)
    kind, made = (TensorProto.UINT8, TensorProto.INT32) if integers else (TensorProto.FLOAT, TensorProto.FLOAT)
    nodes, weights, results = [], [], []
    for number, (width, out) in enumerate(size.products):
        weight = rng.integers(-63, 64, (width, out)).astype(np.int8) if integers else rng.normal(size=(width, out))
        weights.append(numpy_helper.from_array(weight.astype(np.int8 if integers else np.float32), f"w{number}"))
        operator = "MatMulInteger" if integers else "MatMul"
        nodes.append(helper.make_node(operator, [f"x{width}", f"w{number}"], [f"y{number}"]))
        results.append(helper.make_tensor_value_info(f"y{number}", made, [rows, out]))
    widths = sorted({width for width, _ in size.products})
    entries = [helper.make_tensor_value_info(f"x{width}", kind, [rows, width]) for width in widths]
    graph = helper.make_graph(nodes, "peak", entries, results, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    dtype = np.uint8 if integers else np.float32
    given = {f"x{width}": rng.integers(0, 256, (rows, width)).astype(dtype) for width in widths}
    return lambda: session.run(None, given)
