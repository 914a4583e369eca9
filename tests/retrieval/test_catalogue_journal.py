"""Changes of a catalogue on disk: read back as written, put together, and never with another encoder's vectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasteprint.profiling.encoders.encoder import HashEncoder
from tasteprint.profiling.errors import ArtefactError, ShopError
from tasteprint.profiling.journal import Journal
from tasteprint.profiling.tables.schema import conform
from tasteprint.profiling.templates import TemplateConfig
from tasteprint.retrieval.catalogue.journal import (
    CatalogueJournal,
    ItemChange,
    KnownTexts,
    Speaker,
    net_change,
    spoken,
    with_changes,
)
from tasteprint.retrieval.catalogue.update import apply_items
from tasteprint.retrieval.engine import Engine, make_engine
from tasteprint.retrieval.recommender import fit_recommender

SPEAKER = Speaker(HashEncoder(dim=24, seed=0), TemplateConfig())
OTHER = Speaker(HashEncoder(dim=24, seed=1), TemplateConfig())


def items(*ids: str, title: str = "a lamp") -> pd.DataFrame:
    rows = [{"item_id": i, "title": f"{title} {i}", "price": 2.5, "attributes": '{"colour": "red"}'} for i in ids]
    return conform("items", pd.DataFrame(rows or {"item_id": [], "title": []}))


def change(*ids: str, removed: tuple[str, ...] = (), title: str = "a lamp", speaker: Speaker = SPEAKER) -> ItemChange:
    return speaker.change(items(*ids, title=title), removed)


def assert_same(one: ItemChange, other: ItemChange) -> None:
    pd.testing.assert_frame_equal(one.items, other.items)
    np.testing.assert_array_equal(one.vectors, other.vectors)
    assert (one.removed, one.stamp) == (other.removed, other.stamp)


def test_changes_come_back_as_written(tmp_path: Path) -> None:
    written = [change("a", "b"), change(removed=("a", "ü")), change("c", removed=("b",))]
    journal, reader = CatalogueJournal(tmp_path), CatalogueJournal(tmp_path)
    assert reader.poll() == []
    assert [journal.append(one) for one in written] == [1, 2, 3]
    for (number, found), (expected, one) in zip(reader.poll(), enumerate(written, start=1), strict=True):
        assert number == expected
        assert_same(found, one)
    assert reader.poll() == []
    assert written[0].vectors.shape == (2, 24)
    np.testing.assert_array_equal(written[0].vectors, SPEAKER.vectors(written[0].items))


def test_the_last_word_on_an_item_counts() -> None:
    made = [
        change("a", "b", "c"),
        change("d", removed=("b", "x")),
        change("a", "b", title="new"),
        change(removed=("c",)),
    ]
    net = net_change(made)
    assert net is not None
    assert net.items["item_id"].tolist() == ["d", "a", "b"]
    assert net.items["title"].tolist() == ["a lamp d", "new a", "new b"]
    assert net.removed == ("x", "c")
    np.testing.assert_array_equal(net.vectors, SPEAKER.vectors(net.items))
    assert net_change([]) is None


def test_vectors_of_another_encoder_are_made_again() -> None:
    made = [change("a"), change("b", speaker=OTHER)]
    with pytest.raises(ArtefactError, match="different encoders"):
        net_change(made)
    np.testing.assert_array_equal(spoken(made, SPEAKER)[1].vectors, change("b").vectors)
    assert spoken(made, SPEAKER)[0] is made[0]
    template = Speaker(SPEAKER.encoder, TemplateConfig(fields=("title",)))
    assert spoken(made[:1], template)[0].stamp != made[0].stamp


def test_a_text_that_is_known_is_not_encoded_again() -> None:
    told: list[str] = []

    class Counting(HashEncoder):
        def encode(self, texts, kind="item"):
            told.extend(texts)
            return super().encode(texts, kind)

    encoder = Counting(dim=24, seed=0)
    speaker = Speaker(encoder, TemplateConfig())
    before = items("a", "b", title="a lamp")
    known = KnownTexts(before, np.full((2, 24), 7, np.float32))
    table = pd.concat([before.iloc[1:].assign(price=99.0), items("a", "c", title="new")], ignore_index=True)
    made = speaker.change(table, known=known)
    np.testing.assert_array_equal(made.vectors[0], 7)
    np.testing.assert_array_equal(made.vectors[1:], SPEAKER.vectors(table.iloc[1:]))
    assert [text.split(".")[0] for text in told] == ["new a", "new c"]
    told.clear()
    speaker.change(before, known=known)
    assert told == []
    assert speaker.change(None, ["a"], known=known).vectors.shape == (0, 24)


def test_rewriting_leaves_the_last_word_alone(tmp_path: Path) -> None:
    journal, late = CatalogueJournal(tmp_path), CatalogueJournal(tmp_path)
    for one in (change("a"), change("b"), change(removed=("a",))):
        journal.append(one)
    assert journal.rewrite(net_change) == 5  # what goes, then what comes
    found = [one for _, one in CatalogueJournal(tmp_path).poll()]
    again = net_change(found)
    assert again is not None
    assert (again.items["item_id"].tolist(), again.removed) == (["b"], ("a",))
    with pytest.raises(ArtefactError, match="were dropped"):
        late.poll()
    assert journal.rewrite(lambda changes: None) == 5
    assert CatalogueJournal(tmp_path).poll() == []
    assert journal.append(change("c")) == 6


def test_what_makes_no_sense_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ShopError, match="'a' twice"):
        change("a", removed=("a",))
    Journal(tmp_path).append([b"\x01" * 60])
    with pytest.raises(ArtefactError, match="record 1 cannot be read"):
        CatalogueJournal(tmp_path).poll()


def test_one_by_one_or_at_once_is_the_same(random_shop) -> None:
    train = random_shop(60, 8, 150)
    train = replace(train, vectors=SPEAKER.vectors(train.items))
    model = fit_recommender(train, weights={"meaning": 1.0, "taste_long": 0.5, "bm25": 0.5}, encoder=SPEAKER.encoder)
    engine = make_engine(model, train.items, train.log, kind="flat")
    made = [change("new", "i00001"), change("i00001", removed=("i00002",), title="other"), change("i00002", "late")]
    step: Engine = engine
    for one in made:
        step = apply_items(step, one.items, one.vectors, removed=one.removed)
    whole = with_changes(engine, made, SPEAKER)
    assert with_changes(engine, [], SPEAKER) is engine
    now_s = float(engine.log.at_s.max()) + 1.0
    for query in ("a lamp", "other", "word1"):
        one, other = (e.search(query, now_s=now_s, k=62, weights={"meaning": 1.0}) for e in (step, whole))
        np.testing.assert_allclose([i.score for i in one.items], [i.score for i in other.items], atol=1e-6)
        assert {i.item_id for i in one.items} == {i.item_id for i in other.items}
    assert step.titles["i00001"] == whole.titles["i00001"] == "other i00001"
