"""Tasteprint: open semantic profiling for e-commerce.

The public names below load on first use, so ``import tasteprint`` costs almost nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Shop": "profiling.tables.shop",
    "open_encoder": "profiling.encoders.encoder",
    "TasteprintError": "profiling.errors",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
