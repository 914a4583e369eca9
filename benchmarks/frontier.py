"""Smaller encoders of one encoder on one shop: quality against size against speed, recorded as a table.

python benchmarks/frontier.py CACHE SHOP [ENCODER]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from record import record

from tasteprint.finetune.smaller.frontier import FrontierConfig, frontier
from tasteprint.finetune.smaller.frontier_page import markdown
from tasteprint.profiling.encoders.encoder import EncoderConfig
from tasteprint.profiling.tables.shop import read_shop
from tasteprint.profiling.templates import TemplateConfig


def main() -> None:
    """Make, measure, record."""
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    cache, shop = Path(sys.argv[1]), read_shop(sys.argv[2])
    base = EncoderConfig(name=sys.argv[3]) if len(sys.argv) == 4 else EncoderConfig()
    config = FrontierConfig()
    with tempfile.TemporaryDirectory() as folder:
        rows, skipped = frontier(
            shop,
            base,
            Path(folder),
            template=TemplateConfig(),
            config=config,
            cache=cache,
            clock=time.perf_counter,
            pause=lambda: time.sleep(0.05),
            tell=lambda what: print(what, file=sys.stderr, flush=True),
        )
    notes = [f"Not made: {kind}: {why}" for kind, why in skipped.items()]
    notes.append(f"Settings: {config.model_dump_json()}. Validation judgements only.")
    command = f"python benchmarks/frontier.py CACHE {' '.join([shop.name, *sys.argv[3:]])}"
    record(f"Smaller encoders: {shop.name}", command, markdown(rows), notes="\n\n".join(notes))


if __name__ == "__main__":
    main()
