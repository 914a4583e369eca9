"""How a shop is cut for a ranking protocol, and what may be learned from at each cut.

Covers the protocols that rank items. The cuts themselves are `splits` and `search_split`; running methods through them
is `harness`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..profiling.errors import ConfigError, ShopError
from ..profiling.tables.shop import Shop
from ..retrieval.scorer import TrainingSet
from .methods import BEHAVIOUR, SEARCH
from .new_items import only_new
from .search_split import search_split
from .splits import FitOn, Split, Stage, Window, leave_one_out, time_split

RANKING_PROTOCOLS = BEHAVIOUR + SEARCH


@dataclass(frozen=True)
class Options:
    """How a protocol is run; the defaults are the reported form.

    Attributes:
        stage: ``test``, or ``valid`` to look while working
        fit_on: None = the protocol's own default
        window: of ``time_split``
        exclude_seen: None = decided from the training events
        only_new: rank, and count as right, only items new to the shopper; for protocols over events
        seeds: runs of methods that are random
        tune: search each method's options on the validation stage first
        batch: requests ranked at once
        against: method that all others are tested against; None = `CHALLENGER` if it runs, else the best
        sample: requests measured at most, drawn once without replacement; None = all. Slices need all
    """

    stage: Stage = "test"
    fit_on: FitOn | None = None
    window: Window = "rolling"
    exclude_seen: bool | None = None
    only_new: bool = False
    seeds: int = 1
    tune: bool = False
    batch: int = 256
    against: str | None = None
    sample: int | None = None


def make_split(shop: Shop, protocol: str, options: Options, *, stage: Stage | None = None) -> Split:
    """The split of a ranking protocol; ``stage`` overrides that of ``options`` (and then learns from train only).

    Raises:
        ConfigError: an unknown protocol, or ``only_new`` where it has no meaning.
        ShopError: the shop cannot be split so.
    """
    at = stage or options.stage
    fit_on = options.fit_on if at == options.stage else "train"
    exclude = options.exclude_seen
    if options.only_new and protocol not in BEHAVIOUR:
        raise ConfigError(f"only_new: is for {' and '.join(BEHAVIOUR)}, got {protocol!r}; leave it out")
    if options.only_new and exclude is False:
        raise ConfigError("only_new: leaves seen items out, which exclude_seen=False forbids; give one of them")
    if protocol in BEHAVIOUR:
        if protocol == "leave_one_out":
            split = leave_one_out(shop, stage=at, fit_on=fit_on or "train", exclude_seen=exclude)
        else:
            split = time_split(shop, stage=at, fit_on=fit_on, window=options.window, exclude_seen=exclude)
        return only_new(split) if options.only_new else split
    if protocol in ("search_full", "search_rerank"):
        return search_split(shop, mode="full" if protocol == "search_full" else "rerank", stage=at)
    raise ConfigError(f"protocol: must be one of {', '.join(RANKING_PROTOCOLS)} or labels, got {protocol!r}")


def training_set(shop: Shop, split: Split, vectors: NDArray[np.float32] | None) -> TrainingSet:
    """What may be learned from at a split; ``vectors`` are aligned with ``shop.items``, (n_items, d)."""
    clock = bool(shop.meta.get("absolute_time", True))
    return TrainingSet(split.train, shop.table("items"), vectors, split.until_s, clock, shop.users)


def validation_of(
    shop: Shop, protocol: str, options: Options, vectors: NDArray[np.float32] | None
) -> tuple[TrainingSet, Split] | None:
    """The validation split of a protocol and a training set that ends before it; None where the shop has none."""
    try:
        split = make_split(shop, protocol, options, stage="valid")
    except ShopError:
        return None
    return training_set(shop, split, vectors), split
