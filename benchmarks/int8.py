"""How near the int8 encoder is to fp32 on each shop's own texts, on texts it was not calibrated with.

python benchmarks/int8.py CACHE SHOP [SHOP ...]

Calibrates in a folder of its own, so that an older network is never measured. The bars are shown, not applied.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from record import record

from tasteprint.profiling import embed_fidelity
from tasteprint.profiling.embeddings import embed_texts
from tasteprint.profiling.encoder import EncoderConfig, open_encoder, prepare_encoder
from tasteprint.profiling.fidelity import BARS, fidelity, held_out_texts
from tasteprint.profiling.templates import TemplateConfig

CALIBRATED = 256


def main() -> None:
    """Measure every shop and record one table."""
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    cache, shops = sys.argv[1], [Path(name) for name in sys.argv[2:]]
    bars, reference = BARS["int8"], open_encoder()
    rows = ["| shop | texts | cosine (lowest) | top-10 overlap | with ties | engine |", "|---|---|---|---|---|---|"]
    for shop in shops:
        texts, others = embed_fidelity.sample_of_items(
            shop / "items.parquet", TemplateConfig(), bars.n_texts, CALIBRATED
        )
        with tempfile.TemporaryDirectory() as folder:
            encoder = prepare_encoder(EncoderConfig(precision="int8"), others, folder)
            sample = held_out_texts(texts, others, bars.n_texts)
            embed_texts(sample, reference, cache)
            found = fidelity(reference, encoder, sample, bars)
        cosine = f"{found.cosine_mean:.5f} ({found.cosine_min:.4f})"
        cells = (shop.name, f"{found.n_texts:,}", cosine, f"{found.overlap:.3f}", f"{found.overlap_ties:.3f}")
        rows.append(f"| {' | '.join(cells)} | {encoder.stamp.runtime} |")
    notes = f"Bars: cosine {bars.min_cosine}, overlap {bars.min_overlap}, with ties {bars.min_overlap_ties}."
    record(
        "int8 encoder, shop by shop",
        f"python benchmarks/int8.py CACHE {' '.join(shop.name for shop in shops)}",
        "\n".join(rows),
        notes=notes,
    )


if __name__ == "__main__":
    main()
