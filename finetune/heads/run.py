"""One command's work: heads for a shop's labels, trained, saved as one artefact, and measured.

Covers the order of steps and what is written down about them. The steps themselves are the other ``head`` modules'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...evaluation.labels import evaluate_labels, label_tasks
from ...evaluation.results import Results
from ...evaluation.splits import Stage
from ...profiling.adapters.kinds import AdapterConfig
from ...profiling.embedding.embeddings import embed_texts
from ...profiling.encoders.encoder import Encoder, EncoderConfig, open_encoder
from ...profiling.heads.store import ADAPTER, Heads, open_heads, save_heads
from ...profiling.tables.shop import Shop
from .config import HEADS, HeadConfig
from .data import HeadTask, head_tasks
from .heads import Encode, FittedHead, fit_head
from .report import as_method, rows_of

Progress = Callable[[str, int, int], None]
BASELINES = ("majority", "tfidf", "prototype", "logreg")
_PROBES = 8


@dataclass(frozen=True, eq=False)
class HeadRun:
    """What a run made.

    Attributes:
        folder: of the saved heads
        fitted: one a task
        adapter: how the encoder was adapted, None where it was not
        digest: of the artefact
    """

    folder: Path
    fitted: tuple[FittedHead, ...]
    adapter: AdapterConfig | None
    digest: str

    def to_dict(self) -> dict[str, Any]:
        """Everything but the weights, ready for JSON."""
        held = rows_of({one.head.task: one.held_out for one in self.fitted})
        more = [about(one) for one in self.fitted]
        return {
            "folder": str(self.folder),
            "digest": self.digest,
            "adapter": None if self.adapter is None else self.adapter.kind,
            "held_out": [row | extra for row, extra in zip(held, more, strict=True)],
        }


def about(fitted: FittedHead) -> dict[str, Any]:
    """How a head was chosen, as JSON values."""
    known = {name: round(area, 4) for name, area in fitted.areas.items() if not np.isnan(area)}
    return {
        "kind": fitted.head.kind,
        "classes": len(fitted.head.classes),
        "temperature": round(fitted.head.temperature, 4),
        "score": fitted.head.out_score,
        "abstains_below": fitted.head.abstain_below,
        "n_train": fitted.n_train,
        "log_loss_by_kind": {kind: round(loss, 4) for kind, loss in fitted.losses.items()},
        "auroc_by_score": known,
    }


def train_heads(
    shop: Shop,
    folder: str | Path,
    *,
    tasks: Sequence[str] = (),
    encoder: EncoderConfig | None,
    adapter: AdapterConfig | None = None,
    config: HeadConfig | None = None,
    adapt: Mapping[str, Any] | None = None,
    cache: str | Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> HeadRun:
    """Train heads for a shop's labels and save them at ``folder``.

    Args:
        shop: with a ``labels`` table; its test sentences are never looked at
        folder: of the artefact; an adapter goes into its ``adapter``
        tasks: which, empty = all
        encoder: whose vectors the heads read; None = heads of words alone
        adapter: trained below the heads first, None = the encoder stays as it is
        config: of the heads, None = the defaults
        adapt: settings of `heads.adapt.HeadAdaptConfig` that differ from its defaults
        cache: folder of a vector cache, None = no cache
        seed: of everything drawn
        progress: told what is being done

    Raises:
        ShopError, ConfigError, EncoderError, ArtefactError: see the steps.
    """
    config = config or HeadConfig()
    rng = np.random.default_rng(seed)
    found = head_tasks(shop, tasks, share=config.held_out, rng=rng, most=config.max_train)
    if adapter is not None and encoder is not None:
        from .adapt import HeadAdaptConfig, adapt_encoder

        how = HeadAdaptConfig.model_validate({"adapter": adapter, **(adapt or {})})
        encoder = adapt_encoder(found, encoder, Path(folder) / ADAPTER, how, seed=seed, progress=progress)
    opened = None if encoder is None else open_encoder(encoder)
    encode = None if opened is None else encoding(opened, cache, progress)
    fitted = tuple(fit_head(task, config, encode=encode, seed=seed, progress=progress) for task in found)
    digest = save_heads(
        folder,
        [one.head for one in fitted],
        encoder=opened,
        config=encoder,
        probes=_probes(found, rng),
        inputs={one.name: one.digest for one in found},
        about={
            "shop": shop.name,
            "seed": seed,
            "config": config.model_dump(mode="json"),
            "tasks": {one.head.task: about(one) for one in fitted},
            "held_out": rows_of({one.head.task: one.held_out for one in fitted}),
        },
    )
    return HeadRun(Path(folder), fitted, adapter, digest)


def measure_heads(
    shop: Shop,
    heads: Mapping[str, str | Path],
    *,
    stage: Stage = "test",
    baselines: Sequence[str] = BASELINES,
    base: EncoderConfig | None = None,
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> Results:
    """Saved heads beside the baselines, on the tasks of the ``labels`` protocol that they have.

    Args:
        shop: with a ``labels`` table
        heads: folder by the name it has in the table
        stage: ``test`` to report, ``valid`` while working
        baselines: among the protocol's own methods
        base: encoder of those that need vectors, None leaves them out
        cache: folder of a vector cache
        progress: told what is being measured
    """
    opened: dict[str, Heads] = {name: open_heads(path) for name, path in heads.items()}
    encode = None if base is None else encoding(open_encoder(base), cache, progress)
    names = [name for name in baselines if encode is not None or name not in ("prototype", "logreg")]
    beside = {
        name: as_method(one.heads, None if one.encoder is None else encoding(one.encoder, cache, progress))
        for name, one in opened.items()
    }
    have = {task.name for task in label_tasks(shop, stage=stage)}
    only = [name for name in dict.fromkeys(head.task for one in opened.values() for head in one.heads) if name in have]
    return evaluate_labels(shop, names, stage=stage, encode=encode, beside=beside, only=only, progress=progress)


def encoding(encoder: Encoder, cache: str | Path | None, progress: Progress | None = None) -> Encode:
    """Vectors of texts as queries, each text encoded once and kept in ``cache``."""
    tell = progress or (lambda *_: None)

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        return embed_texts(
            list(texts), encoder, cache, kind="query", progress=lambda done, of: tell("encoding sentences", done, of)
        )

    return encode


def needs_encoder(config: HeadConfig) -> bool:
    """Whether any kind that may be chosen reads vectors."""
    return config.kind == "auto" or HEADS[config.kind].vectors


def _probes(tasks: Sequence[HeadTask], rng: np.random.Generator) -> list[str]:
    """Golden texts: a few held-out ones of every task."""
    drawn = []
    for task in tasks:
        texts = task.held_out.texts
        drawn += [texts[row] for row in rng.permutation(len(texts))[:_PROBES].tolist()]
    return list(dict.fromkeys(drawn)) or [tasks[0].train.texts[0]]
