"""Readings of queries: kept by whom they are from, found on a shelf, let go of in order of use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tasteprint.profiling.intent.types import Intent
from tasteprint.retrieval.readings import Readings


class Dict:
    """A shelf in a dict."""

    def __init__(self) -> None:
        self.kept: dict[str, Intent] = {}

    def get(self, query: str) -> Intent | None:
        """What was put there."""
        return self.kept.get(query)

    def put(self, query: str, intent: Intent) -> None:
        """Keep it."""
        self.kept[query] = intent

    def clear(self) -> None:
        """Keep nothing."""
        self.kept.clear()


def read(query: str) -> Intent:
    """A reading."""
    return Intent(query, np.full(3, len(query), dtype=np.float32))


def test_least_recently_used_goes_first() -> None:
    readings, by, made = Readings(2), (object(), object()), []

    def ask(query: str) -> None:
        assert readings.of(query, by, lambda: made.append(query) or read(query)).text == query  # type: ignore[arg-type, func-returns-value]

    for query in ("a", "b", "a", "c", "a", "b", "b"):
        ask(query)
    assert made == ["a", "b", "c", "b"]
    assert (readings.count().known, readings.count().found, readings.count().made) == (3, 0, 4)
    readings.clear()
    ask("b")
    assert made[4:] == ["b"]


def test_another_model_or_encoder_reads_for_itself() -> None:
    readings, model, encoder = Readings(), object(), object()
    for n, by in enumerate([(model, encoder), (object(), encoder), (model, object()), (model, encoder)]):
        assert readings.of("a", by, lambda n=n: replace(read("a"), confidence=n)).confidence == n  # type: ignore[arg-type, misc]
    assert readings.of("a", (model, encoder), lambda: read("x")).text == "a"  # type: ignore[arg-type]


def test_what_others_left_is_taken_and_what_is_read_is_left() -> None:
    shelf, by = Dict(), (object(), object())
    one, two = Readings(shelf=shelf), Readings(shelf=shelf)
    made = one.of("a", by, lambda: read("a"))  # type: ignore[arg-type]
    assert two.of("a", by, lambda: read("x")).text == "a"  # type: ignore[arg-type]
    assert (one.count().made, two.count().found, two.count().made) == (1, 1, 0)
    assert not made.vector.flags.writeable  # it is everybody's
    two.clear()
    assert shelf.kept == {}
    assert two.of("a", by, lambda: read("x")).text == "x"  # type: ignore[arg-type]
