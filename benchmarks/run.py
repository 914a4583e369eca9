"""`make bench`: the tables of the issues' bars, on the shops beside the checkout (or at TASTEPRINT_SHOPS)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SHOPS = Path(os.environ.get("TASTEPRINT_SHOPS", HERE.parents[1] / "shared" / "data"))
RUNS = (
    ("amazon_beauty", "leave_one_out", "--tune"),
    ("online_retail", "time_split", "--tune"),
    ("complete_journey", "time_split", "--tune"),
    ("home_depot", "search_full", "--tune"),
    ("home_depot", "search_rerank"),
    ("chorus_icecat", "search_full"),
)


def main() -> None:
    """Run every evaluation whose shop is there, one after the other."""
    cache = HERE.parent / "workspace" / "cache"
    for name, protocol, *options in RUNS:
        if not (SHOPS / name / "shop.json").is_file():
            print(f"skipped {name}: not at {SHOPS}", file=sys.stderr)
            continue
        command = [sys.executable, str(HERE / "quality.py"), str(SHOPS / name), protocol, *options]
        subprocess.run([*command, "--cache", str(cache)], check=True)


if __name__ == "__main__":
    main()
