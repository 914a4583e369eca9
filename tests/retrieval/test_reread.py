"""An answer read again: the order of the sums, one more reason, and nothing lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pytest

from tasteprint.profiling.errors import ConfigError
from tasteprint.retrieval.ranking import Answer, Reason, Recommendation
from tasteprint.retrieval.second_stage.cross_encoder import CrossEncoder
from tasteprint.retrieval.second_stage.reread import PART, reread

TEXTS = {"a": "oak desk", "b": "green tea", "c": "desk lamp", "d": "lamp"}


@dataclass(frozen=True)
class Words:
    """Stands in for a cross-encoder: a point for every word of the query in the text."""

    weight: float

    def added(self, query: str, texts: Sequence[str]) -> np.ndarray:
        words = set(query.split())
        return np.float32(self.weight) * np.array([len(words & set(t.split())) for t in texts], dtype=np.float32)


def cross(weight: float) -> CrossEncoder:
    return cast(CrossEncoder, Words(weight))


def answer_of(*, explain: bool = True) -> Answer:
    items = []
    for rank, (item, score) in enumerate({"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6}.items(), start=1):
        reasons = (Reason("meaning", score - 0.1), Reason("bm25", 0.1)) if explain else ()
        items.append(Recommendation(item, item.upper(), score, rank, reasons, "Why." if explain else ""))
    return Answer(tuple(items), None, "", True)


def test_the_new_order_is_that_of_the_sums_and_reasons_still_add_up() -> None:
    found = reread(answer_of(), "desk lamp", cross(0.25), TEXTS)
    assert [item.item_id for item in found.items] == ["c", "a", "d", "b"]  # 1.2, 1.15, .85, .8
    assert [item.rank for item in found.items] == [1, 2, 3, 4]
    for item in found.items:
        assert item.score == pytest.approx(sum(reason.amount for reason in item.reasons))
        assert [reason.amount for reason in item.reasons] == sorted((r.amount for r in item.reasons), reverse=True)
    assert found.items[0].score == pytest.approx(1.2)
    assert {reason.part for reason in found.items[0].reasons} == {"meaning", "bm25", PART}
    assert {reason.part for reason in found.items[3].reasons} == {"meaning", "bm25"}  # nothing was added
    assert found.items[3].sentence == "Why."
    assert "%" in found.items[0].sentence
    assert not found.exact


def test_weight_zero_is_the_answer_itself() -> None:
    assert reread(answer_of(), "desk lamp", cross(0.0), TEXTS) == answer_of()


def test_unread_items_stay_behind_and_k_cuts() -> None:
    found = reread(answer_of(), "lamp", cross(9.0), TEXTS, depth=3, k=3)
    assert [item.item_id for item in found.items] == ["c", "a", "b"]
    assert [item.item_id for item in reread(answer_of(), "lamp", cross(9.0), TEXTS, depth=2).items] == list("abcd")


def test_without_reasons_the_score_alone_changes() -> None:
    found = reread(answer_of(explain=False), "lamp", cross(1.0), TEXTS)
    assert [(item.item_id, item.reasons) for item in found.items] == [("c", ()), ("d", ()), ("a", ()), ("b", ())]
    assert found.items[0].score == pytest.approx(1.7)


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(ConfigError, match="lacks 'd'"):
        reread(answer_of(), "lamp", cross(1.0), {key: text for key, text in TEXTS.items() if key != "d"})
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        reread(answer_of(), "lamp", cross(1.0), TEXTS, depth=0)


def test_no_answer_stays_none() -> None:
    empty = Answer((), None, "nothing fits", True)
    assert reread(empty, "lamp", cross(0.0), TEXTS) == empty
