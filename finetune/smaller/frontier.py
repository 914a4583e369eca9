"""Quality against size against speed: smaller encoders made from one, measured alike on one shop.

Covers how near each stays to the encoder it came from, on texts none was fitted to; dense retrieval on the shop's
validation judgements where there are any; size; and speed, in turn with the base. The test judgements are never opened.
Making them is the work of `frontier_kinds`, tables and plots that of `frontier_page`. Smaller encoders
learn from texts alone, never from judgements, so any encoder can be the base, a fine-tuned one too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...evaluation.gains import grade_gain
from ...evaluation.harness import evaluate
from ...evaluation.protocol import Options
from ...evaluation.significance import Paired, clustered_t
from ...profiling.embedding.embeddings import embed_texts
from ...profiling.encoders.encoder import Encoder, EncoderConfig, open_encoder
from ...profiling.encoders.fidelity import Fidelity, compare_vectors
from ...profiling.encoders.peak import Clock
from ...profiling.errors import ConfigError, ExtraMissingError, ShopError
from ...profiling.tables.shop import Shop
from ...profiling.templates import TemplateConfig, item_texts
from ...profiling.texts import TextKind
from ...profiling.timing import Spread, paired_ratios, spread, time_rounds
from .frontier_kinds import KINDS, Candidate, FrontierConfig, Sample, Tell, Workshop, weights_bytes
from .slim import read_slim

BASE = "base"
QUALITY = ("ndcg@10", "recall@100")


@dataclass(frozen=True)
class FrontierRow:
    """A measured encoder.

    Attributes:
        candidate: what was measured
        fidelity: nearness to the base, None where its vectors are of another space
        quality: means of `QUALITY` over the validation queries, empty without any
        lost: paired difference to the base of each, with its 95 % interval
        faster: how many times faster than the base, round by round
        texts_per_s: in the median round
        best: whether no other one is at least as good, as fast and as small, and better in one of these
    """

    candidate: Candidate
    fidelity: Fidelity | None
    quality: Mapping[str, float]
    lost: Mapping[str, Paired]
    faster: Spread
    texts_per_s: float
    best: bool = False

    def worth(self) -> float:
        """The number that stands for quality: recall where there are judgements, else neighbours kept."""
        if self.quality:
            return self.quality[QUALITY[1]]
        return self.fidelity.overlap if self.fidelity else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        said = asdict(self)
        said["candidate"]["config"] = self.candidate.config.model_dump(mode="json", exclude_defaults=True)
        return said


def frontier_sample(shop: Shop, template: TemplateConfig, config: FrontierConfig) -> Sample:
    """Texts and judgements of a shop that a frontier needs, drawn by ``config.seed``.

    Raises:
        ShopError: the shop has no items, or fewer than twenty distinct texts.
    """
    rng = np.random.default_rng(config.seed)
    items = shop.table("items")
    texts = item_texts(items, template)
    distinct = [text for text in dict.fromkeys(texts) if text]
    if len(distinct) < 20:
        raise ShopError(f"shop {shop.name!r}: a frontier needs 20 distinct item texts, got {len(distinct)}")
    order = [distinct[row] for row in rng.permutation(len(distinct))]
    n_measured = min(config.measured, len(order) // 4)
    measured, fit = order[:n_measured], order[n_measured:]
    queries = _training_queries(shop, rng)[: config.texts // 3]
    fit = fit[: config.texts - len(queries)]
    kinds = ["item"] * len(fit) + ["query"] * len(queries)
    mixed = rng.permutation(len(kinds))
    both = [*fit, *queries]
    return Sample(
        tuple(both[row] for row in mixed),
        tuple(kinds[row] for row in mixed),
        tuple(measured),
        _judged(shop, config, rng),
    )


def frontier(
    shop: Shop,
    base: EncoderConfig,
    folder: Path,
    *,
    template: TemplateConfig,
    config: FrontierConfig,
    kinds: Sequence[str] | None = None,
    cache: Path | None = None,
    clock: Clock,
    pause: Callable[[], object],
    tell: Tell = str,
) -> tuple[list[FrontierRow], dict[str, str]]:
    """Make smaller encoders of ``base`` under ``folder`` and measure all of them, the base first.

    Args:
        shop: items, and judgements where it has them
        base: a checkpoint of the BERT family
        folder: new or empty; each encoder gets a folder in it
        template: how an item becomes a text
        config: sizes, times, seed
        kinds: keys of `KINDS`, None = all
        cache: folder of a vector cache for the base's vectors
        clock: tells seconds
        pause: called before each timed run
        tell: told what is being done

    Returns:
        A row an encoder, and why a kind could not be made, by kind.

    Raises:
        ConfigError: an unknown kind.
        EncoderError, ShopError: see `read_slim` and `frontier_sample`.
    """
    chosen = list(KINDS) if kinds is None else [kind for kind in kinds if kind != BASE]
    for kind in chosen:
        if kind not in KINDS:
            raise ConfigError(f"kinds: must be among {BASE}, {', '.join(KINDS)}, got {kind!r}")
    sample = frontier_sample(shop, template, config)
    base = base.model_copy(update={"precision": "fp32", "runtime": "torch"})
    slim = read_slim(base.name, max_length=base.max_length)
    tell("encoding the shop's texts with the base")
    encoder = open_encoder(base)
    shop_of = Workshop(base, encoder, sample, _vectors(sample, encoder, cache), config, folder, clock, tell)
    whole = Candidate(BASE, BASE, base, f"{base.name} as it is, fp32", slim.n_parameters(), weights_bytes(slim.folder))
    candidates, skipped = [whole], {}
    for kind in chosen:
        try:
            candidates += KINDS[kind](shop_of)
        except (ExtraMissingError, ConfigError) as error:
            skipped[kind] = str(error)
    rows = _measured(candidates, sample, config, lambda items: item_texts(items, template), cache, clock, pause, tell)
    return rows, skipped


def pareto(values: Sequence[tuple[float, ...]]) -> list[bool]:
    """Whether each row of numbers, more being better, is beaten by no other: as good in all, better in one.

    >>> pareto([(1.0, 5.0), (2.0, 2.0), (1.0, 2.0)])
    [True, True, False]
    """

    def beaten(mine: tuple[float, ...], other: tuple[float, ...]) -> bool:
        return all(a <= b for a, b in zip(mine, other, strict=True)) and mine != other

    return [not any(beaten(mine, other) for other in values) for mine in values]


def _measured(
    candidates: Sequence[Candidate],
    sample: Sample,
    config: FrontierConfig,
    texts_of: Callable[[pd.DataFrame], list[str]],
    cache: Path | None,
    clock: Clock,
    pause: Callable[[], object],
    tell: Tell,
) -> list[FrontierRow]:
    """All candidates measured on the same texts, the first being the base."""
    encoders = {one.name: open_encoder(one.config) for one in candidates}
    timed = list(sample.measured[: config.timed])
    runs = {name: _encoding(encoder, timed) for name, encoder in encoders.items()}
    vectors, found = {}, {}
    for name, encoder in encoders.items():
        tell(f"measuring {name}")
        vectors[name] = encoder.encode(sample.measured, "item")
        if sample.shop is not None:
            found[name] = _searched(sample.shop, encoder, texts_of, cache if name == BASE else None)
    seconds = time_rounds(runs, config.rounds, clock=clock, pause=pause, tell=lambda name: tell(f"timing {name}"))
    faster = paired_ratios(seconds, BASE)
    rows = []
    for one in candidates:
        each, whole = found.get(one.name, {}), found.get(BASE, {})
        same = vectors[one.name].shape == vectors[BASE].shape
        k = min(10, len(sample.measured) - 1)
        rows.append(
            FrontierRow(
                candidate=one,
                fidelity=compare_vectors(vectors[BASE], vectors[one.name], k=k) if same else None,
                quality={key: float(np.nanmean(values)) for key, values in each.items()},
                lost={key: clustered_t(each[key] - whole[key], np.arange(len(each[key]))) for key in each},
                faster=faster[one.name],
                texts_per_s=len(timed) / spread(seconds[one.name]).median,
            )
        )
    best = pareto([(row.worth(), row.faster.median, -float(row.candidate.bytes)) for row in rows])
    return [replace(row, best=one) for row, one in zip(rows, best, strict=True)]


def _encoding(encoder: Encoder, texts: list[str]) -> Callable[[], object]:
    """A run to time."""
    return lambda: encoder.encode(texts, "item")


def _searched(
    shop: Shop, encoder: Encoder, texts_of: Callable[[pd.DataFrame], list[str]], cache: Path | None
) -> dict[str, NDArray[np.float64]]:
    """Each validation query's worth in dense search over the sampled items."""
    vectors = embed_texts(texts_of(shop.table("items")), encoder, cache)
    options = Options(stage="valid")
    results = evaluate(shop, "search_full", ["dense"], options=options, encoder=encoder, vectors=vectors)
    return {key: results.runs["dense"].each[key] for key in QUALITY}


