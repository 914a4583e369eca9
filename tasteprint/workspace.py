"""Workspaces: a shop made ready to be asked. Building one, publishing it whole, and opening it.

A workspace is a folder: ``cache/`` holds text vectors by content, ``model/`` is one stamped artefact with everything a
request needs. Building again with the same shop and settings does nothing; with changed items only new texts are
encoded; a crash leaves the published version as it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from .config import Settings
from .evaluation.harness import Options, make_split
from .evaluation.pipeline import Learned, TasteprintConfig, default_weights, learn
from .profiling.artefact import Artefact, check_stamp, read_artefact, write_artefact
from .profiling.embed_fidelity import PREPARED, ready_encoder
from .profiling.embeddings import embed_items
from .profiling.encoder import Encoder, open_encoder
from .profiling.errors import ArtefactError, ShopError, WorkspaceError
from .profiling.intent import IntentConfig, IntentModel, fit_intent, intent_from_state
from .profiling.log import EventLog, event_log
from .profiling.query_cache import cached_queries
from .profiling.shop import Shop, read_shop
from .profiling.stamp import EncoderStamp
from .profiling.yardsticks import Yardsticks, fit_yardsticks
from .retrieval.engine import Engine, make_engine
from .retrieval.recommender import DEFAULT_NEWCOMER_WEIGHTS, RecommenderConfig, fit_recommender
from .retrieval.repeats import repeat_share
from .retrieval.scorer import TrainingSet
from .retrieval.state import log_arrays, log_from_arrays, recommender_from_state, recommender_state, within

FORMAT = 2
_KIND = "workspace"
_EVENT_COLUMNS = ("user_id", "kind", "at", "seq", "item_id", "text", "rating", "quantity", "price")

Say = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much (0 = unknown)."""


@dataclass(frozen=True, eq=False)
class Workspace:
    """An opened workspace.

    Attributes:
        path: its folder
        shop: the shop's folder it was built from
        settings: as built
        engine: answers requests
        intent_model: reads queries
        encoder: embeds texts; loads its network on first use
        items: the catalogue
        about: what was built and learned: counts, weights, validation figures
    """

    path: Path
    shop: Path
    settings: Settings
    engine: Engine
    intent_model: IntentModel
    encoder: Encoder
    items: pd.DataFrame
    about: dict[str, Any]

    @property
    def last_s(self) -> float:
        """Time of the newest event, seconds since 1970 UTC; 0 without events. Requests default to just after it."""
        return float(self.engine.log.at_s.max(initial=0.0))


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
    inputs = _inputs(shop_path, settings, seed)
    if (found := _published(path, inputs)) is not None:
        return Built(path, False, found)
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
    embeddings = embed_items(
        shop.items, encoder, settings.template, path / "cache", progress=lambda n, of: tell("Embedding items", n, of)
    )
    tell("Reading intents off the catalogue", 0, 0)
    rng = np.random.default_rng(seed)
    intent = fit_intent(shop.items, embeddings.vectors, _in_money_of(shop, settings.intent), rng=rng, encoder=encoder)
    log = _log(shop)
    clock = bool(shop.meta.get("absolute_time", True))
    everything = TrainingSet(
        log,
        shop.items,
        embeddings.vectors,
        float(log.at_s.max(initial=0.0)) + 1.0,
        shared_clock=clock,
        users=shop.users,
    )
    learned = _learn(shop, everything, encoder, settings.recommender, rng, tell)
    tell("Fitting the recommender", 0, 0)
    model = fit_recommender(
        everything,
        learned.recommender,
        weights=learned.weights,
        newcomer_weights=learned.newcomer_weights,
        exclude_seen=repeat_share(log) < 0.01,
        encoder=encoder,
        fusion=learned.fusion,
    )
    about = {
        "shop": shop.name,
        "items": len(shop.items),
        "events": len(log),
        "shoppers": log.n_users,
        "weights": {name: round(weight, 4) for name, weight in model.weights.items()},
        "newcomer_weights": {name: round(weight, 4) for name, weight in model.newcomer_weights.items()},
        "validation_ndcg@10": None if np.isnan(learned.ndcg) else round(learned.ndcg, 4),
        "validation_single": {name: round(value, 4) for name, value in learned.single.items()},
        "encoder": str(embeddings.stamp),
        "fidelity": None if prepared.fidelity is None else prepared.fidelity.to_dict(),
    }
    tell("Publishing", 0, 0)
    arrays, meta = recommender_state(model)
    intent_arrays, intent_meta = intent.to_state()
    write_artefact(
        path / "model",
        kind=_KIND,
        stamp=embeddings.stamp,
        inputs=inputs,
        arrays=_storable(
            {f"recommender.{n}": a for n, a in arrays.items()}
            | {f"intent.{n}": a for n, a in intent_arrays.items()}
            | {f"log.{n}": a for n, a in log_arrays(log).items()}
        ),
        tables={
            "items": shop.items,
            "shoppers": pd.DataFrame({"user_id": log.user_ids.astype(str)}),
            **({} if shop.users is None else {"users": shop.users}),
        },
        meta={
            "format": FORMAT,
            "shop": str(shop_path),
            "settings": settings.model_dump(mode="json"),
            "recommender": meta,
            "intent": intent_meta,
            "about": about,
        },
    )
    return Built(path, True, about)


