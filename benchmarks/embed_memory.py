"""Peak memory and time of embedding a generated catalogue, and of embedding it again with 1 % of the items changed.

python benchmarks/embed_memory.py [--items 2000000] [--dim 384] [--encoder NAME] [--folder DIR] [--record]

The encoder is a stand-in that costs next to nothing, so that all that is measured is the machinery: reading, keys,
plan, cache, shards, checksums. What a model adds is measured beside it, on a few thousand of the same titles
(``--encoder``).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from record import record

_SOUNDS = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "il", "ot", "ur")]
_BATCH = 100_000

MACHINERY = """
import json, resource, sys, time
import numpy as np
from tasteprint.profiling.embedding.keys import text_keys
from tasteprint.profiling.embedding.run import embed_shop
from tasteprint.profiling.encoders.stamp import EncoderStamp

class StandIn:
    "A fixed vector a text, made without a network."
    def __init__(self, dim):
        self.dim, self.stamp = dim, EncoderStamp(weights="0" * 64, name="stand-in")
        self._axes = np.random.default_rng(0).normal(size=(8, dim)).astype(np.float32)
    def encode(self, texts, kind="item"):
        raw = text_keys(texts, kind).view(np.uint16).reshape(-1, 8).astype(np.float32) - 32767.5
        made = raw @ self._axes
        return made / np.linalg.norm(made, axis=1, keepdims=True)

shop, out, dim = sys.argv[1], sys.argv[2], int(sys.argv[3])
start_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
began, stages = time.perf_counter(), {}
def tell(what, done, total, counts=None):
    first, _ = stages.get(what, (time.perf_counter(), 0))
    stages[what] = (first, time.perf_counter())
report = embed_shop(shop, out, StandIn(dim), tell=tell)
print(json.dumps({
    "took_s": time.perf_counter() - began, "stages": {k: round(b - a, 1) for k, (a, b) in stages.items()},
    "encoded": report.n_encoded, "start_mb": start_mb,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""

MODEL = """
import json, resource, sys, time
import pyarrow.parquet as pq
import tasteprint.profiling.embedding.run
from tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder
texts = next(pq.ParquetFile(sys.argv[1] + "/items.parquet").iter_batches(4096)).column("title").to_pylist()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
encoder = open_encoder(EncoderConfig(name=sys.argv[2]))
encoder.encode(texts[:64])
began = time.perf_counter()
encoder.encode(texts)
rate = len(texts) / (time.perf_counter() - began)
print(json.dumps({"model_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before, "texts_per_s": rate}))
"""


def make_shop(folder: Path, n_items: int, *, changed: float = 0.0, seed: int = 0) -> None:
    """A catalogue of generated titles of six to twelve words; ``changed`` of them get another one."""
    rng = np.random.default_rng(seed)
    words = np.array(["".join(rng.choice(_SOUNDS, size)) for size in rng.integers(2, 5, 20_000)], dtype=object)
    schema = pa.schema([("item_id", pa.string()), ("title", pa.string())])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shop.json").write_text(json.dumps({"name": folder.name}))
    with pq.ParquetWriter(folder / "items.parquet", schema, compression="zstd") as writer:
        for start in range(0, n_items, _BATCH):
            n = min(_BATCH, n_items - start)
            picked = words[(rng.random((n, 12)) ** 2 * len(words)).astype(np.int64)]
            lengths = rng.integers(6, 13, n)
            titles = [" ".join(row[:size]) for row, size in zip(picked, lengths, strict=True)]
            for row in np.random.default_rng(start).choice(n, round(n * changed), replace=False):
                titles[row] += " new"
            ids = [f"item-{row:09d}" for row in range(start, start + n)]
            writer.write_table(pa.table([ids, titles], schema=schema), row_group_size=_BATCH)


def run(code: str, *words: object) -> dict:
    """What a program in a process of its own says of itself."""
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=2_000_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--encoder", help="also measure what this encoder adds")
    parser.add_argument("--folder", type=Path, help="where the catalogue and the result go for the time being")
    parser.add_argument("--record", action="store_true")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="embed-memory-", dir=asked.folder))
    lines = [
        "| run | texts encoded | seconds | of these reading / encoding / writing | peak memory, MB |",
        "|---|---|---|---|---|",
    ]
    try:
        for name, changed in (("first", 0.0), ("1 % changed", 0.01), ("unchanged", 0.01)):
            make_shop(folder / "shop", asked.items, changed=changed)
            got = run(MACHINERY, folder / "shop", folder / "out", asked.dim)
            stages = " / ".join(
                str(got["stages"].get(s, 0)) for s in ("Reading items", "Encoding texts", "Writing shards")
            )
            lines.append(f"| {name} | {got['encoded']:,} | {got['took_s']:.1f} | {stages} | {got['peak_mb']:,.0f} |")
        notes = f"{asked.items:,} items, {asked.dim} dimensions; an empty run starts at {got['start_mb']:,.0f} MB."
        if asked.encoder:
            model = run(MODEL, folder / "shop", asked.encoder)
            notes += (
                f" {asked.encoder} adds {model['model_mb']:,.0f} MB and runs at {model['texts_per_s']:,.0f} texts/s."
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    table = "\n".join(lines)
    if asked.record:
        command = f"python benchmarks/embed_memory.py --items {asked.items} --dim {asked.dim}"
        record(f"embed, memory and machinery, {asked.items:,} items", command, table, notes=notes)
    print(table, notes, sep="\n\n")


if __name__ == "__main__":
    main()
