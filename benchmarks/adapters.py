"""Every kind of adapter on one shop: what it costs to train and what it brings, in one table.

python benchmarks/adapters.py SHOP CONFIG.toml OUT [--kinds lora,full] [--steps N] [--set KEY=VALUE]...

Each kind is one run of ``tasteprint finetune`` in OUT/KIND, measured on its held-out side; test is not opened.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from record import record

from tasteprint.finetune.run import read_outcome, run
from tasteprint.finetune.train_config import read_config
from tasteprint.profiling.adapters.costs import StepSize, adapter_costs
from tasteprint.profiling.adapters.kinds import ADAPTERS
from tasteprint.profiling.tables.shop import read_shop


def main() -> None:
    """Train every kind, measure its step, and append the table to RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shop", type=Path)
    parser.add_argument("config", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kinds", default=",".join(ADAPTERS))
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--set", dest="sets", action="append", default=[])
    given = parser.parse_args()
    kinds, shop = given.kinds.split(","), read_shop(given.shop)
    steps = [] if given.steps is None else [f"train.max_steps={given.steps}"]
    outcomes = {}
    for kind in kinds:
        config = read_config(given.config, sets=[*given.sets, *steps, f"adapter.kind={kind}"])
        if not (given.out / kind / "result.json").is_file():
            run(shop, config, given.out / kind, clock=time.perf_counter)
        outcomes[kind] = read_outcome(given.out / kind)
        sys.stderr.write(f"{kind}: {outcomes[kind].tuned}\n")
    costs = {cost.kind: cost for cost in adapter_costs(config.base, kinds, clock=time.process_time, size=StepSize())}
    keys = list(outcomes[kinds[0]].base)
    head = ["kind", "parameters", "share", "s a step", "MiB a step", "merges", *keys]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    base = ["base", "0", "0", "", "", "", *(f"{outcomes[kinds[0]].base[key]:.4f}" for key in keys)]
    lines.append("| " + " | ".join(base) + " |")
    for kind in sorted(kinds, key=lambda name: -outcomes[name].tuned["score"]):
        cost, found = costs[kind], outcomes[kind]
        cells = [
            kind,
            f"{found.trained:,}",
            f"{found.trained / found.parameters:.2%}",
            f"{cost.step_s:.2f}",
            f"{cost.step_mib:,.0f}",
            "yes" if ADAPTERS[kind].mergeable else "no",
            *(f"{found.tuned[key]:.4f}" for key in keys),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    said = " ".join([f"python benchmarks/adapters.py {given.shop.name} {given.config} OUT", *sys.argv[4:]])
    record(f"Adapters on {given.shop.name}, held-out", said, "\n".join(lines))


if __name__ == "__main__":
    main()
