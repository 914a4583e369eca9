"""Appending a measured table to RESULTS.md, with everything needed to make it again. Shared by the benchmarks."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")
UNSORTED = "# Not yet sorted"
PACKAGES = ("tasteprint", "torch", "transformers", "faiss-cpu", "numpy", "scipy", "bm25s", "implicit")


def record(title: str, command: str, table: str, *, notes: str = "") -> None:
    """Print a result and append it to RESULTS.md, below the heading of what nobody has sorted into a part yet."""
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    about = f"{when}; {machine()}; load {load}; Python {platform.python_version()}; {versions}"
    text = f"\n## {title}\n\n`{command}`\n\n{about}\n\n{table.strip()}\n"
    if notes:
        text += f"\n{notes.strip()}\n"
    print(text)
    if f"\n{UNSORTED}\n" not in RESULTS.read_text(encoding="utf-8"):
        text = f"\n{UNSORTED}\n{text}"
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(text)


def machine() -> str:
    """Processor, cores and memory, as far as the system says."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return f"{model}, {os.cpu_count()} cores, {pages * size / 2**30:.0f} GiB"
