"""``python -m tasteprint.finetune.train CONFIG.toml --out RUN``: a fine-tuning run where there is no front door.

For launchers of several processes (``accelerate launch -m tasteprint.finetune.train ...``, ``torchrun -m ...``). It
does what ``tasteprint finetune`` does, without its display.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ..profiling.errors import ConfigError, TasteprintError
from ..profiling.tables.shop import read_shop
from .train_config import read_config


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the arguments say; the outcome as JSON on stdout; an error a user can mend on stderr, exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m tasteprint.finetune.train", description=__doc__)
    parser.add_argument("config", type=Path, nargs="?", help="TOML file with settings that differ from the defaults")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; an unfinished one is resumed")
    parser.add_argument("--shop", help="folder of a shop in the data contract, instead of the configuration's")
    parser.add_argument("--set", dest="sets", action="append", default=[], help="one setting, KEY=VALUE; repeatable")
    given = parser.parse_args(arguments)
    try:
        config = read_config(given.config, sets=given.sets)
        if given.shop:
            config = config.model_copy(update={"shop": given.shop})
        if config.shop is None:
            raise ConfigError("shop: none is named; set it in the configuration or with --shop")
        from .run import run

        outcome = run(read_shop(config.shop), config, given.out, clock=time.perf_counter)
    except TasteprintError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if outcome.adapter:  # one process of a launch says it
        sys.stdout.write(json.dumps(outcome.to_dict()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
