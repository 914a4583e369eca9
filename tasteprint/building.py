"""Building a workspace: embed, learn, index, publish whole.

Building again with the same shop and settings does nothing; with changed items only new texts are encoded; a crash
leaves the published version as it was. Reading one back is `workspace`'s work.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .choosing import choose_all, unlearned
from .config import Settings
from .evaluation.rank_learning import with_ranker
from .index_build import tables_to_serve
from .item_changes import changes_digest, fold
from .profiling.artefact import Artefact, read_artefact, write_artefact
from .profiling.embedding.embeddings import Embeddings, embed_items
from .profiling.embedding.ready import ready_encoder
from .profiling.encoders.encoder import Encoder
from .profiling.encoders.fidelity import Fidelity
from .profiling.errors import ArtefactError, ShopError
from .profiling.intent.intent import IntentConfig, IntentModel, fit_intent
from .profiling.log import EventLog, event_log
from .profiling.tables.shop import Shop, read_shop
from .retrieval.engine import make_engine
from .retrieval.recommender import Recommender, fit_recommender
from .retrieval.scorer import TrainingSet
from .retrieval.sources.repeats import repeat_share
from .retrieval.state import log_arrays, recommender_state, storable
from .retrieval.worked import Worked
from .trained import read_taste, taste_digest
from .trained_choice import choice_digests, read_choice
from .workspace import FORMAT, KIND, Say, Workspace, keep_tables

_EVENT_COLUMNS = ("user_id", "kind", "at", "seq", "item_id", "text", "rating", "quantity", "price")


@dataclass(frozen=True)
class Built:
    """What a build did.

    Attributes:
        path: folder of the workspace
        fresh: False where the published version was still up to date
        about: what was built and learned
    """

    path: Path
    fresh: bool
    about: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Ready:
    """A shop read and embedded: what building and training begin with.

    Attributes:
        shop: its tables
        encoder: embeds texts
        embeddings: of its items
        everything: all its timed events, to learn from
        fidelity: how near the encoder is to fp32; None where it is that itself
        applied: number of the last change of items that is in it, see `item_changes`
        removed: ids of items that are there for histories alone
    """

    shop: Shop
    encoder: Encoder
    embeddings: Embeddings
    everything: TrainingSet
    fidelity: Fidelity | None
    applied: int = 0
    removed: tuple[str, ...] = ()


def prepare(shop_path: Path, path: Path, settings: Settings, tell: Say) -> Ready:
    """Read a shop and embed its items; ``path`` is the workspace, whose cache is used.

    Raises:
        ShopError: the shop has no items or cannot be read.
        EncoderError: the encoder cannot be loaded.
    """
    tell("Reading the shop", 0, 0)
    shop = read_shop(shop_path)
    if shop.items is None or not len(shop.items):
        raise ShopError(f"shop {shop_path} has no items; a workspace needs a catalogue")
    prepared = ready_encoder(
        settings.encoder,
        shop_path / "items.parquet",
        path / "cache",
        settings.template,
        tell=lambda what, done, of, counts=None: tell(what, done, of),
    )
    encoder = prepared.encoder
    folded = fold(shop.items, path, encoder, settings.template)
    shop = replace(shop, items=folded.items)
    embeddings = embed_items(
        folded.items, encoder, settings.template, path / "cache", progress=lambda n, of: tell("Embedding items", n, of)
    )
    log = _log(shop)
    everything = TrainingSet(
        log,
        folded.items,
        embeddings.vectors,
        float(log.at_s.max(initial=0.0)) + 1.0,
        shared_clock=bool(shop.meta.get("absolute_time", True)),
        users=shop.users,
    )
    return Ready(shop, encoder, embeddings, everything, prepared.fidelity, folded.applied, folded.removed)


def build_workspace(
    shop_path: str | Path, path: str | Path, settings: Settings | None = None, *, seed: int = 0, say: Say | None = None
) -> Built:
    """Make a shop ready to be asked.

    Args:
        shop_path: folder of a shop in the data contract, with items
        path: folder of the workspace, made if absent
        settings: None = the defaults
        seed: of everything that is drawn
        say: told what is going on

    Raises:
        ShopError: the shop has no items or cannot be read.
        EncoderError: the encoder cannot be loaded.
        ArtefactError: the workspace cannot be written.
    """
    settings = settings or Settings()
    tell = say or (lambda *_: None)
    shop_path, path = Path(shop_path).resolve(), Path(path)
    inputs = _inputs(shop_path, settings, seed) | {"taste": taste_digest(path) or "none"} | choice_digests(path)
    if (changes := changes_digest(path)) != "none":
        inputs |= {"changes": changes}
    if (found := _published(path, inputs)) is not None:
        return Built(path, False, found)
    ready = prepare(shop_path, path, settings, tell)
    learned = _learn(ready, path, settings, seed, tell)
    tell("Indexing", 0, 0)
    model, intent, items = learned.model, learned.intent, ready.everything.items

    def draft(tables: Worked) -> Workspace:
        log, users = ready.everything.log, ready.shop.users
        engine = make_engine(model, items, log, users=users, intent_model=intent, worked=tables)
        return Workspace(path, shop_path, settings, engine, intent, ready.encoder, items, learned.about)

    tables, index = tables_to_serve(draft, model.space, items, settings.index, seed=seed)
    about = learned.about | {"index": index}
    tell("Publishing", 0, 0)
    arrays, meta = recommender_state(model)
    intent_arrays, intent_meta = intent.to_state()
    more = {"shop": str(shop_path), "settings": settings.model_dump(mode="json"), "changes": ready.applied}
    write_artefact(
        path / "model",
        kind=KIND,
        stamp=ready.embeddings.stamp,
        inputs=inputs,
        arrays=storable(
            {f"recommender.{n}": a for n, a in arrays.items()}
            | {f"intent.{n}": a for n, a in intent_arrays.items()}
            | {f"log.{n}": a for n, a in log_arrays(ready.everything.log).items()}
        ),
        tables=_tables(ready),
        meta={"format": FORMAT, "recommender": meta, "intent": intent_meta, "about": about, **more},
        files=lambda folder: keep_tables(tables, folder),
    )
    return Built(path, True, about)


@dataclass(frozen=True, eq=False)
class _Learned:
    """What a build learned.

    Attributes:
        model: the recommender
        intent: reads queries
        about: what is to be said of them, JSON values
    """

    model: Recommender
    intent: IntentModel
    about: dict[str, Any]


def _learn(ready: Ready, path: Path, settings: Settings, seed: int, tell: Say) -> _Learned:
    """Everything that a build learns from the shop, weights and rankers chosen on its validation requests."""
    shop, encoder, everything, stamp = ready.shop, ready.encoder, ready.everything, ready.embeddings.stamp
    log = everything.log
    tell("Reading intents off the catalogue", 0, 0)
    rng = np.random.default_rng(seed)
    money = _in_money_of(shop, settings.intent)
    intent = fit_intent(everything.items, ready.embeddings.vectors, money, rng=rng, encoder=encoder)
    taste = read_taste(path, everything, stamp=stamp)
    models, known = path / "cache" / "models", read_choice(path, stamp=stamp)
    chosen = choose_all(
        shop, everything, settings, encoder=encoder, taste=taste, rng=rng, models=models, tell=tell, known=known
    )
    learned = chosen.first_stage(unlearned(everything, settings))
    tell("Fitting the recommender", 0, 0)
    model = fit_recommender(
        everything,
        learned.recommender,
        weights=learned.weights,
        newcomer_weights=learned.newcomer_weights,
        exclude_seen=repeat_share(log) < 0.01,
        encoder=encoder,
        fusion=learned.fusion,
        taste_model=None if taste is None else taste.final,
        gate=learned.gate,
        also=[name for ranker in chosen.rankers.values() for name in ranker.reads],
    )
    for ranker in chosen.rankers.values():
        model = with_ranker(model, everything, ranker)
    about = {
        "shop": shop.name,
        "items": len(everything.items),
        "events": len(log),
        "shoppers": log.n_users,
        "weights": _rounded(model.weights),
        "newcomer_weights": _rounded(model.newcomer_weights),
        "validation": {
            protocol: {"ndcg@10": round(found.ndcg, 4), "single": _rounded(found.single)}
            for protocol, found in chosen.fusion.items()
            if not np.isnan(found.ndcg)
        },
        "rankers": [ranker.said() for ranker in chosen.rankers.values()],
        "taste": None if taste is None else dict(taste.about),
        "encoder": str(stamp),
        "fidelity": None if ready.fidelity is None else ready.fidelity.to_dict(),
    }
    return _Learned(model, intent, about)


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def _tables(ready: Ready) -> dict[str, pd.DataFrame]:
    """What is published as tables: items, shoppers, and what is known of both."""
    tables = {
        "items": ready.everything.items,
        "shoppers": pd.DataFrame({"user_id": ready.everything.log.user_ids.astype(str)}),
    }
    if ready.shop.users is not None:
        tables["users"] = ready.shop.users
    if ready.removed:
        tables["removed"] = pd.DataFrame({"item_id": ready.removed})
    return tables


def _in_money_of(shop: Shop, config: IntentConfig) -> IntentConfig:
    """The intent settings with the shop's currency, unless they name one."""
    if config.facets.currency is not None:
        return config
    facets = config.facets.model_copy(update={"currency": shop.meta.get("currency")})
    return config.model_copy(update={"facets": facets})


