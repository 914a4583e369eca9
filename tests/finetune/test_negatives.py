"""Negatives on hand-made cases: nothing that answers an anchor, or may well answer it, is ever told to be away."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tasteprint.finetune.examples import Examples, link
from tasteprint.finetune.negatives import (
    NEGATIVES,
    NegativesConfig,
    find_negatives,
    hard_negatives,
    judged_negatives,
    log_frequency,
    uniform_negatives,
)
from tasteprint.profiling.errors import ConfigError

DEGREES = {"red lamp": 20, "red lamps": 25, "blue lamp": 10, "pan": 30, "pot": 40, "hose": 50, "rake": 80}
ITEMS = list(DEGREES)


@pytest.fixture
def examples() -> Examples:
    """ "lamp" has one positive, one judged irrelevant and one spared item; "pan" and "pans" mean the same."""
    anchors = np.array([0, 0, 1, 2, 3, 3, 3, 3])
    documents = np.array([0, 5, 3, 4, 1, 2, 5, 6])
    gain = np.array([1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    made = link(
        ["lamp", "pan", "pans", "garden"],
        ITEMS,
        (anchors, documents),
        gain=gain,
        source="judged",
        spared=(np.array([0]), np.array([3])),
    )
    return replace(made, group=np.array([0, 1, 1, 3], dtype=np.int32))


def drawn(found: tuple[np.ndarray, np.ndarray], examples: Examples, anchor: int) -> set[str]:
    rows, real = found
    return {examples.documents[d] for d in rows[anchor][real[anchor]]}


def around(angles: list[float]) -> np.ndarray:
    """Unit vectors at these degrees."""
    turn = np.radians(angles)
    return np.column_stack([np.cos(turn), np.sin(turn)]).astype(np.float32)


def hard(examples: Examples, **options: float) -> tuple[np.ndarray, np.ndarray]:
    """The anchor "lamp" lies at 0 degrees, its positive at 20; others on the way round."""
    vectors = around([0, 0, 0, 0]), around([DEGREES[text] for text in examples.documents])
    config = NegativesConfig(kind="hard", n=5, pool=5, depth=7, **options)
    found = find_negatives(examples, config, vectors=vectors, rng=np.random.default_rng(0))
    assert found is not None
    return found


def test_hard_ones_are_near_but_safe(examples: Examples) -> None:
    found = drawn(hard(examples, margin=0.05), examples, 0)
    # red lamp: the positive; red lamps: its near duplicate; blue lamp: scores above it; pan: spared
    assert found == {"pot", "hose", "rake"}
    bar = math.cos(math.radians(20)) - math.cos(math.radians(45))  # between pot and hose
    assert drawn(hard(examples, margin=bar), examples, 0) == {"hose", "rake"}
    assert drawn(hard(examples, margin=-2), examples, 0) == {"blue lamp", "pot", "hose", "rake"}


def test_positives_of_near_duplicates_are_safe(examples: Examples) -> None:
    found = hard(examples, margin=-2)
    assert "pot" not in drawn(found, examples, 1)
    assert "pan" not in drawn(found, examples, 2)
    apart = replace(examples, group=np.arange(4, dtype=np.int32))
    assert "pot" in drawn(hard(apart, margin=-2), apart, 1)


def test_the_bar_is_the_mean_of_several_positives(examples: Examples) -> None:
    # "garden": positives at 25 and 10 degrees; their mean cosine is that of 19.1 degrees
    mean = (math.cos(math.radians(25)) + math.cos(math.radians(10))) / 2
    margin = mean - math.cos(math.radians(32))
    assert drawn(hard(examples, margin=margin), examples, 3) == {"pot", "hose", "rake"}


def test_few_are_drawn_from_the_pool_of_hardest(examples: Examples) -> None:
    vectors = around([0] * 4), around([DEGREES[text] for text in examples.documents])
    config = NegativesConfig(kind="hard", n=1, pool=2, margin=0.05)
    seen = set()
    for seed in range(20):
        found = hard_negatives(examples, config, vectors, np.random.default_rng(seed))
        seen |= drawn(found, examples, 0)
        assert found[1][0].sum() == 1
    assert seen == {"pot", "hose"}


def test_judged_ones_are_those_without_gain(examples: Examples) -> None:
    found = judged_negatives(examples, NegativesConfig(kind="judged", n=2), None, np.random.default_rng(0))
    assert [drawn(found, examples, a) for a in range(4)] == [{"hose"}, set(), set(), {"hose", "rake"}]
    one = judged_negatives(examples, NegativesConfig(kind="judged", n=1), None, np.random.default_rng(0))
    assert len(drawn(one, examples, 3)) == 1


def test_uniform_ones_are_never_linked_or_spared(examples: Examples) -> None:
    config = NegativesConfig(kind="uniform", n=500)
    found = uniform_negatives(examples, config, None, np.random.default_rng(0))
    assert drawn(found, examples, 0) == set(ITEMS) - {"red lamp", "hose", "pan"}
    assert drawn(found, examples, 1) == set(ITEMS) - {"pan", "pot"}
    share = np.bincount(found[0][0][found[1][0]], minlength=7) / 500
    assert share[share > 0] == pytest.approx(1 / 7, abs=0.06)


def test_counts_of_links_give_log_q(examples: Examples) -> None:
    again = dict(zip(examples.documents, log_frequency(examples), strict=True))
    assert again["hose"] - again["pan"] == pytest.approx(math.log(2))
    assert sum(math.exp(q) for q in again.values()) == pytest.approx(1)


@pytest.mark.parametrize("kind", NEGATIVES)
def test_every_kind_draws_the_same_for_the_same_seed(kind: str, examples: Examples) -> None:
    vectors = around([0] * 4), around([20, 25, 10, 30, 40, 50, 80])
    config = NegativesConfig(kind=kind, n=2, margin=0.05)
    first, second = (find_negatives(examples, config, vectors=vectors, rng=np.random.default_rng(3)) for _ in range(2))
    if kind == "in_batch":
        assert first is None
        return
    assert first is not None
    assert second is not None
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
    assert first[0].shape == first[1].shape == (4, 2)
    assert first[0].dtype == np.int32


def test_hard_ones_need_vectors(examples: Examples) -> None:
    for vectors in (None, (around([0] * 4), around([0] * 3))):
        with pytest.raises(ConfigError, match="hard negatives need vectors"):
            find_negatives(examples, NegativesConfig(kind="hard"), vectors=vectors, rng=np.random.default_rng(0))
