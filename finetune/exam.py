"""What a fine-tuned encoder is worth on a shop's test judgements: beside its base and beside BM25, paired.

Opens the adapter as any user does, through its checks. The whole catalogue is ranked, and the judged items alone; test
is opened once per run, and the figures go into the run's folder.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..evaluation.harness import TESTED, Progress, evaluate
from ..evaluation.protocol import Options
from ..evaluation.results import Results, Run, write_results
from ..evaluation.significance import compare
from ..evaluation.splits import Stage
from ..profiling.embedding.embeddings import embed_items
from ..profiling.encoders.encoder import Encoder, EncoderConfig, open_encoder
from ..profiling.tables.shop import Shop
from ..profiling.templates import TemplateConfig
from .train_config import FinetuneConfig

PROTOCOLS = ("search_full", "search_rerank")


def examine(
    shop: Shop,
    config: FinetuneConfig,
    adapter: str | Path,
    *,
    stage: Stage = "test",
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Results]:
    """Protocol to results with the methods ``bm25``, ``base`` (dense) and ``tuned`` (dense), tests against tuned.

    Args:
        shop: with judgements of this stage
        config: of the run
        adapter: its folder
        stage: test, or valid while working
        cache: folder of a vector cache, None = none
        progress: told what is going on

    Raises:
        EncoderError: the adapter does not pass its checks.
        ShopError: no judgements of this stage.
    """
    encoders = {
        "base": open_encoder(EncoderConfig(name=config.base)),
        "tuned": open_encoder(EncoderConfig(name=config.base, adapter=str(adapter))),
    }
    tell = progress or (lambda *_: None)
    vectors = {name: _vectors(shop, one, config.template, cache, name, tell) for name, one in encoders.items()}
    found = {}
    for protocol in PROTOCOLS:
        options = Options(stage=stage)
        both = {
            name: evaluate(
                shop,
                protocol,
                ["bm25", "dense"] if name == "base" else ["dense"],
                options=options,
                encoder=encoder,
                vectors=vectors[name],
            )
            for name, encoder in encoders.items()
        }
        runs = {
            "bm25": both["base"].runs["bm25"],
            "base": both["base"].runs["dense"],
            "tuned": both["tuned"].runs["dense"],
        }
        found[protocol] = _joined(both["tuned"], runs)
    return found


def write_exam(results: dict[str, Results], folder: str | Path) -> None:
    """Write each protocol's results under ``folder``, as ``tasteprint evaluate`` does."""
    for protocol, one in results.items():
        write_results(one, Path(folder) / protocol)


def _vectors(
    shop: Shop, encoder: Encoder, template: TemplateConfig, cache: str | Path | None, name: str, tell: Progress
) -> NDArray[np.float32]:
    """Item vectors, (n_items, d)."""
    return embed_items(
        shop.table("items"),
        encoder,
        template,
        cache,
        progress=lambda done, total: tell(f"embedding the catalogue with {name}", done, total),
    ).vectors


def _joined(results: Results, runs: dict[str, Run]) -> Results:
    """One table of all runs, each tested against the tuned encoder."""
    cluster = np.arange(results.n)
    tests = [
        row
        for key in TESTED
        for row in compare({name: run.each[key] for name, run in runs.items()}, "tuned", cluster, metric=key)
    ]
    about = {**results.about, "against": "tuned"}
    return replace(results, runs=runs, tests=tuple(tests), about=about)
