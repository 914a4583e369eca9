"""Embedding from disk to disk: the result, resuming byte for byte, damage, changed settings, turns and errors."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from tasteprint.profiling.embedding.embeddings import embed_items, load_embeddings, open_embeddings
from tasteprint.profiling.embedding.plan import Chunk, chunk_size
from tasteprint.profiling.embedding.run import embed_shop
from tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder
from tasteprint.profiling.encoders.hashing import HashEncoder
from tasteprint.profiling.errors import ArtefactError, EncoderError, ShopError
from tasteprint.profiling.files import locked
from tasteprint.profiling.templates import TemplateConfig, item_texts
from tests.profiling.embed_helpers import (
    SIZES,
    BatchEncoder,
    Stopped,
    content,
    leftovers,
    make_shop,
    stopping,
    titles_of,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncing guards against losing power, which these tests cannot bring about."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def test_equals_embedding_in_memory(tmp_path: Path):
    shop = make_shop(tmp_path / "shop", titles_of(250))
    told: list[tuple[str, int, int]] = []
    report = embed_shop(
        shop, tmp_path / "out", HashEncoder(dim=16), config=SIZES, tell=lambda *said: told.append(said[:3])
    )
    frame = pq.read_table(shop / "items.parquet").to_pandas()
    expected = embed_items(frame, HashEncoder(dim=16))
    made = load_embeddings(tmp_path / "out", stamp=expected.stamp)
    np.testing.assert_array_equal(made.vectors, expected.vectors)
    assert made.ids.tolist() == expected.ids.tolist()
    assert (report.n_items, report.n_texts, report.n_encoded, report.n_shards) == (250, 231, 231, 3)
    assert told[-1] == ("Writing shards", 250, 250)
    assert ("Encoding texts", 231, 231) in told
    assert not leftovers(tmp_path / "out")


def test_shards_one_by_one(tmp_path: Path):
    from safetensors.numpy import load_file

    shop = make_shop(tmp_path / "shop", titles_of(250))
    embed_shop(shop, tmp_path / "out", HashEncoder(dim=16), config=SIZES)
    read = open_embeddings(tmp_path / "out")
    embed_shop(make_shop(tmp_path / "shop", titles_of(30)), tmp_path / "out", HashEncoder(dim=16), config=SIZES)
    assert [(len(ids), vectors.shape) for ids, vectors in read] == [(100, (100, 16)), (100, (100, 16)), (50, (50, 16))]
    assert read.meta["shard_rows"] == [100, 100, 50]
    assert [*read][2][0][-1] == "i249"
    version = tmp_path / "out" / (tmp_path / "out" / "CURRENT").read_text().split()[0]
    assert load_file(version / "vectors-00000.safetensors")["vectors"].shape == (30, 16)
    (version / "vectors-00000.safetensors").write_bytes(b"")
    with pytest.raises(ArtefactError, match="must have"):
        open_embeddings(tmp_path / "out")


def test_no_items_at_all(tmp_path: Path):
    report = embed_shop(make_shop(tmp_path / "shop", []), tmp_path / "out", HashEncoder(dim=16))
    assert (report.n_items, report.n_shards) == (0, 0)
    assert load_embeddings(tmp_path / "out").vectors.shape == (0, 16)


@pytest.mark.parametrize("after", [0, 3, 14])
def test_an_interrupted_run_ends_the_same(tmp_path: Path, after: int):
    shop = make_shop(tmp_path / "shop", titles_of(250))
    embed_shop(shop, tmp_path / "whole", BatchEncoder(), config=SIZES)
    encoder = BatchEncoder()
    with pytest.raises(Stopped):
        embed_shop(shop, tmp_path / "out", encoder, config=SIZES, encode=stopping(encoder, after))
    assert not (tmp_path / "out" / "CURRENT").exists()
    rest = BatchEncoder()
    report = embed_shop(shop, tmp_path / "out", rest, config=SIZES)
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert report.n_encoded == len(rest.seen) == 231 - 16 * after == 231 - report.n_resumed


def test_only_what_changed_is_encoded(tmp_path: Path):
    titles = titles_of(250)
    embed_shop(make_shop(tmp_path / "shop", titles), tmp_path / "out", BatchEncoder(), config=SIZES)
    same = BatchEncoder()
    assert embed_shop(tmp_path / "shop", tmp_path / "out", same, config=SIZES).up_to_date
    before = load_embeddings(tmp_path / "out").vectors.copy()
    titles[7], titles[90] = "desk", "sofa"
    report = embed_shop(make_shop(tmp_path / "shop", titles), tmp_path / "out", same, config=SIZES)
    assert same.seen == ["desk", "sofa"]
    assert (report.n_encoded, report.up_to_date) == (2, False)
    kept = np.delete(np.arange(250), [7, 90])
    np.testing.assert_array_equal(load_embeddings(tmp_path / "out").vectors[kept], before[kept])


@pytest.mark.parametrize("change", ["items", "template", "encoder", "sizes"])
def test_other_settings_begin_another_plan(tmp_path: Path, change: str):
    shop = make_shop(tmp_path / "shop", titles_of(250))
    encoder, template, sizes = BatchEncoder(), TemplateConfig(), SIZES
    with pytest.raises(Stopped):
        embed_shop(shop, tmp_path / "out", encoder, config=SIZES, encode=stopping(encoder, 5))
    if change == "items":
        make_shop(shop, ["desk", *titles_of(250)[1:]])
    elif change == "template":
        template = TemplateConfig(fields=("title",), labels="all")
    elif change == "encoder":
        encoder = BatchEncoder(seed=1)
    else:
        sizes = SIZES.model_copy(update={"chunk_texts": 20})
    fresh = BatchEncoder(seed=1 if change == "encoder" else 0)
    embed_shop(shop, tmp_path / "out", fresh, template, config=sizes)
    frame = pq.read_table(shop / "items.parquet").to_pandas()
    expected = HashEncoder(dim=16, seed=1 if change == "encoder" else 0).encode(item_texts(frame, template))
    made = load_embeddings(tmp_path / "out", stamp=fresh.stamp.with_template(template.text))
    np.testing.assert_allclose(made.vectors, expected, atol=1e-4)
    new_texts = {"items": 231 + 1 - 80, "template": 231, "encoder": 231, "sizes": 231 - 80}[change]
    assert len(fresh.seen) in (new_texts, new_texts - 80)  # texts that stay the same are known


def test_one_run_at_a_time(tmp_path: Path):
    shop = make_shop(tmp_path / "shop", titles_of(50))
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out" / ".embed.lock"), pytest.raises(ArtefactError, match="another run is at work"):
        embed_shop(shop, tmp_path / "out", BatchEncoder())
    embed_shop(shop, tmp_path / "out", BatchEncoder())


def test_errors_say_what_to_do(tmp_path: Path):
    shop = make_shop(tmp_path / "shop", titles_of(50))
    with pytest.raises(ShopError, match="shop that has items"):
        embed_shop(tmp_path, tmp_path / "out", HashEncoder())
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtefactError, match="name another folder"):
        embed_shop(shop, tmp_path / "file", HashEncoder())
    with pytest.raises(EncoderError, match=r"cannot be written.*name another folder"):
        embed_shop(shop, tmp_path / "out", HashEncoder(), cache_dir=tmp_path / "file")
    (shop / "items.parquet").write_bytes(b"no parquet")
    with pytest.raises(ShopError, match="not readable as Parquet"):
        embed_shop(shop, tmp_path / "out", HashEncoder())
    pd.DataFrame({"item_id": ["a", None], "title": ["x", "y"]}).to_parquet(shop / "items.parquet")
    with pytest.raises(ShopError, match="null"):
        embed_shop(shop, tmp_path / "out", HashEncoder())


@pytest.mark.parametrize("bad", ["nan", "short"])
def test_what_is_no_vector_is_refused(tmp_path: Path, bad: str):
    def encode(chunks: Iterable[Chunk]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        for chunk in chunks:
            made = np.ones((len(chunk.texts) - (bad == "short"), 16), dtype=np.float32)
            made[0, 0] = np.nan if bad == "nan" else 1
            yield chunk.number, made

    with pytest.raises(EncoderError, match="finite vectors of 16"):
        embed_shop(make_shop(tmp_path / "shop", titles_of(50)), tmp_path / "out", BatchEncoder(), encode=encode)
    assert not list((tmp_path / "out").rglob("*.safetensors"))


def test_an_encoder_that_takes_many_chunks(tmp_path: Path):
    class Many(BatchEncoder):
        """Reads ahead, as a scheduler does."""

        def encode_many(self, chunks: Iterable[Sequence[str]], kind: str) -> Iterator[NDArray[np.float32]]:
            ahead = iter(chunks)
            waiting = [next(ahead), next(ahead)]
            for chunk in ahead:
                waiting.append(chunk)
                yield self.encode(waiting.pop(0), kind)
            for chunk in waiting:
                yield self.encode(chunk, kind)

    shop = make_shop(tmp_path / "shop", titles_of(250))
    embed_shop(shop, tmp_path / "whole", BatchEncoder(), config=SIZES)
    encoder = Many()
    with pytest.raises(Stopped):
        embed_shop(shop, tmp_path / "out", encoder, config=SIZES, encode=stopping(encoder, 5))
    report = embed_shop(shop, tmp_path / "out", Many(), config=SIZES)
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert report.n_encoded == 231 - 5 * 16


def test_chunk_size_makes_steps():
    for n in (1, 511, 16_384, 50_000, 131_072, 10**7):
        size = chunk_size(n, None)
        assert 512 <= size <= 4096
        assert size == 512 or n / size >= 32
    assert chunk_size(10**7, 7) == 7


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from tests.profiling.embed_helpers import SIZES, BatchEncoder
from tasteprint.profiling.embedding.run import embed_shop
embed_shop(Path({shop!r}), Path({out!r}), BatchEncoder(pause_s=0.01), config=SIZES)
"""


