"""Fit methods on a shop and measure their curves: what ``tasteprint curves`` runs.

``segments`` is popularity among shoppers with the same known attributes, the prior of a new shopper; it is left out
where the shop knows none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..profiling.encoders.encoder import Encoder
from ..profiling.errors import ConfigError
from ..profiling.tables.shop import Shop
from ..retrieval.scorer import Scorer, TrainingSet
from ..retrieval.sources.alike import AlikeModel, fit_alike
from ..retrieval.sources.popularity import fit_popular
from .curves import CURVES, Point, Progress, measure_curves
from .methods import METHODS, Resources, chosen_methods
from .protocol import Options, make_split, training_set, validation_of
from .splits import Split

SEGMENTS = "segments"


@dataclass(frozen=True, eq=False)
class Curves:
    """What was measured: points, the protocol, sentences a reader must know."""

    shop: str
    protocol: str
    metric: str
    points: tuple[Point, ...]
    notes: tuple[str, ...]


def run_curves(
    shop: Shop,
    methods: Sequence[str],
    kinds: Sequence[str] | None = None,
    *,
    protocol: str | None = None,
    options: Options | None = None,
    metric: str = "ndcg@10",
    against: str = "popular",
    encoder: Encoder | None = None,
    vectors: NDArray[np.float32] | None = None,
    seed: int = 0,
    clock: Callable[[], float] | None = None,
    models: Path | None = None,
    progress: Progress | None = None,
) -> Curves:
    """Fit once, measure every curve.

    Args:
        shop: the tables
        methods: names of `METHODS`, and ``segments``
        kinds: keys of `CURVES`; None = all
        protocol: None = ``time_split`` where the shop's clocks allow it, else ``leave_one_out``
        options: how the protocol is run; ``sample`` requests are drawn with ``seed``
        metric: a metric key
        against: method that the others are tested against
        encoder: makes query vectors
        vectors: item vectors, (n_items, d)
        seed: of the draw and of every fit
        clock: gives seconds, for methods that train within a budget
        models: folder for checkpoints of long trainings
        progress: told what is going on

    Raises:
        ConfigError: an unknown name, or a method lacks what it needs.
        ShopError: the shop cannot be split so.
    """
    options, tell = options or Options(), progress or (lambda *_: None)
    clocks_agree = bool(shop.meta.get("absolute_time", True))
    protocol = protocol or ("time_split" if clocks_agree else "leave_one_out")
    wanted = tuple(dict.fromkeys(methods))
    _check(wanted, kinds, protocol, able=vectors is not None and encoder is not None)
    tell("splitting", 0, 1)
    split = make_split(shop, protocol, options)

    train = training_set(shop, split, vectors)

    def validation() -> tuple[TrainingSet, Split] | None:
        return validation_of(shop, protocol, options, vectors)

    scorers: dict[str, Scorer] = {}
    for name in wanted:
        tell(f"{name}: fitting", 0, 1)
        resources = Resources(
            np.random.default_rng(seed), encoder, validation, clock=clock, models=models, tell=progress
        )
        fitted = _fitted(name, train, resources)
        scorers |= {} if fitted is None else {name: fitted}
    asked = replace(split, slices={}, target_slices={})
    if options.sample is not None:
        asked = asked.sample(options.sample, np.random.default_rng(seed))
    points = measure_curves(asked, scorers, kinds, metric=metric, against=against, progress=tell)
    return Curves(shop.name, protocol, metric, tuple(points), _notes(split, asked, wanted, scorers, against))


def _check(methods: Sequence[str], kinds: Sequence[str] | None, protocol: str, *, able: bool) -> None:
    """Everything that can be wrong with names, before anything takes long."""
    for kind in kinds or ():
        if kind not in CURVES:
            raise ConfigError(f"kinds: must be among {', '.join(CURVES)}, got {kind!r}")
    named = [name for name in methods if name != SEGMENTS]
    for name in chosen_methods(named, protocol) if named else ():
        if METHODS[name].needs & {"vectors", "encoder"} and not able:
            raise ConfigError(f"methods: {name} needs an encoder; name one (--encoder)")


def _fitted(name: str, train: TrainingSet, resources: Resources) -> Scorer | None:
    """A method fitted at its reference settings; None for segments where nothing is known of shoppers."""
    if name == SEGMENTS:
        found = fit_alike(train, fit_popular(train))
        return found if isinstance(found, AlikeModel) else None
    return METHODS[name].fit(train, METHODS[name].config(), resources)


def _notes(
    split: Split, asked: Split, wanted: Sequence[str], scorers: dict[str, Scorer], against: str
) -> tuple[str, ...]:
    """How it was measured, in sentences."""
    drawn = f"{len(asked.requests):,} of {len(split.requests):,} requests, drawn once at random."
    missing = [f"{name} tells nothing here: the shop knows no attributes of its shoppers." for name in wanted]
    return (
        *split.notes,
        drawn,
        f"A star: differs from {against} at the same point (staleness: from the same method at every event), paired "
        "test clustered by shopper, p < .05, each test for itself.",
        *(said for name, said in zip(wanted, missing, strict=True) if name not in scorers),
    )
