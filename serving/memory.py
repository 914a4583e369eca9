"""Memory of this process: how much it has, and giving back what the allocator keeps. On Linux; elsewhere nothing."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path


def memory_bytes() -> tuple[int, int]:
    """This process's own memory and its view of mapped files; zeros on a system that does not tell."""
    told = Path("/proc/self/status")
    if not told.is_file():
        return 0, 0
    lines = dict(line.split(":", 1) for line in told.read_text(encoding="ascii").splitlines() if ":" in line)
    own, mapped = (int(lines.get(name, "0 kB").split()[0]) * 1024 for name in ("RssAnon", "RssFile"))
    return own, mapped


def give_back() -> bool:
    """Have the C library return what it keeps of freed memory to the system; whether it can."""
    if not sys.platform.startswith("linux"):
        return False
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own; others return memory by themselves
    if trim is None:
        return False
    trim(0)
    return True
