"""The examples noun: linking, cutting, joining, batches and the datasets forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tasteprint.finetune.examples import Examples, batch_of, link, merge, take
from tasteprint.finetune.streams import rows_of, to_dataset, to_stream
from tasteprint.profiling.errors import ConfigError


@pytest.fixture
def few() -> Examples:
    """Lamps asked for twice, pans once; the second lamp text is there twice."""
    return link(
        ["lamp", "nobody", "pan", "desk lamp"],
        ["Lamp A", "Lamp B", "Pan", "Lamp B", "", "Spare"],
        (np.array([0, 0, 2, 3, 0, 3, 2]), np.array([0, 1, 2, 3, 3, 2, 4])),
        gain=np.array([1.0, 2.0, 1.0, 3.0, 1.0, 0.0, 9.0]),
        weight=np.array([1.0, 1.0, 2.0, 1.0, 3.0, 1.0, 1.0]),
        source="judged",
        spared=(np.array([0, 0, 3]), np.array([2, 0, 5])),
        at_s=np.array([5.0, 1.0, np.nan, 2.0, 9.0, 3.0, 1.0]),
    )


def links(examples: Examples) -> set[tuple[str, str, float, float]]:
    return {
        (examples.anchors[a], examples.documents[d], float(g), float(w))
        for a, d, g, w in zip(examples.anchor, examples.document, examples.gain, examples.weight, strict=True)
    }


def spared(examples: Examples) -> set[tuple[str, str]]:
    return {
        (examples.anchors[a], examples.documents[d])
        for a, d in zip(examples.spared_anchor, examples.spared_document, strict=True)
    }


def test_link_joins_equal_texts_and_drops_what_says_nothing(few: Examples) -> None:
    assert few.anchors == ("lamp", "pan", "desk lamp")
    assert set(few.documents) == {"Lamp A", "Lamp B", "Pan"}
    assert links(few) == {
        ("lamp", "Lamp A", 1.0, 1.0),
        ("lamp", "Lamp B", 2.0, 4.0),
        ("pan", "Pan", 1.0, 2.0),
        ("desk lamp", "Lamp B", 3.0, 1.0),
        ("desk lamp", "Pan", 0.0, 1.0),
    }
    assert spared(few) == {("lamp", "Pan")}  # not the linked one, not the text nobody is linked to
    newest = {(few.anchors[a], few.documents[d]): t for a, d, t in zip(few.anchor, few.document, few.at_s, strict=True)}
    assert newest["lamp", "Lamp B"] == 9.0
    assert np.isnan(newest["pan", "Pan"])


def test_take_keeps_order_and_links(few: Examples) -> None:
    some = take(few, np.array([2, 0]))
    assert some.anchors == ("desk lamp", "lamp")
    assert links(some) == {row for row in links(few) if row[0] != "pan"}
    assert spared(some) == {("lamp", "Pan")}
    assert spared(take(few, np.array([0]))) == set()  # nobody is linked to the pan any more
    with pytest.raises(ConfigError, match="distinct"):
        take(few, np.array([0, 0]))


def test_merge_shares_documents_and_keeps_groups_apart(few: Examples) -> None:
    other = link(["torch"], ["Lamp A"], (np.array([0]), np.array([0])), source="queries")
    both = merge([few, other])
    assert both.documents == few.documents
    assert links(both) == links(few) | links(other)
    assert spared(both) == spared(few)
    assert list(both.source) == ["judged"] * 3 + ["queries"]
    assert len(set(both.group.tolist())) == 4
    assert np.isnan(both.at_s[-1])
    assert len(merge([])) == 0


def test_a_batch_has_all_links_and_spares(few: Examples) -> None:
    twins = replace(few, group=np.array([0, 1, 0], dtype=np.int32))  # "lamp" and "desk lamp" mean the same
    batch = batch_of(twins, np.array([0, 2]))
    texts = [twins.documents[d] for d in batch.document]
    at = {text: i for i, text in enumerate(texts)}
    assert sorted(texts) == ["Lamp A", "Lamp B", "Pan"]
    assert batch.gain[0, at["Lamp A"]] == pytest.approx(1 * 1 / 2.5)  # weights 1 and 4: mean 2.5
    assert batch.gain[0, at["Lamp B"]] == pytest.approx(2 * 4 / 2.5)
    assert batch.weight.tolist() == [2.5, 1.0]
    assert batch.judged[1].tolist() == [text != "Lamp A" for text in texts]
    assert batch.gain[1, at["Pan"]] == 0
    assert batch.spared[0, at["Pan"]]
    assert batch.spared[1, at["Lamp A"]]  # a positive of its near duplicate
    assert not batch.spared[1, at["Pan"]]  # judged irrelevant stays a negative
    both = replace(few, spared_anchor=few.anchor, spared_document=few.document)
    assert not batch_of(both, np.array([0, 2])).spared.any()  # a link says more
    apart = batch_of(few, np.array([0, 2]))
    assert not apart.spared[1].any()


def test_a_batch_can_be_cut_and_widened(few: Examples) -> None:
    cut = batch_of(few, np.array([0, 2]), most=1, rng=np.random.default_rng(0))
    assert len(cut.document) <= 2
    assert (cut.gain[1] > 0).sum() == 1  # the link with a gain goes first
    wide = batch_of(few, np.array([1]), negatives=np.array([[0, 1], [0, 2]]))
    assert sorted(few.documents[d] for d in wide.document) == ["Lamp A", "Lamp B", "Pan"]
    assert wide.judged.sum() == 1
    with pytest.raises(ConfigError, match="rng"):
        batch_of(few, np.array([0]), most=1)


def test_a_batch_equals_a_slow_one() -> None:
    """Random links against dictionaries."""
    rng = np.random.default_rng(4)
    pairs = rng.integers(0, [30, 20], size=(200, 2))
    examples = link(
        [f"a{i}" for i in range(30)],
        [f"d{i}" for i in range(20)],
        (pairs[:, 0], pairs[:, 1]),
        gain=rng.integers(0, 3, 200).astype(float),
        source="judged",
        spared=tuple(rng.integers(0, [30, 20], size=(100, 2)).T),
    )
    rows = rng.permutation(len(examples))[:9]
    batch = batch_of(examples, rows)
    known = {(examples.anchors[a], examples.documents[d]): g for a, d, g in _triples(examples)}
    away = spared(examples)
    for i, row in enumerate(rows):
        for j, document in enumerate(batch.document):
            pair = examples.anchors[row], examples.documents[document]
            assert batch.judged[i, j] == (pair in known)
            assert batch.spared[i, j] == (pair in away)
            assert (batch.gain[i, j] > 0) == (known.get(pair, 0) > 0)


def _triples(examples: Examples) -> list[tuple[int, int, float]]:
    return list(zip(examples.anchor.tolist(), examples.document.tolist(), examples.gain.tolist(), strict=True))


def test_table_and_stream_hold_the_same_rows(few: Examples) -> None:
    rows = list(rows_of(few))
    assert rows[0]["anchor"] == "lamp"
    assert dict(zip(rows[0]["documents"], rows[0]["gains"], strict=True)) == {"Lamp A": 1.0, "Lamp B": 2.0}
    table = to_dataset(few)
    assert list(table) == rows
    assert list(to_stream([few])) == rows
    assert to_stream([few]).features == table.features
    assert list(to_stream([few, few])) == rows + rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gain": np.ones(2, dtype=np.float32)}, "gain must have 5 rows"),
        ({"anchor": np.array([0, 0, 0, 1, 7], dtype=np.int32)}, r"rows of links must be in \[0, 3\)"),
        ({"anchor": np.array([2, 2, 1, 0, 0], dtype=np.int32)}, "ascending"),
        ({"weight": np.zeros(5, dtype=np.float32)}, "weight > 0"),
        ({"gain": -np.ones(5, dtype=np.float32)}, "gain must be >= 0"),
    ],
)
def test_broken_examples_are_refused(few: Examples, change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(few, **change)
