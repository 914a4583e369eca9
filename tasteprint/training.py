"""Training a workspace's own models ahead of building it, on the shop's own validation requests.

Training takes minutes and is done now and then; building uses what was trained and can run every night. Interrupted
trainings go on where they were. Keeping models is `trained`'s work, using them `building`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .building import Ready, prepare
from .choosing import SEARCH, Chosen, choose_all, validation_splits
from .config import Settings
from .evaluation.first_stage import TasteprintConfig, candidate_parts
from .evaluation.pipeline import fit_chosen, tastes, wants_taste
from .evaluation.rank_learning import LearnedRanker, learn_from_impressions
from .evaluation.taste_learning import train_taste
from .impressions import read_impressions
from .profiling.errors import ConfigError, ShopError
from .profiling.shopper.attributes import attributes_of
from .serving.histories import Catalogue
from .serving.store import open_store
from .trained import read_taste, save_taste
from .trained_choice import read_fusion, save_fusion, save_rankers
from .workspace import Say


def train_workspace_taste(
    shop_path: str | Path,
    path: str | Path,
    settings: Settings | None = None,
    *,
    minutes: float,
    clock: Callable[[], float],
    seed: int = 0,
    say: Say | None = None,
) -> dict[str, Any]:
    """Train the taste model of a shop and keep it in the workspace ``path``; returns what it reached, as JSON values.

    Args:
        shop_path: folder of a shop in the data contract, with items and events
        path: folder of the workspace, made if absent
        settings: None = the defaults
        minutes: time for training, > 0; how long to train is chosen on validation inside it
        clock: gives seconds
        seed: of everything that is drawn
        say: told what is going on

    Raises:
        ConfigError: the model is to read the words of events, which live histories do not hold.
        ShopError: the shop cannot be read, or nobody in it has a history before its validation requests.
        ArtefactError: a checkpoint is damaged, or the workspace cannot be written.
    """
    settings = settings or Settings()
    tell = say or (lambda *_: None)
    shop_path, path = Path(shop_path).resolve(), Path(path)
    if settings.taste.said:
        raise ConfigError(
            "taste.said must be false for a workspace, got true: the histories of live shoppers hold no words; measure "
            "it with tasteprint evaluate --set taste.said=true"
        )
    ready = prepare(shop_path, path, settings, tell)
    config = TasteprintConfig(recommender=settings.recommender, taste=settings.taste, minutes=minutes)
    for protocol, before, split in validation_splits(ready.shop, ready.everything):
        if not wants_taste(config, before, split):
            continue
        trained = train_taste(
            ready.everything,
            (before, split),
            settings.taste,
            seed=seed,
            minutes=minutes,
            clock=clock,
            folder=path / "cache" / "models",
            progress=tell,
        )
        about = {"shop": ready.shop.name, "protocol": protocol, "items": ready.everything.log.n_items} | dict(
            trained.about
        )
        save_taste(path, trained, stamp=ready.embeddings.stamp, item_ids=ready.everything.log.item_ids, about=about)
        return about
    raise ShopError(
        f"shop {shop_path} has no events to learn tastes from and to validate on; a taste model needs shoppers with a "
        "history before the validation period"
    )


def train_workspace_fusion(
    shop_path: str | Path, path: str | Path, settings: Settings | None = None, *, seed: int = 0, say: Say | None = None
) -> dict[str, Any]:
    """Choose settings and weights of the first stage and keep them in the workspace ``path``; returns them as JSON
    values.

    Arguments as in `train_workspace_taste`, whose model takes part if there is one. A ranker that was learned on other
    weights is not used any more: building says so.

    Raises:
        ShopError: the shop cannot be read, or has nothing to choose on.
        ArtefactError: the workspace cannot be written.
    """
    chosen, ready = _choose(shop_path, Path(path), settings or Settings(), seed, say, ranking=False, known=False)
    save_fusion(Path(path), chosen.fusion, stamp=ready.embeddings.stamp)
    reached = {
        protocol: {"ndcg@10": round(learned.ndcg, 4), "weights": {n: round(w, 4) for n, w in learned.weights.items()}}
        for protocol, learned in chosen.fusion.items()
    }
    return {"shop": ready.shop.name, "protocols": reached}


def train_workspace_ranker(
    shop_path: str | Path,
    path: str | Path,
    settings: Settings | None = None,
    *,
    impressions: str | None = None,
    seed: int = 0,
    say: Say | None = None,
) -> dict[str, Any]:
    """Learn a second stage and keep it in the workspace ``path``; returns what it reached as JSON values.

    Arguments as in `train_workspace_taste`. It learns on the candidates of the fusion that was trained here; where none
    was, one is chosen first and kept too. Answers are the shop's validation requests, or, where ``impressions`` is the
    address of a profile store, what shoppers chose of what they were shown.

    Raises:
        ShopError: the shop cannot be read, or has nothing to learn on.
        ArtefactError: the workspace cannot be written, or what was trained there is of another version.
        StoreError: the store cannot be read.
    """
    settings, path = settings or Settings(), Path(path)
    logged = impressions is not None
    chosen, ready = _choose(shop_path, path, settings, seed, say, ranking=not logged, known=True)
    stamp = ready.embeddings.stamp
    if impressions is not None:
        chosen = replace(chosen, rankers=_rankers_of_impressions(ready, path, settings, chosen, impressions, seed))
    save_fusion(path, chosen.fusion, stamp=stamp)
    save_rankers(path, chosen.rankers, stamp=stamp)
    return {"shop": ready.shop.name, "protocols": {name: ranker.said() for name, ranker in chosen.rankers.items()}}


def _choose(
    shop_path: str | Path, path: Path, settings: Settings, seed: int, say: Say | None, *, ranking: bool, known: bool
) -> tuple[Chosen, Ready]:
    """Everything validation is to choose; with ``known`` the fusion trained before is kept."""
    tell = say or (lambda *_: None)
    ready = prepare(Path(shop_path).resolve(), path, settings, tell)
    stamp = ready.embeddings.stamp
    chosen = choose_all(
        ready.shop,
        ready.everything,
        settings,
        encoder=ready.encoder,
        taste=read_taste(path, ready.everything, stamp=stamp),
        rng=np.random.default_rng(seed),
        models=path / "cache" / "models",
        tell=tell,
        known=Chosen(read_fusion(path, stamp=stamp)) if known else None,
        ranking=ranking,
    )
    if not chosen.fusion:
        raise ShopError(
            f"shop {shop_path} has nothing to choose on: no events before a validation period and no judged queries; "
            "building uses the defaults"
        )
    return chosen, ready


def _rankers_of_impressions(
    ready: Ready, path: Path, settings: Settings, chosen: Chosen, address: str, seed: int
) -> dict[str, LearnedRanker]:
    """A ranker by protocol from the pages of a store; parts and facts are those of the events before its first page."""
    log, meta = ready.everything.log, ready.shop.meta
    catalogue = Catalogue(
        item_ids=log.item_ids,
        row_of={str(item): row for row, item in enumerate(log.item_ids)},
        rating_scale=meta.get("rating_scale"),
        untimed_kinds=tuple(meta.get("untimed_kinds") or ()),
    )
    taste = read_taste(path, ready.everything, stamp=ready.embeddings.stamp)
    rankers = {}
    with closing(open_store(address)) as store:
        for protocol, earlier, split in validation_splits(ready.shop, ready.everything):
            pages = read_impressions(
                store, catalogue, asked=protocol == SEARCH, attributes=attributes_of(ready.shop.users)
            )
            if pages is None:
                continue
            first_s = float(pages.requests.now_s.min())
            before = replace(ready.everything, log=log.select(log.at_s < first_s), until_s=first_s)
            known = () if taste is None else ((ready.everything, taste.final), (earlier, taste.before))
            taste_model = tastes(taste, known, folder=path / "cache" / "models", progress=None)(before)
            learned, asked = chosen.fusion[protocol], protocol == SEARCH
            also = candidate_parts(before, learned.recommender, asked=asked) if settings.ranking.all_parts else ()
            model = fit_chosen(before, learned, split, encoder=ready.encoder, taste_model=taste_model, also=also)
            rng = np.random.default_rng(seed)
            rankers[protocol] = learn_from_impressions(model, before, pages, settings.ranking, rng=rng)
    if not rankers:
        raise ShopError(
            f"store {address} has no answers to learn from: an answer teaches where its shopper then chose something "
            "on it within a day and passed something by"
        )
    return rankers