def test_killed_at_any_point(tmp_path: Path):
    """kill -9 at random moments, again and again, until a run gets through: the same bytes."""
    shop = make_shop(tmp_path / "shop", titles_of(600))
    embed_shop(shop, tmp_path / "whole", BatchEncoder(), config=SIZES)
    code = CHILD.format(here=str(Path(__file__).parents[2]), shop=str(shop), out=str(tmp_path / "out"))
    rng = random.Random(0)
    kills = 0
    for _ in range(4):
        child = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"OMP_NUM_THREADS": "1"})
        run, limit = tmp_path / "out" / ".run", time.monotonic() + 30
        while not run.exists() and child.poll() is None and time.monotonic() < limit:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.2))
        child.send_signal(signal.SIGKILL)
        kills += child.wait() == -signal.SIGKILL
    assert kills >= 2
    embed_shop(shop, tmp_path / "out", BatchEncoder(), config=SIZES)
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert not leftovers(tmp_path / "out")


@pytest.mark.pretrained
def test_a_network_resumes_to_the_last_bit(tmp_path: Path, minilm: str):
    """Its vectors do depend on what is encoded beside them, so only the very same chunks give the same bytes."""
    words = ("red", "desk", "lamp", "with", "shade", "of", "linen")
    titles = [" ".join(words[: 1 + row % 7]) + f" {row}" for row in range(120)]
    shop, encoder = make_shop(tmp_path / "shop", titles), open_encoder(EncoderConfig(name=minilm))
    embed_shop(shop, tmp_path / "whole", encoder, config=SIZES)
    with pytest.raises(Stopped):
        embed_shop(shop, tmp_path / "out", encoder, config=SIZES, encode=stopping(encoder, 3))
    embed_shop(shop, tmp_path / "out", encoder, config=SIZES)
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    other = SIZES.model_copy(update={"chunk_texts": 17})
    embed_shop(shop, tmp_path / "other", encoder, config=other)
    np.testing.assert_allclose(
        load_embeddings(tmp_path / "other").vectors, load_embeddings(tmp_path / "out").vectors, atol=1e-5
    )
