"""What validation chooses for a workspace: settings and weights of the first stage, and a ranker, for each kind of
request.

Covers the order of the choices and what is taken over from earlier trainings (see `trained_choice`). How a choice is
made is `evaluation.pipeline`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .config import Settings
from .evaluation.first_stage import Learned, TasteprintConfig, default_weights
from .evaluation.pipeline import choose_first, choose_second, tastes
from .evaluation.protocol import Options, validation_of
from .evaluation.rank_learning import LearnedRanker
from .evaluation.search_split import judged_to_learn
from .evaluation.splits import Split
from .evaluation.taste_learning import TrainedTaste
from .profiling.encoders.encoder import Encoder
from .profiling.tables.shop import Shop
from .retrieval.scorer import TrainingSet
from .workspace import Say

SEARCH = "search_full"


@dataclass(frozen=True, eq=False)
class Chosen:
    """What validation chose, by protocol; a protocol the shop cannot validate on is absent."""

    fusion: Mapping[str, Learned] = field(default_factory=dict)
    rankers: Mapping[str, LearnedRanker] = field(default_factory=dict)

    def first_stage(self, default: Learned) -> Learned:
        """Settings and weights for all requests: those chosen, and ``default`` where nothing was."""
        found = default
        for protocol, learned in self.fusion.items():
            weights = {n: w for n, w in found.weights.items() if n not in learned.weights} | dict(learned.weights)
            found = replace(found, weights=weights, fusion="scaled")  # chosen weights are for scaled scores
            if protocol != SEARCH:
                found = replace(
                    found,
                    recommender=learned.recommender,
                    ndcg=learned.ndcg,
                    newcomer_weights=learned.newcomer_weights,
                    gate=learned.gate,
                )
        return found


def choose_all(
    shop: Shop,
    everything: TrainingSet,
    settings: Settings,
    *,
    encoder: Encoder,
    taste: TrainedTaste | None,
    rng: np.random.Generator,
    models: Path,
    tell: Say,
    known: Chosen | None = None,
    ranking: bool = True,
) -> Chosen:
    """Choose on the shop's own validation requests: events, and judged queries if it has any.

    Args:
        shop: its tables
        everything: all its timed events
        settings: of the build
        encoder: embeds queries
        taste: the trained taste model; None where there is none
        rng: of everything that is drawn
        models: folder for taste models that a ranker needs beside ``taste``
        tell: told what is going on
        known: what was chosen before; it is kept, and only the rest is chosen
        ranking: whether rankers are learned too
    """
    known = known or Chosen()
    fusion, rankers = dict(known.fusion), dict(known.rankers)
    default = unlearned(everything, settings)
    for protocol, before, split in validation_splits(shop, everything):
        if protocol in fusion and (protocol in rankers or not ranking):
            continue
        tell(f"Choosing weights on {protocol}", 0, 0)
        start = Chosen(fusion).first_stage(default).recommender  # search takes over what events chose
        config = TasteprintConfig(recommender=start, taste=settings.taste, ranking=settings.ranking)
        models_at_hand = () if taste is None else ((before, taste.before), (everything, taste.final))
        taste_of = tastes(taste, models_at_hand, folder=models, progress=tell)
        parts = None
        if protocol not in fusion:
            model = taste_of(before)
            fusion[protocol], parts = choose_first(before, split, config, rng=rng, encoder=encoder, taste_model=model)
        if ranking and protocol not in rankers:
            tell(f"Learning a ranker on {protocol}", 0, 0)
            rankers[protocol] = choose_second(
                fusion[protocol],
                before,
                split,
                config,
                rng=rng,
                encoder=encoder,
                taste_of=taste_of,
                parts=parts,
                answers=judged_to_learn(shop, split),
            )
    return Chosen(fusion, rankers)


def unlearned(everything: TrainingSet, settings: Settings) -> Learned:
    """The first stage of a shop that has nothing to choose on."""
    fusion = settings.recommender.fallback
    return Learned(settings.recommender, default_weights(everything), float("nan"), {}, fusion=fusion)


def validation_splits(shop: Shop, everything: TrainingSet) -> Iterator[tuple[str, TrainingSet, Split]]:
    """The protocols a shop can choose on, each with a training set that ends before its validation requests."""
    for protocol in ("time_split" if everything.shared_clock else "leave_one_out", SEARCH):
        found = validation_of(shop, protocol, Options(), everything.vectors)
        if found is not None and len(found[1].requests):  # else there is nothing to choose on; the defaults stay
            yield protocol, *found
