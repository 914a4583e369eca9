"""Indexes over item vectors, all behind one interface."""

from .approximate import ApproximateIndex
from .config import IndexConfig
from .flat import BlockIndex
from .kinds import EXACT, INDEXES, IndexKind, build_index
from .types import NO_ROW, Found, ItemIndex

__all__ = [
    "EXACT", "INDEXES", "NO_ROW", "ApproximateIndex", "BlockIndex", "Found", "IndexConfig", "IndexKind", "ItemIndex",
    "build_index",
]  # fmt: skip
