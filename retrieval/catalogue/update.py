"""A catalogue that changes under a running engine: items added, replaced and removed without a rebuild.

An engine is never changed: `apply_items` gives another one, and requests that hold the old one end with it. Rows stay:
a replaced item keeps its own with all that was learned of it, a removed one keeps it for the histories that hold it and
is never shown, a new one comes at the end with nothing learned yet. What learning from events would say of the changes
waits for the next build. Keeping changes on disk is `catalogue.journal`'s work.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...profiling.errors import ShopError
from ...profiling.tables.schema import conform
from ..engine import Engine
from ..filters import ItemFacts, item_facts, merged_values
from ..index.kinds import built_again
from ..index.live import LiveView, check_vectors, live_view
from ..recommender import Recommender
from ..weighing import TEXT_BLOCKS, rest_range
from .facts import extended_rank_facts
from .parts import Placed, extended_moments, extended_source, extended_space

Float = NDArray[np.float32]
Ints = NDArray[np.int64]

_MOST_ADDED = 20_000  # added texts from which on the index is built anew


def apply_items(engine: Engine, upserts: pd.DataFrame | None, vectors: Float, *, removed: Sequence[str] = ()) -> Engine:
    """An engine over the catalogue with these changes; the one given stays as it is.

    Args:
        engine: so far
        upserts: items to add, or to put in the place of those with the same id, in the data contract; None = none
        vectors: their text vectors, made by the engine's encoder with its template, (n, d)
        removed: ids of items to remove; those that are not there are passed over

    Raises:
        ShopError: an item breaks the data contract, or an id is there twice.
        ArtefactError: a vector of another width or not finite, or an engine that was prepared by an earlier version.
    """
    items = checked_items(upserts, removed)
    check_vectors(vectors, engine.recommender.space.dims["meaning"])
    if len(vectors) != len(items):
        raise ShopError(f"items: vectors must be one an item, got {len(vectors)} for {len(items)} items")
    gone = [row for item_id in removed if (row := engine.facts.row_of.get(item_id)) is not None]
    if not len(items) and not gone:
        return engine
    placed = _place(items, np.asarray(vectors, dtype=np.float32), engine.facts)
    recommender = _extended(engine.recommender, placed, engine.facts)
    facts = _facts(engine.facts, placed, np.array(gone, dtype=np.int64))
    before, after = engine.recommender.space.items, recommender.space.items
    titles = dict(engine.titles) | dict(zip(items["item_id"].tolist(), items["title"].tolist(), strict=True))
    new_ids = items["item_id"].to_numpy(object)[placed.is_new]
    changed = replace(
        engine,
        recommender=recommender,
        facts=facts,
        titles=titles,
        moments=extended_moments(engine.moments, before, after, placed) if len(items) else engine.moments,
        log=replace(engine.log, item_ids=np.concatenate([engine.log.item_ids, new_ids])),
    )
    return _with_texts(changed, engine, placed)


def checked_items(upserts: pd.DataFrame | None, removed: Sequence[str] = ()) -> pd.DataFrame:
    """Items in the data contract, each id once and none of them among the removed, with usable prices and attributes.

    Raises:
        ShopError: they are not.
    """
    items = conform("items", pd.DataFrame({"item_id": [], "title": []}) if upserts is None else upserts)
    ids = pd.Index([*items["item_id"].tolist(), *removed], dtype=object)
    if not ids.is_unique:
        raise ShopError(f"items: item_id {ids[ids.duplicated()][0]!r} twice in one change; keep its last one")
    if any(not isinstance(item_id, str) or not item_id for item_id in ids):
        raise ShopError("items: item_id must be text that is not empty; give every item one")
    price = items["price"].to_numpy(np.float64, na_value=np.nan)
    if (np.isinf(price) | (price < 0)).any():
        bad = ids[int(np.argmax(np.isinf(price) | (price < 0)))]
        raise ShopError(f"items: price of {bad!r} must be a finite number >= 0 or null; leave it out if it is unknown")
    for item_id, attributes in zip(ids, items["attributes"].tolist(), strict=False):
        if isinstance(attributes, str) and not _is_object(attributes):
            raise ShopError(f"items: attributes of {item_id!r} must be a JSON object, got {attributes[:60]!r}")
    return items


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _place(items: pd.DataFrame, vectors: Float, facts: ItemFacts) -> Placed:
    """Old rows for ids that were ever there, new ones for the others."""
    n_before = len(facts.price)
    rows = np.array([facts.row_of.get(item_id, -1) for item_id in items["item_id"]], dtype=np.int64)
    new = rows < 0
    rows[new] = n_before + np.arange(int(new.sum()))
    return Placed(items, vectors, rows, n_before)


def _extended(recommender: Recommender, placed: Placed, facts: ItemFacts) -> Recommender:
    """Every part with the items that come."""
    if not len(placed.items):
        return recommender
    stages = {}
    for name in ("second", "second_search"):
        stage = getattr(recommender, name)
        stages[name] = stage and replace(stage, facts=extended_rank_facts(stage.facts, placed, facts))
    return replace(
        recommender,
        space=extended_space(recommender.space, placed),
        sources={name: extended_source(source, placed) for name, source in recommender.sources.items()},
        **stages,
    )


def _facts(facts: ItemFacts, placed: Placed, gone: Ints) -> ItemFacts:
    """What filters read, and what is sold."""
    given = item_facts(placed.items)
    sold = placed.room(np.ones(placed.n_before, dtype=bool) if facts.sold is None else facts.sold, fill=False)
    sold = sold.copy()
    sold[placed.rows] = True
    sold[gone] = False
    ids = placed.items["item_id"].tolist()
    return ItemFacts(
        row_of={**facts.row_of, **dict(zip(ids, placed.rows.tolist(), strict=True))},
        category=placed.put(facts.category, given.category),
        brand=placed.put(facts.brand, given.brand),
        price=placed.put(facts.price, given.price),
        in_stock=placed.put(facts.in_stock, given.in_stock),
        sold=None if sold.all() else sold,
        with_value=merged_values(facts.with_value, given.with_value, placed.rows),
    )


@dataclass(frozen=True, eq=False)
class _Texts:
    """Rows of an engine's texts, and the text of each item that comes."""

    rows: Float
    of_item: Ints


