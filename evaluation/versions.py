"""Which versions made a number: the interpreter, this package and the libraries that rank."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("tasteprint", "numpy", "scipy", "pandas", "scikit-learn", "torch", "transformers", "bm25s", "implicit")


def versions() -> dict[str, str | None]:
    """Version of Python and of each of `PACKAGES`; None where one is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
