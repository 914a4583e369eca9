"""Which engine and precision a configuration means on which machine, and what is refused."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys

import pytest

from tasteprint.profiling.errors import EncoderError, ExtraMissingError
from tasteprint.profiling.runtimes.choose import PRECISIONS, RUNTIMES, Machine, choose, explain, this_machine

ALL = frozenset(spec.package for spec in RUNTIMES.values())
PLAIN = Machine(gpu=False, bf16=False, vnni=False, packages=ALL)
VNNI = Machine(gpu=False, bf16=False, vnni=True, packages=ALL)
BF16 = Machine(gpu=False, bf16=True, vnni=True, packages=ALL)
GPU = Machine(gpu=True, bf16=False, vnni=False, packages=ALL)
BARE = Machine(gpu=False, bf16=False, vnni=True, packages=frozenset({"torch"}))


@pytest.mark.parametrize(
    ("precision", "runtime", "device", "machine", "expected"),
    [
        ("fp32", "auto", "auto", BF16, ("fp32", "torch")),
        ("auto", "auto", "auto", PLAIN, ("fp32", "torch")),
        ("auto", "auto", "auto", BF16, ("bf16", "torch")),
        ("auto", "auto", "auto", GPU, ("bf16", "torch")),
        ("auto", "auto", "cpu", GPU, ("fp32", "torch")),
        ("auto", "onnx", "auto", BF16, ("fp32", "onnx")),
        ("auto", "openvino", "auto", BF16, ("bf16", "openvino")),
        ("auto", "openvino", "auto", GPU, ("fp32", "openvino")),
        ("int8", "auto", "auto", VNNI, ("int8", "openvino")),
        ("int8", "auto", "auto", PLAIN, ("int8", "onnx")),
        ("int8", "openvino", "auto", PLAIN, ("int8", "openvino")),
        ("bf16", "auto", "auto", PLAIN, ("bf16", "torch")),
    ],
)
def test_choice(precision: str, runtime: str, device: str, machine: Machine, expected: tuple[str, str]):
    made = choose(precision, runtime, device, machine)
    assert (made.precision, made.runtime) == expected
    assert made.why.startswith(expected[0])
    assert "\n" not in made.why


def test_the_one_engine_that_is_there_is_taken():
    only = Machine(gpu=False, bf16=False, vnni=True, packages=frozenset({"torch", "onnxruntime"}))
    assert choose("int8", "auto", "auto", only).runtime == "onnx"


@pytest.mark.parametrize(
    ("precision", "runtime", "device", "machine", "said"),
    [
        ("int8", "torch", "auto", VNNI, "fp32, bf16, got int8; use runtime auto or openvino or onnx"),
        ("bf16", "onnx", "auto", BF16, "fp32, int8, got bf16"),
        ("int8", "auto", "cuda", GPU, "runs on the CPU, got device cuda"),
        ("bf16", "openvino", "auto", VNNI, "no bf16 arithmetic"),
    ],
)
def test_what_cannot_be_is_said(precision: str, runtime: str, device: str, machine: Machine, said: str):
    with pytest.raises(EncoderError, match=said):
        choose(precision, runtime, device, machine)


@pytest.mark.parametrize(("precision", "runtime"), [("int8", "auto"), ("fp32", "onnx"), ("fp32", "openvino")])
def test_a_missing_package_comes_with_its_line(precision: str, runtime: str):
    with pytest.raises(ExtraMissingError, match=r"pip install 'tasteprint\[fast\]'"):
        choose(precision, runtime, "auto", BARE)


def test_every_engine_has_known_precisions():
    assert all(set(spec.precisions) <= set(PRECISIONS) for spec in RUNTIMES.values())


def test_explanation_names_every_engine():
    lines = explain()
    assert lines[0].startswith("auto means")
    assert all(any(line.startswith(name) for line in lines) for name in RUNTIMES)
    assert "torch" in this_machine().packages


def test_choosing_the_default_loads_nothing():
    code = (
        "import sys\nfrom tasteprint.profiling.runtimes.choose import choose\nchoose('fp32', 'auto', 'auto')\n"
        "print([name for name in ('torch', 'openvino', 'onnxruntime', 'pandas') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


@pytest.mark.parametrize(
    "name",
    [
        "encoders.families",
        "encoders.fidelity",
        "encoders.schedule",
        "encoders.bert",
        "encoders.stamp",
        "runtimes.choose",
        "runtimes.padding",
    ],
)
def test_examples_run(name: str):
    assert doctest.testmod(importlib.import_module(f"tasteprint.profiling.{name}")).failed == 0