def _with_texts(changed: Engine, before: Engine, placed: Placed) -> Engine:
    """The engine with its texts, the items of each, and its index brought up to date."""
    blocks, facts = changed.recommender.space.items, changed.facts
    given = np.hstack([blocks[name][placed.rows] for name in TEXT_BLOCKS])
    view = before.index if isinstance(before.index, LiveView) else live_view(before.index)
    new = _distinct_texts(before.texts, view.alive, given, blocks["meaning"].shape[1])
    texts = np.concatenate([before.texts, new.rows]) if len(new.rows) else before.texts
    text_of = placed.put(before.text_of, new.of_item)
    sold = np.arange(placed.n_items) if facts.sold is None else np.flatnonzero(facts.sold)
    held = np.bincount(text_of[sold], minlength=len(texts))
    view = view.changed(vectors=new.rows)
    view = view.changed(gone=np.flatnonzero(view.alive & (held == 0)))
    if view.base is not None and len(view.added) > _MOST_ADDED:
        view = live_view(built_again(view.base, texts)).changed(gone=np.flatnonzero(held == 0))
    return replace(
        changed,
        index=view,
        texts=texts,
        text_of=text_of,
        items_of=sold[np.argsort(text_of[sold], kind="stable")],
        first_of=np.concatenate([[0], np.cumsum(held)]).astype(np.int64),
        rest_range=rest_range(blocks),
    )


def _distinct_texts(texts: Float, alive: NDArray[np.bool_], given: Float, width: int) -> _Texts:
    """The texts among ``given`` that no living row of ``texts`` has; texts are told apart by their first ``width``."""
    meaning = np.ascontiguousarray(given[:, :width])
    maybe = np.flatnonzero(np.isin(texts[:, 0], meaning[:, 0]) & alive)
    known = {texts[row, :width].tobytes(): int(row) for row in maybe}
    of_item = np.empty(len(given), dtype=np.int64)
    fresh: list[int] = []
    for place, row in enumerate(meaning):
        key = row.tobytes()
        if key not in known:
            known[key] = len(texts) + len(fresh)
            fresh.append(place)
        of_item[place] = known[key]
    return _Texts(given[fresh], of_item)