def _log(shop: Shop) -> EventLog:
    events = shop.events
    if events is None:
        columns = {name: pd.Series(dtype=object) for name in _EVENT_COLUMNS}
        events = pd.DataFrame(columns).astype({"at": "datetime64[us]", "seq": "int64"})
    timed = events[~events["kind"].isin(list(shop.meta.get("untimed_kinds") or []))]
    return event_log(timed, shop.table("items")["item_id"].tolist(), rating_scale=shop.meta.get("rating_scale"))


def _inputs(shop: Path, settings: Settings, seed: int) -> dict[str, str]:
    """Digests of everything a build depends on."""
    said = json.dumps(settings.model_dump(mode="json"), sort_keys=True)
    inputs = {"settings": hashlib.sha256(said.encode()).hexdigest(), "seed": str(seed), "format": str(FORMAT)}
    for name in ("items.parquet", "events.parquet", "users.parquet", "judgements.parquet", "shop.json"):
        file = shop / name
        if file.is_file():
            with file.open("rb") as handle:
                inputs[name] = hashlib.file_digest(handle, "sha256").hexdigest()
    return inputs


def _published(path: Path, inputs: dict[str, str]) -> dict[str, Any] | None:
    """What the published version says of itself, if it was built from the same inputs."""
    try:
        held: Artefact = read_artefact(path / "model", kind=KIND, verify=False)
    except ArtefactError:
        return None
    return dict(held.meta["about"]) if dict(held.inputs) == inputs else None
