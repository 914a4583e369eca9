"""Embedding when files are damaged, the disk is full, or the cache was written by an older version."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tasteprint.profiling.embedding import cache as embed_cache
from tasteprint.profiling.embedding import plan as embed_plan
from tasteprint.profiling.embedding import shards as embed_shards
from tasteprint.profiling.embedding.embeddings import embed_texts, load_embeddings
from tasteprint.profiling.embedding.run import embed_shop
from tasteprint.profiling.encoders.hashing import HashEncoder
from tasteprint.profiling.errors import ArtefactError, EncoderError
from tasteprint.profiling.templates import item_texts
from tests.profiling.embed_helpers import (
    SIZES,
    BatchEncoder,
    Stopped,
    content,
    damage,
    leftovers,
    make_shop,
    stopping,
    titles_of,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncing guards against losing power, which these tests cannot bring about."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def test_what_is_published_but_damaged_is_made_again(tmp_path: Path):
    shop = make_shop(tmp_path / "shop", titles_of(60))
    embed_shop(shop, tmp_path / "out", BatchEncoder(), config=SIZES)
    expected = content(tmp_path / "out")
    version = tmp_path / "out" / (tmp_path / "out" / "CURRENT").read_text().split()[0]
    damaged = bytearray((version / "vectors-00000.safetensors").read_bytes())
    damaged[-2] ^= 1
    (version / "vectors-00000.safetensors").write_bytes(damaged)
    assert not embed_shop(shop, tmp_path / "out", BatchEncoder(), config=SIZES).up_to_date
    assert content(tmp_path / "out") == expected


@pytest.mark.parametrize("where", ["keys", "vectors", "cut"])
def test_damage_to_the_cache_while_a_run_sleeps(tmp_path: Path, where: str):
    shop = make_shop(tmp_path / "shop", titles_of(250))
    embed_shop(shop, tmp_path / "whole", BatchEncoder(), config=SIZES)
    encoder = BatchEncoder()
    with pytest.raises(Stopped):
        embed_shop(shop, tmp_path / "out", encoder, config=SIZES, encode=stopping(encoder, 5))
    for file in sorted((tmp_path / "out" / "cache").rglob("*.safetensors"))[2:4]:
        damage(file, where)
    rest = BatchEncoder()
    embed_shop(shop, tmp_path / "out", rest, config=SIZES)
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert len(rest.seen) == 231 - 3 * 16


@pytest.mark.parametrize("where", ["keys", "vectors", "cut"])
def test_damage_to_the_cache_of_the_night_before(tmp_path: Path, where: str):
    titles = titles_of(250)
    embed_shop(make_shop(tmp_path / "shop", titles), tmp_path / "out", HashEncoder(dim=16), config=SIZES)
    for file in (tmp_path / "out" / "cache").rglob("*.safetensors"):
        damage(file, where)
    titles[7] = "desk"
    report = embed_shop(make_shop(tmp_path / "shop", titles), tmp_path / "out", HashEncoder(dim=16), config=SIZES)
    assert report.n_encoded >= 231
    np.testing.assert_array_equal(
        load_embeddings(tmp_path / "out").vectors, HashEncoder(dim=16).encode([title or "" for title in titles])
    )


@pytest.mark.parametrize("name", ["plan.json", "rows.keys", "texts.utf8", "ids-00001.parquet", "done"])
def test_damage_to_the_plan(tmp_path: Path, name: str):
    """A damaged plan is made again: right vectors, and nothing that was encoded is lost."""
    shop = make_shop(tmp_path / "shop", titles_of(250))
    encoder = BatchEncoder()
    with pytest.raises(Stopped):
        embed_shop(shop, tmp_path / "out", encoder, config=SIZES, encode=stopping(encoder, 5))
    file = tmp_path / "out" / ".run" / name
    file.write_bytes(file.read_bytes()[:-7])
    rest = BatchEncoder()
    embed_shop(shop, tmp_path / "out", rest, config=SIZES)
    made = load_embeddings(tmp_path / "out").vectors
    titles = pq.read_table(shop / "items.parquet").to_pandas()
    np.testing.assert_allclose(made, HashEncoder(dim=16).encode(item_texts(titles)), atol=1e-4)
    assert len(rest.seen) == 231 - 5 * 16 + (16 if name == "done" else 0)


@pytest.mark.parametrize("where", ["plan", "cache", "shards"])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str):
    shop = make_shop(tmp_path / "shop", titles_of(250))
    embed_shop(shop, tmp_path / "whole", BatchEncoder(), config=SIZES)
    with monkeypatch.context() as patched:

        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        module, name = {
            "plan": (embed_plan, "write_whole"),
            "cache": (embed_cache, "write_whole"),
            "shards": (embed_shards, "write_tensor"),
        }[where]
        patched.setattr(module, name, full)
        with pytest.raises((ArtefactError, EncoderError), match=r"No space left.*make room|No space left.*free space"):
            embed_shop(shop, tmp_path / "out", BatchEncoder(), config=SIZES)
    embed_shop(shop, tmp_path / "out", BatchEncoder(), config=SIZES)
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert not leftovers(tmp_path / "out")


def test_the_older_cache_stays_readable(tmp_path: Path):
    """Files of key and vector records, as written before: 16 bytes of hash, then float32, named by their sha256."""
    encoder = HashEncoder(dim=16)
    texts = [f"lamp {row}" for row in range(20)]
    keys = [hashlib.blake2b(f"item\0{text}".encode(), digest_size=16).digest() for text in texts]
    raw = b"".join(
        key + vector.astype("<f4").tobytes() for key, vector in zip(keys, encoder.encode(texts), strict=True)
    )
    folder = tmp_path / encoder.stamp.digest
    folder.mkdir()
    (folder / f"{hashlib.sha256(raw).hexdigest()[:32]}.vectors").write_bytes(raw)
    again = BatchEncoder()
    np.testing.assert_array_equal(
        embed_texts([*texts[::-1], "", None], again, tmp_path)[:20], encoder.encode(texts[::-1])
    )
    assert again.seen == [""]
    report = embed_shop(make_shop(tmp_path / "shop", texts), tmp_path / "out", again, cache_dir=tmp_path)
    assert report.n_encoded == 0
    np.testing.assert_array_equal(load_embeddings(tmp_path / "out").vectors, encoder.encode(texts))
    (folder / f"{hashlib.sha256(raw).hexdigest()[:32]}.vectors").write_bytes(raw[:-4])
    embed_texts(texts, again, tmp_path)
    assert len(again.seen) == 21
