"""Run methods through a protocol: fit, rank, measure, test. The one loop behind ``tasteprint evaluate``.

Covers the protocols that rank items; sentences with labels are `labels`' work. The clock is an argument; nothing
here writes or reads files.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel

from ..profiling.encoders.encoder import Encoder
from ..profiling.errors import ConfigError
from ..profiling.tables.shop import Shop
from ..retrieval.scorer import Chooser, TrainingSet
from .methods import METHODS, Method, Resources, chosen_methods
from .protocol import Options, make_split, training_set, validation_of
from .rank import SLICE_KEYS, catalogue_means, mean, measure, rank, slice_means
from .ranking import TopK
from .results import Results, Run
from .search_split import judged_to_learn
from .significance import compare
from .slices import SLICE_MEANINGS
from .splits import Split
from .tuning import tune
from .versions import versions

CHALLENGER = "tasteprint"
TESTED = ("ndcg@10", "recall@10", "recall@100")
EXAMPLES = 100
"""Requests whose first ten items are kept for reports."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


def evaluate(
    shop: Shop,
    protocol: str,
    methods: Sequence[str] | None = None,
    *,
    options: Options | None = None,
    configs: Mapping[str, BaseModel] | None = None,
    encoder: Encoder | None = None,
    vectors: NDArray[np.float32] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    progress: Progress | None = None,
    models: Path | None = None,
) -> Results:
    """Measure methods on one protocol of a shop.

    Args:
        shop: the tables
        protocol: one of `protocol.RANKING_PROTOCOLS`
        methods: names of `METHODS`; None = all that serve the protocol and can run here
        options: how the protocol is run
        configs: settings by method name, instead of the reference settings (and not tuned)
        encoder: makes query vectors
        vectors: item vectors aligned with ``shop.items``, (n_items, d)
        clock: gives seconds, for timing only
        progress: told what is going on
        models: folder for checkpoints of long trainings, which another evaluation goes on with; None = not kept

    Raises:
        ConfigError, ShopError: see `make_split` and `chosen_methods`; a named method lacks what it needs.
    """
    options = options or Options()
    if options.seeds < 1:
        raise ConfigError(f"seeds: must be at least 1, got {options.seeds}")
    names = chosen_methods(methods, protocol)
    bench = _Bench(shop, protocol, options, encoder, vectors, clock, progress or (lambda *_: None), models)
    bench.tell("splitting", 0, 1)
    split = _sampled(make_split(shop, protocol, options), options.sample)
    skipped = {name: reason for name in names if (reason := bench.lacks(METHODS[name], split))}
    if skipped and methods:
        raise ConfigError("; ".join(f"methods: {name} {reason}" for name, reason in skipped.items()))
    runs = {}
    for name in names:
        if name not in skipped:
            runs[name] = bench.run(name, split, (configs or {}).get(name))
    return _results(shop, protocol, split, runs, skipped, options, encoder)


@dataclass(frozen=True, eq=False)
class _Bench:
    """What every run of one evaluation shares."""

    shop: Shop
    protocol: str
    options: Options
    encoder: Encoder | None
    vectors: NDArray[np.float32] | None
    clock: Callable[[], float]
    tell: Progress
    models: Path | None = None

    def lacks(self, method: Method, split: Split) -> str:
        """Why a method cannot run here, or nothing."""
        if "clock" in method.needs and not self.shop.meta.get("absolute_time", True):
            return "needs times that can be compared between users, which this shop has not (absolute_time is false)"
        if ("vectors" in method.needs and self.vectors is None) or ("encoder" in method.needs and self.encoder is None):
            return "needs an encoder; name one (--encoder)"
        return ""

    def training(self, split: Split) -> TrainingSet:
        return training_set(self.shop, split, self.vectors)

    def resources(self, rng: np.random.Generator) -> Resources:
        return Resources(
            rng,
            self.encoder,
            self.validation,
            answers=lambda split: judged_to_learn(self.shop, split),
            clock=self.clock,
            models=self.models,
            tell=self.tell,
        )

    def validation(self) -> tuple[TrainingSet, Split] | None:
        """The validation split with a training set that ends before it; None where the shop has no such split."""
        return validation_of(self.shop, self.protocol, self.options, self.vectors)

    def run(self, name: str, split: Split, config: BaseModel | None) -> Run:
        """Fit, rank and measure one method, over seeds where it is random."""
        method = METHODS[name]
        tuned = None
        if config is None:
            config, tuned = self.configured(name, method)
        seeds = self.options.seeds if method.random else 1
        rounds = [self.once(name, method, config, split, seed) for seed in range(seeds)]
        keys = list(rounds[0].metrics)
        table = {key: np.array([r.metrics[key] for r in rounds]) for key in keys}
        return Run(
            metrics={key: float(column.mean()) for key, column in table.items()},
            spread={key: float(column.std(ddof=1)) for key, column in table.items()} if seeds > 1 else {},
            each={key: np.mean([r.each[key] for r in rounds], axis=0) for key in rounds[0].each},
            per_slice=_mean_slices([r.per_slice for r in rounds]),
            fit_s=float(np.mean([r.fit_s for r in rounds])),
            rank_s=float(np.mean([r.rank_s for r in rounds])),
            settings=rounds[0].settings or config.model_dump(mode="json"),
            tuned=tuned,
            chosen=bool(rounds[0].settings),
            shown=rounds[0].shown,
        )

    def configured(self, name: str, method: Method) -> tuple[BaseModel, Mapping[str, Any] | None]:
        """Reference settings, or the ones chosen on validation, with how."""
        if not self.options.tune or not method.grid:
            return method.config(), None
        self.tell(f"{name}: tuning", 0, 1)
        validation = self.validation()
        if validation is None:
            return method.config(), None
        train, split = validation
        found = tune(method, train, split, seed=0, resources=self.resources, clock=self.clock)
        about = {
            "on": "valid",
            "ndcg@10": found.value,
            "reference_ndcg@10": found.start,
            "tried": len(found.tried),
            "complete": found.complete,
        }
        return found.config, about

    def once(self, name: str, method: Method, config: BaseModel, split: Split, seed: int) -> Run:
        """One fit and one ranking of all requests."""
        self.tell(f"{name}: fitting", 0, 1)
        began = self.clock()
        scorer = method.fit(self.training(split), config, self.resources(np.random.default_rng(seed)))
        fitted = self.clock()
        ranked = rank(
            scorer,
            split,
            batch=self.options.batch,
            progress=lambda done, total: self.tell(f"{name}: ranking", done, total),
        )
        done = self.clock()
        values = measure(ranked, split)
        return Run(
            metrics={key: mean(value) for key, value in values.items()} | catalogue_means(ranked, split),
            each=values,
            per_slice=slice_means(values, ranked, split),
            fit_s=fitted - began,
            rank_s=done - fitted,
            settings=dict(scorer.chosen()) if isinstance(scorer, Chooser) else {},
            shown=_shown(ranked.best, split),
        )


