"""A second stage as plain arrays and JSON values, and back: its ranker, its facts, its words. No pickle anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...profiling.shopper.cycles import CycleModel
from ..sparse_state import csr_from_arrays
from .facts import Pairs, RankFacts
from .ranker_state import ranker_from_state, ranker_state
from .stage import SecondStage
from .text_features import Bags, ItemWords

Arrays = dict[str, NDArray[Any]]
Meta = dict[str, Any]

_PLAIN = ("count", "category", "brand", "log_price")
_PAIRS = ("follows", "together")
_BAGS = ("title", "brand", "facts", "description", "sizes")
_WORD_ARRAYS = ("idf", "prefix", "head", "size_unit")


def stage_state(stage: SecondStage) -> tuple[Arrays, Meta]:
    """Everything of a second stage."""
    facts = stage.facts
    ranker, told = ranker_state(stage.model)
    arrays: Arrays = {f"ranker.{name}": array for name, array in ranker.items()}
    arrays |= {f"facts.{name}": getattr(facts, name) for name in _PLAIN}
    for name in _PAIRS:
        pairs = getattr(facts, name)
        arrays |= {f"{name}.key": pairs.key, f"{name}.count": pairs.count}
    rows = facts.attributes
    arrays |= {"attributes.data": rows.data, "attributes.indices": rows.indices, "attributes.indptr": rows.indptr}
    arrays |= {"cycles.item_log_gap": facts.cycles.item_log_gap, "cycles.repeat_share": facts.cycles.repeat_share}
    meta: Meta = {
        "ranker": told,
        "groups": list(stage.groups),
        "depth": stage.depth,
        "ties": facts.ties,
        "n_values": int(rows.shape[1]),
        "strength": float(facts.cycles.strength),
    }
    if facts.words is not None:
        words, meta["words"] = _words_state(facts.words)
        arrays |= {f"words.{name}": array for name, array in words.items()}
    return arrays, meta


def stage_from_state(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> SecondStage:
    """The second stage that `second_stage.state` took apart."""
    plain: dict[str, Any] = {name: np.asarray(arrays[f"facts.{name}"]) for name in _PLAIN}
    n_items = len(plain["count"])
    sparse = {name: np.asarray(arrays[f"attributes.{name}"]) for name in ("data", "indices", "indptr")}
    cycles = CycleModel(
        np.asarray(arrays["cycles.item_log_gap"]), meta["strength"], np.asarray(arrays["cycles.repeat_share"])
    )
    pairs = [Pairs(np.asarray(arrays[f"{n}.key"]), np.asarray(arrays[f"{n}.count"]), n_items) for n in _PAIRS]
    facts = RankFacts(
        **plain,
        attributes=csr_from_arrays(sparse | {"shape": np.array([n_items, meta["n_values"]])}),
        follows=pairs[0],
        together=pairs[1],
        cycles=cycles,
        ties=meta["ties"],
        words=_words_from_state(arrays, meta["words"]) if "words" in meta else None,
    )
    ranker = {name.removeprefix("ranker."): array for name, array in arrays.items() if name.startswith("ranker.")}
    return SecondStage(ranker_from_state(ranker, meta["ranker"]), facts, tuple(meta["groups"]), int(meta["depth"]))


def _words_state(words: ItemWords) -> tuple[Arrays, Meta]:
    arrays: Arrays = {name: getattr(words, name) for name in _WORD_ARRAYS}
    for name in _BAGS:
        bag = getattr(words, name)
        arrays |= {f"{name}.start": bag.start, f"{name}.value": bag.value}
    return arrays, {"vocabulary": list(words.vocabulary), "sizes": list(words.size_of)}


def _words_from_state(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> ItemWords:
    plain: dict[str, Any] = {name: np.asarray(arrays[f"words.{name}"]) for name in _WORD_ARRAYS}
    bags: dict[str, Any] = {
        name: Bags(np.asarray(arrays[f"words.{name}.start"]), np.asarray(arrays[f"words.{name}.value"]))
        for name in _BAGS
    }
    return ItemWords(
        vocabulary={word: place for place, word in enumerate(meta["vocabulary"])},
        size_of={size: place for place, size in enumerate(meta["sizes"])},
        **plain,
        **bags,
    )
