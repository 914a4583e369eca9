"""Quality of every method on a shop: runs the evaluation and records its table.

python benchmarks/quality.py SHOP PROTOCOL [further options of `tasteprint evaluate`]
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from record import record


def main() -> None:
    """Evaluate, then append the Markdown table to RESULTS.md."""
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    shop, protocol, options = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "results"
        command = ["tasteprint", "evaluate", str(shop), "--protocol", protocol, *options]
        done = subprocess.run([sys.executable, "-m", "tasteprint.cli", *command[1:], "--out", str(out)], check=False)
        if done.returncode:
            sys.exit(done.returncode)
        table = (out / "table.md").read_text(encoding="utf-8")
    record(f"{shop.name}, {protocol}", said(shop.name, protocol, options), nested(table))


def said(shop: str, protocol: str, options: list[str]) -> str:
    """The command without what is of this machine only: folders of the shop and the cache."""
    kept = list(options)
    if "--cache" in kept:
        place = kept.index("--cache")
        del kept[place : place + 2]
    return shlex.join(["tasteprint", "evaluate", shop, "--protocol", protocol, *kept])


def nested(table: str) -> str:
    """The Markdown of an evaluation as a section: its title dropped, its headings one level down."""
    lines = [line for line in table.splitlines() if not line.startswith("# ")]
    return "\n".join("#" + line if line.startswith("## ") else line for line in lines)


if __name__ == "__main__":
    main()
