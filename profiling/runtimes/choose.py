"""Which engine and precision a configuration means on this machine, and why, in one line.

Covers the table of engines, what the machine offers, and the errors for what cannot be. Nothing here loads a network;
torch is imported only to look at the processor and the GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..errors import EncoderError, ExtraMissingError


@dataclass(frozen=True)
class RuntimeSpec:
    """An engine.

    Attributes:
        precisions: what it runs in
        package: what has to be importable, beside torch
        about: what it is for, in a few words
    """

    precisions: tuple[str, ...]
    package: str
    about: str


RUNTIMES: Mapping[str, RuntimeSpec] = {
    "torch": RuntimeSpec(("fp32", "bf16"), "torch", "packed, without padding; CPU and GPU"),
    "openvino": RuntimeSpec(("fp32", "bf16", "int8"), "openvino", "fastest int8 where the processor has VNNI or AMX"),
    "onnx": RuntimeSpec(("fp32", "int8"), "onnxruntime", "portable; fastest int8 where there is no VNNI"),
}
"""The engines by name."""

PRECISIONS = ("fp32", "bf16", "int8")


@dataclass(frozen=True)
class Machine:
    """What decides the choice.

    Attributes:
        gpu: whether torch sees a CUDA GPU
        bf16: whether the processor multiplies in bf16 (AVX-512 BF16 or AMX)
        vnni: whether it multiplies in int8 without saturating (AVX-512 VNNI, AVX VNNI or AMX)
        packages: which engines' packages are installed
    """

    gpu: bool
    bf16: bool
    vnni: bool
    packages: frozenset[str]


@dataclass(frozen=True)
class Choice:
    """What is run, and why.

    Attributes:
        precision: ``fp32``, ``bf16`` or ``int8``
        runtime: a key of `RUNTIMES`
        why: one line for people
    """

    precision: str
    runtime: str
    why: str


def this_machine() -> Machine:
    """What this machine offers. Imports torch."""
    import torch

    says = _cpu_says()
    return Machine(
        gpu=torch.cuda.is_available(),
        bf16=any(says.get(name) for name in ("avx512_bf16", "amx_bf16")),
        vnni=any(says.get(name) for name in ("avx512_vnni", "avx_vnni", "amx_int8")),
        packages=frozenset(spec.package for spec in RUNTIMES.values() if find_spec(spec.package) is not None),
    )


def choose(precision: str, runtime: str, device: str, machine: Machine | None = None) -> Choice:
    """The precision and the engine that ``auto`` means here; what is named is checked and kept.

    Args:
        precision: ``auto`` = the fastest lossless one: bf16 where the GPU or the processor multiplies in it, else fp32;
            or ``fp32``, ``bf16``, ``int8``
        runtime: ``auto`` = torch, for int8 OpenVINO or ONNX Runtime; or a key of `RUNTIMES`
        device: ``auto``, ``cpu`` or ``cuda``
        machine: what it offers, None = this one

    Raises:
        EncoderError: the engine does not run in that precision or on that device.
        ExtraMissingError: the engine is not installed.

    >>> choose("int8", "auto", "auto", Machine(False, False, True, frozenset({"openvino"}))).runtime
    'openvino'
    """
    if precision == "fp32" and runtime in ("auto", "torch"):  # the default: no need to look around
        return Choice("fp32", "torch", "fp32 in torch, the same vectors on every machine")
    machine = this_machine() if machine is None else machine
    chosen, because = (precision, "asked for") if precision != "auto" else _lossless(machine, runtime, device)
    engine = runtime if runtime != "auto" else _engine(machine, chosen)
    _check(chosen, engine, device, machine)
    return Choice(chosen, engine, f"{chosen} in {engine} ({RUNTIMES[engine].about}): {because}")


def model_path(folder: str | Path, precision: str, runtime: str) -> Path:
    """Where the network of one precision and engine is kept under ``folder`` (see `prepared`)."""
    return Path(folder) / f"{precision}-{runtime}"


def published(folder: str | Path, precision: str) -> tuple[str, ...]:
    """The engines for which a network of that precision is kept under ``folder``."""
    return tuple(name for name in RUNTIMES if (model_path(folder, precision, name) / "CURRENT").is_file())


def explain(precision: str = "auto", runtime: str = "auto", device: str = "auto") -> tuple[str, ...]:
    """Lines for people: what would be chosen here, then each engine and whether it is there."""
    machine = this_machine()
    try:
        first = choose(precision, runtime, device, machine).why
    except (EncoderError, ExtraMissingError) as error:
        first = str(error)
    has = {"GPU": machine.gpu, "bf16": machine.bf16, "int8 without saturation": machine.vnni}
    offers = ", ".join(f"{name}: {'yes' if there else 'no'}" for name, there in has.items())
    lines = [f"{precision} means {first}", f"this machine has {offers}"]
    for name, spec in RUNTIMES.items():
        there = "installed" if spec.package in machine.packages else f"absent; {install_line(name)}"
        lines.append(f"{name} ({', '.join(spec.precisions)}): {there}")
    return tuple(lines)


def install_line(runtime: str) -> str:
    """The line that installs an engine."""
    return f"pip install {RUNTIMES[runtime].package}" if runtime == "torch" else "pip install 'tasteprint[fast]'"


def _lossless(machine: Machine, runtime: str, device: str) -> tuple[str, str]:
    """The fastest lossless precision, and why."""
    if machine.gpu and device != "cpu" and runtime in ("auto", "torch"):
        return "bf16", "the GPU multiplies in it"
    if device != "cuda" and machine.bf16 and (runtime == "auto" or "bf16" in RUNTIMES[runtime].precisions):
        return "bf16", "the processor multiplies in it"
    return "fp32", "bf16 would be slower, or is not there, on this machine"


def _engine(machine: Machine, precision: str) -> str:
    """The engine for a precision, where none is named."""
    if precision != "int8":
        return "torch"
    wanted = ("openvino", "onnx") if machine.vnni else ("onnx", "openvino")
    return next((name for name in wanted if RUNTIMES[name].package in machine.packages), wanted[0])


def _check(precision: str, runtime: str, device: str, machine: Machine) -> None:
    """Refuse what cannot be."""
    spec = RUNTIMES[runtime]
    if precision not in spec.precisions:
        others = [name for name, other in RUNTIMES.items() if precision in other.precisions]
        raise EncoderError(
            f"encoder: runtime {runtime} has the precisions {', '.join(spec.precisions)}, got {precision}; "
            f"use runtime auto or {' or '.join(others)}"
        )
    if device == "cuda" and runtime != "torch":
        raise EncoderError(f"encoder: {precision} in {runtime} runs on the CPU, got device cuda; use bf16 in torch")
    if runtime == "openvino" and precision == "bf16" and not machine.bf16:
        raise EncoderError("encoder: this processor has no bf16 arithmetic, which OpenVINO needs for it; use fp32")
    if spec.package not in machine.packages:
        raise ExtraMissingError(f"runtime {runtime} needs {spec.package}: {install_line(runtime)}")


def _cpu_says() -> Mapping[str, object]:
    """The processor's features by torch's names, empty where this torch does not tell."""
    import torch

    capabilities = getattr(torch.cpu, "get_capabilities", None)  # torch 2.10 and newer
    if capabilities is not None:
        return dict(capabilities())
    told = {"avx512_vnni": "_is_vnni_supported", "avx512_bf16": "_is_avx512_bf16_supported"}
    return {name: getattr(torch.cpu, how)() for name, how in told.items() if hasattr(torch.cpu, how)}