def _vectors(sample: Sample, encoder: Encoder, cache: Path | None) -> NDArray[np.float32]:
    """The base's vectors of the texts to fit to."""
    vectors = np.empty((len(sample.fit_texts), encoder.dim), dtype=np.float32)
    kinds: tuple[TextKind, ...] = ("item", "query")
    for kind in kinds:
        rows = [row for row, said in enumerate(sample.fit_kinds) if said == kind]
        if rows:
            vectors[rows] = embed_texts([sample.fit_texts[row] for row in rows], encoder, cache, kind=kind)
    return vectors


def _training_queries(shop: Shop, rng: np.random.Generator) -> list[str]:
    """Distinct training queries and searches, in random order; none that is judged for validation or the test."""
    asked: list[str] = []
    kept_out: set[str] = set()
    if shop.judgements is not None:
        training = shop.judgements["split"].fillna("test") == "train"
        asked += shop.judgements["query"][training].tolist()
        kept_out = set(shop.judgements["query"][~training])
    if shop.events is not None:
        asked += shop.events["query"].dropna().tolist()
    distinct = [text for text in dict.fromkeys(asked) if text not in kept_out]
    return [distinct[row] for row in rng.permutation(len(distinct))]


def _judged(shop: Shop, config: FrontierConfig, rng: np.random.Generator) -> Shop | None:
    """Some items with the judgements of some validation queries, None where there are none."""
    if shop.judgements is None:
        return None
    table = shop.judgements[shop.judgements["split"] == "valid"]
    gain = grade_gain(table["grade"].to_numpy(np.float64), shop.meta.get("grade_gain"))
    queries = np.unique(table["query"].to_numpy(object)[gain > 0].astype(str))
    if not len(queries):
        return None
    chosen = rng.choice(queries, min(config.queries, len(queries)), replace=False)
    table = table[table["query"].isin(set(chosen))]
    items = shop.table("items")
    needed = items["item_id"].isin(set(table["item_id"])).to_numpy()
    others = rng.permutation(np.flatnonzero(~needed))[: max(0, config.items - int(needed.sum()))]
    rows = np.sort(np.concatenate([np.flatnonzero(needed), others]))
    return Shop(
        name=shop.name,
        items=items.iloc[rows].reset_index(drop=True),
        judgements=table.reset_index(drop=True),
        meta=shop.meta,
    )
