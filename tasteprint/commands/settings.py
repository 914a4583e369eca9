"""``tasteprint config``: the effective settings and where each came from."""

from __future__ import annotations

import json

import typer

from .options import ConfigOption, JsonOption, SetOption


def config(config: ConfigOption = None, sets: SetOption = None, as_json: JsonOption = False) -> None:
    """Print every effective setting and where its value came from.

    Order, later wins: defaults, the TOML file, environment variables TASTEPRINT_SECTION__KEY, --set.

    Examples:

      tasteprint config

      tasteprint config --config configs/tiny.toml --set encoder.max_length=64 --json
    """
    from ..config import load_settings

    rows = list(load_settings(config, sets=sets or ()).rows())
    if as_json:
        typer.echo(json.dumps({key: {"value": value, "from": source} for key, value, source in rows}))
        return
    width = max(len(key) for key, _, _ in rows)
    for key, value, source in rows:
        typer.echo(
            f"{key:<{width}} = {json.dumps(value, ensure_ascii=False)}"
            + (f"  # {source}" if source != "default" else "")
        )
