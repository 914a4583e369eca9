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
    kept = [option for option in options if not option.startswith("/")]
    said = shlex.join(["tasteprint", "evaluate", shop.name, "--protocol", protocol, *kept])
    record(f"{shop.name}, {protocol}", said, table)


if __name__ == "__main__":
    main()
