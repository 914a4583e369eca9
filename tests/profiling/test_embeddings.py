"""Embedding a catalogue: order, the cache by content, interruption, damage, and the artefact."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from tasteprint.profiling.embedding.embeddings import embed_items, embed_texts, load_embeddings, save_embeddings
from tasteprint.profiling.encoders.encoder import HashEncoder
from tasteprint.profiling.errors import ArtefactError, ConfigError, EncoderError
from tasteprint.profiling.tables.shop import write_shop
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.profiling.templates import TemplateConfig, item_texts

TITLES = TemplateConfig(fields=("title",))


class CountingEncoder(HashEncoder):
    """Remembers what it was asked, and stops at a text if told to."""

    def __init__(self, stop_at: str | None = None, seed: int = 0) -> None:
        super().__init__(dim=16, seed=seed)
        self.seen: list[str | None] = []
        self.stop_at = stop_at

    def encode(self, texts: Sequence[str | None], kind: str = "item") -> NDArray[np.float32]:  # type: ignore[override]
        if self.stop_at in texts:
            raise KeyboardInterrupt
        self.seen += list(texts)
        return super().encode(texts)


def items_of(titles: Sequence[str | None]) -> pd.DataFrame:
    return pd.DataFrame({"item_id": [f"i{row}" for row in range(len(titles))], "title": titles})


@pytest.fixture
def items() -> pd.DataFrame:
    return items_of([f"lamp {row % 40}" for row in range(100)] + ["", None])


def test_equals_encoding_directly(items: pd.DataFrame, tmp_path: Path):
    encoder = CountingEncoder()
    got = embed_items(items, encoder, TITLES, tmp_path)
    np.testing.assert_array_equal(got.vectors, HashEncoder(dim=16).encode(item_texts(items, TITLES)))
    assert got.ids.tolist() == items["item_id"].tolist()
    assert got.stamp == encoder.stamp.with_template(TITLES.text)
    assert not got.vectors[100:].any()
    assert len([text for text in encoder.seen if text]) == 40


def test_an_unchanged_text_is_never_encoded_twice(items: pd.DataFrame, tmp_path: Path):
    first = embed_items(items, CountingEncoder(), TITLES, tmp_path)
    again = CountingEncoder()
    second = embed_items(items, again, TITLES, tmp_path)
    assert again.seen == []
    np.testing.assert_array_equal(first.vectors, second.vectors)
    # another order, one changed and one new item: only those two are encoded
    changed = items_of([*items["title"].tolist()[::-1], "sofa"])
    changed.loc[5, "title"] = "desk"
    more = CountingEncoder()
    third = embed_items(changed, more, TITLES, tmp_path)
    assert sorted(more.seen) == ["desk", "sofa"]
    np.testing.assert_array_equal(third.vectors, HashEncoder(dim=16).encode(changed["title"].tolist()))


def test_another_encoder_or_kind_shares_nothing(tmp_path: Path):
    embed_texts(["lamp"], CountingEncoder(), tmp_path)
    other = CountingEncoder(seed=1)
    vectors = embed_texts(["lamp"], other, tmp_path)
    assert other.seen == ["lamp"]
    np.testing.assert_array_equal(vectors, HashEncoder(dim=16, seed=1).encode(["lamp"]))
    query = CountingEncoder()
    embed_texts(["lamp"], query, tmp_path, kind="query")
    assert query.seen == ["lamp"]


def test_an_interrupted_run_goes_on(tmp_path: Path):
    texts = [f"lamp {row}" for row in range(100)]
    with pytest.raises(KeyboardInterrupt):
        embed_texts(texts, CountingEncoder(stop_at="lamp 65"), tmp_path, chunk=10)
    rest = CountingEncoder()
    vectors = embed_texts(texts, rest, tmp_path, chunk=10)
    assert rest.seen == texts[60:]
    np.testing.assert_array_equal(vectors, HashEncoder(dim=16).encode(texts))


@pytest.mark.parametrize("damage", ["cut", "empty", "header", "vector", "key", "leftover"])
def test_a_damaged_cache_is_encoded_again(tmp_path: Path, damage: str):
    texts = ["lamp", "sofa", "desk"]
    expected = embed_texts(texts, CountingEncoder(), tmp_path, chunk=2)
    files = sorted(tmp_path.rglob("*.safetensors"))
    assert len(files) == 2
    content = bytearray(files[0].read_bytes())
    if damage == "cut":
        files[0].write_bytes(content[:-3])
    elif damage == "empty":
        files[0].write_bytes(b"")
    elif damage in ("header", "vector", "key"):
        content[{"header": 20, "vector": len(content) // 2, "key": -1}[damage]] ^= 64
        files[0].write_bytes(content)
    else:
        (files[0].parent / ".tmp-dead").write_bytes(content[:7])
    again = CountingEncoder()
    np.testing.assert_array_equal(embed_texts(texts, again, tmp_path), expected)
    assert bool(again.seen) == (damage != "leftover")


def test_progress_counts_new_texts(tmp_path: Path):
    told: list[tuple[int, int]] = []
    embed_texts(["a", "b", "c", "a"], HashEncoder(), tmp_path, progress=lambda *n: told.append(n), chunk=2)
    assert told == [(0, 3), (2, 3), (3, 3)]
    told.clear()
    embed_texts(["a", "b"], HashEncoder(), tmp_path, progress=lambda *n: told.append(n))
    assert told == [(0, 0)]


def test_no_items():
    got = embed_items(items_of([]), HashEncoder())
    assert got.vectors.shape == (0, 64)


def test_cache_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EncoderError, match="cannot be written"):
        embed_texts(["a"], HashEncoder(), tmp_path / "file")


def test_saved_and_loaded(items: pd.DataFrame, tmp_path: Path):
    made = embed_items(items, HashEncoder(dim=16), TITLES)
    save_embeddings(made, tmp_path, inputs={"items": "5f"})
    back = load_embeddings(tmp_path, stamp=made.stamp)
    np.testing.assert_array_equal(back.vectors, made.vectors)
    assert back.ids.tolist() == made.ids.tolist()
    assert back.stamp == made.stamp
    with pytest.raises(ArtefactError, match="template: "):
        load_embeddings(tmp_path, stamp=HashEncoder(dim=16).stamp.with_template("another"))


def test_the_command(tmp_path: Path):
    import typer
    from typer.testing import CliRunner

    from tasteprint.commands.embed import embed

    app = typer.Typer()
    app.command()(embed)
    shop = tiny_shop()
    write_shop(shop, tmp_path / "shop")
    asked = [str(tmp_path / "shop"), "--out", str(tmp_path / "out"), "--encoder", "hash:32", "--json"]
    first, second = (json.loads(CliRunner().invoke(app, asked, catch_exceptions=False).stdout) for _ in range(2))
    assert first["items"] == len(shop.table("items"))
    assert (first["dim"], first["encoded_texts"] > 0, second["encoded_texts"]) == (32, True, 0)
    assert second["digest"] == first["digest"]
    back = load_embeddings(tmp_path / "out")
    np.testing.assert_array_equal(back.vectors, HashEncoder(dim=32).encode(item_texts(shop.table("items"))))
    with pytest.raises(ConfigError, match="add --on ray"):
        CliRunner().invoke(app, [*asked, "--workers", "2"], catch_exceptions=False)
    said = CliRunner().invoke(app, asked[:-1], catch_exceptions=False).stdout
    assert "up to date, nothing to do; 42 items, 32 dimensions" in said
