"""How near the int8 encoder is to fp32 on each shop's own texts, on texts it was not calibrated with.

python benchmarks/int8.py CACHE SHOP [SHOP ...]

Calibrates in a folder of its own: an older network is never measured. Vectors of the texts compared go into CACHE.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from record import record

from tasteprint.profiling.embedding.ready import ready_encoder
from tasteprint.profiling.encoders.encoder import EncoderConfig
from tasteprint.profiling.encoders.fidelity import BARS


def main() -> None:
    """Measure every shop and record one table."""
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    cache, shops = sys.argv[1], [Path(name) for name in sys.argv[2:]]
    bars = BARS["int8"]
    rows = [
        "| shop | texts | cosine (lowest) | top-10 overlap | with ties | maps left in fp32 | engine |",
        "|---|---|---|---|---|---|---|",
    ]
    for shop in shops:
        with tempfile.TemporaryDirectory() as folder:
            config = EncoderConfig(precision="int8", prepared=folder)
            ready = ready_encoder(config, shop / "items.parquet", cache, tell=lambda *_: None)
        found = ready.fidelity
        if found is None:
            sys.exit(f"{shop}: too few texts to compare")
        cosine = f"{found.cosine_mean:.5f} ({found.cosine_min:.4f})"
        figures = f"{found.overlap:.3f} | {found.overlap_ties:.3f} | {ready.fp32_maps}"
        rows.append(f"| {shop.name} | {found.n_texts:,} | {cosine} | {figures} | {ready.encoder.stamp.runtime} |")
    notes = f"Bars: cosine {bars.min_cosine}, overlap {bars.min_overlap}, with ties {bars.min_overlap_ties}."
    record(
        "int8 encoder, shop by shop",
        f"python benchmarks/int8.py CACHE {' '.join(shop.name for shop in shops)}",
        "\n".join(rows),
        notes=notes,
    )


if __name__ == "__main__":
    main()
