"""Indexes over item vectors, all behind one interface."""

from .flat import INDEXES, BlockIndex, build_index
from .types import NO_ROW, Found, ItemIndex

__all__ = ["INDEXES", "NO_ROW", "BlockIndex", "Found", "ItemIndex", "build_index"]