def _results(
    shop: Shop,
    protocol: str,
    split: Split,
    runs: Mapping[str, Run],
    skipped: Mapping[str, str],
    options: Options,
    encoder: Encoder | None,
) -> Results:
    against = options.against or _against(runs)
    tests = [
        row
        for key in (TESTED if len(runs) > 1 else ())
        for row in compare({n: r.each[key] for n, r in runs.items()}, against, split.cluster, metric=key)
    ]
    slices = sorted({s for run in runs.values() for s in run.per_slice}, key=list(SLICE_MEANINGS).index)
    about = {
        "stage": split.stage,
        "fit_on": split.fit_on,
        "validation_in_training": split.fit_on == "train+valid",
        "seen_items_excluded": split.exclude_seen,
        "only_new_items": options.only_new,
        "ranked": "judged items" if split.judged_only else "whole catalogue",
        "n_items": split.train.n_items,
        "n_training_events": len(split.train),
        "seeds": options.seeds,
        "tuned": options.tune,
        "against": against,
        "settings": dict(split.settings),
        "slices": {name: SLICE_MEANINGS[name] for name in slices},
        "skipped": dict(skipped),
        "encoder": None if encoder is None else str(encoder.stamp.digest),
        "versions": versions(),
    }
    chosen = "Options were tuned on the validation stage." if options.tune else "All methods ran at reference settings."
    left_out = tuple(f"Not run: {name} {reason}." for name, reason in skipped.items())
    return Results(
        shop=shop.name,
        protocol=protocol,
        n=len(split.requests),
        runs=runs,
        tests=tuple(tests),
        requests=_request_table(split),
        about=about,
        notes=(*split.notes, chosen, *left_out),
    )


def _sampled(split: Split, n: int | None) -> Split:
    """The split with at most ``n`` of its requests, which its notes tell."""
    whole = len(split.requests)
    if n is None or whole <= n:
        return split
    note = f"Measured on {n:,} of the {whole:,} requests, drawn once at random; the figures of all may differ."
    return replace(split.sample(n, np.random.default_rng(0)), notes=(*split.notes, note))


def _against(runs: Mapping[str, Run]) -> str:
    """The method others are tested against: the pipeline if it ran, else the best."""
    return CHALLENGER if CHALLENGER in runs else max(runs, key=lambda name: runs[name].metrics[TESTED[0]])


def _request_table(split: Split) -> pd.DataFrame:
    """One row a request: who or what asked, when, how much history, how many right items, slices."""
    requests = split.requests
    table = pd.DataFrame({"request": np.arange(len(requests))})
    if requests.texts:
        table["query"] = list(requests.texts)
    else:
        table["user_id"] = requests.log.user_ids[requests.log.user()[requests.stop]]
        table["at"] = pd.to_datetime(requests.now_s, unit="s").as_unit("us")
        table["n_history"] = requests.stop - requests.start
    table["n_relevant"] = split.truth.count()
    for name, inside in split.slices.items():
        table[name] = inside
    return table


def _shown(best: TopK, split: Split) -> tuple[tuple[str, ...], ...]:
    ids = split.train.item_ids
    rows = zip(best.items[:EXAMPLES, :10], best.valid[:EXAMPLES, :10], strict=True)
    return tuple(tuple(str(item) for item in ids[items[valid]]) for items, valid in rows)


def _mean_slices(rounds: list[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Slices averaged over seeds; their sizes are the same in all."""
    return {
        name: {"n": int(part["n"])} | {key: float(np.mean([r[name][key] for r in rounds])) for key in SLICE_KEYS}
        for name, part in rounds[0].items()
    }
