"""Training a workspace's own models ahead of building it, on the shop's own validation requests.

Training takes minutes and is done now and then; building uses what was trained and can run every night. Interrupted
trainings go on where they were. Keeping models is `trained`'s work, using them `building`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .building import prepare, validation_splits
from .config import Settings
from .evaluation.first_stage import TasteprintConfig
from .evaluation.pipeline import wants_taste
from .evaluation.taste_learning import train_taste
from .profiling.errors import ShopError
from .trained import save_taste
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
        ShopError: the shop cannot be read, or nobody in it has a history before its validation requests.
        ArtefactError: a checkpoint is damaged, or the workspace cannot be written.
    """
    settings = settings or Settings()
    tell = say or (lambda *_: None)
    shop_path, path = Path(shop_path).resolve(), Path(path)
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
