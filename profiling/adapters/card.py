"""The page that goes with a saved adapter: what it is, what it was trained on, what it reached, how to use it.

Covers Markdown from the manifest's own values; it says nothing that the manifest does not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..encoders.stamp import EncoderStamp
from ..layers import flatten
from .kinds import ADAPTERS


def model_card(
    stamp: EncoderStamp, meta: Mapping[str, Any], vectors: NDArray[np.float32], base_vectors: NDArray[np.float32]
) -> str:
    """Markdown about an adapter.

    Args:
        stamp: of its base, with the adapter's digest
        meta: ``config``, ``probes``, ``data_digest``, ``settings``, ``metrics``, ``n_trained`` and ``n_all``
        vectors: of the probes with the adapter, (n_probes, dim)
        base_vectors: without, (n_probes, dim)
    """
    config, spec = meta["config"], ADAPTERS[meta["config"]["kind"]]
    cosines = np.einsum("nd,nd->n", vectors, base_vectors)  # (n_probes,)
    share = 100 * meta["n_trained"] / meta["n_all"]
    merged = (
        "`merged/` beside this page is the same as an ordinary checkpoint, for every runtime."
        if spec.mergeable
        else "It cannot be merged into the base's weights and runs with it in torch."
    )
    lines = [
        f"# {config['kind']} adapter for {stamp.name or 'an encoder'}",
        "",
        f"Trains {spec.about} ({spec.source}): {meta['n_trained']:,} of {meta['n_all']:,} parameters, {share:.2f} %.",
        merged,
        "",
        f"- base weights: sha256 `{stamp.weights}`",
        f"- adapter: sha256 `{stamp.adapter}`",
        f"- trained on data: `{meta['data_digest']}`",
        f"- pooling {stamp.pooling}, trained in {stamp.precision}",
        f"- {len(cosines)} golden probes; cosine to the base's vectors {cosines.mean():.4f} on average, "
        f"{cosines.min():.4f} to {cosines.max():.4f}",
        "",
        "## What it reached",
        "",
        *_figures(meta["metrics"]),
        "",
        "## How it was trained",
        "",
        *_table(dict(flatten({name: config[name] for name in spec.fields} | _without_adapter(meta["settings"])))),
        "",
        "## Use",
        "",
        "Set `encoder.adapter` to this folder and `encoder.name` to the base. Opening compares checksums, weights of",
        "the base and vectors of the probes, and fails where one is not as recorded. Vectors made with it and",
        "without it cannot be compared; embed the catalogue again.",
        "",
        "It was fitted to one shop's language and habits. Measure it before it serves another shop.",
        "",
    ]
    return "\n".join(lines)


def _figures(metrics: Mapping[str, Any]) -> list[str]:
    """Figures as a table: a column for each group, such as before and after, where they come in groups."""
    groups = {name: dict(flatten(values)) for name, values in metrics.items() if isinstance(values, Mapping)}
    if not metrics:
        return ["Nothing was measured."]
    if len(groups) < len(metrics):
        return _table(dict(flatten(metrics)))
    names = list(dict.fromkeys(name for values in groups.values() for name in values))
    rows = [[name, *(_cell(values[name]) if name in values else "" for values in groups.values())] for name in names]
    return [_row(["", *groups]), _row(["---", *("--:" for _ in groups)]), *map(_row, rows)]


def _without_adapter(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings less the adapter's own, which the card has said."""
    return {name: value for name, value in settings.items() if name != "adapter"}


def _table(values: Mapping[str, Any]) -> list[str]:
    """Names and values as a Markdown table."""
    return [_row(["", ""]), _row(["---", "---"]), *(_row([name, _cell(value)]) for name, value in values.items())]


def _row(cells: Iterable[str]) -> str:
    """One row of a table."""
    return f"| {' | '.join(cells)} |"


def _cell(value: Any) -> str:
    """A value in a table's cell."""
    text = f"{value:.6g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    return text.replace("|", "\\|").replace("\n", " ")
