"""A `graph.Graph` written as the file that another engine runs.

Covers OpenVINO (``model.xml`` and ``model.bin``) and ONNX (``model.onnx``), any batch size and length, int8 or not.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import torch

from ..errors import ExtraMissingError
from .graph import Graph

FILES: Mapping[str, str] = {"openvino": "model.xml", "onnx": "model.onnx"}
"""The file an engine opens."""

_OPSET = 17  # the first with layer normalisation as one operator
_INPUTS = ("ids", "mask")


def export(graph: Graph, runtime: str, folder: Path) -> None:
    """Write ``graph`` into ``folder`` for an engine of `FILES`."""
    example = torch.ones(2, 7, dtype=torch.int64), torch.ones(2, 7)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # tracing warns of what is constant on purpose
        _EXPORTS[runtime](graph.eval(), example, folder / FILES[runtime])


def _openvino(graph: Graph, example: tuple[torch.Tensor, torch.Tensor], file: Path) -> None:
    """As OpenVINO's own format."""
    import openvino

    model = openvino.convert_model(graph, example_input=example)
    for port, name in zip(model.inputs, _INPUTS, strict=True):
        port.get_tensor().set_names({name})
    openvino.save_model(model, file, compress_to_fp16=False)


def _onnx(graph: Graph, example: tuple[torch.Tensor, torch.Tensor], file: Path) -> None:
    """As ONNX, by tracing: the exporter that knows rounding to int8."""
    if find_spec("onnx") is None:
        raise ExtraMissingError("exporting to ONNX needs onnx: pip install 'tasteprint[fast]'")
    traced = file.with_name(f"traced-{file.name}")
    axes = {name: {0: "n", 1: "length"} for name in _INPUTS} | {"vectors": {0: "n"}}
    torch.onnx.export(
        graph,
        example,
        str(traced),
        dynamo=False,
        opset_version=_OPSET,
        input_names=list(_INPUTS),
        output_names=["vectors"],
        dynamic_axes=axes,
    )
    _fold(traced, file)
    traced.unlink()


def _fold(traced: Path, file: Path) -> None:
    """Do once what every opening would do: int8 weights as int8, constants computed. Good for any processor."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(file)
    options.log_severity_level = 3  # errors
    onnxruntime.InferenceSession(str(traced), options, providers=["CPUExecutionProvider"])


_EXPORTS: Mapping[str, Callable[[Graph, tuple[torch.Tensor, torch.Tensor], Path], None]] = {
    "openvino": _openvino,
    "onnx": _onnx,
}