def open_workspace(path: str | Path, *, verify: bool = False) -> Workspace:
    """Open a built workspace.

    Raises:
        WorkspaceError: nothing was built there.
        ArtefactError: what is there is damaged or from another version.
        EncoderError: its encoder is not here any more.
    """
    path = Path(path)
    if not (path / "model").is_dir():
        raise WorkspaceError(f"no workspace at {path}; build one: tasteprint build SHOP --workspace {path}")
    held = read_artefact(path / "model", kind=_KIND, verify=verify)
    try:
        settings = Settings.model_validate(held.meta["settings"])
    except ValidationError as error:
        raise WorkspaceError(
            f"workspace {path} was built by another version; build it again: tasteprint build"
        ) from error
    encoder = cached_queries(_encoder_of(settings, held.stamp, path), settings.query_cache)
    items, arrays = held.tables["items"], {name.replace("__", "."): array for name, array in held.arrays.items()}
    log = log_from_arrays(
        within(arrays, "log."), held.tables["shoppers"]["user_id"].to_numpy(object), items["item_id"].to_numpy(object)
    )
    intent_model = intent_from_state(within(arrays, "intent."), held.meta["intent"]).with_heads(encoder)
    model = recommender_from_state(within(arrays, "recommender."), held.meta["recommender"], encoder=encoder)
    engine = make_engine(model, items, log, users=held.tables.get("users"), intent_model=intent_model)
    about = dict(held.meta["about"])
    return Workspace(path, Path(held.meta["shop"]), settings, engine, intent_model, encoder, items, about)


def shop_yardsticks(opened: Workspace, shop: Shop) -> Yardsticks:
    """What profiles of this workspace's shoppers are measured with, over its taste vectors; takes seconds.

    Raises:
        ShopError: the shop has no events.
    """
    vectors = opened.engine.recommender.space.items["taste"]
    return fit_yardsticks(shop, vectors, config=opened.settings.profile, rng=np.random.default_rng(0))


def _learn(
    shop: Shop,
    everything: TrainingSet,
    encoder: Encoder,
    settings: RecommenderConfig,
    rng: np.random.Generator,
    tell: Say,
) -> Learned:
    """Settings and weights from the shop's own validation requests: events, and judged queries where there are any."""
    config = TasteprintConfig(recommender=settings)
    weights = default_weights(everything)
    best = float("nan")
    single: dict[str, float] = {}
    fusion = settings.fallback
    newcomers: Mapping[str, float] = DEFAULT_NEWCOMER_WEIGHTS
    protocols = ["time_split" if everything.shared_clock else "leave_one_out", "search_full"]
    for protocol in protocols:
        try:
            split = make_split(shop, protocol, Options(), stage="valid")
        except ShopError:
            continue  # the shop has nothing to choose on here; the defaults stay
        if not len(split.requests):
            continue
        tell(f"Choosing weights on {protocol}", 0, 0)
        train = replace(everything, log=split.train, until_s=split.until_s)
        learned = learn(train, split, config, rng=rng, encoder=encoder)
        weights = {n: w for n, w in weights.items() if n not in learned.weights} | dict(learned.weights)
        single |= learned.single
        fusion = "scaled"  # weights from validation are in units of scaled scores
        if protocol != "search_full":
            best, config = learned.ndcg, TasteprintConfig(recommender=learned.recommender)
            newcomers = learned.newcomer_weights
    return Learned(config.recommender, weights, best, single, newcomers, fusion)


def _in_money_of(shop: Shop, config: IntentConfig) -> IntentConfig:
    """The intent settings with the shop's currency, unless they name one."""
    if config.facets.currency is not None:
        return config
    facets = config.facets.model_copy(update={"currency": shop.meta.get("currency")})
    return config.model_copy(update={"facets": facets})


def _encoder_of(settings: Settings, stamp: EncoderStamp | None, path: Path) -> Encoder:
    """The very encoder a workspace was built with, which on another machine ``auto`` might not be.

    Raises:
        ArtefactError: what the settings open has another stamp by now.
        EncoderError: it is not here any more.
    """
    config = settings.encoder
    if stamp is not None and stamp.runtime:
        kept = config.prepared or str(path / "cache" / PREPARED)
        config = config.model_copy(update={"prepared": kept, "precision": stamp.precision, "runtime": stamp.runtime})
    encoder = open_encoder(config)
    if stamp is not None:
        check_stamp(f"workspace {path}", encoder.stamp.with_template(settings.template.text), stamp)
    return encoder


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
        held: Artefact = read_artefact(path / "model", kind=_KIND, verify=False)
    except ArtefactError:
        return None
    return dict(held.meta["about"]) if dict(held.inputs) == inputs else None


def _storable(arrays: dict[str, Any]) -> dict[str, Any]:
    """Arrays as artefacts take them: contiguous, and named by identifiers."""
    return {name.replace(".", "__"): np.ascontiguousarray(array) for name, array in arrays.items()}
